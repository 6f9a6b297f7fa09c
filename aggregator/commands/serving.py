"""``hearthside-aggregator leader`` and ``helper``: the services themselves."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from aggregator.commands.options import Certificate, CertificateKey, Folder, Host, Port, Proxy, Workers
from aggregator.errors import AggregatorError
from aggregator.workers import Report, Supervisor

if TYPE_CHECKING:
    from aggregator.settings import ServiceSettings

CLOSING_SECONDS: Final = 12.0
"""How long workers may take to end once their requests have; a little more than they give themselves."""


def leader(
    directory: Folder,
    port: Port = 8700,
    host: Host = "127.0.0.1",
    workers: Workers = 1,
    tls_certificate: Certificate = None,
    tls_key: CertificateKey = None,
    proxy_trusted: Proxy = None,
) -> None:
    """Run the leader, in one process or in several behind one store."""
    from aggregator.leader.app import create_app
    from aggregator.settings import LeaderSettings

    transport = {"tls_certificate": tls_certificate, "tls_key": tls_key, "proxy_trusted": proxy_trusted}
    _serve("Hearthside leader", create_app, LeaderSettings.read(directory, **transport), host, port, workers)


def helper(
    directory: Folder,
    port: Port = 8800,
    host: Host = "127.0.0.1",
    workers: Workers = 1,
    tls_certificate: Certificate = None,
    tls_key: CertificateKey = None,
    proxy_trusted: Proxy = None,
) -> None:
    """Run the helper, in one process or in several behind one store."""
    from aggregator.helper.app import create_app
    from aggregator.settings import HelperSettings

    transport = {"tls_certificate": tls_certificate, "tls_key": tls_key, "proxy_trusted": proxy_trusted}
    _serve("Hearthside helper", create_app, HelperSettings.read(directory, **transport), host, port, workers)


def _hosts(configured: tuple[str, ...], host: str, port: int) -> tuple[str, ...]:
    return (*configured, f"{host}:{port}", f"127.0.0.1:{port}", f"localhost:{port}")


def _serve(
    title: str, create: Callable[[Any], Any], configured: ServiceSettings, host: str, port: int, workers: int
) -> None:
    """One process that answers, or a supervisor of several; each makes an application of its own."""
    settings = configured.model_copy(update={"hosts": _hosts(configured.hosts, host, port)})
    alone = create(settings) if workers == 1 else None  # first, so that what it cannot start with is all that is said
    with _listener(host, port) as listener:
        _announce(title, settings, host, port, f"; {workers} workers" if workers > 1 else "")
        if alone is not None:
            _run(alone, settings, listener)
            return
        grace_seconds = settings.shutdown_seconds + CLOSING_SECONDS
        Supervisor(workers, lambda report: _run(create(settings), settings, listener, report), grace_seconds).run()


def _announce(title: str, settings: ServiceSettings, host: str, port: int, more: str = "") -> None:
    scheme = "http" if settings.tls_certificate is None else "https"
    print(f"{title}: {scheme}://{host}:{port} (API at /docs{more})", file=sys.stderr)


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


def _run(application: Any, settings: ServiceSettings, listener: socket.socket, report: Report = lambda: None) -> None:
    """Answer requests until SIGTERM or SIGINT; ``report`` is called once the service has started."""
    from aggregator.logs import service_log, take_over
    from aggregator.memory import return_large_blocks
    from aggregator.server import make_server

    return_large_blocks()
    take_over(service_log(application.title.split()[-1], settings.log_level))
    started = _Start(application, report)
    server = make_server(started, settings, application.state.metrics.cut)
    server.answer(listener)
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
