"""What an export's sections and columns are called, and what each of them says: stable names, in plain words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sites": "The sites on which this agent speaks for you, and the key with which it signs for you on each.",
        "purposes": "What you have allowed, purpose by purpose, as it stands now, and the rule that says so.",
        "receipts": "Your signed consent receipts, and the leader's signed confirmation of each that it answered.",
        "choices": "Your consent ledger: every choice, confirmation and observed opt-out signal, chained in order.",
        "ledgers": "Where each of your consent ledgers stands, and why it does not count, if it does not.",
        "evidence": "Rows that were set aside from a ledger that did not verify.",
        "gpc": "What Global Privacy Control withheld from a site for you, by day.",
        "events": "What was collected on the sites' pages. It never left this device.",
        "profile": "The figures that are computed from these events: your profile of the last 30 days.",
        "decisions": "What these figures make of you now: persona, segments, scores, and what pages would show.",
        "contributions": "Reports that left for you, and the releases they may be in. Nulls are among them, untold.",
        "reports": "Reports made for you whose round is not over yet. Nulls are among them, untold.",
        "sent": "What left this device for you, by purpose.",
        "people": "How this agent knows you among the people of a household.",
        "browsers": "The browsers that this agent takes for yours.",
        "waiting": "What this device has yet to deliver for you.",
        "context": "Whom this agent was told to trust.",
        "withheld": "What this export leaves out, and why.",
    }
)
"""Sections in the order in which they are written."""

_WHO: Final = "your random pseudonym on one site; it is the one in your receipts"
_MS: Final = "Unix milliseconds"
_UTC: Final = "the same time, RFC 3339 in UTC"

COLUMNS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "sites": {
            "pseudonym": _WHO,
            "person": "your local name, which never leaves this device",
            "site": "the site",
            "leader_fingerprint": "fingerprint of the site's aggregator, to which your consent is addressed",
            "leader_key": "its public key, Ed25519, hexadecimal",
            "device_id": "how that aggregator knows this device; empty until it is enrolled",
            "enrolled_at_ms": f"when it was enrolled, {_MS}",
            "enrolled_at": _UTC,
            "signing_key_exists": "that a secret signing key is kept here; it is not exported",
            "public_key": "the public part of your signing key, Ed25519, hexadecimal",
            "key_fingerprint": "its fingerprint",
        },
        "purposes": {
            "pseudonym": _WHO,
            "purpose": "the purpose's id",
            "title": "what it is for",
            "allowed": "whether it is in force now",
            "rule": "the rule that decides",
            "receipt": "digest of the receipt on which that rests, hexadecimal",
        },
        "receipts": {
            "pseudonym": _WHO,
            "digest": "the receipt's name, SHA-256, hexadecimal",
            "state": "home: a refusal, which stays here; waiting, confirmed or refused: by the site's aggregator",
            "receipt": "the receipt, a JSON Web Signature by your key",
            "countersignature": "the aggregator's confirmation, a JSON Web Signature by its key",
        },
        "choices": {
            "pseudonym": _WHO,
            "position": "place in the ledger, from 0",
            "at_ms": f"when it was recorded, {_MS}",
            "at": _UTC,
            "kind": "receipt, countersignature, gpc (an observed opt-out signal) or restart",
            "content": "the signed text, where there is one",
            "digest": "SHA-256 that the next row refers to, hexadecimal",
        },
        "ledgers": {
            "pseudonym": _WHO,
            "head": "digest of the ledger's last row, hexadecimal",
            "length": "its number of rows",
            "epoch": "the number of the last change of what is granted",
            "fault": "why nothing in it counts until you choose again; empty if it counts",
        },
        "evidence": {
            "pseudonym": _WHO,
            "position": "place in the ledger, from 0",
            "content": "the row as it was found",
        },
        "gpc": {
            "pseudonym": _WHO,
            "day": "the day, UTC",
            "gate": "collect: storing events; use: reading them; contribute: sending a report",
            "purpose": "the purpose that would have been allowed without the signal",
            "withheld": "how often",
        },
        "events": {
            "pseudonym": _WHO,
            "at_ms": f"when it happened by the page's clock, {_MS}",
            "at": _UTC,
            "kind": "what happened",
            "path": "path of the page",
            "event": "the whole event, as JSON, as it was stored",
        },
        "profile": {"pseudonym": _WHO, "feature": "the figure's name", "value": "its value; counts are over 30 days"},
        "decisions": {"pseudonym": _WHO, "name": "persona, segments, score or slots", "value": "as decided now"},
        "contributions": {
            "pseudonym": _WHO,
            "study_id": "the study's short name",
            "title": "its title, as approved",
            "purpose": "the purpose for which it was made",
            "study": "digest of the study, hexadecimal; with the round it names the release in the public log",
            "round": "the study's round",
            "report_id": "the report's name, SHA-256, hexadecimal",
            "sent_at_ms": f"when its first byte may have left, {_MS}; empty if none did",
            "sent_at": _UTC,
            "outcome": "what became of it, in one word",
            "outcome_text": "the same in words",
            "removal": "the aggregator's signed word that it took the report out",
            "confirmation": "the helper's signed word on the withdrawal",
            "size_bytes": "its bytes; empty if none left, or if it left before this agent noted sizes",
        },
        "reports": {
            "pseudonym": _WHO,
            "purpose": "the purpose for which it was made",
            "study": "digest of the study, hexadecimal",
            "round": "the study's round",
            "report_id": "the report's name, SHA-256, hexadecimal",
            "state": "reserved: not settled yet; final: to be sent; sent: taken in",
            "slot_at_ms": f"when it is, or was, due to be sent, {_MS}",
            "slot_at": _UTC,
            "size_bytes": "what is still kept here to be sent; nothing once its round is closed",
        },
        "sent": {
            "purpose": "the purpose",
            "reports": "reports whose first byte may have left, null reports among them",
            "size_bytes": "their bytes, as far as they were noted",
        },
        "people": {
            "name": "your local name",
            "kind": "adult or child",
            "failures": "wrong attempts at your PIN since the last right one",
            "failed_at_ms": f"when the last of them was, {_MS}; 0 for never",
            "failed_at": _UTC,
        },
        "browsers": {
            "person": "your local name",
            "lasting": "whether it is remembered after it is closed",
            "created_at_ms": f"when it was first seen, {_MS}",
            "created_at": _UTC,
            "used_at_ms": f"when it was last used, {_MS}",
            "used_at": _UTC,
            "opened_at_ms": f"when its present session began, {_MS}",
            "opened_at": _UTC,
        },
        "waiting": {"what": "what waits", "number": "how many"},
        "context": {
            "role": "leader: the site's aggregator; helper: run by the privacy office; officer: approves studies",
            "address": "where it is",
            "fingerprint": "the fingerprint of its key",
            "public_key": "its public key, Ed25519, hexadecimal",
        },
        "withheld": {"table": "where it is kept", "column": "which part of it; empty for all", "reason": "why"},
    }
)
"""Columns of each section, in order."""


def instant(at_ms: int | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond; None for no time, and for one beyond the year 9999.

    Args:
        at_ms: Unix milliseconds.
    """
    if at_ms is None:
        return None
    try:
        moment = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
