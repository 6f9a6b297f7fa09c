"""Consent receipts. A withdrawal takes the device out of open rounds in the transaction that records it.

Its report goes if it has come; if it is still on its way it is not let in, also not under a later grant.
"""

from __future__ import annotations

import asyncio

from aggregator.leader.desk import Desk
from aggregator.leader.open_rounds import OpenRound
from aggregator.leader.register import Device
from aggregator.storage.database import Change
from consent.acceptance import Accepted, Refused, accept
from consent.errors import ReceiptInvalid
from consent.policy import decide
from consent.receipts import receipt_digest, verify_receipt
from consent.signals.facts import NO_SIGNALS
from consent.state import ConsentState
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

_UNKNOWN = ProblemError("unknown-device", "enrol first")


async def take_receipts(desk: Desk, request: ReceiptRequest) -> ReceiptResponse:
    """Verify, record and countersign 1 to 256 receipts in one transaction. Each has its own outcome."""
    persons = await asyncio.to_thread(lambda: [_person(desk, item) for item in request.receipts])

    async def act(change: Change) -> list[ReceiptResult]:
        recording = _Recording(desk, change)
        results = [
            await recording.take(item, person) if isinstance(person, str) else ReceiptResult(problem=person.body())
            for item, person in zip(request.receipts, persons, strict=True)
        ]
        await desk.store.add_consent_rows(change.connection, recording.rows)
        return results

    return ReceiptResponse(results=tuple(await desk.database.change(act)))


def _person(desk: Desk, item: SubmittedReceipt) -> str | ProblemError:
    """Whom the receipt is about, once its signature holds (done before the change: signatures are the slow part)."""
    device = desk.register.device(bytes.fromhex(item.device_id))
    if device is None:
        return _UNKNOWN
    try:
        return verify_receipt(item.receipt, device.key).person
    except ReceiptInvalid as error:
        code = "bad-signature" if error.code == "signature_invalid" else "receipt-refused"
        return ProblemError(code, f"{error.code}: {error.reason}")


class _Recording:
    """One request's receipts, in order; a device may appear twice."""

    def __init__(self, desk: Desk, change: Change) -> None:
        self._desk = desk
        self._change = change
        self._states: dict[bytes, ConsentState] = {}
        self.rows: list[dict[str, object]] = []

    async def take(self, item: SubmittedReceipt, person: str) -> ReceiptResult:
        desk, now = self._desk, self._desk.clock.now_seconds()
        device = desk.register.device(bytes.fromhex(item.device_id))
        if device is None:  # forgotten since the first look: its consent had ended years ago
            return ReceiptResult(problem=_UNKNOWN.body())
        state = self._state_of(device, person)
        outcome = accept(state, item.receipt, desk.key, now)
        if isinstance(outcome, Refused):
            problem = ProblemError("receipt-refused", f"{outcome.code}: {outcome.reason}").body()
            return ReceiptResult(problem=problem, last_epoch=outcome.last_epoch)
        dropped = 0 if outcome.row is None else await self._record(device, outcome, now)
        removal = await self._removal(device, item.receipt)
        return ReceiptResult(countersignature=outcome.countersignature, dropped_reports=dropped, removal=removal)

    async def _record(self, device: Device, accepted: Accepted, now: int) -> int:
        before, state, row = self._state_of(device, accepted.receipt.person), accepted.state, accepted.row
        assert row is not None, "only new receipts are recorded"
        self._states[device.device_id] = state
        self.rows.append(
            {
                "device_id": device.device_id,
                "row_index": row.index,
                "person": accepted.receipt.person,
                "body": row.body(),
            }
        )
        self._change.then(lambda: self._desk.register.set_consent(device, state, now))
        dropped, store = 0, self._desk.store
        for item in self._desk.open_rounds:
            was, now_is = (decide("accept", item.study.purpose, s, NO_SIGNALS, now).allowed for s in (before, state))
            if not now_is and await store.take_back(
                self._change.connection, item.round_id, device.device_id, expected=was
            ):
                self._forget(item)
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

    def _state_of(self, device: Device, person: str) -> ConsentState:
        return self._states.get(device.device_id) or self._desk.register.consent_of(device, person)

    def _forget(self, item: OpenRound) -> None:
        def forget() -> None:
            item.reported -= 1

        self._change.then(forget)
