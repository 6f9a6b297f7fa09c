"""How long events are kept, beside their retention: for as long as some purpose of the person's reads them.

Saying no to a purpose, here and now or by Global Privacy Control, ends what was collected for it: events of a kind that
no other purpose in force declares are deleted in the transaction that records the choice, whichever page, command or
signal it came from. A grant that has expired ends it likewise, at the next look. Where the person has not said no (the
purpose has a new text, the ledger does not verify, the clock stands before the grant), events wait, unread, for the
answer or the end of their retention.

A clock that is behind deletes nothing. One that is ahead ends retention and grants before their time, and the events of
until then are deleted: it looks like that of a device that was off for as long, where keeping them would break what
was promised. Events are all that a clock deletes for good here. What the person chose, the ledgers and the list of
releases have no end by the clock and outlive any fault of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from client_agent.clocks import Clock
from client_agent.standing import consent_of
from client_agent.store import AgentStore
from consent import NO_SIGNALS, PURPOSES, ConsentState, Rule, decide
from models.events import PROFILE_DAYS
from privacy.crypto import SigningKey, VerifyKey

SIGNAL_OF_KIND: Final[Mapping[str, str]] = {
    "page_view": "page_view",
    "click": "click",
    "scroll": "scroll",
    "dwell": "dwell",
    "add_to_cart": "cart",
    "remove_from_cart": "cart",
    "purchase": "purchase",
}
"""What a purpose calls each kind of event; a kind that no purpose declares is never stored."""
_DAY_MS: Final = 86_400_000
_NOT_REFUSED: Final[frozenset[Rule]] = frozenset(
    {"granted", "purpose_changed", "ledger_faulty", "clock_before_receipt"},
)


def kept_kinds(state: ConsentState, now_seconds: int) -> frozenset[str]:
    """The kinds of event that may go on being kept: those that some purpose reads to which nobody said no since.

    Args:
        state: what stands.
        now_seconds: Unix seconds.
    """
    declared = {
        signal
        for purpose in PURPOSES
        if decide("collect", purpose.id, state, NO_SIGNALS, now_seconds).rule in _NOT_REFUSED
        for signal in purpose.signals
    }
    return frozenset(kind for kind, signal in SIGNAL_OF_KIND.items() if signal in declared)


def forget_unread(store: AgentStore, participant_id: str, state: ConsentState, now_seconds: int) -> int:
    """Delete the events that no purpose reads any more; returns how many. Part of the transaction of the choice."""
    return store.events.erase(participant_id, keep_kinds=kept_kinds(state, now_seconds))


def retire(store: AgentStore, clock: Clock) -> int:
    """Delete everybody's events that are older than their retention or that no purpose reads any more.

    Run by the resident once a day: between choices, a grant ends by its age alone. Returns how many went.
    """
    now_ms = clock.now_ms()
    deleted = store.events.erase_before(now_ms - PROFILE_DAYS * _DAY_MS)
    for record in store.participants.all():
        with store.transaction():
            if store.participants.has(record.participant_id):
                state = consent_of(store, VerifyKey(record.leader), record, SigningKey(record.seed))
                deleted += forget_unread(store, record.participant_id, state, now_ms // 1_000)
    return deleted
