"""Taking part for everyone behind this agent: the durable shell around ``rounds`` and ``contribution``.

One round, in order: ``open_rounds`` (poll; ``rounds`` verifies once), ``reserve_all`` (charges and nulls of everybody
in one transaction), at each slot ``answer`` for heads and tails alike and ``finalise``, which flips the coin (one
transaction), ``send_due`` until the end. A simulation may use ``flip_all`` first, and answer for the heads only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from client_agent.clocks import Clock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.enrolment import Entropy, Pins
from client_agent.errors import RefusalCode, ReportFixed
from client_agent.federation.budgets import Budgets
from client_agent.federation.contribution import (
    Participant,
    Reservation,
    Slots,
    flip,
    may_contribute,
    may_send,
    offer,
    replace_null,
    reserve,
    settle,
)
from client_agent.federation.log_view import LogView
from client_agent.federation.roster import Roster
from client_agent.federation.rounds import Rounds
from client_agent.federation.sending import Delivery, resign_due, send
from client_agent.federation.stops import Stops
from client_agent.federation.trust import VerifiedRound
from client_agent.rotation import go_on
from client_agent.store import AgentStore, RoundKey
from consent import NO_SIGNALS
from consent.policy import withheld_by_gpc
from models.learning.plans import LOCAL_EPSILON_CAP
from privacy.accounting import NO_QUOTAS, Contract, LedgerState, Quotas, Times
from privacy.secure_sum import SecureSumError, encode


class Federation:
    """The participants of one leader, and the rounds they are in. One process at a time works a store.

    Args:
        store: the agent's store.
        leader: connection to the leader.
        helper: connection to the helper, for taking reports back.
        pins: the keys that were given out of band.
        clock: the machine's clocks.
        entropy: a CSPRNG, such as ``os.urandom``.
        contract: the installed budget (device level, zero-out).
        slots: where in a window send slots are drawn.
        local_epsilon_cap: installed cap of the local layer (per training row, zero-out), for one study.
        quotas: what each purpose may take of the contract; none unless given.

    Attributes:
        budgets: everybody's budgets.
        roster: who takes part.
        stops: which studies the privacy office has stopped.
        log: the leader's log as this device sees it; while it does not hold, nothing is contributed.
    """

    def __init__(
        self,
        store: AgentStore,
        leader: LeaderConnection,
        helper: HelperConnection | None,
        pins: Pins,
        clock: Clock,
        entropy: Entropy,
        contract: Contract,
        *,
        slots: Slots | None = None,
        local_epsilon_cap: float = LOCAL_EPSILON_CAP,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self.store = store
        self.leader = leader
        self.pins = pins
        self.helper = helper
        self.budgets = Budgets(store, contract, clock, quotas)
        self.roster = Roster(store, pins, self.budgets)
        self.stops = Stops(store, helper, pins, clock)
        self.log = LogView(store, leader, pins, clock)
        self._rounds = Rounds(store, leader, pins, self.stops, self.log, clock, contract, local_epsilon_cap)
        self._clock = clock
        self._entropy = entropy
        self._slots = slots or Slots()
        self._reservations: dict[RoundKey, dict[str, Reservation]] = {}
        self._answered: dict[RoundKey, set[str]] = {}
        self._withheld: dict[RoundKey, set[str]] = {}
        self._fixing = threading.Lock()
        with store.transaction():
            store.reports.fix_all()  # what a crash left reserved is sent as its null: no coin, no seed is drawn again

    @property
    def refused(self) -> dict[bytes, RefusalCode]:
        """By study, the rounds of the last poll that were not admitted, with the code of the failed check."""
        return self._rounds.refused

    def open_rounds(self) -> list[VerifiedRound]:
        """Poll the leader; the rounds that verify and that this device has not closed. Also tidies closed ones.

        Raises:
            ProblemError: the leader cannot be reached or answered with a problem.
        """
        work = self.leader.work()
        go_on(self.store, self.leader, self.pins, self._clock)
        self.store.consents.look(self.now_seconds(), self._clock.monotonic_seconds())
        self.roster.refresh()
        self.stops.hear(work.stopped)
        self.log.follow(work.checkpoint)
        found = self._rounds.admit(work)
        for key in self._rounds.close({verified.key for verified in found}):
            self._reservations.pop(key, None)
            self._answered.pop(key, None)
            self._withheld.pop(key, None)
        return found

    def now_seconds(self) -> int:
        """Unix seconds by the machine's clock."""
        return self._clock.now_ms() // 1_000

    def participants(self, found: VerifiedRound) -> list[Participant]:
        """Those whose consent lets anything be sent for this round."""
        now_seconds = self.now_seconds()
        return [member for member in self.roster if may_contribute(member, found, now_seconds)]

    def reserve_all(self, found: VerifiedRound, only: Iterable[str] | None = None) -> list[Reservation]:
        """Charge and store a null report for everybody who has none in this round; one transaction, one commit.

        Args:
            found: a round from ``open_rounds``.
            only: participant ids, if not everybody's.

        Returns:
            The new reservations. Their coins may be flipped now: the nulls and charges are on the disk.
        """
        self.roster.refresh()
        if found.key not in self._answered:
            self._answered[found.key] = self.store.reports.answered(found.key)
        answered = self._answered[found.key]
        chosen = self.roster if only is None else [self.roster[name] for name in only if name in self.roster]
        gate_seconds = max(self._clock.now_ms(), found.opening.issued_at_ms) // 1_000
        asked = [member for member in chosen if member.participant_id not in answered]
        waiting = [member for member in asked if may_contribute(member, found, gate_seconds)]
        self._note_withheld(found, asked, gate_seconds)
        if not waiting:
            # Nor is the opening's signed time kept, by which charges age: a lie beyond the end of every grant moves no
            # budget's time. That the round was seen stays on record.
            return []
        with self.store.transaction():
            times = self.budgets.read_times(found.opening.issued_at_ms // 1_000)
        made = self._reserve(found, waiting, times)
        return self._store_reservations(found, made)

    def flip_all(self, reservations: Iterable[Reservation]) -> list[Reservation]:
        """Flip each coin, once; returns the heads."""
        return [reservation for reservation in reservations if flip(reservation, self._entropy)]

    def answer(self, reservation: Reservation, values: NDArray[np.int64] | None) -> bool:
        """Lay a real answer beside the null, which the coin then decides about; returns whether it lies there.

        Where the coin is known already, heads, the answer replaces the null, unless its slot has come.

        Args:
            reservation: not fixed; paid, or with heads.
            values: int64[d] from ``encode_answer``; None (no data, an error) leaves the null.
        """
        if reservation.heads is None:
            return self._offer(reservation, values)
        if values is None or self._clock.now_ms() >= reservation.slot_ms:
            return False
        try:
            with self._fixing:
                replace_null(reservation, values, self._entropy)
        except (SecureSumError, ReportFixed):
            return False
        return True

    def _offer(self, reservation: Reservation, values: NDArray[np.int64] | None) -> bool:
        try:
            with self._fixing:
                offer(reservation, values, self._entropy)
        except (SecureSumError, ReportFixed):
            return False
        return reservation.offered is not None

    def encode_answer(self, found: VerifiedRound, vector: NDArray[np.float64] | None) -> NDArray[np.int64] | None:
        """Clip and quantise a plain answer; None where it is not usable (NaN, wrong shape), for the same work."""
        given = np.zeros(found.parameters.dimension) if vector is None else vector
        try:
            values = encode(np.asarray(given, dtype=np.float64), found.parameters)
        except (SecureSumError, ValueError, TypeError):
            return None
        return None if vector is None else values

    def finalise(self, found: VerifiedRound, reservations: Iterable[Reservation]) -> None:
        """Flip the coins of those that were answered, fix what then stands; one transaction. Then it may be sent."""
        with self._fixing:
            reservations = [reservation for reservation in reservations if not reservation.fixed]
            for reservation in reservations:
                settle(reservation, self._entropy)  # from here on nothing replaces it
        if not reservations:
            return
        purpose = found.study.purpose
        # Written again where the coin has just been flipped, be it the null itself: heads and tails do the same.
        chosen = [reservation for reservation in reservations if reservation.real or reservation.prepared]
        counts = {
            (purpose, "reports"): len(reservations),
            (purpose, "null_reports"): sum(not reservation.real for reservation in reservations),
            (purpose, "over_budget"): sum("over" in reservation.payment for reservation in reservations),
        }
        with self.store.transaction():
            self.store.reports.replace(reservation.stored() for reservation in chosen)
            self.store.reports.fix(found.key, [item.participant.participant_id for item in reservations])
            self.store.tallies.add(counts)

    def send_due(self, now_ms: int | None = None) -> Delivery:
        """Send the final reports whose slot has come, at most 256 a request, the same bytes however often.

        Returns:
            What became of them. With ``unreachable`` the rest is sent by a later call, as is everything while the
            leader's log does not hold.
        """
        self.roster.refresh()
        if self.log.fault is not None:
            return Delivery()
        at_ms = self._clock.now_ms() if now_ms is None else now_ms
        resign_due(self.store, at_ms, self.roster)
        return send(self.store, self.leader, at_ms, self._may_leave)

    def _may_leave(self, participant_id: str, purpose: str) -> bool:
        """Asked when a report is about to leave: a grant may have ended, or a purpose changed, since it was made."""
        self.roster.refresh_consent()
        member = self.roster.get(participant_id)
        return member is not None and may_send(member, purpose, self.now_seconds())

    def stands(self, reservation: Reservation) -> bool:
        """Whether a reservation was not taken back, and its participant is here and consents: else nothing is computed.

        A report that was taken back does not come back with a new grant.
        """
        there = self.store.reports.has(reservation.found.key, reservation.participant.participant_id)
        return there and bool(self._standing(reservation.found, [reservation]))

    def next_slot_ms(self) -> int | None:
        """When the next report is due."""
        return self.store.reports.next_slot_ms()

    def reservation(self, key: RoundKey, participant_id: str) -> Reservation | None:
        """A participant's reservation of this run, None if there is none."""
        return self._reservations.get(key, {}).get(participant_id)

    def round(self, key: RoundKey) -> VerifiedRound | None:
        """A round that was admitted, None if it was not."""
        return self._rounds.get(key)

    def note_failure(self, found: VerifiedRound) -> None:
        """Count an answer that failed; like null counts it stays on the device."""
        with self.store.transaction():
            self.store.tallies.add({(found.study.purpose, "failed_answers"): 1})

    def statistics(self) -> dict[str, dict[str, int]]:
        """Counts by purpose. Null counts tell about coins and budgets: they stay on the device."""
        return self.store.tallies.all()

    def _reserve(self, found: VerifiedRound, waiting: Sequence[Participant], times: Times) -> list[Reservation]:
        price, now_ms = self._rounds.price(found), self._clock.now_ms()
        made = []
        for member in waiting:
            local: LedgerState | None = None
            if price.local is not None:
                local = self.budgets.local(member.budget, found.study_hash.hex(), price.local.contract)
            reservation = reserve(
                member,
                found,
                price,
                local,
                times=times,
                now_ms=now_ms,
                slots=self._slots,
                entropy=self._entropy,
                signals=NO_SIGNALS,
                quotas=self.budgets.quotas,
            )
            if reservation is not None:
                made.append(reservation)
        return made

    def _note_withheld(self, found: VerifiedRound, asked: Iterable[Participant], gate_seconds: int) -> None:
        """Count, once a round, whom Global Privacy Control alone keeps out of it, for them to see."""
        purpose, counted = found.study.purpose, self._withheld.setdefault(found.key, set())
        fresh = [
            member.participant_id
            for member in asked
            if member.participant_id not in counted
            and purpose in withheld_by_gpc("contribute", member.consent, NO_SIGNALS, gate_seconds)
        ]
        if fresh:
            counted.update(fresh)
            with self.store.transaction():
                self.store.gpc.add(((who, "contribute", purpose) for who in fresh), self.now_seconds())

    def _store_reservations(self, found: VerifiedRound, made: list[Reservation]) -> list[Reservation]:
        with self.store.transaction():
            # Somebody may have withdrawn or been erased while the nulls were made: what is stored follows what stands
            # now, as this very transaction reads it.
            self.roster.refresh()
            kept = [] if self.store.reports.is_barred(found.key) else self._standing(found, made)
            self.store.reports.reserve(reservation.stored() for reservation in kept)
            self.store.ledgers.append(row for reservation in kept for row in reservation.rows)
        for reservation in kept:
            budget = reservation.participant.budget
            if reservation.after is not None:
                budget.contract = reservation.after
            if reservation.local_after is not None:
                budget.local[found.study_hash.hex()] = reservation.local_after
        by_name = {reservation.participant.participant_id: reservation for reservation in kept}
        self._reservations.setdefault(found.key, {}).update(by_name)
        self._answered[found.key] |= by_name.keys()
        return kept

    def _standing(self, found: VerifiedRound, made: Iterable[Reservation]) -> list[Reservation]:
        """Reservations whose participant is still here, is the same, and consents."""
        now_seconds = self.now_seconds()
        here = [r for r in made if self.roster.get(r.participant.participant_id) is r.participant]
        return [r for r in here if may_contribute(r.participant, found, now_seconds)]
