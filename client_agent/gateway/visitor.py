"""A visitor from the agent's store: the gateway's port over consent keeping, raw events, tallies and the budget."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from client_agent.clocks import Clock
from client_agent.consenting import ConsentKeeper, TakenBack
from client_agent.federation.budgets import Budgets
from client_agent.gateway.ports import Budget, Sent
from client_agent.store import AgentStore
from consent import ConsentState, Notice
from models.events import PROFILE_DAYS, Event, parse_event
from models.personalisation import PreparedBundle, prepare
from models.wire.bundle import Bundle
from privacy.accounting import lifetime_epsilon, spent_epsilon

_DAY_MS: Final = 86_400_000
_DAY_SECONDS: Final = 86_400


class StoredVisitor:
    """One participant of this agent, as the gateway and the visitor's page see it. Safe to call from threads.

    Args:
        store: the agent's store.
        keeper: keeps consent towards the leader; needs no leader in reach.
        budgets: the budgets of this process.
        participant_id: whose visitor this is.
        clock: the machine's.
        taken_back: called after a withdrawal with the reports that it deleted here; hands their tokens to the helper
            and the receipt to the leader, without waiting for either.
    """

    def __init__(
        self,
        store: AgentStore,
        keeper: ConsentKeeper,
        budgets: Budgets,
        participant_id: str,
        clock: Clock,
        taken_back: Callable[[TakenBack], None] | None = None,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._budgets = budgets
        self._record = store.participants.get(participant_id)
        self._clock = clock
        self._taken_back = taken_back
        self._bundle: PreparedBundle | None = None
        self._lock = threading.RLock()
        self._consent_change = -1
        self._consent: ConsentState = keeper.state_of(participant_id)
        self._events = self._load()

    @property
    def site(self) -> str:
        """The site's name."""
        return self._record.site

    def now_ms(self) -> int:
        """The present, ms since 1970."""
        return self._clock.now_ms()

    def consent(self) -> ConsentState:
        """What stands; read again from the store when anybody's consent has changed, in this process or another."""
        with self._lock:
            change = self._store.consents.last_change()
            if change != self._consent_change:
                self._consent = self._keeper.state_of(self._record.participant_id)
                self._consent_change = change
            return self._consent

    def choose(self, granted: Collection[str], declined: Collection[str], notice: Notice) -> None:
        """Record a choice; in force here when it returns, and with the leader as soon as it can be reached."""
        taken: TakenBack = []
        with self._lock:
            if granted:
                self._keeper.grant(self._record.participant_id, granted, notice)
            if declined:
                taken = self._keeper.decline(self._record.participant_id, declined, notice)
        if self._taken_back is not None:
            self._taken_back(taken)

    def observe_gpc(self) -> None:
        """Record that Global Privacy Control is on."""
        self._keeper.observe_gpc(self._record.participant_id)

    def append_events(self, events: Sequence[Event]) -> None:
        """Store events in one commit; an id that is stored already is skipped."""
        with self._lock:
            fresh = {event.event_id: event for event in events if event.event_id not in self._events}
            rows = [(event.event_id, event.at_ms, json.dumps(event.document())) for event in fresh.values()]
            self._store.insert_events(self._record.participant_id, rows)
            self._events.update(fresh)

    def events(self) -> Sequence[Event]:
        """The last 30 days' events."""
        since_ms = self.now_ms() - PROFILE_DAYS * _DAY_MS
        with self._lock:
            return [event for event in self._events.values() if event.at_ms > since_ms]

    def erase_events(self) -> None:
        """Delete all events."""
        with self._lock:
            self._store.events.erase(self._record.participant_id)
            self._events.clear()

    def use(self, bundle: Bundle) -> None:
        """Put a verified bundle in force.

        Raises:
            PersonalisationError: it does not compile; the one before stays in force.
        """
        self._bundle = prepare(bundle)

    def bundle(self) -> PreparedBundle | None:
        """The bundle in force; None before the first."""
        return self._bundle

    def sent(self) -> Sequence[Sent]:
        """What left, by purpose. Null reports count like real ones."""
        rows = self._store.tallies.all().items()
        return [
            Sent(purpose, amounts["sent_reports"], amounts.get("sent_bytes", 0))
            for purpose, amounts in rows
            if amounts.get("sent_reports")
        ]

    def budget(self) -> Budget | None:
        """What was spent of the contract (device level, zero-out)."""
        state = self._budgets.of(self._record.person).contract
        with self._store.transaction():
            times = self._budgets.read_times()
        return Budget(
            spent_epsilon=spent_epsilon(state, times),
            cap_epsilon=state.contract.epsilon,
            delta=state.contract.delta,
            window_days=state.contract.window_seconds / _DAY_SECONDS,
            lifetime_epsilon=lifetime_epsilon(state),
            intact=self._store.ledgers.intact(),
        )

    def receipts(self) -> Sequence[str]:
        """The signed consent receipts, oldest first."""
        return [receipt.jws for receipt in self._store.consents.receipts_of(self._record.participant_id)]

    def _load(self) -> dict[str, Event]:
        """Read the stored events, after deleting those whose retention is over."""
        since_ms = self.now_ms() - PROFILE_DAYS * _DAY_MS
        self._store.events.erase(self._record.participant_id, before_ms=since_ms)
        parsed = (parse_event(json.loads(text)) for _, text in self._store.events_of(self._record.participant_id))
        return {event.event_id: event for event in parsed if isinstance(event, Event)}
