"""Connections to leader and helper: synchronous HTTP with time-outs; what they refuse becomes a ``ProblemError``.

A transport can be given, so that tests and simulations speak the same bytes without a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal, TypeVar

import httpx
from pydantic import ValidationError

from client_agent.errors import BodyStopped
from client_agent.logs import quieten
from client_agent.pauses import Pauses
from client_agent.streaming import Line, slices, watched
from models.wire.devices import DEVICE_HEADER, DeviceStanding, KeyChange, Revocation, RevocationResult
from models.wire.enrolment import (
    Enrolment,
    EnrolmentRequest,
    EnrolmentResponse,
    EnrolmentResult,
    ReceiptRequest,
    ReceiptResponse,
    ReceiptResult,
    ServiceIdentity,
    SubmittedReceipt,
)
from models.wire.frames import REPORTS_MEDIA_TYPE, ReportResponse, join_reports
from models.wire.future import read_work
from models.wire.message import CompactJws, Message
from models.wire.problems import Problem, ProblemError, problem_code
from models.wire.rounds import SealedWithdrawal, WithdrawalAnswer, WithdrawalNotice, Work
from privacy.crypto import SigningKey, VerifyKey, sign_request
from privacy.crypto.tiles import Tile

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_DECISION_SECONDS = 2.0
_CHOICE_SECONDS = 10.0
"""How long a choice waits for a service: others wait behind it."""
MAXIMUM_ANSWER_BYTES = 64 * 1024 * 1024
_OK = 300
_NOT_MODIFIED = 304
_AnyMessage = TypeVar("_AnyMessage", bound=Message)


def cookieless() -> CookieJar:
    """A jar that keeps nothing: a cookie would tie a poll to a report, or one browser's session to another's."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def _always() -> bool:
    return True


