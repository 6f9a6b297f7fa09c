"""``hearthside-aggregator leader`` and ``helper``: the services themselves."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

from aggregator.commands.options import Folder, Host, Port
from aggregator.errors import AggregatorError


def leader(directory: Folder, port: Port = 8700, host: Host = "127.0.0.1") -> None:
    """Run the leader."""
    from aggregator.leader.app import create_app
    from aggregator.settings import LeaderSettings

    settings = LeaderSettings.read(directory)
    _serve(create_app(settings.model_copy(update={"hosts": _hosts(settings.hosts, host, port)})), host, port)


def helper(directory: Folder, port: Port = 8800, host: Host = "127.0.0.1") -> None:
    """Run the helper."""
    from aggregator.helper.app import create_app
    from aggregator.settings import HelperSettings

    settings = HelperSettings.read(directory)
    _serve(create_app(settings.model_copy(update={"hosts": _hosts(settings.hosts, host, port)})), host, port)


def _hosts(configured: tuple[str, ...], host: str, port: int) -> tuple[str, ...]:
    return (*configured, f"{host}:{port}", f"127.0.0.1:{port}", f"localhost:{port}")


def _serve(application: Any, host: str, port: int) -> None:
    import uvicorn

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise AggregatorError(f"{host} port {port} {why}; choose another with --port") from None
        print(f"{application.title}: http://{host}:{port} (API at /docs)", file=sys.stderr)
        # The service writes its own log; the server's would add tracebacks to a start that failed for a stated reason.
        started = _Start(application)
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

    def __init__(self, application: Any) -> None:
        self._application = application
        self.failure: AggregatorError | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._application(scope, receive, send)
        except AggregatorError as error:
            if scope["type"] != "lifespan":
                raise
            self.failure = error
