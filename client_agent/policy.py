"""Installed policy: what this version of the agent allows at most. A study, a leader or a setting can only lower it."""

from __future__ import annotations

from typing import Final

from privacy.accounting import Contract

INSTALLED_CONTRACT: Final = Contract(epsilon=4.0, delta=1e-6, order=7)
"""Device level, zero-out, any 30 days. Order 7 pays for the most releases at this epsilon (``suggest_order``)."""


def lowered(epsilon: float | None) -> Contract:
    """The installed contract, or one with a smaller epsilon that the edge operator asked for.

    Raises:
        ValueError: the figure is larger than the installed one, or nothing could be enforced.
    """
    if epsilon is None:
        return INSTALLED_CONTRACT
    if not epsilon <= INSTALLED_CONTRACT.epsilon:
        raise ValueError(f"expected an epsilon of at most {INSTALLED_CONTRACT.epsilon:g} (installed), got {epsilon:g}")
    return Contract(epsilon, INSTALLED_CONTRACT.delta, INSTALLED_CONTRACT.order)
