"""Keeping consent: choices become signed receipts, in force here when the call returns. Nothing waits for the network.

A withdrawal stores the receipt and the ledger row and deletes every report that has not been sent, in one transaction;
``client_agent.delivering`` then tells both services.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from client_agent.clocks import Clock
from client_agent.enrolment import Pins
from client_agent.store import AgentStore, ParticipantRecord, StoredReceipt
from client_agent.store.consents import ReceiptState
from client_agent.store.reports import TakenReport
from consent import (
    PURPOSES,
    ConsentState,
    Notice,
    Parties,
    Receipt,
    Row,
    decline,
    grant,
    notice,
    observe_gpc,
    receipt_digest,
    record,
    replay,
    sign_receipt,
)
from privacy.crypto import SigningKey

TakenBack = list[TakenReport]
"""Reports that a withdrawal deleted here."""


@dataclass(frozen=True, slots=True)
class _Act:
    """One signed choice, before it is stored."""

    participant_id: str
    receipt: Receipt
    jws: str
    row: Row


class ConsentKeeper:
    """Everybody's consent towards one leader.

    Args:
        store: the agent's store.
        pins: which leader; its key is the only one whose countersignature counts.
        clock: for the time of choices.
    """

    def __init__(self, store: AgentStore, pins: Pins, clock: Clock) -> None:
        self._store = store
        self._pins = pins
        self._clock = clock

    def state_of(self, participant_id: str) -> ConsentState:
        """What stands for a participant."""
        return self._state(*self._keyed(participant_id))

    def notice(self, *, language: str = "en", gpc: bool = False) -> Notice:
        """The notice of this site, as a command line shows it."""
        return notice(self._pins.site, "de" if language == "de" else "en", PURPOSES, mode="device", gpc=gpc)

    def grant(self, participant_id: str, purposes: Collection[str], shown: Notice | None = None) -> None:
        """Grant purposes to one participant; in force here when this returns."""
        self.grant_many({participant_id: purposes}, shown)

    def grant_many(self, choices: Mapping[str, Collection[str]], shown: Notice | None = None) -> None:
        """Grant purposes by participant, in one transaction."""
        shown, at = shown or self.notice(), self._now()
        self._keep([self._act(who, partial(_grant, p, shown, at), at) for who, p in choices.items()])

    def decline(
        self, participant_id: str, purposes: Collection[str] | None = None, shown: Notice | None = None
    ) -> TakenBack:
        """Refuse purposes, or withdraw those that were granted; in force here when this returns.

        Args:
            participant_id: who.
            purposes: what is declined; everything unless said.
            shown: the notice that was shown.

        Returns:
            Reports that were deleted here; ``Courier.tell_helper`` shows their tokens to the helper.
        """
        chosen = set(purposes) if purposes is not None else {p.id for p in PURPOSES} | self._granted(participant_id)
        return self.decline_many({participant_id: chosen}, shown)

    withdraw = decline  # taking consent back is the same act as refusing it, and as easy

    def decline_many(self, choices: Mapping[str, Collection[str]], shown: Notice | None = None) -> TakenBack:
        """Refuse or withdraw purposes by participant, in one transaction."""
        shown, at = shown or self.notice(), self._now()
        return self._keep([self._act(who, partial(_decline, p, shown, at), at) for who, p in choices.items()])

    def observe_gpc(self, participant_id: str) -> None:
        """Record that Global Privacy Control is on for this site."""
        state, row = observe_gpc(self.state_of(participant_id), self._now())
        if row is not None:
            with self._store.transaction():
                self._store.consents.append([(participant_id, row)])
                purposes = [purpose.id for purpose in PURPOSES if not _despite(state, purpose.id)]
                self._store.reports.take_back(participant_id, purposes)

    def _keep(self, acts: Sequence[_Act]) -> TakenBack:
        taken: TakenBack = []
        with self._store.transaction():
            self._store.consents.append((act.participant_id, act.row) for act in acts)
            self._store.consents.add_receipts(
                StoredReceipt(act.participant_id, receipt_digest(act.jws), act.jws, None, _first_state(act.receipt))
                for act in acts
            )
            for act in acts:
                if act.receipt.kind == "withdrawal":
                    taken += self._store.reports.take_back(act.participant_id, act.receipt.chosen)
        return taken

    def _act(self, participant_id: str, choose: Callable[[ConsentState], Receipt], at: int) -> _Act:
        participant, key = self._keyed(participant_id)
        state = self._state(participant, key)
        receipt = choose(state)
        jws = sign_receipt(key, receipt)
        _, row = record(state, jws, at)
        return _Act(participant_id, receipt, jws, row)

    def _granted(self, participant_id: str) -> set[str]:
        return {held.purpose for held in self.state_of(participant_id).granted}

    def _keyed(self, participant_id: str) -> tuple[ParticipantRecord, SigningKey]:
        participant = self._store.participants.get(participant_id)
        return participant, SigningKey(participant.seed)

    def _state(self, participant: ParticipantRecord, key: SigningKey) -> ConsentState:
        parties = Parties(key.verify_key, self._pins.leader_key, participant.site, participant.participant_id)
        return replay(parties, self._store.consents.rows_of(participant.participant_id))

    def _now(self) -> int:
        return self._clock.now_ms() // 1_000


def _grant(purposes: Collection[str], shown: Notice, at: int, state: ConsentState) -> Receipt:
    return grant(state, purposes, notice=shown, issued_at=at)


def _decline(purposes: Collection[str], shown: Notice, at: int, state: ConsentState) -> Receipt:
    return decline(state, purposes, notice=shown, issued_at=at)


def _first_state(receipt: Receipt) -> ReceiptState:
    return "home" if receipt.kind == "refusal" else "waiting"


def _despite(state: ConsentState, purpose: str) -> bool:
    held = state.grant_of(purpose)
    return held is not None and held.despite_gpc
