"""Sending final reports in the order of their slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from client_agent.connection import LeaderConnection
from client_agent.store import AgentStore
from models.wire.enrolment import BATCH_MAXIMUM
from models.wire.problems import PROBLEM_TYPES, ProblemError

ACCEPTED = "accepted"


@dataclass(slots=True)
class Delivery:
    """What became of the reports of one call.

    Attributes:
        accepted: how many the leader took in.
        sent_bytes: their bytes.
        refused: by problem code, how many it will never take in; they are deleted.
        unreachable: the problem that ended the call early; the rest waits.
    """

    accepted: int = 0
    sent_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unreachable: ProblemError | None = None


def send(store: AgentStore, leader: LeaderConnection, now_ms: int) -> Delivery:
    """Send what is due. Each batch is read just before it is sent, so a withdrawal in between is heeded."""
    delivery = Delivery()
    while due := store.reports.due(now_ms, BATCH_MAXIMUM):
        try:
            results = leader.post_reports([frame for _, _, _, frame in due])
        except ProblemError as problem:
            delivery.unreachable = problem
            return delivery
        waiting = _settle(store, delivery, due, results)
        if waiting:
            delivery.unreachable = ProblemError("leader-unavailable", f"{waiting} reports wait for another attempt")
            return delivery
    return delivery


def _settle(
    store: AgentStore, delivery: Delivery, due: list[tuple[int, str, bytes, bytes]], results: Iterable[str]
) -> int:
    accepted: list[int] = []
    refused: list[int] = []
    tallies: Counter[tuple[str, str]] = Counter()
    for (row, purpose, _, frame), result in zip(due, results, strict=True):
        if result == ACCEPTED:
            accepted.append(row)
            delivery.sent_bytes += len(frame)
            tallies[purpose, "sent_reports"] += 1
            tallies[purpose, "sent_bytes"] += len(frame)
        elif result not in PROBLEM_TYPES or not PROBLEM_TYPES[result].retry:
            refused.append(row)
            delivery.refused[result] += 1
            tallies[purpose, "refused_reports"] += 1
    with store.transaction():
        store.reports.mark_sent(accepted)
        store.reports.drop(refused)
        store.tallies.add(tallies)
    delivery.accepted += len(accepted)
    return len(due) - len(accepted) - len(refused)
