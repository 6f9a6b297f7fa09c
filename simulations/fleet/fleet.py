"""Simulated devices that share one agent process: real keys, one encrypted store, real ledgers, the real Flower app.

It is an agent with many people behind it, as a gateway has; what a device does is the agent's own code. Three things
are simulated: the people's events, their choices, and that everybody is reachable at once. And one is not as on a
device: the agent's worker computes for heads and tails alike, in a child process, and flips the coin at the slot; here
coins are flipped first and only heads are computed, in this process, or one machine would have to do the computing of
thousands. So what this machine does, and when, tells coins. What is sent, and its size, is the same.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client_agent.clocks import Clock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import Pins, enrol
from client_agent.federation.app import build_client_app, participant_context, round_message
from client_agent.federation.contribution import Reservation, Slots
from client_agent.federation.federation import Federation
from client_agent.federation.trust import VerifiedRound
from client_agent.keys import FileKeyring
from client_agent.store import open_store
from consent import PURPOSES
from models.queries.answers import DeviceData, coverage_question
from models.wire.studies import CoverageQuery, Study
from privacy.accounting import NO_QUOTAS, Contract, Costs, Quotas, Times, lifetime_epsilon, spent, spent_epsilon
from simulations.fleet.acceptance import WatchedLeader
from simulations.populations import Choice

_CHUNK = 24
"""Heads answered under one commit, between two looks at what is due."""


@dataclass(frozen=True)
class Device:
    """One simulated person on one device: a local name, data, and what they choose."""

    name: str
    data: DeviceData
    choice: Choice


@dataclass
class Pace:
    """How the fleet keeps up with its rounds: figures of the simulation's machine, not of the protocol.

    Attributes:
        heads: coins that said yes.
        late: of them, answers that were not ready by their slot, so that a null went out.
        round_seconds: median time from a round's first null to its last answer; 0 without a round.
    """

    heads: int = 0
    late: int = 0
    round_seconds: float = 0.0


@dataclass
class FleetReport:
    """What the devices know at the end; no service can know the null counts."""

    devices: int
    consented: int
    refused: int
    withdrawn: int
    spent_at_start: int
    tallies: dict[str, dict[str, int]]
    """By purpose; ``null_reports`` counts the nulls among ``sent_reports``, those that the leader accepted."""
    spent_epsilon: float
    """The filter's figure of the device that spent most in this run (device level, zero-out)."""
    charged: dict[str, Costs]
    """By purpose: what the device charged most was charged, in the currency of the contract's filter, nats."""
    local_epsilon: dict[str, float]
    """By study digest: the local filter's figure of the device that trained most (per row, zero-out)."""
    heads: int = 0
    late: int = 0
    """See ``Pace``."""
    counted: dict[str, list[list[int]]] = field(default_factory=dict)
    """By digest of a coverage study: for each band, how many counted themselves, and how many granted each purpose."""


BatchAnswer = Callable[[VerifiedRound, Sequence[Reservation], "Fleet"], None]
"""Answers all heads of a round at once, in the place of one ClientApp call each."""


