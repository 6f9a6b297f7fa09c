"""The leader's line to the helper: signed requests, verified answers, and a helper that may be down."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar

import httpx
from pydantic import ValidationError

from aggregator.clock import Clock
from aggregator.leader.releases import Outgoing
from aggregator.metrics import Metrics
from models.wire.frames import SEALS_MEDIA_TYPE
from models.wire.log import KnownLog
from models.wire.message import CompactJws, Message
from models.wire.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemError, problem_code
from models.wire.rounds import OpeningRequest
from models.wire.studies import Study
from privacy.crypto import SigningKey, VerifyKey
from privacy.crypto.requests import sign_head, sign_request

T = TypeVar("T", bound=Message)
_JSON = "application/json"
_NOT_FOUND = 404
_CONNECT_SECONDS = 5.0


class _SignedOpening(Message):
    opening: CompactJws


class _SignedDecision(Message):
    jws: CompactJws


class HelperLink:
    """Calls to the helper. Each is safe to repeat: the helper is idempotent in all of them.

    Raises:
        ProblemError: ``helper-unavailable`` when it cannot be reached, else the problem that it answered with.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        key: SigningKey,
        helper_key: VerifyKey,
        clock: Clock,
        metrics: Metrics,
        *,
        share_timeout_seconds: float,
    ) -> None:
        self._client = client
        self._key = key
        self._audience = helper_key.fingerprint
        self._clock = clock
        self._metrics = metrics
        self._share_patience = httpx.Timeout(share_timeout_seconds, connect=_CONNECT_SECONDS)

    async def propose(self, study: Study) -> None:
        """Forward a study."""
        await self._post("/v1/proposals", study.canonical(), _JSON)

    async def withdraw(self, study_hash: bytes) -> None:
        """Take a proposal back, unless it was decided."""
        await self._post(f"/v1/proposals/{study_hash.hex()}/withdrawal", b"{}", _JSON)

    async def decision(self, study_hash: bytes) -> str | None:
        """The newest decision on a study, as signed; None before the first."""
        response = await self._send("GET", f"/v1/decisions/{study_hash.hex()}", b"", {})
        if response.status_code == _NOT_FOUND and _problem(response).code == "not-found":
            return None
        _raise_problem(response)
        return _parse(_SignedDecision, response).jws

    async def open_round(self, request: OpeningRequest) -> str:
        """Ask for an opening, as signed."""
        return _parse(_SignedOpening, await self._post("/v1/rounds", request.canonical(), _JSON)).opening

    async def known_log(self) -> KnownLog:
        """What the helper has seen of this leader's log."""
        response = await self._send("GET", "/v1/log/checkpoint", b"", {})
        _raise_problem(response)
        return _parse(KnownLog, response)

    async def share(self, study_hash: bytes, number: int, outgoing: Outgoing, pieces: AsyncGenerator[bytes]) -> bytes:
        """Hand in a round's batch as a stream, which is closed; returns the bytes of a ``ShareAnswer``."""
        path = f"/v1/rounds/{study_hash.hex()}/{number}/share"
        now, nonce = self._clock.now_seconds(), os.urandom(16)
        signed = sign_head(self._key, "POST", path, outgoing.body_sha256, now, nonce, audience=self._audience)
        headers = {**signed, "content-type": SEALS_MEDIA_TYPE, "content-length": str(outgoing.body_bytes)}
        async with aclosing(pieces):  # it reads from the store, also when the line breaks half-way
            response = await self._send("POST", path, pieces, headers, patience=self._share_patience)
        _raise_problem(response)
        return response.content

    async def close(self) -> None:
        """Close the line."""
        await self._client.aclose()

    async def _post(self, path: str, body: bytes, media_type: str) -> httpx.Response:
        headers = sign_request(
            self._key, "POST", path, body, self._clock.now_seconds(), os.urandom(16), audience=self._audience
        )
        response = await self._send("POST", path, body, {**headers, "content-type": media_type})
        _raise_problem(response)
        return response

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes],
        headers: dict[str, str],
        patience: httpx.Timeout | None = None,
    ) -> httpx.Response:
        call, began, outcome = _call(path), time.perf_counter(), "unanswered"
        try:
            response = await self._client.request(
                method, path, content=body or None, headers=headers, timeout=patience or self._client.timeout
            )
            outcome = str(response.status_code)
            return response
        except (httpx.TransportError, OSError) as error:
            self._metrics.helper_failures.inc()
            raise ProblemError("helper-unavailable", f"{type(error).__name__}; nothing is lost, try again") from error
        finally:
            self._metrics.helper_calls.labels(call, outcome).inc()
            self._metrics.helper_call_seconds.labels(call).observe(time.perf_counter() - began)


def _raise_problem(response: httpx.Response) -> None:
    if not response.is_success:
        raise _problem(response)


def _problem(response: httpx.Response) -> ProblemError:
    if response.headers.get("content-type", "").startswith(PROBLEM_MEDIA_TYPE):
        try:
            body = Problem.model_validate_json(response.content)
        except ValidationError:
            return ProblemError("helper-unavailable", f"the helper answered {response.status_code}")
        return ProblemError(problem_code(body), f"helper: {body.detail}")
    return ProblemError("helper-unavailable", f"the helper answered {response.status_code} without a problem body")


def _parse(model: type[T], response: httpx.Response) -> T:
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise ProblemError("helper-unavailable", f"the helper's answer is no {model.__name__.strip('_')}") from None


def _call(path: str) -> str:
    """What the metrics call it: no study's name is in it."""
    return "share" if path.endswith("/share") else path.split("/")[2]
