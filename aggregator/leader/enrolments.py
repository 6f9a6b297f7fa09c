"""Enrolment: a device key proves possession, a token says that it may. The same key again gets the same id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aggregator.leader.desk import Desk
from aggregator.leader.rates import SenderRates
from aggregator.limits import SlowDown
from aggregator.storage.database import Change
from aggregator.storage.devices import KnownKey
from aggregator.storage.leader_tables import METADATA
from aggregator.storage.tokens import Holder, TokenStore, token_id
from models.wire.enrolment import Enrolment, EnrolmentRequest, EnrolmentResponse, EnrolmentResult, device_id
from models.wire.message import from_base64
from models.wire.problems import ProblemError
from privacy.crypto import KeyInvalid, SignatureInvalid, VerifyKey


@dataclass
class Asked:
    """An enrolment on its way.

    Attributes:
        item: as it came.
        key: its key if the signature holds.
    """

    item: Enrolment
    key: VerifyKey | ProblemError
    _counted: bool = False
    _slow: SlowDown | None = None

    def count(self, rates: SenderRates) -> SlowDown | None:
        """Count it against its token's rate, once: also where its lot failed and it is admitted again."""
        if not self._counted:
            self._counted, self._slow = True, rates.enrolment(token_id(self.item.token))
        return self._slow


Refused = Callable[[str], SlowDown | None]
"""Counts that a token was refused, by the problem's code; says what to answer instead after too many."""


async def enrol(desk: Desk, request: EnrolmentRequest, refused: Refused) -> EnrolmentResponse:
    """Enrol 1 to 256 keys. Each has its own outcome; what is refused for its token costs no change of the store."""
    leader_key, now_ms = desk.key.verify_key, desk.clock.now_ms()
    window_ms = int(desk.settings.enrolment_window_seconds * 1_000)
    checked = await asyncio.to_thread(_check_all, request.enrolments, leader_key, now_ms, window_ms)

    asked = [Asked(item, key) for item, key in zip(request.enrolments, checked, strict=True)]
    await _check_tokens(desk, asked, refused)
    waiting = [one for one in asked if not isinstance(one.key, ProblemError)]
    admitted = iter(await desk.admitted.do(waiting, lambda together: _admit(desk, together)) if waiting else ())
    results = [_problem(one.key) if isinstance(one.key, ProblemError) else next(admitted) for one in asked]
    return EnrolmentResponse(results=tuple(results))


async def _check_tokens(desk: Desk, asked: Sequence[Asked], refused: Refused) -> None:
    """Give those a problem in place of their key whose token opens nothing, by one look-up for all of them.

    A key that is enrolled needs no token to be told its id again.
    """
    open_still = [one for one in asked if not isinstance(one.key, ProblemError)]
    tokens = list(dict.fromkeys(one.item.token for one in open_still))
    if not tokens:
        return
    async with desk.database.reading() as connection:
        found = await TokenStore(METADATA).require_all(connection, tokens, ("enrol",), desk.clock.now_ms())
        wrong = {token: problem for token, problem in found.items() if isinstance(problem, ProblemError)}
        names = [bytes.fromhex(one.item.device_key) for one in open_still if one.item.token in wrong]
        known = await desk.store.known_keys(connection, names) if names else {}
    answers: dict[str, ProblemError] = {}
    for one in open_still:
        token = one.item.token
        if token in wrong and bytes.fromhex(one.item.device_key) not in known:
            answers[token] = answers.get(token) or refused(wrong[token].code) or wrong[token]
            one.key = answers[token]


async def _admit(desk: Desk, asked: Sequence[Asked]) -> list[EnrolmentResult]:
    """In one change, for however many requests."""
    now_ms, window_ms = desk.clock.now_ms(), int(desk.settings.enrolment_window_seconds * 1_000)

    async def act(change: Change) -> list[EnrolmentResult]:
        admission = _Admission(desk, change, now_ms)
        await admission.load([one.item for one in asked])
        results = [
            _problem(one.key) if isinstance(one.key, ProblemError) else admission.admit(one, one.key) for one in asked
        ]
        await admission.store(now_ms - 2 * window_ms)
        return results

    return await desk.database.join(act)


