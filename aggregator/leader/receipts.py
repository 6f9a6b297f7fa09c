"""Consent receipts. A withdrawal takes the device out of open rounds in the transaction that records it.

Its report goes if it has come; if it is still on its way it is not let in, also not under a later grant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aggregator.leader.desk import Desk
from aggregator.leader.rates import SenderRates
from aggregator.leader.register import Device
from aggregator.limits import SlowDown
from aggregator.storage.database import Change
from consent.acceptance import Accepted, Refused, accept
from consent.errors import ReceiptInvalid
from consent.policy import decide
from consent.receipts import Receipt, receipt_digest
from consent.rotations import verify_receipt_of
from consent.signals.facts import NO_SIGNALS
from models.wire.enrolment import (
    REMOVAL_TYPE,
    ReceiptRequest,
    ReceiptResponse,
    ReceiptResult,
    Removal,
    RemovedReport,
    SubmittedReceipt,
)
from models.wire.problems import ProblemError
from privacy.crypto import sign_document


@dataclass
class Checked:
    """A receipt on its way.

    Attributes:
        item: as it came.
        receipt: what it says if its signature holds.
    """

    item: SubmittedReceipt
    receipt: Receipt | ProblemError
    _counted: bool = False
    _slow: SlowDown | None = None

    def count(self, rates: SenderRates, device_id: bytes) -> SlowDown | None:
        """Count it against its device's rate, once: also where its lot failed and it is recorded again."""
        if not self._counted:
            self._counted, self._slow = True, rates.item(device_id)
        return self._slow


_UNKNOWN = ProblemError("unknown-device", "enrol first")
_REVOKED = ProblemError("device-revoked", "a withdrawal is still taken; for anything else make a new key and enrol it")


async def take_receipts(desk: Desk, request: ReceiptRequest) -> ReceiptResponse:
    """Verify, record and countersign 1 to 256 receipts. Each has its own outcome."""
    names = [bytes.fromhex(item.device_id) for item in request.receipts]
    async with desk.database.reading() as connection:
        devices = await desk.register.find(connection, names)
    receipts = await asyncio.to_thread(
        lambda: [_verified(devices.get(name), item) for name, item in zip(names, request.receipts, strict=True)]
    )
    checked = [Checked(item, receipt) for item, receipt in zip(request.receipts, receipts, strict=True)]
    return ReceiptResponse(results=tuple(await desk.recorded.do(checked, lambda together: _record(desk, together))))


async def _record(desk: Desk, checked: Sequence[Checked]) -> list[ReceiptResult]:
    """In one change, for however many requests."""
    names = [bytes.fromhex(one.item.device_id) for one in checked]

    async def act(change: Change) -> list[ReceiptResult]:
        recording = _Recording(desk, change, await desk.register.find_with_rows(change.connection, names))
        results = [
            ReceiptResult(problem=one.receipt.body())
            if isinstance(one.receipt, ProblemError)
            else await recording.take(one, one.receipt.person)
            for one in checked
        ]
        await recording.store()
        return results

    return await desk.database.join(act)


def _verified(device: Device | None, item: SubmittedReceipt) -> Receipt | ProblemError:
    """The receipt, once its signature holds (done before the change: signatures are the slow part).

    A key that the device had before opens nothing any more but the way out: ``consent.rotations``.
    """
    if device is None:
        return _UNKNOWN
    try:
        return verify_receipt_of(item.receipt, (device.key, *device.former_keys))
    except ReceiptInvalid as error:
        code = "bad-signature" if error.code == "signature_invalid" else "receipt-refused"
        return ProblemError(code, f"{error.code}: {error.reason}")


def _is_over(device: Device, accepted: Accepted) -> bool:
    """Whether the device was revoked, and this is no withdrawal, which is never refused."""
    return device.revoked_at is not None and accepted.receipt.kind != "withdrawal"


