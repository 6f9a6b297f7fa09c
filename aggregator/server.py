"""The HTTP server beneath a service: its limits, TLS, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from aggregator.connections import Room, connection_class
from aggregator.errors import SettingsInvalid
from aggregator.settings import ServiceSettings

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; TLS 1.3 has none that is weak."""
_SAME_REQUEST_SECONDS: Final = 1.0
"""Signals this close are one request: a terminal and a supervisor both send theirs."""
CLOSING_SECONDS: Final = 10.0
"""How long studies, changes and the store may take to come to rest, after the requests."""
_SWEEP_TICKS: Final = 10
_TRANSPORT_SECURITY: Final = ("Strict-Transport-Security", "max-age=31536000")


def tls_context(settings: ServiceSettings) -> ssl.SSLContext | None:
    """TLS 1.2 and newer, with forward secrecy; None where there is no certificate.

    Raises:
        SettingsInvalid: a certificate or key that cannot be used.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        pair = f"{settings.tls_certificate} and {settings.tls_key}"
        raise SettingsInvalid(f"tls_certificate, tls_key: {pair} cannot be used ({why})") from None
    return context


def make_server(application: Any, settings: ServiceSettings, on_cut: Callable[[str], None] = lambda _: None) -> Server:
    """A server for one worker.

    Args:
        application: what answers.
        settings: of the service.
        on_cut: told why a connection was cut.

    Raises:
        SettingsInvalid: a certificate or key that cannot be used.
    """
    context = tls_context(settings)
    room = Room(
        header_seconds=settings.header_seconds,
        header_limit_bytes=settings.header_limit_bytes,
        send_pause_seconds=settings.send_pause_seconds,
        read_rate_bytes=settings.body_rate_bytes,
        keep_alive_seconds=settings.keep_alive_seconds,
        connection_limit=settings.connection_limit,
        address_connection_limit=settings.address_connection_limit,
        proxies=settings.proxy_trusted,
        on_cut=on_cut,
    )
    config = uvicorn.Config(
        application,
        http=connection_class(room),  # type: ignore[arg-type]  # it is called like a class
        ws="none",
        lifespan="on",
        # The service writes its own log; the server's would carry addresses, and tracebacks for stated reasons.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        headers=[_TRANSPORT_SECURITY] if context is not None else [],
        proxy_headers=bool(settings.proxy_trusted),
        forwarded_allow_ips=list(settings.proxy_trusted),
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        h11_max_incomplete_event_size=settings.header_limit_bytes,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    return Server(config, room, settings.shutdown_seconds + CLOSING_SECONDS)


class Server(uvicorn.Server):
    """Ends in good order on SIGTERM or SIGINT, within a bound, and with exit code 0; at once on a second one.

    Args:
        config: the server's.
        room: its connections.
        bound_seconds: after which it ends in any case.
    """

    def __init__(self, config: uvicorn.Config, room: Room, bound_seconds: float) -> None:
        super().__init__(config)
        self._room = room
        self._bound_seconds = bound_seconds
        self._told_at: float | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal: requests under way are finished, rounds pause; the second one ends the process here and now."""
        del frame
        now = time.monotonic()
        if self._told_at is None:
            self._told_at, self.should_exit = now, True
            watchdog = threading.Timer(self._bound_seconds, os._exit, (1,))
            watchdog.daemon = True
            watchdog.start()
        elif now - self._told_at > _SAME_REQUEST_SECONDS:
            # What is durable is durable after a kill as well: nothing has to be put in order first.
            os._exit(128 + sig)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals; unlike the library's, a signal that was obeyed is not raised again: the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            if self._told_at is None:
                for number, handler in before.items():
                    signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections once a second."""
        if counter % _SWEEP_TICKS == 0:
            self._room.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def answer(self, listener: socket.socket) -> None:
        """Answer requests until told to end."""
        self.run(sockets=[listener])
