"""Reports: signature, consent, once per round; a handful of queries a request, whatever the number of reports.

Whether a round is open, how many reports it has and what a device consents to is read from the store in the change that
takes the report in: which worker took an earlier report or a withdrawal makes no difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aggregator.leader.desk import Desk
from aggregator.leader.open_rounds import OpenRound
from aggregator.leader.register import Device
from aggregator.storage.database import Change
from models.wire.frames import ReportFrame, decode_batch
from models.wire.problems import ProblemError
from privacy.crypto import SignatureInvalid
from privacy.secure_sum import ReportInvalid, verify_report

ACCEPTED = "accepted"
Candidate = tuple[ReportFrame, OpenRound, Device]


async def take_reports(desk: Desk, body: bytes) -> tuple[str, ...]:
    """Take a batch of 1 to 256 reports; returns ``accepted`` or a problem code for each, in order.

    A report is accepted once per (study, round, device): identical bytes again are accepted again, others are a
    ``report-conflict``. What is accepted is durable before this returns.

    Raises:
        ProblemError: ``malformed``: the frame as a whole cannot be read.
    """
    frames = decode_batch(body)
    candidates = await _find_all(desk, frames)
    verdicts = await asyncio.to_thread(_verify_all, candidates)
    if all(isinstance(verdict, str) for verdict in verdicts):
        codes = tuple(str(verdict) for verdict in verdicts)
    else:
        codes = await desk.database.join(lambda change: _store(desk, change, verdicts))
    for code in codes:
        desk.metrics.reports.labels(code).inc()
    return codes


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
    return frame, item, device


def _verify_all(candidates: Sequence[Candidate | str]) -> list[Candidate | str]:
    return [item if isinstance(item, str) else _verify(item) for item in candidates]


def _verify(candidate: Candidate) -> Candidate | str:
    frame, item, device = candidate
    try:
        verify_report(frame.report, item.params, item.context, device.key)
    except ReportInvalid as error:
        return "bad-signature" if isinstance(error.__cause__, SignatureInvalid) else "report-invalid"
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
    devices = await desk.register.find(change.connection, [device.device_id for _, _, device in candidates])
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
        # The signature covers context, masked vector and seal: equal verified signatures are equal reports.
        return ACCEPTED if stored == frame.report.signature else "report-conflict"
    if frame.report.report_id in known.report_ids:
        return "report-conflict"  # another device's seal: the helper would refuse the whole batch for it
    return "round-closed" if known.reported + known.fresh >= item.params.maximum_cohort else ""


def _not_let_in(desk: Desk, frame: ReportFrame, item: OpenRound, device: Device | None, verified: Device) -> str:
    """Why a device may not report, by what the store says of it in this change; ``""`` if it may."""
    if device is None or device.key != verified.key:
        return "unknown-device"  # forgotten, or under another key, since its signature was looked at
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
