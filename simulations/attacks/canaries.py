"""The one-run attack: one exchange of many canary devices, each in or out by its own coin (Steinke et al. 2023).

Every canary device has a coordinate of its own and sends there the largest value that a report may hold, or null. After
one release the adversary ranks the coordinates and guesses. One run is enough to refute a claim whose noise is missing
or far too small; it cannot tell half of the noise from all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from privacy.accounting import SumEvent, epsilon
from privacy.audit import one_run_audit
from privacy.secure_sum import SumParameters
from simulations.attacks.exchanges import leaders_view, seeded_stream
from simulations.attacks.verdicts import SENSITIVITY, Advance, Setting, Verdict, check_reach

DELTA = 1e-6
"""The contract's. The theorem pays for delta with the number of canaries, so this attack needs a small one."""


def audit_one_run(setting: Setting, devices: int, advance: Advance = lambda _: None, delta: float = DELTA) -> Verdict:
    """One exchange of ``devices`` canaries; the best bound over a plan of guesses that was fixed before.

    Args:
        setting: what is audited.
        devices: how many canaries, at least 8.
        advance: told when the exchange is over.
        delta: in (0, 1).

    Raises:
        PowerMissing: not even certain guesses about so many canaries could refute the claim.
    """
    params = SumParameters(devices, 1.0, SENSITIVITY, setting.noise_multiplier, devices, minimum_cohort=2)
    members = (seeded_stream(setting.seed, "one run", "members").uint64(devices) & np.uint64(1)).astype(np.bool_)
    claimed = epsilon([SumEvent(setting.noise_multiplier, 1.0)], delta, "pld")
    reach = one_run_audit(
        members.astype(np.float64), members, delta=delta, significance=setting.significance
    ).lower_bound
    check_reach("one-run", reach, claimed, f"{devices} canaries")
    seen = leaders_view(
        _Canaries(members), params, seed=setting.seed, label="one run", noise_factor=setting.noise_factor
    )
    advance(1)
    audit = one_run_audit(seen, members, delta=delta, significance=setting.significance)
    details: dict[str, float] = {
        "reach": reach,
        "canaries": devices,
        "guessed_in": audit.guessed_in,
        "guessed_out": audit.guessed_out,
        "correct": audit.correct,
    }
    return Verdict("one-run", claimed, audit.lower_bound, delta, setting.significance, details)


class _Canaries(Sequence[NDArray[np.float64] | None]):
    """The canaries' vectors, made when they are asked for: all of them at once would not fit."""

    def __init__(self, members: NDArray[np.bool_]) -> None:
        self._members = members

    def __len__(self) -> int:
        return self._members.size

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float64] | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[np.float64] | None]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.float64] | Sequence[NDArray[np.float64] | None] | None:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not self._members[index]:
            return None
        vector = np.zeros(len(self))
        vector[index] = 1.0
        return vector

    def __iter__(self) -> Iterator[NDArray[np.float64] | None]:
        return (self[index] for index in range(len(self)))
