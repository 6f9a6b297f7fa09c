"""What every attack is given, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Advance = Callable[[int], None]
"""Called with how many exchanges have just been made, for a progress bar."""

SENSITIVITY = 2**20
"""Grid steps: large enough that every noise multiplier from .001 on is at least 1,000 of them."""


class PowerMissing(ValueError):
    """An attack that could not refute the claim if there were no noise at all: a check that cannot fail."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is audited.

    Attributes:
        seed: fixes coins, masks and noise: equal seeds give equal verdicts. (Released noise is never seeded.)
        noise_multiplier: z of each server, as claimed.
        noise_factor: how much of its declared noise the helper really adds; 1 is an honest helper.
        significance: the probability with which one attack's bound may exceed the true epsilon, in (0, 1/2).
    """

    seed: int
    noise_multiplier: float
    noise_factor: float
    significance: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One attack's lower bound beside the claim, both at one delta (device level, zero-out).

    Attributes:
        attack: its name.
        epsilon_claimed: by the tightest accountant (PLD), for exactly what was released.
        lower_bound: on the epsilon of what was run; wrong with probability at most ``significance``.
        delta: of claim and bound.
        significance: of this attack.
        details: counts that say what was tried; ``reach`` is the bound that guesses without an error would have given.
    """

    attack: str
    epsilon_claimed: float
    lower_bound: float
    delta: float
    significance: float
    details: dict[str, float] = field(default_factory=dict)

    @property
    def exceeded(self) -> bool:
        """Whether the claim is refuted."""
        return self.lower_bound > self.epsilon_claimed

    @property
    def margin(self) -> float:
        """Bound minus claim: above 0 refutes."""
        return self.lower_bound - self.epsilon_claimed


def check_reach(attack: str, reach: float, claimed: float, tried: str) -> None:
    """Insist that a perfect attack would refute the claim.

    Raises:
        PowerMissing: it would not.
    """
    if reach <= claimed:
        raise PowerMissing(
            f"expected a {attack} attack that could refute epsilon {claimed:.3f}, got {tried}, which show at most "
            f"{reach:.3f}: take more of them, a larger noise multiplier or another delta"
        )
