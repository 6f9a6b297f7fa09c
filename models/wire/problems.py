"""Problem types (RFC 9457): the one table from what went wrong to what the wire says.

``ProblemError`` is what a service or an agent raises; ``Problem`` is its body. A detail says what, where and what to do
next; it never carries raw data.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from models.wire.message import Message

PROBLEM_MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:hearthside:problem:"


@dataclass(frozen=True)
class ProblemType:
    """One row of the table: HTTP status, title, and whether sending the same bytes again can succeed."""

    status: HTTPStatus
    title: str
    retry: bool = False


PROBLEM_TYPES: dict[str, ProblemType] = {
    "malformed": ProblemType(HTTPStatus.BAD_REQUEST, "The message does not have the expected form"),
    "too-large": ProblemType(HTTPStatus(413), "The message is larger than this endpoint accepts"),
    "not-acceptable": ProblemType(HTTPStatus.NOT_ACCEPTABLE, "The answer cannot be given in the form asked for"),
    "unsupported-media-type": ProblemType(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The content type is not accepted here"),
    "unsupported-version": ProblemType(HTTPStatus.BAD_REQUEST, "The message needs a version or feature that is absent"),
    "unauthenticated": ProblemType(HTTPStatus.UNAUTHORIZED, "A signature or token is needed"),
    "forbidden": ProblemType(HTTPStatus.FORBIDDEN, "This caller may not do this"),
    "wrong-host": ProblemType(HTTPStatus.MISDIRECTED_REQUEST, "The request names a host that is not served here"),
    "wrong-origin": ProblemType(HTTPStatus.FORBIDDEN, "The request comes from an origin that is not allowed"),
    "bad-signature": ProblemType(HTTPStatus.FORBIDDEN, "The signature does not verify"),
    "stale": ProblemType(HTTPStatus.FORBIDDEN, "The message is outside its time window"),
    "replayed": ProblemType(HTTPStatus.CONFLICT, "The message was used before"),
    "unknown-device": ProblemType(HTTPStatus.NOT_FOUND, "The device is not enrolled"),
    "unknown-study": ProblemType(HTTPStatus.NOT_FOUND, "The study is not known"),
    "unknown-round": ProblemType(HTTPStatus.NOT_FOUND, "The round is not known"),
    "not-found": ProblemType(HTTPStatus.NOT_FOUND, "There is nothing at this address"),
    "invalid-study": ProblemType(HTTPStatus(422), "The study cannot run as written"),
    "study-exists": ProblemType(HTTPStatus.CONFLICT, "Another study has this name"),
    "not-approved": ProblemType(HTTPStatus.FORBIDDEN, "The privacy office has not approved the study"),
    "study-stopped": ProblemType(HTTPStatus.CONFLICT, "The study has been stopped"),
    "wrong-state": ProblemType(HTTPStatus.CONFLICT, "The study or round is not in a state that allows this"),
    "no-consent": ProblemType(HTTPStatus.FORBIDDEN, "The device has no consent in force for this purpose"),
    "receipt-refused": ProblemType(HTTPStatus.FORBIDDEN, "The consent receipt was refused"),
    "round-closed": ProblemType(HTTPStatus.CONFLICT, "The round no longer takes reports"),
    "report-conflict": ProblemType(HTTPStatus.CONFLICT, "Another report of this device is already in the round"),
    "report-invalid": ProblemType(HTTPStatus.BAD_REQUEST, "The report does not fit the round"),
    "batch-invalid": ProblemType(HTTPStatus.BAD_REQUEST, "The batch is not sorted, complete or of this round"),
    "already-answered": ProblemType(HTTPStatus.CONFLICT, "Another batch of this round was answered"),
    "cohort-too-small": ProblemType(HTTPStatus.CONFLICT, "Fewer reports than the study's minimum cohort"),
    "budget-exhausted": ProblemType(HTTPStatus.CONFLICT, "The privacy budget cannot pay for this"),
    "log-unproven": ProblemType(HTTPStatus.CONFLICT, "The log's growth was not proven", retry=True),
    "log-forked": ProblemType(HTTPStatus.CONFLICT, "The log does not continue the one that was seen before"),
    "helper-unavailable": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "The helper does not answer", retry=True),
    "leader-unavailable": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "The leader does not answer", retry=True),
    "store-unavailable": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "The store is corrupt or unreachable", retry=True),
    "not-ready": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "The service is not ready", retry=True),
    "bundle-invalid": ProblemType(HTTPStatus.FORBIDDEN, "The bundle does not verify"),
    "too-many-requests": ProblemType(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", retry=True),
    "slow-down": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS, "Too much at once; wait as long as Retry-After says", retry=True
    ),
    "key-replaced": ProblemType(HTTPStatus.FORBIDDEN, "The device has another key by now"),
    "device-revoked": ProblemType(HTTPStatus.FORBIDDEN, "The device was revoked; nothing of it is taken any more"),
    "timed-out": ProblemType(HTTPStatus.REQUEST_TIMEOUT, "The request took too long", retry=True),
    "internal": ProblemType(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here", retry=True),
}


class Problem(Message):
    """The body of an error response (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = ""


class ProblemError(Exception):
    """An error with a row in the table; services turn it into a ``Problem`` response."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{PROBLEM_TYPES[code].title}: {detail}" if detail else PROBLEM_TYPES[code].title)
        self.code = code
        self.detail = detail

    @property
    def problem_type(self) -> ProblemType:
        """The row of the table."""
        return PROBLEM_TYPES[self.code]

    def body(self) -> Problem:
        """The RFC 9457 body."""
        row = self.problem_type
        return Problem(type=_TYPE_PREFIX + self.code, title=row.title, status=int(row.status), detail=self.detail)


def problem_code(body: Problem) -> str:
    """The table's key for a received problem; ``internal`` when it is of another house."""
    code = body.type.removeprefix(_TYPE_PREFIX)
    return code if code in PROBLEM_TYPES else "internal"
