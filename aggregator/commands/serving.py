"""``hearthside-aggregator leader`` and ``helper``: the services themselves."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aggregator.commands.options import Folder, Host, Port, Workers
from aggregator.errors import AggregatorError
from aggregator.workers import Report, Supervisor


def leader(directory: Folder, port: Port = 8700, host: Host = "127.0.0.1", workers: Workers = 1) -> None:
    """Run the leader, in one process or in several behind one store."""
    from aggregator.leader.app import create_app
    from aggregator.settings import LeaderSettings

    settings = LeaderSettings.read(directory)
    settings = settings.model_copy(update={"hosts": _hosts(settings.hosts, host, port)})
    _serve("Hearthside leader", lambda: create_app(settings), host, port, workers)


def helper(directory: Folder, port: Port = 8800, host: Host = "127.0.0.1", workers: Workers = 1) -> None:
    """Run the helper, in one process or in several behind one store."""
    from aggregator.helper.app import create_app
    from aggregator.settings import HelperSettings

    settings = HelperSettings.read(directory)
    settings = settings.model_copy(update={"hosts": _hosts(settings.hosts, host, port)})
    _serve("Hearthside helper", lambda: create_app(settings), host, port, workers)


def _hosts(configured: tuple[str, ...], host: str, port: int) -> tuple[str, ...]:
    return (*configured, f"{host}:{port}", f"127.0.0.1:{port}", f"localhost:{port}")


def _serve(title: str, create: Callable[[], Any], host: str, port: int, workers: int) -> None:
    """One process that answers, or a supervisor of several; each makes an application of its own."""
    alone = create() if workers == 1 else None  # first, so that what it cannot start with is all that is said
    with _listener(host, port) as listener:
        more = f"; {workers} workers" if workers > 1 else ""
        print(f"{title}: http://{host}:{port} (API at /docs{more})", file=sys.stderr)
        if alone is not None:
            _run(alone, listener)
        else:
            Supervisor(workers, lambda report: _run(create(), listener, report)).run()


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise AggregatorError(f"{host} port {port} {why}; choose another with --port") from None
        yield listener


def _run(application: Any, listener: socket.socket, report: Report = lambda: None) -> None:
    """Answer requests until SIGTERM or SIGINT; ``report`` is called once the service has started."""
    import uvicorn

    # The service writes its own log; the server's would add tracebacks to a start that failed for a stated reason.
    started = _Start(application, report)
    config = uvicorn.Config(
        started, log_level="critical", access_log=False, timeout_graceful_shutdown=3, timeout_keep_alive=30
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if started.failure is not None:
        raise started.failure
    if not server.started:
        raise AggregatorError("the service could not start; its log has the reason")


class _Start:
    """An application that keeps why its start failed, for the one line that is printed."""

    def __init__(self, application: Any, report: Report) -> None:
        self._application = application
        self._report = report
        self.failure: AggregatorError | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._report()
            await send(message)

        try:
            await self._application(scope, receive, sent if scope["type"] == "lifespan" else send)
        except AggregatorError as error:
            if scope["type"] != "lifespan":
                raise
            self.failure = error
