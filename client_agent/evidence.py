"""The device's side of a consent record: what to put into the file that proves a person's choices."""

from __future__ import annotations

from typing import Any

from client_agent.store import AgentStore, ParticipantRecord
from consent import ConsentError, Parties, Row, make_record, receipt_digest
from privacy.crypto import SigningKey, VerifyKey


def consent_record(store: AgentStore, leader: VerifyKey, participant: ParticipantRecord, at: int) -> dict[str, Any]:
    """A participant's consent record, signed now. A ledger that does not verify is put in as it is.

    Args:
        store: the agent's store.
        leader: towards which leader.
        participant: whose.
        at: Unix seconds now.
    """
    key = SigningKey(participant.seed)
    parties = Parties(key.verify_key, leader, participant.site, participant.participant_id)
    rows = store.consents.ledger_of(participant.participant_id).rows
    return make_record(key, parties, rows, _late(store, participant.participant_id, rows), at)


def _late(store: AgentStore, participant_id: str, rows: list[bytes]) -> list[str]:
    """Confirmations of receipts in these rows that have no row of their own, for a later choice had overtaken them."""
    parsed = [row for body in rows if (row := _parsed(body)) is not None]
    named = {receipt_digest(row.content) for row in parsed if row.kind == "receipt"}
    inside = {row.content for row in parsed if row.kind == "countersignature"}
    return [
        receipt.countersignature
        for receipt in store.consents.receipts_of(participant_id)
        if receipt.countersignature and receipt.digest in named and receipt.countersignature not in inside
    ]


def _parsed(body: bytes) -> Row | None:
    try:
        return Row.parse(body)
    except ConsentError:
        return None
