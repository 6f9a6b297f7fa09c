"""The device's side of a consent record: what to put into the file that proves a person's choices."""

from __future__ import annotations

from typing import Any

from client_agent.confirmations import confirmed_at
from client_agent.store import AgentStore, ParticipantRecord
from consent import Parties, make_record, receipt_digest
from consent.record_files import carried, content_of
from privacy.crypto import SigningKey, VerifyKey


def consent_record(store: AgentStore, leader: VerifyKey, participant: ParticipantRecord, at: int) -> dict[str, Any]:
    """A participant's consent record, signed now, with everything that the device holds of their choices.

    A ledger that does not verify is put in as it is. What was set aside when it was restarted goes beside it, and so
    does every signed receipt that is in no row: rows were lost, and the receipt was stored on its own as well.

    Args:
        store: the agent's store.
        leader: towards which leader.
        participant: whose.
        at: Unix seconds now.
    """
    key, who = SigningKey(participant.seed), participant.participant_id
    parties = Parties(key.verify_key, leader, participant.site, who)
    with store.transaction():  # one moment of all three tables
        rows, aside = store.consents.ledger_of(who).rows, store.consents.evidence_of(who)
        receipts = store.consents.receipts_of(who)
    contents = set(map(content_of, carried([*rows, *aside])))
    named = {receipt_digest(content) for content in contents}
    alone = [item.jws.encode("utf-8", "backslashreplace") for item in receipts if item.digest not in named]
    confirmations = [
        item.countersignature
        for item in receipts
        if item.countersignature is not None
        and item.countersignature not in contents
        # A damaged one proves nothing, and would spoil the file.
        and confirmed_at(item.countersignature, receipt_digest(item.jws), leader) is not None
    ]
    return make_record(key, parties, rows, confirmations, at, set_aside=[*aside, *alone])
