"""Service logs: one JSON object a line on standard error, without bodies, addresses, tokens or device ids.

Fields of every line: ``timestamp`` (UTC), ``level``, ``event``, ``service``, ``process``; ``request`` on what a request
brought about, the random name that its answer carries as ``X-Request-Id``. ``docs/operations.md`` lists the others.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import structlog

_REQUEST: ContextVar[str] = ContextVar("request", default="")


@contextmanager
def naming(request: str) -> Iterator[None]:
    """Lines that are written in here, and by what is begun in here, carry this request's name."""
    token = _REQUEST.set(request)
    try:
        yield
    finally:
        _REQUEST.reset(token)


def _place(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    line["process"] = os.getpid()
    request = _REQUEST.get()
    if request:
        line.setdefault("request", request)
    return line


def service_log(service: str, level: str = "info") -> structlog.typing.FilteringBoundLogger:
    """A logger of its own for one service: nothing global is configured, so that two can share a process."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            _place,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        service=service,
    )
    return cast("structlog.typing.FilteringBoundLogger", logger)


def quiet_libraries() -> None:
    """Keep libraries from writing lines of their own format: theirs may carry addresses."""
    for name in ("httpx", "httpcore", "alembic", "tuf"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Flower sets its level, and a handler of its own, when it is imported: whatever it writes is dropped before both.
    flower = logging.getLogger("flwr")
    flower.filters[:] = [_nothing]


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def take_over(log: structlog.typing.FilteringBoundLogger) -> None:
    """Make this process's libraries, warnings and last words lines of this log; for a process that is one service.

    A line says which library and where, never its text.
    """
    logging.getLogger().handlers = [_Lines(log)]
    logging.getLogger().setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            log.error("thread ended", **failure(arguments.exc_value))

    def unraisable(arguments: Any) -> None:
        if arguments.exc_value is not None:
            log.error("error was dropped", **failure(arguments.exc_value))

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


class _Lines(logging.Handler):
    """A library's record as a line of the service's log."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        more = failure(record.exc_info[1]) if record.exc_info and record.exc_info[1] is not None else {}
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write("library", library=record.name, **{"at": f"{record.filename}:{record.lineno}", **more})


def failure(error: BaseException) -> dict[str, Any]:
    """What a log line says about an exception: its type and place, never its text (it may quote input)."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return {"error": type(error).__name__, "at": place}