class Fleet:
    """Many devices behind one agent.

    Args:
        folder: for the store and its key.
        devices: who they are.
        leader: connection to the leader.
        helper: connection to the helper.
        pins: the keys given out of band.
        contract: the installed budget (device level, zero-out).
        clock: the machine's clocks.
        slots: where in a window reports are sent.
        quotas: what each purpose may take of the contract; none unless given.
    """

    def __init__(
        self,
        folder: Path,
        devices: Sequence[Device],
        leader: LeaderConnection,
        helper: HelperConnection | None,
        pins: Pins,
        contract: Contract,
        clock: Clock,
        slots: Slots | None = None,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self.devices = {device.name: device for device in devices}
        self.store = open_store(folder, FileKeyring(folder))
        self.keeper = ConsentKeeper(self.store, pins, clock)
        self._courier = Courier(self.store, pins, clock)
        self._leader, self._helper, self._pins, self._clock = WatchedLeader(leader), helper, pins, clock
        self.federation = Federation(
            self.store, self._leader, helper, pins, clock, os.urandom, contract, slots=slots, quotas=quotas
        )
        self.app = build_client_app(self.federation, self.data_of)
        self._owner: dict[str, str] = {}
        self._context = {}  # type: ignore[var-annotated]  # Flower's Context, by participant
        self._heads = self._late = 0
        self._round_seconds: list[float] = []
        self._counted: dict[str, NDArray[np.int64]] = {}
        self.withdrawn: set[str] = set()
        self.spent = {device.name for device in devices if device.choice.budget_spent}

    def enrol(self, token: str) -> None:
        """Enrol everybody, then let everybody choose; grants are countersigned, refusals stay at home."""
        people = list(self.devices)
        records = enrol(
            self.store, self._leader, self._pins, people, token=token, clock=self._clock, entropy=os.urandom
        )
        self._owner = {record.participant_id: record.person for record in records}
        ids = {person: participant for participant, person in self._owner.items()}
        everything = {purpose.id for purpose in PURPOSES}
        grants = {ids[p]: d.choice.granted for p, d in self.devices.items() if d.choice.granted}
        refusals = {
            ids[p]: tuple(everything - set(d.choice.granted)) for p, d in self.devices.items() if not d.choice.granted
        }
        self.keeper.grant_many(grants)
        self.keeper.decline_many(refusals)
        self._courier.deliver(self._leader)
        self.federation.budgets.exhaust(self.spent, "simulated history: a spent budget")
        self.federation.roster.refresh()

    def data_of(self, participant_id: str) -> DeviceData:
        """A participant's own data."""
        return self.devices[self._owner[participant_id]].data

    def step(self, batch: BatchAnswer | None = None, *, wait: bool = True) -> bool:
        """Poll once and take part in whatever is new; returns whether anything was done.

        Args:
            batch: answers all heads of a round at once.
            wait: False sends at once what its slot would hold back: simulated time.
        """
        done = False
        for found in self.federation.open_rounds():
            started = self._clock.monotonic_seconds()
            reservations = self.federation.reserve_all(found)
            if reservations:
                self._take_part(found, reservations, batch)
                self._round_seconds.append(self._clock.monotonic_seconds() - started)
                done = True
                if not wait:
                    self.federation.send_due(found.opening.closes_at_ms)
        return bool(self.federation.send_due().accepted) or done

    def _take_part(self, found: VerifiedRound, reservations: Sequence[Reservation], batch: BatchAnswer | None) -> None:
        if isinstance(found.study.query, CoverageQuery):
            self._count(found.study, found.study.query, reservations)
        heads = sorted(self.federation.flip_all(reservations), key=lambda item: item.slot_ms)
        self.federation.finalise(found, [item for item in reservations if not item.heads])
        self._leave(found)
        self._heads += len(heads)
        if batch is not None:
            batch(found, heads, self)
            self.federation.finalise(found, heads)
            self._leader.note_real(heads)
            return
        for start in range(0, len(heads), _CHUNK):
            chunk = heads[start : start + _CHUNK]
            with self.store.transaction():
                for reservation in chunk:
                    self._call_app(found, reservation)
            self._leader.note_real(chunk)
            self.federation.send_due()

    def _count(self, study: Study, query: CoverageQuery, reservations: Sequence[Reservation]) -> None:
        """What a coverage study estimates, as only a simulation knows it: heads and tails, without nulls."""
        question = coverage_question(query)
        table = np.zeros((question.bands, 1 + question.purposes), dtype=np.int64)
        for reservation in reservations:
            if reservation.payment == "paid":
                band = question.band_of(self.data_of(reservation.participant.participant_id).visits())
                table[band] += [1, *(purpose in reservation.granted for purpose in query.purposes)]
        name = study.study_hash().hex()
        self._counted[name] = table + self._counted.get(name, 0)

    def _call_app(self, found: VerifiedRound, reservation: Reservation) -> None:
        """One device computes its answer; where its slot has come, the null stands, as in the agent's worker."""
        participant_id = reservation.participant.participant_id
        if self._clock.now_ms() >= reservation.slot_ms:
            self.federation.finalise(found, [reservation])
            self._late += 1
            return
        if participant_id not in self._context:
            self._context[participant_id] = participant_context(participant_id)
        self.app(round_message(found, 1), self._context[participant_id])
        self._late += not reservation.real and self._clock.now_ms() >= reservation.slot_ms

    def _leave(self, found: VerifiedRound) -> None:
        """Those who change their mind in this round withdraw, with their report queued."""
        study, number = found.study.study_id, found.round - 1
        leaving = [
            participant
            for participant, person in self._owner.items()
            if person not in self.withdrawn and _leaves(self.devices[person].choice, study, number)
        ]
        if not leaving:
            return
        everything = tuple(purpose.id for purpose in PURPOSES)
        taken = self.keeper.decline_many(dict.fromkeys(leaving, everything))
        self._courier.deliver(self._leader)
        if self._helper is not None:
            self._courier.tell_helper(self._helper, taken)
        self.withdrawn |= {self._owner[participant] for participant in leaving}

    def pace(self) -> Pace:
        """How the rounds went since the fleet began; the median is over the rounds since the last call."""
        rounds, self._round_seconds = self._round_seconds, []
        return Pace(self._heads, self._late, statistics.median(rounds) if rounds else 0.0)

    def report(self) -> FleetReport:
        """What the devices know."""
        choices = [device.choice for device in self.devices.values()]
        budgets = self.federation.budgets
        with self.store.transaction():
            times = budgets.read_times()
        figures = (spent_epsilon(budgets.of(name).contract, times) for name in self.devices if name not in self.spent)
        return FleetReport(
            devices=len(choices),
            consented=sum(bool(choice.granted) for choice in choices),
            refused=sum(not choice.granted for choice in choices),
            withdrawn=len(self.withdrawn),
            spent_at_start=len(self.spent),
            tallies={purpose: self._accepted(purpose, row) for purpose, row in self.federation.statistics().items()},
            spent_epsilon=max(figures, default=0.0),
            charged=self._charged(times),
            local_epsilon=self._local_epsilon(),
            heads=self._heads,
            late=self._late,
            counted={study: table.tolist() for study, table in self._counted.items()},
        )

    def _accepted(self, purpose: str, row: dict[str, int]) -> dict[str, int]:
        return {**row, "null_reports": row.get("sent_reports", 0) - self._leader.real_reports(purpose)}

    def _charged(self, times: Times) -> dict[str, Costs]:
        most: dict[str, Costs] = {}
        for person in self.devices.keys() - self.spent:
            state = self.federation.budgets.of(person).contract
            for purpose in state.by_purpose:
                most[purpose] = max(most.get(purpose, ()), spent(state, times, purpose))
        return most

    def _local_epsilon(self) -> dict[str, float]:
        most: dict[str, float] = {}
        for person in self.devices:
            for study, state in self.federation.budgets.of(person).local.items():
                most[study] = max(most.get(study, 0.0), lifetime_epsilon(state))
        return most

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def _leaves(choice: Choice, study: str, number: int) -> bool:
    return choice.withdrawal is not None and (choice.withdrawal.study, choice.withdrawal.round) == (study, number)


def merge(reports: Iterable[FleetReport]) -> FleetReport:
    """The report of several fleets together."""
    parts = list(reports)
    return FleetReport(
        devices=sum(part.devices for part in parts),
        consented=sum(part.consented for part in parts),
        refused=sum(part.refused for part in parts),
        withdrawn=sum(part.withdrawn for part in parts),
        spent_at_start=sum(part.spent_at_start for part in parts),
        tallies=_added(part.tallies for part in parts),
        spent_epsilon=max(part.spent_epsilon for part in parts),
        charged=_dearest(part.charged for part in parts),
        local_epsilon=_largest(part.local_epsilon for part in parts),
        heads=sum(part.heads for part in parts),
        late=sum(part.late for part in parts),
        counted=_tables(part.counted for part in parts),
    )


def _tables(parts: Iterable[Mapping[str, list[list[int]]]]) -> dict[str, list[list[int]]]:
    total: dict[str, NDArray[np.int64]] = {}
    for part in parts:
        for study, table in part.items():
            total[study] = np.asarray(table, dtype=np.int64) + total.get(study, 0)
    return {study: table.tolist() for study, table in total.items()}


def _added(tables: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for table in tables:
        for purpose, counts in table.items():
            row = total.setdefault(purpose, {})
            for name, count in counts.items():
                row[name] = row.get(name, 0) + count
    return total


def _largest(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    most: dict[str, float] = {}
    for table in tables:
        for name, figure in table.items():
            most[name] = max(most.get(name, 0.0), figure)
    return most


def _dearest(tables: Iterable[Mapping[str, Sequence[float]]]) -> dict[str, Costs]:
    most: dict[str, Costs] = {}
    for table in tables:
        for name, costs in table.items():
            most[name] = max(most.get(name, ()), tuple(costs))
    return most
