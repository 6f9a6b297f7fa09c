"""Quotas: how much of one filter a purpose may take, so that one question cannot starve the others.

A quota is policy, not privacy. The filter spans all purposes and stays the only thing that bounds epsilon: separate
budgets that may each be spent in full would be unsound under adaptive questions. So quotas are no part of a ledger's
genesis, may change from day to day, and a replay needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from privacy.accounting.errors import QuotaInvalid

ANY_OTHER = "*"
"""In a mapping of quotas: every purpose that is not named."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Shares of a filter's cap, by purpose.

    Attributes:
        shares: by purpose, the share in (0, 1] of the cap that its counting charges may take; ``"*"`` is for purposes
            that are not named, which have no quota without it. Carried spend is never refused; under its purpose's name
            (a changed contract keeps purposes) it takes of the quota all the same.

    Raises:
        QuotaInvalid: a share outside its range.
    """

    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for purpose, share in self.shares.items():
            if not 0 < share <= 1:  # false for NaN too
                raise QuotaInvalid(f"expected a quota in (0, 1] for purpose {purpose!r}, got {share!r}")
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))

    def share(self, purpose: str) -> float:
        """The share of one purpose."""
        return self.shares.get(purpose, self.shares.get(ANY_OTHER, 1.0))

    def lowered(self, asked: Mapping[str, float]) -> Quotas:
        """These quotas, with the smaller ones of ``asked`` in their place: a setting can only lower.

        Args:
            asked: by purpose, or ``"*"``; a larger share than that in force changes nothing.
        """
        other = Quotas(asked)
        names = sorted({*self.shares, *asked})
        return Quotas({name: min(self.share(name), other.share(name)) for name in names})


NO_QUOTAS = Quotas()
"""Every purpose may take the whole cap."""
