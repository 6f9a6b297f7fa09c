"""Service logs: one JSON object a line on standard error, without bodies, addresses, tokens or device ids."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog


def service_log(service: str, level: str = "info") -> structlog.typing.FilteringBoundLogger:
    """A logger of its own for one service: nothing global is configured, so that two can share a process."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        service=service,
    )
    return cast("structlog.typing.FilteringBoundLogger", logger)


def quiet_libraries() -> None:
    """Keep libraries from writing lines of their own format: theirs may carry addresses."""
    for name in ("flwr", "httpx", "httpcore", "alembic", "tuf"):
        logging.getLogger(name).setLevel(logging.ERROR)


def failure(error: BaseException) -> dict[str, Any]:
    """What a log line says about an exception: its type and place, never its text (it may quote input)."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return {"error": type(error).__name__, "at": place}
