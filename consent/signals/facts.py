"""What the adapters found, as plain facts for the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Subject = Literal["known", "child", "unknown"]
"""Who is at the browser: a person with a profile of their own, a child, or somebody whom the agent does not know."""
SUBJECTS: Final[tuple[Subject, ...]] = get_args(Subject)


@dataclass(frozen=True, slots=True)
class Signals:
    """Facts that accompany one decision.

    Every field can only take consent away. An adapter for another framework adds a field here and a rule to the
    policy; a signal that says "yes" is shown to the visitor as a proposal and changes nothing by itself.

    Attributes:
        gpc: the browser sends Global Privacy Control.
        subject: who is there; a child or somebody unknown gets no profile, whatever was granted.
    """

    gpc: bool = False
    subject: Subject = "known"


NO_SIGNALS: Final = Signals()
"""No signal present: at the leader, and on a device while no page is open."""
