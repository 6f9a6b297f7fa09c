"""When a withdrawal that a leader refused is sent again: for ever, and ever more seldom.

A grant that is refused stays refused: nothing is lost for the person. A withdrawal has to arrive, whatever the leader
answers, for until then it holds a grant that is none. Due times are by the wall clock, so that they outlive a restart;
one that a clock which was put right has left far in the future is due now.
"""

from __future__ import annotations

from typing import Final

_FIRST_SECONDS: Final = 60
_GROWTH: Final = 4
_LONGEST_SECONDS: Final = 86_400
_GROWN: Final = 8
"""From so many refusals on, the wait is the longest."""


def due_after(refusals: int, now_seconds: int) -> int:
    """When to send it again, Unix seconds: a minute after the first refusal, four after the next, a day in the end.

    Args:
        refusals: how often it was refused before this time.
        now_seconds: Unix seconds.
    """
    return now_seconds + min(_LONGEST_SECONDS, _FIRST_SECONDS * int(_GROWTH ** min(refusals, _GROWN)))


def not_due(now_seconds: int) -> tuple[int, int]:
    """The due times that have yet to come, from and to, Unix seconds. What is beyond them no clock can have meant."""
    return now_seconds + 1, now_seconds + 2 * _LONGEST_SECONDS
