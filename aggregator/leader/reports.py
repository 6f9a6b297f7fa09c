"""Reports: signature, consent, once per round; a handful of queries a request, whatever the number of reports.

Whether a round is open, how many reports it has and what a device consents to is read from the store in the change that
takes the report in: which worker took an earlier report or a withdrawal makes no difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from aggregator.leader.desk import Desk
from aggregator.leader.open_rounds import OpenRound
from aggregator.leader.register import Device
from aggregator.storage.database import Change
from models.wire.frames import ReportFrame, decode_batch
from models.wire.problems import ProblemError
from privacy.crypto import SignatureInvalid, VerifyKey
from privacy.secure_sum import Report, ReportInvalid, verify_report

ACCEPTED = "accepted"
_AT_ONCE_BYTES: Final = 8_192
"""A request of so few bytes is verified where it is: handing it to a thread would take as long."""
Candidate = tuple[ReportFrame, OpenRound, Device]


async def take_reports(desk: Desk, body: bytes) -> tuple[str, ...]:
    """Take a batch of 1 to 256 reports; returns ``accepted`` or a problem code for each, in order.

    A report is accepted once per (study, round, device): identical bytes again are accepted again, others are a
    ``report-conflict``. What is accepted is durable before this returns.

    Raises:
        ProblemError: ``malformed``: the frame as a whole cannot be read.
    """
    frames = decode_batch(body)
    candidates = await desk.looked_up.do(frames, lambda together: _find_all(desk, together))
    verdicts = (
        _verify_all(candidates) if len(body) <= _AT_ONCE_BYTES else await asyncio.to_thread(_verify_all, candidates)
    )
    verdicts = [_counted(desk, verdict) for verdict in verdicts]
    if all(isinstance(verdict, str) for verdict in verdicts):
        codes = tuple(str(verdict) for verdict in verdicts)
    else:
        codes = tuple(await desk.taken_in.do(verdicts, lambda together: _take_in(desk, together)))
    for code in codes:
        desk.metrics.reports.labels(code).inc()
    return codes


async def _take_in(desk: Desk, verdicts: Sequence[Candidate | str]) -> tuple[str, ...]:
    return await desk.database.join(lambda change: _store(desk, change, verdicts))


async def _find_all(desk: Desk, frames: Sequence[ReportFrame]) -> list[Candidate | str]:
    """Which rounds and devices frames are of. Consent is looked at once the signature holds: it is nobody else's."""
    if any(not desk.open_rounds.knows(frame.report.context) for frame in frames):
        await desk.follower.look()  # another worker may have opened it in this very moment
    async with desk.database.reading() as connection:
        devices = await desk.register.find(connection, [frame.device_id for frame in frames])
    return [_find(desk, frame, devices.get(frame.device_id)) for frame in frames]


def _find(desk: Desk, frame: ReportFrame, device: Device | None) -> Candidate | str:
    try:
        item = desk.open_rounds.require(frame.report.context, desk.clock.now_ms())
    except ProblemError as error:
        return error.code
    if device is None:
        return "unknown-device"
    if device.revoked_at is not None:
        return "device-revoked"
    return frame, item, device


def _counted(desk: Desk, verdict: Candidate | str) -> Candidate | str:
    """A report that its device signed, unless the device has sent too many."""
    if isinstance(verdict, str):
        return verdict
    slow = desk.rates.item(verdict[2].device_id)
    return verdict if slow is None else slow.code


def _verify_all(candidates: Sequence[Candidate | str]) -> list[Candidate | str]:
    return [item if isinstance(item, str) else _verify(item) for item in candidates]


def _verify(candidate: Candidate) -> Candidate | str:
    frame, item, device = candidate
    try:
        verify_report(frame.report, item.params, item.context, device.key)
    except ReportInvalid as error:
        if not isinstance(error.__cause__, SignatureInvalid):
            return "report-invalid"
        former = any(_holds(frame.report, item, key) for key in device.former_keys)
        return "key-replaced" if former else "bad-signature"
    return candidate


class _Known:
    """A round's reports that a request could clash with: those stored, and those accepted before in it.

    Args:
        reported: how many reports the round has; None if it takes none any more.
    """

    def __init__(self, reported: int | None) -> None:
        self.reported = reported
        self.signatures: dict[bytes, bytes] = {}
        self.report_ids: set[bytes] = set()
        self.taken_back: set[bytes] = set()
        """Devices and report ids that a withdrawal took out of the round."""
        self.fresh = 0

    def add(self, device_id: bytes, report_id: bytes, signature: bytes) -> None:
        self.signatures[device_id] = signature
        self.report_ids.add(report_id)