class _Admission:
    """The admissions of requests that came together: collected first, stored in one go."""

    def __init__(self, desk: Desk, change: Change, now_ms: int) -> None:
        self._desk = desk
        self._change = change
        self._now_ms = now_ms
        self._tokens = TokenStore(METADATA)
        self._used: set[bytes] = set()
        self._known: dict[bytes, KnownKey] = {}
        self._fresh: dict[bytes, VerifyKey] = {}
        self._nonces: list[bytes] = []
        self._spent: dict[str, int] = {}
        self._left: dict[str, int | ProblemError | None] = {}

    async def load(self, items: Sequence[Enrolment]) -> None:
        nonces = [bytes.fromhex(item.nonce) for item in items]
        self._used = await self._desk.store.used_nonces(self._change.connection, nonces)
        names = [bytes.fromhex(item.device_key) for item in items]
        self._known = await self._desk.store.known_keys(self._change.connection, names)
        tokens = {item.token for item in items}
        found = await self._tokens.require_all(self._change.connection, tokens, ("enrol",), self._now_ms)
        self._left = {token: item.uses_left if isinstance(item, Holder) else item for token, item in found.items()}

    def admit(self, asked: Asked, key: VerifyKey) -> EnrolmentResult:
        item = asked.item
        name = device_id(self._desk.key.verify_key, key)
        known = self._known.get(key.raw)
        if known is not None:
            return _known_result(known)
        if name in self._fresh:
            return EnrolmentResult(device_id=name.hex())
        try:
            self._take_token(asked)
        except ProblemError as error:
            return _problem(error)
        nonce = bytes.fromhex(item.nonce)
        if nonce in self._used:
            return _problem(ProblemError("replayed", "this enrolment was used before; sign a new one"))
        self._used.add(nonce)
        self._nonces.append(nonce)
        self._fresh[name] = key
        self._spent[item.token] = self._spent.get(item.token, 0) + 1
        return EnrolmentResult(device_id=name.hex())

    async def store(self, forget_before_ms: int) -> None:
        connection, store = self._change.connection, self._desk.store
        rows = [
            {
                "device_id": name,
                "device_key": key.raw,
                "enrolled_at_ms": self._now_ms,
                "ended_at": self._now_ms // 1_000,
            }
            for name, key in self._fresh.items()
        ]
        await store.add_devices(connection, rows)
        await store.add_nonces(connection, self._nonces, self._now_ms, forget_before_ms)
        for token, uses in self._spent.items():
            await self._tokens.spend(connection, token, uses)
            await self._tokens.note_use(connection, token_id(token), self._now_ms)

        self._change.then(lambda: self._desk.metrics.devices.inc(len(rows)))

    def _take_token(self, asked: Asked) -> None:
        token = asked.item.token
        left = self._left[token]
        if isinstance(left, ProblemError):
            raise left
        slow = asked.count(self._desk.rates)
        if slow is not None:
            raise slow
        if left is not None and left <= self._spent.get(token, 0):
            raise ProblemError("forbidden", "the enrolment token is used up")


def _known_result(known: KnownKey) -> EnrolmentResult:
    if known.revoked:
        return _problem(ProblemError("device-revoked", "make a new key to enrol again"))
    if not known.current:
        return _problem(ProblemError("key-replaced", "expected the device's key of now, got an earlier one"))
    return EnrolmentResult(device_id=known.device_id.hex())


def _check_all(
    items: Sequence[Enrolment], leader_key: VerifyKey, now_ms: int, window_ms: int
) -> list[VerifyKey | ProblemError]:
    return [_check(item, leader_key, now_ms, window_ms) for item in items]


def _check(item: Enrolment, leader_key: VerifyKey, now_ms: int, window_ms: int) -> VerifyKey | ProblemError:
    if abs(now_ms - item.at_ms) > window_ms:
        return ProblemError("stale", f"expected a time within {window_ms // 1_000} s of the leader's clock")
    try:
        key = VerifyKey(bytes.fromhex(item.device_key))
        key.verify(from_base64(item.signature), item.signed_digest(leader_key))
    except (SignatureInvalid, KeyInvalid, ValueError):
        return ProblemError("bad-signature", "the enrolment is not signed by its key, for this leader")
    return key


def _problem(error: ProblemError) -> EnrolmentResult:
    return EnrolmentResult(problem=error.body())
