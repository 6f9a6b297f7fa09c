"""What stands for a participant: the stored ledger, believed only as far as the mirror in the keyring covers it."""

from __future__ import annotations

from dataclasses import replace

from client_agent.store import AgentStore, ParticipantRecord
from client_agent.store.consents import StoredLedger
from consent import ConsentState, Mirror, Parties, distrust, keys_of, replay
from privacy.crypto import SigningKey, VerifyKey

UNKNOWN = "nothing outside of the ledger remembers it"
"""Why a ledger does not count whose head the mirror does not cover."""


def consent_of(store: AgentStore, leader: VerifyKey, record: ParticipantRecord, key: SigningKey) -> ConsentState:
    """What stands for a participant, by replaying the stored rows. All gates of the device ask what this returns.

    Args:
        store: the agent's store, which was compared with its mirror when it was opened and at the last poll.
        leader: towards which leader.
        record: whom.
        key: the participant's key.

    Returns:
        The state, with a fault and nothing granted where the rows, their head or the mirror contradict each other.
    """
    parties = Parties(key.verify_key, leader, record.site, record.participant_id)
    state = _believed(parties, store.consents.ledger_of(record.participant_id))
    if not state.granted:
        return state
    moments, receipts = store.consents.moments, frozenset(grant.receipt for grant in state.granted)
    return replace(state, seen_at=moments.seen_at(moments.segment_of(record.participant_id, receipts)))


def keys_of_participant(store: AgentStore, leader: VerifyKey, record: ParticipantRecord) -> tuple[VerifyKey, ...]:
    """A participant's key and those that it had before, the present one first: whose signatures are theirs."""
    key = SigningKey(record.seed).verify_key
    if not record.rotations:
        return (key,)
    return keys_of(
        Parties(key, leader, record.site, record.participant_id), store.consents.rows_of(record.participant_id)
    )


def _believed(parties: Parties, stored: StoredLedger) -> ConsentState:
    head = stored.head
    mirror = None if head is None else Mirror(head.head or parties.genesis(), head.epoch)
    state, epoch = replay(parties, stored.rows, mirror), 0 if head is None else head.epoch
    if head is not None and head.fault is not None:
        return distrust(state, head.fault, epoch)
    if state.fault is None and (not stored.covered or (head is None and stored.rows)):
        return distrust(state, UNKNOWN, epoch)
    return state
