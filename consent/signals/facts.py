"""What the adapters found, as plain facts for the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Signals:
    """Facts that accompany one decision.

    Every field can only take consent away. An adapter for another framework adds a field here and a rule to the
    policy; a signal that says "yes" is shown to the visitor as a proposal and changes nothing by itself.

    Attributes:
        gpc: the browser sends Global Privacy Control.
    """

    gpc: bool = False


NO_SIGNALS: Final = Signals()
"""No signal present: at the leader, and on a device while no page is open."""
