"""Erasing a person: what was granted is withdrawn, everything about them is deleted, and what was spent stays spent.

All of it is one transaction, so that no crash leaves a person half erased, and none of it waits for the network:
the withdrawal is in the outbox, and the tokens of reports that may have left are kept for the helper. Rounds that this
device knows take nothing new afterwards (``Reports.bar_rounds``): the ledger has forgotten which of them it paid for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from client_agent.clocks import Clock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import Pins
from client_agent.errors import NotEnrolled
from client_agent.federation.budgets import forget_rounds
from client_agent.store import AgentStore, ParticipantRecord
from consent import PURPOSES
from privacy.crypto import VerifyKey


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What the services have yet to hear after an erasure.

    Attributes:
        withdrawals: signed withdrawals that the leader has not confirmed.
        reports: reports that the helper has not been told to leave out.
    """

    withdrawals: int
    reports: int

    def __bool__(self) -> bool:
        return bool(self.withdrawals or self.reports)


def erase_person(store: AgentStore, pins: Pins, person: str, clock: Clock) -> None:
    """Withdraw everything that a person granted anywhere, then delete all about them. Durable when it returns.

    A child, and an adult who has no profile, have nothing to withdraw: their name and their browsers are deleted.

    Args:
        store: the agent's store.
        pins: the keys that were given out of band.
        person: the local name.
        clock: for the time of the withdrawals.

    Raises:
        NotEnrolled: nobody of this name is behind the agent.
    """
    with store.transaction():
        if store.people.get(person) is None:
            raise NotEnrolled(f"expected the name of a person behind this agent, got {person!r}")
        store.people.note_change()
        records = store.participants.of_person(person)
        for record in records:
            _withdraw(store, pins, record, clock)
            store.erase(record.participant_id)
        store.personal.delete_name(person)
        if records:  # nobody else has a spend counter
            forget_rounds(store, person, clock)


def deliver_farewells(
    store: AgentStore, pins: Pins, clock: Clock, leader: LeaderConnection, helper: HelperConnection
) -> Undelivered:
    """Tell both services now; what cannot be delivered waits for the resident's next poll. Returns what waits."""
    Courier(store, pins, clock).tell_both(leader, helper)  # what waits says enough: it is counted here
    return Undelivered(len(store.outbox), len(store.reports.taken_back()))


def _withdraw(store: AgentStore, pins: Pins, record: ParticipantRecord, clock: Clock) -> None:
    theirs = replace(pins, leader_key=VerifyKey(record.leader), site=record.site)
    keeper = ConsentKeeper(store, theirs, clock)
    refused = store.consents.refused_withdrawal(record.participant_id)
    if refused or keeper.state_of(record.participant_id).may_stand_at_leader:
        keeper.withdraw_for_good(record.participant_id)
    # Also reports under a grant that ended by itself: their tokens would go with them.
    store.reports.take_back(record.participant_id, [purpose.id for purpose in PURPOSES])
