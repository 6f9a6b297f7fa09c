"""Keeping consent: choices become signed receipts, in force here when the call returns. Nothing waits for the network.

A withdrawal stores the receipt and the ledger row, deletes every report that has not been sent and takes the person's
browsers to their next secret, so that what was sealed in them opens nowhere, in one transaction;
``client_agent.delivering`` then tells both services.

A ledger that is faulty (``client_agent.standing`` says when) is restarted by the next choice, in the transaction that
records it: what does not verify is set aside, everything is off, and the choice is signed beyond every epoch that is
remembered. A device that the leader shows to be behind all the same, because its keyring was restored with its store,
signs a withdrawal again at once, whatever its age, for that only takes away. It signs a grant again only if the person
made it in this very process: a grant that was waiting in a restored store may have been taken back since, so instead
nothing counts until the person chooses again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from client_agent.clocks import Clock
from client_agent.enrolment import Pins
from client_agent.retention import forget_unread
from client_agent.standing import consent_of, keys_of_participant
from client_agent.store import AgentStore, ParticipantRecord, StoredReceipt
from client_agent.store.consents import ConsentRow, ReceiptState
from client_agent.store.reports import TakenReport
from consent import (
    PURPOSES,
    ConsentError,
    ConsentState,
    Notice,
    Receipt,
    decline,
    grant,
    observe_gpc,
    receipt_digest,
    record,
    restart,
    sign_receipt,
    verify_receipt_of,
)
from consent.choices import EPOCHS_AHEAD, beyond, everything, notice_for
from consent.registry import Language
from consent.signals.facts import NO_SIGNALS, Signals
from consent.wording import Mode
from privacy.crypto import SigningKey

_log = logging.getLogger(__name__)

TakenBack = list[TakenReport]
"""Reports that a withdrawal deleted here."""


BEHIND = "the leader holds a later choice than this ledger: the store and its keyring are older copies"
"""Why nothing counts for a participant whose grant, found waiting, was refused for its epoch."""


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

    def notice(
        self,
        participant_id: str,
        signals: Signals = NO_SIGNALS,
        *,
        language: Language = "en",
        mode: Mode = "device",
    ) -> Notice:
        """The notice that a participant is to be shown now (``consent.choices.notice_for``)."""
        return notice_for(self.state_of(participant_id), signals, language=language, mode=mode)

    def grant(self, participant_id: str, purposes: Collection[str], shown: Notice | None = None) -> None:
        """Grant purposes to one participant; in force here when this returns.

        Raises:
            ChoiceInvalid: among others, the notice does not tell of Global Privacy Control though the signal was seen.
        """
        self.grant_many({participant_id: purposes}, shown)

    def grant_many(self, choices: Mapping[str, Collection[str]], shown: Notice | None = None) -> None:
        """Grant purposes by participant, in one transaction; each after their own notice unless one is given."""
        at = self._now()
        self._keep({who: partial(_grant, purposes, shown, at) for who, purposes in choices.items()}, at)

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
        return self.decline_many({participant_id: purposes}, shown)

    withdraw = decline  # taking consent back is the same act as refusing it, and as easy

    def decline_many(self, choices: Mapping[str, Collection[str] | None], shown: Notice | None = None) -> TakenBack:
        """Refuse or withdraw purposes by participant, everything of whom none are given, in one transaction."""
        at = self._now()
        return self._keep({who: partial(_decline, purposes, shown, at, 0) for who, purposes in choices.items()}, at)

    def withdraw_for_good(self, participant_id: str) -> TakenBack:
        """Withdraw everything with the last receipt that this key signs: nobody is left to sign it again.

        So it is signed far beyond what the leader can hold, be this store an older copy of itself, and still where a
        leader takes it that has heard of another key meanwhile (``consent.acceptance``).
        """
        at = self._now()
        return self._keep({participant_id: partial(_decline, None, None, at, EPOCHS_AHEAD // 2)}, at)

    def sign_again(self, item: StoredReceipt, last_epoch: int) -> bool:
        """Sign a choice again that the leader refused because it knows a later epoch. Part of a transaction.

        Nothing is done if a later choice has overtaken it, if it was refused for another reason, or if the epoch is not
        one that this device can have reached: a leader that lies gains nothing, and what was chosen holds here.

        Args:
            item: the refused receipt.
            last_epoch: the epoch that the leader names.

        Returns:
            Whether another receipt waits now.
        """
        participant, key = self._keyed(item.participant_id)
        keys = keys_of_participant(self._store, self._pins.leader_key, participant)
        state, receipt = self._state(participant, key), verify_receipt_of(item.jws, keys)
        if state.fault is not None or receipt.epoch != state.epoch or last_epoch < receipt.epoch:
            return False
        again = beyond(receipt, last_epoch)
        if again is None:
            _log.warning("the leader names epoch %d, which is not followed", last_epoch)
            return False
        if receipt.kind == "grant" and item.digest not in self._store.consents.made_here:
            self._store.consents.distrust(item.participant_id, BEHIND, last_epoch)
            return False
        try:
            again = replace(again, device_key=key.verify_key)
            self._store_choice(item.participant_id, key, state, again, self._now())
        except ConsentError as error:  # a grant that has ended meanwhile; a withdrawal always passes
            _log.warning("a choice cannot be signed again: %s", error)
            return False
        return True

    def sign_anew(self, participant_id: str) -> None:
        """Sign a choice that the leader has not taken again, with the key of now. Part of the change's transaction.

        The leader takes nothing but withdrawals from the key before; and one of those that it refused, because somebody
        who has that key was faster, passes under the new one.
        """
        participant, key = self._keyed(participant_id)
        state, consents = self._state(participant, key), self._store.consents
        found = [item for item in consents.receipts_of(participant_id) if item.digest == state.receipt]
        if state.fault is not None or not found or found[0].state not in {"waiting", "refused"}:
            return
        receipt = verify_receipt_of(found[0].jws, keys_of_participant(self._store, self._pins.leader_key, participant))
        if receipt.kind == "grant" and found[0].state == "refused":
            return
        again = replace(receipt, device_key=key.verify_key, epoch=state.epoch + 1)
        before = set(consents.made_here)
        try:
            self._store_choice(participant_id, key, state, again, self._now())
        except ConsentError as error:  # it has ended meanwhile
            _log.warning("a choice cannot be signed anew: %s", error)
        if found[0].digest not in before:
            consents.made_here.intersection_update(before)  # it is no choice of now because its key is

    def observe_gpc(self, participant_id: str) -> None:
        """Record that Global Privacy Control is on for this site; takes back what was granted without knowing."""
        with self._store.transaction():
            self._store.consents.guard()
            before = self.state_of(participant_id)
            if before.fault is not None:
                return  # nothing is granted that the signal could take back; the next notice tells of it if it is on
            state, row = observe_gpc(before, self._now())
            if row is not None:
                self._store.consents.append([ConsentRow(participant_id, row, state.epoch)])
                purposes = [purpose.id for purpose in PURPOSES if not _despite(state, purpose.id)]
                self._store.reports.take_back(participant_id, purposes)
                forget_unread(self._store, participant_id, state, self._now())
                if any(not held.despite_gpc for held in before.granted):
                    self._store.browsers.renew(self._store.participants.get(participant_id).person)

    def _keep(self, choices: Mapping[str, Callable[[ConsentState], Receipt]], at: int) -> TakenBack:
        taken: TakenBack = []
        with self._store.transaction():  # states are read in it: no other process records a choice in between
            self._store.consents.guard()
            for participant_id, choose in choices.items():
                participant, key = self._keyed(participant_id)
                state = self._restarted(participant_id, self._state(participant, key), at)
                taken += self._store_choice(participant_id, key, state, choose(state), at)
        return taken

    def _restarted(self, participant_id: str, state: ConsentState, at: int) -> ConsentState:
        """The ledger that a choice is added to: a faulty one begins anew, with everything off."""
        if state.fault is None:
            return state
        state, row = restart(state, at)
        self._store.consents.append([ConsentRow(participant_id, row, state.epoch)])
        return state

    def _store_choice(
        self, participant_id: str, key: SigningKey, state: ConsentState, receipt: Receipt, at: int
    ) -> TakenBack:
        jws = sign_receipt(key, receipt)
        after, row = record(state, jws, at)
        consents = self._store.consents
        consents.append([ConsentRow(participant_id, row, after.epoch)])
        if receipt.kind != "grant":
            forget_unread(self._store, participant_id, after, at)
        stored = StoredReceipt(participant_id, receipt_digest(jws), jws, None, _first_state(receipt))
        consents.add_receipts([stored], consents.moments.choose(at))
        if receipt.kind == "refusal":  # the leader does not hear of it; it may have refused the no from before
            consents.hasten(participant_id)
        ended = {held.purpose for held in state.granted} - {held.purpose for held in after.granted}
        if receipt.kind == "withdrawal":
            ended |= set(receipt.chosen)
            self._store.browsers.renew(self._store.participants.get(participant_id).person)
        return self._store.reports.take_back(participant_id, ended)

    def _keyed(self, participant_id: str) -> tuple[ParticipantRecord, SigningKey]:
        participant = self._store.participants.get(participant_id)
        return participant, SigningKey(participant.seed)

    def _state(self, participant: ParticipantRecord, key: SigningKey) -> ConsentState:
        return consent_of(self._store, self._pins.leader_key, participant, key)

    def _now(self) -> int:
        return self._clock.now_ms() // 1_000


def _grant(purposes: Collection[str], shown: Notice | None, at: int, state: ConsentState) -> Receipt:
    return grant(state, purposes, notice=shown or notice_for(state), issued_at=at)


def _decline(
    purposes: Collection[str] | None, shown: Notice | None, at: int, ahead: int, state: ConsentState
) -> Receipt:
    shown, chosen = shown or notice_for(state), everything(state) if purposes is None else purposes
    return decline(state, chosen, notice=shown, issued_at=at, epoch_after=state.epoch + ahead)


def _first_state(receipt: Receipt) -> ReceiptState:
    return "home" if receipt.kind == "refusal" else "waiting"


def _despite(state: ConsentState, purpose: str) -> bool:
    held = state.grant_of(purpose)
    return held is not None and held.despite_gpc
