"""Sending final reports in the order of their slots, and stopping in the middle of it when one is taken back.

What is about to leave is read, asked about at the consent gate and noted as sent in one transaction. From then on,
until the leader has answered, ``Standing`` says whether all of the batch are still there: it is asked before each slice
of the body and, while a slice or the answer is waited for, every twentieth of a second. With the first that was taken
back the connection is cut and what the kernel still holds is thrown away. The others are sent again, the same bytes.

So after a withdrawal no byte of the report is handed to the kernel any more, and at most a twentieth of a second later
the kernel holds none. It keeps none either of a connection that ended before: not by a time-out, nor with the worker's
process. What is on the wire by then, or in the leader's own buffers, is covered by the leader's deletion
and, for a leader that does not delete, by the token that the helper is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from client_agent.connection import LeaderConnection
from client_agent.federation.roster import Roster
from client_agent.store import AgentStore
from client_agent.store.reports import DueReport
from models.wire.enrolment import BATCH_MAXIMUM
from models.wire.frames import decode_batch, encode_report, join_reports
from models.wire.problems import PROBLEM_TYPES, ProblemError
from privacy.crypto import SigningKey
from privacy.secure_sum import resign_report

ACCEPTED = "accepted"
KEY_REPLACED = "key-replaced"
MayLeave = Callable[[str, str], bool]
"""Whether the consent gate lets a report of (participant id, purpose) leave now."""


@dataclass(slots=True)
class Delivery:
    """What became of the reports of one call.

    Attributes:
        accepted: how many the leader took in.
        sent_bytes: their bytes.
        refused: by problem code, how many it will never take in; they are deleted.
        interrupted: how often a batch was cut because one of its reports was taken back.
        unreachable: the problem that ended the call early; the rest waits.
    """

    accepted: int = 0
    sent_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    interrupted: int = 0
    unreachable: ProblemError | None = None


class Standing:
    """Whether every report of a batch still stands. Cheap: the table is read when anybody's consent has changed.

    Args:
        store: the agent's store.
        report_ids: the batch.
    """

    def __init__(self, store: AgentStore, report_ids: Iterable[bytes]) -> None:
        self._store = store
        self._report_ids = tuple(report_ids)
        self._change = -1

    def __call__(self) -> bool:
        """Ask; safe from any thread."""
        change = self._store.consents.last_change()
        if change != self._change:
            if not self._store.reports.all_there(self._report_ids):
                return False
            self._change = change
        return True


def resign_due(store: AgentStore, now_ms: int, roster: Roster) -> int:
    """Sign reports anew whose device has another key by now; returns how many. Part of every sending.

    A report that was made under the old key is the same report under the new one: the masked vector, the seal, and with
    it the id and the token, stay as they are, and nothing is drawn again. Whichever key it reached the leader under
    first, it is counted once.
    """
    fresh = []
    for item in store.reports.due(now_ms, BATCH_MAXIMUM):
        member = roster.get(item.participant_id)
        if member is None or not store.participants.get(item.participant_id).rotations:
            continue
        found = decode_batch(join_reports([item.frame]))[0]
        report = resign_report(found.report, member.key)
        if report != found.report:
            fresh.append((item.report_id, encode_report(replace(found, report=report))))
    if fresh:
        with store.transaction():
            for report_id, frame in fresh:
                store.reports.resign(report_id, frame)
    return len(fresh)


def send(store: AgentStore, leader: LeaderConnection, now_ms: int, may_leave: MayLeave) -> Delivery:
    """Send what is due and may leave. A report that is taken back meanwhile does not leave, or no further."""
    delivery = Delivery()
    while store.reports.due(now_ms, 1):
        batch = store.reports.leaving(now_ms, BATCH_MAXIMUM, may_leave)
        if not batch:
            continue
        standing = Standing(store, (item.report_id for item in batch))
        try:
            results = leader.post_reports([item.frame for item in batch], standing)
        except ProblemError as problem:
            if not standing():
                delivery.interrupted += 1
                continue
            delivery.unreachable = problem
            return delivery
        waiting = _settle(store, delivery, batch, results)
        if waiting:
            delivery.unreachable = ProblemError("leader-unavailable", f"{waiting} reports wait for another attempt")
            return delivery
    return delivery


def _signs_anew(store: AgentStore, item: DueReport) -> bool:
    """Whether the key is being replaced, or was while the report was on its way: it is signed anew and sent again."""
    if not store.participants.has(item.participant_id):
        return False
    record = store.participants.get(item.participant_id)
    if record.next_seed is not None:
        return True
    found = decode_batch(join_reports([item.frame]))[0].report
    return resign_report(found, SigningKey(record.seed)) != found


def _settle(store: AgentStore, delivery: Delivery, batch: Sequence[DueReport], results: Iterable[str]) -> int:
    accepted: list[bytes] = []
    refused: list[bytes] = []
    tallies: Counter[tuple[str, str]] = Counter()
    for item, result in zip(batch, results, strict=True):
        if result == ACCEPTED:
            accepted.append(item.report_id)
            delivery.sent_bytes += len(item.frame)
            tallies[item.purpose, "sent_reports"] += 1
            tallies[item.purpose, "sent_bytes"] += len(item.frame)
        elif result == KEY_REPLACED and _signs_anew(store, item):
            continue
        elif result not in PROBLEM_TYPES or not PROBLEM_TYPES[result].retry:
            refused.append(item.report_id)
            delivery.refused[result] += 1
            tallies[item.purpose, "refused_reports"] += 1
    with store.transaction():
        store.reports.mark_sent(accepted)
        store.reports.drop(refused)
        store.tallies.add(tallies)
    delivery.accepted += len(accepted)
    return len(batch) - len(accepted) - len(refused)
