"""The gate before a service's routes: who may call, how often, and what is put on record. Pure ASGI.

Theory of operation, for each request, before anything of its body is read:

1. The service's table (``access``) says who may call the address. What is not in it is answered as not found.
2. Rates: what everybody sends together, and what one address sends. Where a person's choice may travel, withdrawals
   above all, the buckets are others, so that no flood of anything else holds it up. Who is over is told how long to
   wait; nothing is lost, for everything that devices send is sent again.
3. A route of kind ``token`` needs one: it is looked up by its digest. Attempts that fail are counted and, from one
   address, slowed down; a right token is never kept out by somebody else's wrong ones.
4. An action that changes something is written down before it is begun, and again with what came of it. What cannot be
   written down is not begun. Where the store goes away in between, the row that says what came of it is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from aggregator.access import Access, Table, subject_of
from aggregator.clock import Clock
from aggregator.limits import Buckets, Rate, SlowDown
from aggregator.metrics import Metrics
from aggregator.storage.actions import ASKED, Action, ActionStore
from aggregator.storage.database import Change, Database
from aggregator.storage.tokens import Holder, TokenStore, is_whole
from models.wire.guards import App, Receive, Scope, Send, headers_of
from models.wire.problems import PROBLEM_MEDIA_TYPE, ProblemError

_BEARER: Final = "bearer "
_GATE: Final = "hearthside.gate"
_HELD: Final = "hearthside.held"
_SUBJECT: Final = "hearthside.subject"
_LONGEST_TOKEN: Final = 128
_OK: Final = 400
_STORE_ERRORS: Final = (SQLAlchemyError, OSError)
_ADDRESSES: Final = 10_000
"""Addresses whose buckets a process remembers: a few megabytes."""


class LimitSettings(Protocol):
    """The settings that the gate reads: ``ServiceSettings`` has them."""

    address_requests_per_second: float
    total_requests_per_second: float
    failed_credentials_per_minute: float


class Announce(Protocol):
    """Puts an action into the public log, within the change that records what came of it."""

    def __call__(self, change: Change, action: Action) -> Awaitable[None]:
        """Run for each action that was done."""


class Gate:
    """Everything that the gate of one process knows.

    Args:
        table: the service's.
        database: its store.
        tokens: its tokens.
        actions: its record of actions.
        settings: the limits.
        clock: the time.
        metrics: where refusals are counted.

    Attributes:
        announce: puts what was done into the log; None where there is no log (the helper), or before it is open.
    """

    def __init__(
        self,
        table: Table,
        database: Database,
        tokens: TokenStore,
        actions: ActionStore,
        settings: LimitSettings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.table = table
        self.database = database
        self.tokens = tokens
        self.actions = actions
        self._clock = clock
        self._metrics = metrics
        self.announce: Announce | None = None
        self._limits = _Limits(settings)
        failures = settings.failed_credentials_per_minute
        self._failures = Buckets(Rate(failures / 60.0, max(1.0, failures)), _ADDRESSES)

    def admit(self, entry: Access, address: str) -> None:
        """Return if a request of this address may come now.

        Raises:
            SlowDown: not yet.
        """
        try:
            self._limits.admit(entry, address, self._clock.monotonic())
        except SlowDown:
            self._metrics.slowed.labels("choices" if entry.choice else "requests").inc()
            raise

    def store_failed(self, error: Exception) -> ProblemError:
        """Count that the store failed where no handler of the service looks; what to answer."""
        self._metrics.store_failures.labels(type(error).__name__).inc()
        return ProblemError("store-unavailable", "nothing was begun; send the same again")

    async def holder(self, entry: Access, authorization: str, address: str) -> Holder:
        """Who bears the token of a request.

        Raises:
            ProblemError: ``unauthenticated``, ``forbidden``, or ``slow-down`` after too many of these.
        """
        try:
            return await self._look_up(entry, authorization)
        except ProblemError as error:
            if error.code not in {"unauthenticated", "forbidden"}:
                raise
            slow = self.refused(error.code, address)
            if slow is not None:
                raise slow from None
            raise

    def refused(self, code: str, address: str) -> SlowDown | None:
        """Count that a credential of an address was refused; what to answer instead after too many of these."""
        self._metrics.refused_credentials.labels(code).inc()
        wait = self._failures.take(address, self._clock.monotonic())
        return SlowDown("one address whose credentials were refused", wait) if wait else None

    async def _look_up(self, entry: Access, authorization: str) -> Holder:
        scopes = " or ".join(map(repr, entry.scopes))
        token = authorization[len(_BEARER) :].strip()
        if authorization[: len(_BEARER)].lower() != _BEARER or len(token) > _LONGEST_TOKEN:
            raise ProblemError("unauthenticated", f"expected 'Authorization: Bearer' with a token of scope {scopes}")
        if not is_whole(token):
            raise ProblemError("unauthenticated", "the token is not whole: its checksum does not fit")
        now_ms = self._clock.now_ms()
        async with self.database.reading() as connection:
            holder = await self.tokens.require(connection, token, entry.scopes, now_ms)
            fresh = await self.tokens.unused_on(connection, holder.token_id, now_ms)
        if fresh:
            await self.database.join(lambda change: self.tokens.note_use(change.connection, holder.token_id, now_ms))
        return holder

    async def record(self, entry: Access, holder: Holder, subject: str, outcome: str) -> None:
        """Write an action down, durably."""
        role = ",".join(sorted(holder.scopes))
        at_ms = self._clock.now_ms()
        action = Action(holder.token_id, holder.label, role, entry.action, subject, outcome, at_ms)

        async def act(change: Change) -> None:
            await self.actions.append(change.connection, action)
            if outcome == DONE and self.announce is not None:
                await self.announce(change, action)

        await self.database.change(act)


DONE: Final = "done"


class _Limits:
    """The buckets of one process, two sets of them: of requests that may carry choices, and of all others."""

    def __init__(self, settings: LimitSettings) -> None:
        total, one = settings.total_requests_per_second, settings.address_requests_per_second
        # Two seconds' worth may come at once: a gateway's batches, or a thousand agents that woke together.
        self._total = Buckets(Rate(total, max(1.0, 2 * total)), 2)
        self._address = Buckets(Rate(one, max(1.0, 2 * one)), 2 * _ADDRESSES)

    def admit(self, entry: Access, address: str, now: float) -> None:
        """Raises ``SlowDown`` where a bucket is empty; the other then gets back what it gave."""
        wait = self._address.take((entry.choice, address), now)
        if wait:
            raise SlowDown("one address", wait)
        wait = self._total.take(entry.choice, now)
        if wait:
            self._address.give((entry.choice, address), now)
            raise SlowDown("everybody together", wait)


class GateKeeper:
    """The middleware.

    Args:
        app: what is behind the gate.
        gate: what it knows.
    """

    def __init__(self, app: App, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = self._gate.table.find(scope["method"], scope["path"])
        if entry is None:
            await _refuse(send, ProblemError("not-found", "no such address, or nobody may call it so"), None)
            return
        scope[_GATE] = self._gate
        scope["route"] = entry  # for the metrics, where the request goes no further
        address = _address(scope)
        try:
            self._gate.admit(entry, address)
            holder = None
            if entry.kind == "token":
                holder = await self._begin(entry, scope, address)
        except ProblemError as error:
            await _refuse(send, error, entry)
            return
        except _STORE_ERRORS as error:
            await _refuse(send, self._gate.store_failed(error), entry)
            return
        if holder is None:
            await self._app(scope, receive, send)
            return
        scope[_HELD] = holder
        await self._act(entry, holder, scope, receive, send)

    async def _begin(self, entry: Access, scope: Scope, address: str) -> Holder:
        """Who asks; an action is on record from here on."""
        holder = await self._gate.holder(entry, headers_of(scope).get("authorization", ""), address)
        if entry.action:
            await self._gate.record(entry, holder, subject_of(entry, scope["path"]), ASKED)
        return holder

    async def _act(self, entry: Access, holder: Holder, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; an action is on record already, and is again with its outcome."""
        if not entry.action:
            await self._app(scope, receive, send)
            return
        subject, status = subject_of(entry, scope["path"]), 500

        async def heard(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            outcome = DONE if status < _OK else f"refused ({status})"
            await asyncio.shield(self._close(entry, holder, scope.get(_SUBJECT, subject), outcome))

    async def _close(self, entry: Access, holder: Holder, subject: str, outcome: str) -> None:
        """Write down what came of an action. It was answered by now: a store that is away changes that no more."""
        try:
            await self._gate.record(entry, holder, subject, outcome)
        except _STORE_ERRORS as error:
            self._gate.store_failed(error)


def require_held(request: Request, scope: str) -> None:
    """Return if the gate found a token of this scope with the request.

    Raises:
        ProblemError: ``unauthenticated`` or ``forbidden``.
    """
    holder = request.scope.get(_HELD)
    if holder is None:
        raise ProblemError("unauthenticated", f"expected 'Authorization: Bearer' with a token of scope {scope!r}")
    if scope not in holder.scopes:
        raise ProblemError("forbidden", f"this needs a token of scope {scope!r}")


def name_subject(request: Request, subject: str) -> None:
    """Say what an action is about, where its address does not: it stands in the record with the outcome."""
    request.scope[_SUBJECT] = subject


def count_refusal(request: Request, code: str) -> SlowDown | None:
    """Count that a credential in a request's body was refused, as ``Gate.refused`` does for one in a header."""
    gate: Gate = request.scope[_GATE]
    return gate.refused(code, _address(request.scope))


def _address(scope: Any) -> str:
    return scope["client"][0] if scope.get("client") else ""


async def _refuse(send: Send, error: ProblemError, entry: Access | None) -> None:
    body = error.body().model_dump_json().encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in refusal_headers(error, entry).items()]
    await send({"type": "http.response.start", "status": int(error.problem_type.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


def refusal_headers(error: ProblemError, entry: Access | None = None) -> dict[str, str]:
    """What a problem says in headers: how long to wait (RFC 9110, 10.2.3), or which token is missing (RFC 6750, 3)."""
    if isinstance(error, SlowDown):
        return {"retry-after": str(max(1, int(error.retry_after_seconds + 0.999)))}
    if error.problem_type.retry:
        return {"retry-after": "1"}
    scope = f', scope="{" ".join(entry.scopes)}"' if entry is not None and entry.scopes else ""
    if error.code == "unauthenticated":
        return {"www-authenticate": f'Bearer realm="hearthside"{scope}'}
    if error.code == "forbidden" and scope:
        return {"www-authenticate": f'Bearer realm="hearthside", error="insufficient_scope"{scope}'}
    return {}