class _Recording:
    """Receipts, in order, against what the store says in this change; a device may appear twice.

    Args:
        desk: the leader's.
        change: that records them.
        devices: those that are enrolled, as the store has them in this change.
    """

    def __init__(self, desk: Desk, change: Change, devices: dict[bytes, Device]) -> None:
        self._desk = desk
        self._change = change
        self._devices = devices
        self._before = dict(devices)
        self._rows: list[dict[str, object]] = []

    async def store(self) -> None:
        """Store the rows, and what stands after them."""
        register, connection = self._desk.register, self._change.connection
        changed = [device for name, device in self._devices.items() if device is not self._before[name]]
        await self._desk.store.add_consent_rows(connection, self._rows)
        fresh = [device.device_id for device in changed if self._before[device.device_id].consent is None]
        await register.remember(connection, changed, fresh)

    async def take(self, checked: Checked, person: str) -> ReceiptResult:
        desk, now, item = self._desk, self._desk.clock.now_seconds(), checked.item
        device = self._devices.get(bytes.fromhex(item.device_id))
        if device is None:  # forgotten since the first look: its consent had ended years ago
            return ReceiptResult(problem=_UNKNOWN.body())
        state = desk.register.consent_of(device, person)
        outcome = accept(state, item.receipt, desk.key, now)
        if isinstance(outcome, Accepted) and outcome.row is not None and _is_over(device, outcome):
            return ReceiptResult(problem=_REVOKED.body(), last_epoch=state.epoch)
        if isinstance(outcome, Refused):
            code = "key-replaced" if outcome.code == "key_replaced" else "receipt-refused"
            problem = ProblemError(code, f"{outcome.code}: {outcome.reason}").body()
            return ReceiptResult(problem=problem, last_epoch=outcome.last_epoch)
        slow = self._over_rate(checked, device, outcome)
        if slow is not None:
            return ReceiptResult(problem=slow.body())
        dropped = 0 if outcome.row is None else await self._record(device, outcome, now)
        removal = await self._removal(device, item.receipt)
        return ReceiptResult(countersignature=outcome.countersignature, dropped_reports=dropped, removal=removal)

    def _over_rate(self, checked: Checked, device: Device, accepted: Accepted) -> SlowDown | None:
        """Only what would be recorded counts: nobody uses a device's rate up with what it signed before.

        Taking consent back waits for no rate.
        """
        if accepted.row is None or accepted.receipt.kind == "withdrawal":
            return None
        return checked.count(self._desk.rates, device.device_id)

    async def _record(self, device: Device, accepted: Accepted, now: int) -> int:
        before, state, row = (
            self._desk.register.consent_of(device, accepted.receipt.person),
            accepted.state,
            accepted.row,
        )
        assert row is not None, "only new receipts are recorded"
        self._devices[device.device_id] = replace(device, consent=state)
        self._rows.append(
            {
                "device_id": device.device_id,
                "row_index": row.index,
                "person": accepted.receipt.person,
                "body": row.body(),
            }
        )
        if before.granted and not {yes.purpose for yes in before.granted} <= {yes.purpose for yes in state.granted}:
            self._desk.register.endings.withdrawn(self._change, device.device_id, state.epoch)
        dropped, store = 0, self._desk.store
        for item in self._desk.open_rounds:
            was, now_is = (decide("accept", item.study.purpose, s, NO_SIGNALS, now).allowed for s in (before, state))
            if not now_is and await store.take_back(self._change, item.round_id, device.device_id, expected=was):
                dropped += 1
            self._change.then(item.changed.set)
        return dropped

    async def _removal(self, device: Device, receipt: str) -> str | None:
        """The signed word on the open rounds that this device was taken out of; the same receipt again gets it too."""
        desk, gone = self._desk, []
        for item in desk.open_rounds:
            for row in await desk.store.taken_back(self._change.connection, item.round_id, [device.device_id], []):
                name = None if row.report_id is None else row.report_id.hex()
                study_hash = item.context.study_hash.hex()
                gone.append(RemovedReport(study_hash=study_hash, round=item.number, report_id=name))
        if not gone:
            return None
        removal = Removal(
            device_id=device.device_id.hex(),
            receipt=receipt_digest(receipt).hex(),
            reports=tuple(gone),
            at_ms=desk.clock.now_ms(),
        )
        return sign_document(desk.key, REMOVAL_TYPE, removal.document())