async def _store(desk: Desk, change: Change, verdicts: Sequence[Candidate | str]) -> tuple[str, ...]:
    """Under the store's lock: a round may have closed, consent may have gone, since the first look."""
    candidates = [verdict for verdict in verdicts if not isinstance(verdict, str)]
    known = await _known(desk, change, candidates)
    # With rows: a standing that somebody with the database put back after a withdrawal is not the last row's.
    devices = await desk.register.find_with_rows(change.connection, [device.device_id for _, _, device in candidates])
    rows: list[dict[str, Any]] = []
    codes = []
    for verdict in verdicts:
        code = verdict if isinstance(verdict, str) else _admit(desk, verdict, devices, known[verdict[1].round_id])
        if not isinstance(verdict, str) and code == "":
            row = _row(*verdict)
            rows.append(row)
            known[verdict[1].round_id].add(row["device_id"], row["report_id"], row["signature"])
            known[verdict[1].round_id].fresh += 1
        codes.append(code or ACCEPTED)
    await desk.store.add_reports(change, rows)
    for round_id, found in known.items():
        if found.fresh:
            await desk.store.count_in(change.connection, round_id, found.fresh)
    change.then(lambda: _remember(candidates, known))
    return tuple(codes)


async def _known(desk: Desk, change: Change, candidates: Sequence[Candidate]) -> dict[int, _Known]:
    """Two look-ups a round, whatever the number of reports."""
    found: dict[int, _Known] = {}
    reported = await desk.store.reported(change.connection)
    for round_id in {item.round_id for _, item, _ in candidates}:
        here = [(frame, device) for frame, item, device in candidates if item.round_id == round_id]
        found[round_id] = _Known(reported.get(round_id))
        device_ids = [device.device_id for _, device in here]
        report_ids = [frame.report.report_id for frame, _ in here]
        for row in await desk.store.known_reports(change.connection, round_id, device_ids, report_ids):
            found[round_id].add(row.device_id, row.report_id, row.signature)
        for row in await desk.store.taken_back(change.connection, round_id, device_ids, report_ids):
            found[round_id].taken_back |= {row.device_id, row.report_id}
    return found


def _admit(desk: Desk, candidate: Candidate, devices: Mapping[bytes, Device], known: _Known) -> str:
    """``""`` for a report to store, else what to answer."""
    frame, item, device = candidate
    if known.reported is None:
        return "round-closed"
    refused = _not_let_in(desk, frame, item, devices.get(device.device_id), device)
    if refused:
        return refused
    if not known.taken_back.isdisjoint((device.device_id, frame.report.report_id)):
        # The epoch in a frame is not signed: a new grant would let the bytes that were taken back in again.
        return "round-closed"
    stored = known.signatures.get(device.device_id)
    if stored is not None:
        return ACCEPTED if _same(candidate, stored) else "report-conflict"
    if frame.report.report_id in known.report_ids:
        return "report-conflict"  # another device's seal: the helper would refuse the whole batch for it
    return "round-closed" if known.reported + known.fresh >= item.params.maximum_cohort else ""


def _same(candidate: Candidate, stored: bytes) -> bool:
    """Whether a stored signature is of the very same report.

    It covers context, masked vector and seal: equal verified signatures are equal reports. A report that came under a
    key that the device had before, and whose answer was lost, comes again under the new one: the stored signature then
    holds for it under the old.
    """
    frame, item, device = candidate
    if stored == frame.report.signature:
        return True
    earlier = replace(frame.report, signature=stored)
    return any(_holds(earlier, item, key) for key in device.former_keys)


def _holds(report: Report, item: OpenRound, key: VerifyKey) -> bool:
    try:
        verify_report(report, item.params, item.context, key)
    except ReportInvalid:
        return False
    return True


def _not_let_in(desk: Desk, frame: ReportFrame, item: OpenRound, device: Device | None, verified: Device) -> str:
    """Why a device may not report, by what the store says of it in this change; ``""`` if it may."""
    if device is None or device.key != verified.key:
        # Since its signature was looked at, it was forgotten, or its key was replaced: then it signs this anew.
        return "key-replaced" if device is not None and verified.key in device.former_keys else "unknown-device"
    if device.revoked_at is not None:
        return "device-revoked"
    allowed = device.allowed(item.study.purpose, frame.consent_epoch, desk.clock.now_seconds())
    return "" if allowed else "no-consent"


def _row(frame: ReportFrame, item: OpenRound, device: Device) -> dict[str, Any]:
    report = frame.report
    return {
        "round_id": item.round_id,
        "device_id": device.device_id,
        "report_id": report.report_id,
        "signature": report.signature,
        "seal": report.seal,
        "masked": report.masked,
    }


def _remember(candidates: Sequence[Candidate], known: dict[int, _Known]) -> None:
    for item in {item.round_id: item for _, item, _ in candidates}.values():
        found = known[item.round_id]
        if found.fresh and found.reported is not None:
            item.reported = found.reported + found.fresh
            item.changed.set()
