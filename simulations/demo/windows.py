"""How long the demo's report windows are: the drafts' own length, or longer where this machine would not keep up.

Thousands of devices share a few cores here, as no real fleet does. A device whose answer is not ready by its slot sends
its null, so a window that is too short for the machine would cost quality. Windows are study constants: each is fixed,
from figures measured before, when its study is proposed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.wire.studies import TrainQuery
from simulations.demo.plans import Draft
from simulations.fleet.fleet import Pace

_SAFETY = 2.3
"""A window is at least so many times what the slower worker needs for a round; the services want time too."""


@dataclass
class Windows:
    """The figures of the workers' warm-up, and how much slower the last study's rounds went.

    Args:
        nulls_seconds: a report from each of a worker's devices.
        training_seconds: a training step for each of them.
        load_seconds: loading what training and accounting need.
    """

    nulls_seconds: float
    training_seconds: float
    load_seconds: float
    _slowdown: float = field(default=1.0, init=False)
    _first: bool = field(default=True, init=False)

    def expected_seconds(self, draft: Draft) -> float:
        """What a worker needs for a round: a null from everybody, answers from those whose coin says so.

        While the first round is open, two real agents load what rounds need, as the workers did before.
        """
        training = self.training_seconds if isinstance(draft.query, TrainQuery) else 0.0
        loading = self.load_seconds if self._first else 0.0
        return loading + self.nulls_seconds + draft.sampling_rate * (self.nulls_seconds + training)

    def window_seconds(self, draft: Draft) -> float:
        """The window to propose the draft with."""
        return round(max(draft.window_seconds, _SAFETY * self._slowdown * self.expected_seconds(draft)), 1)

    def observe(self, draft: Draft, paces: list[Pace]) -> None:
        """Take in how a study's rounds went, for the studies after it."""
        self._slowdown = max(1.0, max(pace.round_seconds for pace in paces) / self.expected_seconds(draft))
        self._first = False
