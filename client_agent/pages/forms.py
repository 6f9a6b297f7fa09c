"""Forms of the agent's own origin: only its own pages can send them."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

from models.wire.problems import ProblemError

_FIELDS_MAXIMUM: Final = 8


async def read_form(request: Request, origin: str) -> dict[str, str]:
    """The fields of a form, each by its first value.

    Args:
        request: what a browser sent.
        origin: the agent's own origin; a form of any other is refused.

    Raises:
        ProblemError: it comes from elsewhere, or is no form.
    """
    if request.headers.get("origin") != origin:
        raise ProblemError("wrong-origin", f"expected forms from {origin}")
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise ProblemError("unsupported-media-type", "expected a form")
    try:
        fields = parse_qs((await request.body()).decode("ascii"), max_num_fields=_FIELDS_MAXIMUM)
    except ValueError:
        raise ProblemError("malformed", "expected a form") from None
    return {name: values[0] for name, values in fields.items()}