def _client(base_url: str, transport: httpx.BaseTransport | None, **options: Any) -> httpx.Client:
    return httpx.Client(
        base_url=base_url, transport=transport, timeout=TIMEOUT, follow_redirects=False, cookies=cookieless(), **options
    )


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a request, when, and with which nonce.

    Attributes:
        key: the device's.
        device_id: as the leader knows it (16 bytes).
        leader: for whom the request is.
        at: Unix seconds.
        nonce: 16 fresh random bytes.
    """

    key: SigningKey
    device_id: bytes
    leader: VerifyKey
    at: int
    nonce: bytes


class _Connection:
    """What both connections share: one client, time-outs, problems."""

    def __init__(self, base_url: str, unavailable: str, transport: httpx.BaseTransport | None) -> None:
        self.base_url = base_url
        self._unavailable = unavailable
        self._pauses = Pauses()
        quieten()
        self._client = _client(base_url, transport)

    def identity(self) -> ServiceIdentity:
        """Who the service says it is; compare it with what was pinned."""
        return _parse(ServiceIdentity, self._request("GET", "/v1/identity"))

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _post(self, path: str, message: Message, **options: Any) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return self._request("POST", path, content=message.model_dump_json().encode(), headers=headers, **options)

    def _request(self, method: str, path: str, client: httpx.Client | None = None, **options: Any) -> httpx.Response:
        self._pauses.require(path)
        try:
            response = (client or self._client).request(method, path, **options)
        except (httpx.HTTPError, BodyStopped) as error:
            raise ProblemError(self._unavailable, f"{self.base_url}: {type(error).__name__}") from None
        if len(response.content) > MAXIMUM_ANSWER_BYTES:
            raise ProblemError("too-large", f"{path} answered with {len(response.content)} bytes")
        if response.status_code == _NOT_MODIFIED or response.status_code < _OK:
            return response
        self._pauses.hear(path, response)
        raise _problem(response)


class LeaderConnection(_Connection):
    """The leader's API as an agent uses it.

    Args:
        base_url: such as ``https://leader.example``.
        transport: in place of a socket.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(base_url, "leader-unavailable", transport)
        one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        # Reports go over a connection of their own, which is cut when one of them is taken back.
        self._reporting = _client(base_url, transport, limits=one)
        self._line = Line()
        self._etag = ""
        self._work: Work | None = None
        self.unread_rounds = 0
        """Rounds of the last work that this version cannot read: an update of the agent is needed."""

    def close(self) -> None:
        """Close both clients' connections."""
        super().close()
        self._reporting.close()

    def enrol(self, enrolments: Sequence[Enrolment]) -> tuple[EnrolmentResult, ...]:
        """Post 1 to 256 enrolments; results in their order."""
        request = EnrolmentRequest(enrolments=tuple(enrolments))
        return _parse(EnrolmentResponse, self._post("/v1/enrolments", request)).results

    def submit_receipts(self, receipts: Sequence[SubmittedReceipt]) -> tuple[ReceiptResult, ...]:
        """Post 1 to 256 receipts; results in their order."""
        request = ReceiptRequest(receipts=tuple(receipts))
        response = self._post("/v1/receipts", request, timeout=_CHOICE_SECONDS)
        return _parse(ReceiptResponse, response).results

    def standing(self, signer: Signer) -> DeviceStanding:
        """What the leader holds of a device."""
        return _parse(DeviceStanding, self._signed(signer, "GET", "/v1/devices/me", b""))

    def change_key(self, signer: Signer, rotation: str) -> DeviceStanding:
        """Tell the leader of another key; the old one signs the request, and the same again is answered again."""
        body = KeyChange(rotation=rotation).model_dump_json().encode()
        return _parse(DeviceStanding, self._signed(signer, "POST", "/v1/devices/me/key", body))

    def revoke(self, signer: Signer, reason: Literal["gone", "lost", "stolen", "replaced"]) -> RevocationResult:
        """Tell the leader that a device is gone."""
        body = Revocation(reason=reason).model_dump_json().encode()
        return _parse(RevocationResult, self._signed(signer, "POST", "/v1/devices/me/revocation", body))

    def _signed(self, signer: Signer, method: str, path: str, body: bytes) -> httpx.Response:
        headers = {"content-type": "application/json", DEVICE_HEADER: signer.device_id.hex()}
        headers |= sign_request(
            signer.key, method, path, body, signer.at, signer.nonce, audience=signer.leader.fingerprint
        )
        return self._request(method, path, content=body, headers=headers)

    def work(self) -> Work:
        """What is to be done; unchanged work is not transferred again."""
        headers = {"if-none-match": self._etag} if self._etag else {}
        response = self._request("GET", "/v1/work", headers=headers)
        if response.status_code != _NOT_MODIFIED or self._work is None:
            self._work, self.unread_rounds = _read_work(response.content)
            self._etag = response.headers.get("etag", "")
        return self._work

    def model(self, model_hash: str) -> bytes:
        """The bytes of a model by the hex digest; the caller compares the digest."""
        return self._request("GET", f"/v1/models/{model_hash}").content

    def log_tile(self, tile: Tile) -> bytes:
        """A tile of the log's hashes; nobody believes it before it leads to a signed root."""
        return self._request("GET", f"/v1/log/tiles/{tile.level}/{tile.index}", params={"width": tile.width}).content

    def post_reports(self, encoded: Sequence[bytes], standing: Callable[[], bool] = _always) -> tuple[str, ...]:
        """Post 1 to 256 serialised reports; one word each: ``accepted`` or a problem code.

        Args:
            encoded: the reports.
            standing: whether they may all still be sent; asked before each slice of the body, and all the while from
                another thread. The connection is cut once they may not.

        Raises:
            ProblemError: the leader cannot be reached, or they may not be sent any more: ask ``standing``.
        """
        body = join_reports(encoded)
        headers = {"content-type": REPORTS_MEDIA_TYPE, "content-length": str(len(body))}
        with watched(self._line.cut, standing):
            response = self._request(
                "POST",
                "/v1/reports",
                client=self._reporting,
                content=slices(body, standing),
                headers=headers,
                extensions={"trace": self._line.trace},
            )
        results = _parse(ReportResponse, response).results
        if len(results) != len(encoded):
            raise ProblemError("malformed", f"expected {len(encoded)} results, got {len(results)}")
        return results


class _SignedDecision(Message):
    jws: CompactJws


class HelperConnection(_Connection):
    """The helper's API as an agent uses it: its identity, the office's stops, and taking reports back.

    None of it goes through the leader.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(base_url, "helper-unavailable", transport)

    def decision(self, study_hash: str) -> str | None:
        """The privacy office's newest decision on a study, as signed; None where the helper knows of none."""
        try:
            response = self._request("GET", f"/v1/decisions/{study_hash}", timeout=_DECISION_SECONDS)
        except ProblemError as problem:
            if problem.code in ("not-found", "unknown-study"):
                return None
            raise
        return _parse(_SignedDecision, response).jws

    def withdraw(self, notice: SealedWithdrawal | WithdrawalNotice) -> WithdrawalAnswer:
        """Tell the helper not to count a report; what it signs is for the caller to check."""
        return _parse(WithdrawalAnswer, self._post("/v1/withdrawals", notice, timeout=_CHOICE_SECONDS))


def _read_work(body: bytes) -> tuple[Work, int]:
    """Parse work; rounds in a form that this version does not know at all are left out and counted."""
    try:
        return read_work(body)
    except ValueError:
        raise ProblemError("malformed", "expected the leader's work, got something else") from None


def _parse(kind: type[_AnyMessage], response: httpx.Response) -> _AnyMessage:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError:
        raise ProblemError("malformed", f"expected {kind.__name__}, got something else") from None


def _problem(response: httpx.Response) -> ProblemError:
    try:
        body = Problem.model_validate_json(response.content)
    except ValidationError:
        return ProblemError("internal", f"status {response.status_code} without a problem")
    return ProblemError(problem_code(body), body.detail)
