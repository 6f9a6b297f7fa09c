"""Installed policy: what this version of the agent allows at most. A study, a leader or a setting can only lower it."""

from __future__ import annotations

import math
from typing import Final

from client_agent.federation.trust import CLOCK_SKEW_MS, LONGEST_WINDOW_MS
from privacy.accounting import ANY_OTHER, Contract, Quotas

_DAY_SECONDS: Final = 86_400
PROMISED_DAYS: Final = 30
"""The contract bounds everything that is *released* in any so many days: this is what screens say."""
LONGEST_KEY_LIFE_SECONDS: Final = 43_200
"""The longest that a helper may keep a round's key after its window (its settings take no more): until then it can
answer, and what it answered is released."""
LONGEST_WAY_SECONDS: Final = (LONGEST_WINDOW_MS + CLOCK_SKEW_MS) // 1_000 + LONGEST_KEY_LIFE_SECONDS
"""From the time that a charge is stamped with to the release that it paid for. The stamp is the time at which the
opening was signed; the window begins at most the clocks' skew later and ends at most ``LONGEST_WINDOW_MS`` after that;
then the key lives on."""
WINDOW_SECONDS: Final = (PROMISED_DAYS + math.ceil(LONGEST_WAY_SECONDS / _DAY_SECONDS)) * _DAY_SECONDS
"""How long a charge counts. Were it 30 days, a charge made just before its window could be released after it, together
with a whole contract that was charged anew: two contracts within less than 30 days of releases. With the longest way
added, charges whose releases lie within 30 days of each other always count together."""

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
