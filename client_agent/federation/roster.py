"""Who takes part: enrolled participants with their key, consent and budget, kept up with the store."""

from __future__ import annotations

from collections.abc import Iterator

from client_agent.enrolment import Pins
from client_agent.federation.budgets import Budgets
from client_agent.federation.contribution import Participant
from client_agent.standing import consent_of
from client_agent.store import AgentStore, ParticipantRecord
from privacy.crypto import SigningKey


class Roster:
    """The enrolled participants of one leader.

    Args:
        store: the agent's store.
        pins: which leader.
        budgets: everybody's budgets.
    """

    def __init__(self, store: AgentStore, pins: Pins, budgets: Budgets) -> None:
        self._store = store
        self._pins = pins
        self._budgets = budgets
        self._members: dict[str, Participant] = {}
        self._people_change = (-1, -1)
        self._consent_change = store.consents.last_change()
        self.refresh()

    def refresh(self) -> None:
        """Take in people who enrolled, left or changed their consent since, also through another process.

        A store that is not the one that the keyring remembers is noticed here: then nobody consents.
        """
        self._store.consents.guard()
        change = (self._store.participants.last_change(), self._store.people.last_change())
        if change != self._people_change:
            self._refresh_people()
            self._people_change = change
        self.refresh_consent()

    def _refresh_people(self) -> None:
        records = {
            r.participant_id: r
            for r in self._store.participants.all(self._pins.leader_key.raw)
            if r.device_id is not None and r.site == self._pins.site
        }
        children = self._store.people.children()
        for gone in self._members.keys() - records.keys():
            self._budgets.forget(self._members.pop(gone).budget.owner)
        for participant_id, record in records.items():
            known = self._members.get(participant_id)
            if known is None:
                self._members[participant_id] = self._member(record)
            elif known.key.verify_key != SigningKey(record.seed).verify_key:
                self._renew(known, record)
            self._members[participant_id].subject = "child" if record.person in children else "known"

    def refresh_consent(self) -> None:
        """Take in changes of consent only; cheap where there are none."""
        change = self._store.consents.last_change()
        if change == self._consent_change:
            return
        for participant_id in self._store.consents.changed_since(self._consent_change):
            member = self.get(participant_id)
            if member is not None:
                record = self._store.participants.get(participant_id)
                self._renew(member, record)
        self._consent_change = change

    def __iter__(self) -> Iterator[Participant]:
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, participant_id: str) -> bool:
        return participant_id in self._members

    def get(self, participant_id: str) -> Participant | None:
        """A participant; None for somebody who does not take part, or was erased and enrolled anew since."""
        return self._members.get(participant_id)

    def __getitem__(self, participant_id: str) -> Participant:
        return self._members[participant_id]

    def _renew(self, member: Participant, record: ParticipantRecord) -> None:
        """Take in what stands under the key of now, which may have taken another's place."""
        member.key = SigningKey(record.seed)
        member.consent = consent_of(self._store, self._pins.leader_key, record, member.key)

    def _member(self, record: ParticipantRecord) -> Participant:
        key = SigningKey(record.seed)
        state = consent_of(self._store, self._pins.leader_key, record, key)
        return Participant(record.participant_id, key, record.device_id or b"", state, self._budgets.of(record.person))
