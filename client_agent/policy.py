"""Installed policy: what this version of the agent allows at most. A study, a leader or a setting can only lower it."""

from __future__ import annotations

from typing import Final

from models.wire.limits import WINDOW_SECONDS
from privacy.accounting import ANY_OTHER, Contract, Quotas

INSTALLED_CONTRACT: Final = Contract(epsilon=4.0, delta=1e-6, order=7, window_seconds=WINDOW_SECONDS)
"""Device level, zero-out, for what is released in any 30 days. Order 7 pays for the most releases at this epsilon
(``suggest_order``)."""

INSTALLED_QUOTAS: Final = Quotas({ANY_OTHER: 0.75})
"""No purpose takes more than three quarters of the contract, so that one question cannot starve the others."""


def lowered_quotas(asked: list[str]) -> Quotas:
    """The installed quotas, lowered for the purposes that the edge operator named.

    Args:
        asked: such as ``"intent=0.5"``; the share is in (0, 1], and above the installed one it changes nothing.

    Raises:
        ValueError: not of this form, or a share outside its range.
    """
    shares = {}
    for text in asked:
        purpose, equals, share = text.partition("=")
        if not purpose or not equals:
            raise ValueError(f"expected PURPOSE=SHARE such as intent=0.5, got {text!r}")
        try:
            shares[purpose] = float(share)
        except ValueError:
            raise ValueError(f"expected a share in (0, 1] after {purpose}=, got {share!r}") from None
    return INSTALLED_QUOTAS.lowered(shares)


def lowered(epsilon: float | None) -> Contract:
    """The installed contract, or one with a smaller epsilon that the edge operator asked for.

    Raises:
        ValueError: the figure is larger than the installed one, or nothing could be enforced.
    """
    if epsilon is None:
        return INSTALLED_CONTRACT
    if not epsilon <= INSTALLED_CONTRACT.epsilon:
        raise ValueError(f"expected an epsilon of at most {INSTALLED_CONTRACT.epsilon:g} (installed), got {epsilon:g}")
    return Contract(epsilon, INSTALLED_CONTRACT.delta, INSTALLED_CONTRACT.order, INSTALLED_CONTRACT.window_seconds)
