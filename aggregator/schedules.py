"""When a round is due, no I/O: a function of the schedule, the study's digest, the number, and the round before it."""

from __future__ import annotations

from models.wire.states import Schedule
from models.wire.studies import Study
from privacy.crypto import digest

_SHARE_BITS = 64


def jitter_ms(schedule: Schedule, study_hash: bytes, number: int) -> int:
    """How long after its point of the grid a round opens: anybody can compute it, and nobody's data is in it.

    Args:
        schedule: of the study.
        study_hash: the study's digest (32 bytes).
        number: of the round, from 1.
    """
    drawn = int.from_bytes(digest("schedule-jitter", study_hash, number.to_bytes(8, "big"))[: _SHARE_BITS // 8], "big")
    return drawn * int(schedule.jitter_seconds * 1_000) >> _SHARE_BITS


def due_ms(schedule: Schedule, study_hash: bytes, number: int, previous_opened_ms: int | None) -> int:
    """Unix milliseconds from which a round may open.

    A round takes the first point of the grid after the one that the round before it took. One that is late, because
    the study was paused or the leader away, opens as soon as it can, and those after it are back on the grid: missed
    points are not made up for in a burst.

    Args:
        schedule: of the study.
        study_hash: the study's digest (32 bytes).
        number: of the round, from 1.
        previous_opened_ms: when the round before it opened; None where there is none.
    """
    interval_ms = int(schedule.interval_seconds * 1_000)
    point_ms = schedule.starts_at_ms
    if previous_opened_ms is not None and interval_ms:
        passed = max(0, previous_opened_ms - schedule.starts_at_ms) // interval_ms
        point_ms += (passed + 1) * interval_ms
    return point_ms + jitter_ms(schedule, study_hash, number)


def faults(schedule: Schedule, study: Study, now_ms: int) -> list[str]:
    """Why a study cannot be run by a schedule: what was expected and got, each; empty where it can."""
    found = []
    if schedule.starts_at_ms < now_ms:
        found.append("expected a start that is not past")
    if 0 < schedule.interval_seconds < study.window_seconds:
        found.append(
            f"expected an interval of at least the window of {study.window_seconds:g} s, "
            f"got {schedule.interval_seconds:g} s"
        )
    between = max(schedule.interval_seconds, study.window_seconds)
    last_ms = schedule.starts_at_ms + int(1_000 * ((study.rounds - 1) * between + schedule.jitter_seconds))
    if last_ms >= study.expires_at_ms:
        found.append("expected the last round to open before the study expires; start earlier or shorten the interval")
    return found
