"""A synthetic population of a demo shop with planted personas, intents, drift and choices, so that truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from models.events import Event, Session, sessionise
from simulations.populations.behaviour import DAYS, draw_interests, draw_pages, draw_personas, draw_visits
from simulations.populations.choices import PURPOSES, STUDY_ROUNDS, Choice, draw_choices
from simulations.populations.intents import draw_intents
from simulations.populations.raw_events import Records, visit_events
from simulations.populations.shop import PERSONAS, Persona

PERIOD_START_MS: Final = 1_780_272_000_000  # 2026-06-01 00:00 UTC, a Monday

RELUCTANCE_VISITS: Final = 6.0
"""With so many visits more, a visitor is e times less likely to refuse, where a consent bias is planted."""

Canary = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class ShopDevice:
    """One visitor's device: its planted truth, and its raw events on demand.

    Attributes:
        index: place in the population, from 0.
        persona: the planted persona.
        choice: consent, withdrawal, spent budget.
        purchase_probability: float64[visits], the planted probability of each visit, by time.
    """

    index: int
    persona: Persona
    choice: Choice
    purchase_probability: NDArray[np.float64]
    _records: Records
    _canary: str | None

    def events(self) -> list[Event]:
        """Materialise the raw events of 30 days, in order of time; the same list each time."""
        first, last = self._records.visit_offsets[self.index : self.index + 2]
        return [
            event
            for visit in range(int(first), int(last))
            for event in visit_events(self._records, self.index, visit, self._canary)
        ]

    def sessions(self) -> list[Session]:
        """Return the same events cut into sessions by ``models.events.sessionise``."""
        return sessionise(self.events())


class ShopPopulation(Sequence[ShopDevice]):
    """``devices`` visitors of the demo shop over 30 days, fixed by ``seed``. See docs/populations.md for the truth.

    Args:
        devices: how many, at least 1.
        seed: an integer, or a numpy Generator to draw from.
        canary: gives a string to plant in the title and path of every page that a device visits, or None. It must be
            printable and short, without white space, as for any path.
        start_ms: when the 30 days begin, ms since 1970.
        purposes: what visitors are asked for.
        study_rounds: studies and their numbers of rounds; withdrawals are planted in them.
        light_users_refuse: plant a consent bias: the fewer visits, the likelier a refusal. Everything but the choices
            stays as it is without.
    """

    def __init__(
        self,
        devices: int = 2_000,
        seed: int | np.random.Generator = 7,
        *,
        canary: Canary | None = None,
        start_ms: int = PERIOD_START_MS,
        purposes: Sequence[str] = PURPOSES,
        study_rounds: Mapping[str, int] = STUDY_ROUNDS,
        light_users_refuse: bool = False,
    ) -> None:
        if devices < 1:
            raise ValueError(f"expected at least 1 device, got {devices}")
        generator = np.random.default_rng(seed)
        self.start_ms = start_ms
        self.end_ms = start_ms + DAYS * 86_400_000
        self.persona_index = draw_personas(devices, generator)
        self.records = _draw_records(self.persona_index, start_ms, generator)
        visits = np.diff(self.records.visit_offsets).astype(np.float64)
        reluctance = np.exp(-visits / RELUCTANCE_VISITS) if light_users_refuse else None
        self.choices = draw_choices(devices, generator, purposes, study_rounds, reluctance)
        self._devices = tuple(self._device(i, canary(i) if canary else None) for i in range(devices))

    def _device(self, index: int, canary: str | None) -> ShopDevice:
        first, last = self.records.visit_offsets[index : index + 2]
        return ShopDevice(
            index,
            PERSONAS[self.persona_index[index]],
            self.choices[index],
            self.records.intents.probability[first:last],
            self.records,
            canary,
        )

    def __len__(self) -> int:
        return len(self._devices)

    @overload
    def __getitem__(self, index: int) -> ShopDevice: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ShopDevice, ...]: ...
    def __getitem__(self, index: int | slice) -> ShopDevice | tuple[ShopDevice, ...]:
        return self._devices[index]


def _draw_records(persona: NDArray[np.int64], start_ms: int, generator: np.random.Generator) -> Records:
    interests = draw_interests(persona, generator)
    visits = draw_visits(persona, start_ms, generator)
    pages = draw_pages(persona, interests, visits, start_ms, generator)
    intents = draw_intents(persona.size, visits, pages, start_ms, generator)
    visit_counts = np.bincount(visits.device, minlength=persona.size)
    return Records(visits, pages, intents, _offsets(visit_counts), _offsets(visits.pages))


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
