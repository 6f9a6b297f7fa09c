"""Delivering choices: both services hear of a withdrawal as soon as they answer, and what they answer is checked.

The leader hears by the signed receipts (it deletes what it holds of open rounds), the helper directly, with the tokens
that the seals commit to, for a leader that does not. Neither is waited for before the other hears. What they sign is
verified and kept with the contribution that it is about; what does not verify is no confirmation. A withdrawal that
the leader refuses is sent again until it has confirmed it; so is one that an erasure overtook, from the outbox, where
it waits without its person.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from client_agent.clocks import Clock
from client_agent.confirmations import read_removal, read_withdrawn
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.consenting import ConsentKeeper, TakenBack
from client_agent.enrolment import Pins
from client_agent.errors import NotEnrolled
from client_agent.rotation import go_on
from client_agent.standing import keys_of_participant
from client_agent.store import AgentStore, Farewell, StoredReceipt
from client_agent.store.consents import ConsentRow, ReceiptState
from client_agent.store.refusals import due_after
from client_agent.store.reports import TakenReport
from consent import ConsentError, confirm, receipt_digest, verify_countersignature, verify_receipt_of
from models.wire.enrolment import BATCH_MAXIMUM, ReceiptResult, SubmittedReceipt
from models.wire.message import to_base64
from models.wire.problems import ProblemError, problem_code
from models.wire.rounds import SealedWithdrawal, WithdrawalAnswer, WithdrawalNotice

_log = logging.getLogger(__name__)
_AGAIN = 3
"""How often a choice is signed again in one delivery: once does for an honest leader, and a lying one gains nothing."""


class Courier:
    """Takes what was chosen here to one leader and its helper.

    Args:
        store: the agent's store.
        pins: which leader; its key is the only one whose countersignature counts.
        clock: for the time at which a countersignature was kept.
    """

    def __init__(self, store: AgentStore, pins: Pins, clock: Clock) -> None:
        self._store = store
        self._pins = pins
        self._clock = clock
        self._keeper = ConsentKeeper(store, pins, clock)
        self._again: Counter[str] = Counter()

    def tell_both(self, leader: LeaderConnection, helper: HelperConnection) -> list[ProblemError]:
        """Tell the leader and the helper at the same time; what could not be delivered waits in the store.

        Returns:
            The problems that there were: with none, both have heard everything.
        """
        problems = []
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="delivering") as beside:
            for told in [beside.submit(self.tell_helper, helper), beside.submit(self.deliver, leader)]:
                try:
                    told.result()
                except ProblemError as problem:
                    problems.append(problem)
        return problems

    def deliver(self, leader: LeaderConnection) -> int:
        """Send waiting receipts, 256 a request; verify and keep the countersignatures. Returns how many are confirmed.

        Receipts of people whose enrolment the leader has not answered wait, and hold nobody else's up.

        Raises:
            ProblemError: the leader cannot be reached; what waits is sent by a later call.
        """
        confirmed = 0
        self._again.clear()
        go_on(self._store, leader, self._pins, self._clock)
        while True:
            with self._store.transaction():  # together: another process may erase the participants
                waiting = self._store.consents.deliverable(BATCH_MAXIMUM, self._now())
                devices = [self._device_id(item.participant_id) for item in waiting]
            if not waiting:
                return confirmed + self._deliver_farewells(leader)
            results = _submit(leader, [(name, item.jws) for name, item in zip(devices, waiting, strict=True)])
            self._keep_removals(list(zip(devices, waiting, results, strict=True)))
            confirmed += self._settle(waiting, results)

    def tell_helper(self, helper: HelperConnection, taken_back: TakenBack | None = None) -> int:
        """Show the helper seals and tokens of reports that were taken back.

        Args:
            helper: connection to the helper.
            taken_back: which; all that it has not heard of unless said.

        Returns:
            How many it heard of.

        Raises:
            ProblemError: the helper cannot be reached, or refuses a notice; what it has not heard waits, and holds no
                other notice up. The leader's deletion stands all the same.
        """
        notices = self._store.reports.taken_back() if taken_back is None else taken_back
        heard: list[tuple[TakenReport, WithdrawalAnswer | None]] = []
        problem: ProblemError | None = None
        for taken in notices:
            try:
                heard.append((taken, self._show(helper, taken)))
            except ProblemError as error:
                if error.code == "report-invalid":  # the helper's key of the round is another one by now
                    heard.append((taken, None))
                    continue
                problem = error
                if error.code == "helper-unavailable":
                    break
        with self._store.transaction():
            for taken, answer in heard:
                if answer is not None and answer.confirmation is not None:
                    self._store.contributions.note_confirmation(taken.report_id, answer.status, answer.confirmation)
            self._store.reports.told(taken.report_id for taken, _ in heard)
        if problem is not None:
            raise problem
        return len(heard)

    def _show(self, helper: HelperConnection, taken: TakenReport) -> WithdrawalAnswer:
        """Show the helper one report, and check what it signs; the old form, without a seal, gets no signed word."""
        answer = helper.withdraw(_notice(taken))
        if not taken.seal:
            return WithdrawalAnswer(status=answer.status)
        if answer.confirmation is None:
            raise ProblemError("bad-signature", "expected the helper's signed word on a withdrawal, got none")
        word = read_withdrawn(
            answer.confirmation, self._pins.helper_key, taken.study_hash, taken.round, taken.report_id
        )
        return WithdrawalAnswer(status=word.outcome, confirmation=answer.confirmation)

    def _keep_removals(self, answers: Sequence[tuple[bytes, StoredReceipt, ReceiptResult]]) -> None:
        """Keep what the leader signed to have taken out; a word that does not verify is left out."""
        with self._store.transaction():
            for device_id, item, result in answers:
                if result.removal is not None:
                    self._keep_removal(device_id, item, result.removal)

    def _keep_removal(self, device_id: bytes, item: StoredReceipt, removal: str) -> None:
        try:
            word = read_removal(removal, self._pins.leader_key, device_id, item.digest)
        except ProblemError as problem:
            _log.warning("no confirmation of what the leader took out: %s", problem)
            return
        said = {(bytes.fromhex(r.study_hash), r.round): r.report_id for r in word.reports}
        mine = self._store.contributions.rounds_of(item.participant_id)
        # "None had come" is no word on this one: a leader that had taken it in could say that as well.
        gone = [(study, number) for study, number, name in mine if said.get((study, number)) == name.hex()]
        self._store.contributions.note_removal(item.participant_id, gone, removal)

    def _deliver_farewells(self, leader: LeaderConnection) -> int:
        """Send what erased people left behind. What the leader refuses is sent again, later and later."""
        confirmed, last, key, now = 0, 0, self._pins.leader_key.raw, self._now()
        problem: ProblemError | None = None
        while waiting := self._store.outbox.waiting(key, now, last, BATCH_MAXIMUM):
            last = waiting[-1].sequence
            results = _submit(leader, [(item.device_id, item.jws) for item in waiting])
            done, unsettled = self._settle_farewells(waiting, results)
            confirmed, problem = confirmed + done, problem or unsettled
        if problem is not None:
            raise problem
        return confirmed

    def _settle_farewells(
        self, tried: Sequence[Farewell], results: Sequence[ReceiptResult]
    ) -> tuple[int, ProblemError | None]:
        """How many are confirmed, and a problem that another attempt may overcome."""
        done: list[int] = []
        refused: list[tuple[int, int]] = []
        problem: ProblemError | None = None
        for item, result in zip(tried, results, strict=True):
            if result.countersignature is not None:
                self._check(item.jws, result.countersignature)
                done.append(item.sequence)
            elif (passing := _passing(result)) is not None:
                problem = passing
            else:
                refused.append((item.sequence, due_after(item.refusals, self._now())))
        with self._store.transaction():
            self._store.outbox.confirmed(done)
            self._store.outbox.defer(refused)
        return len(done), problem

    def _check(self, jws: str, countersignature: str) -> None:
        try:
            confirmed = verify_countersignature(countersignature, self._pins.leader_key)
        except ConsentError as error:
            raise ProblemError("bad-signature", str(error)) from None
        if confirmed.receipt != receipt_digest(jws):
            raise ProblemError("bad-signature", "expected a confirmation of this choice, got another's")

    def _settle(self, waiting: Sequence[StoredReceipt], results: Sequence[ReceiptResult]) -> int:
        """Keep what the leader answered, in one transaction: no other process records a choice in between."""
        settled: list[tuple[str, bytes, str | None, ReceiptState]] = []
        problem: ProblemError | None = None
        with self._store.transaction():
            for item, result in zip(waiting, results, strict=True):
                if result.countersignature is not None:
                    try:
                        self._confirm(item, result.countersignature)
                    except ProblemError as bad:  # no confirmation; it holds nobody else's up
                        problem = bad
                        continue
                    settled.append((item.participant_id, item.digest, result.countersignature, "confirmed"))
                elif (passing := _passing(result)) is not None:
                    problem = passing
                elif self._stays_refused(item, result.last_epoch):
                    settled.append((item.participant_id, item.digest, None, "refused"))
                else:
                    self._store.consents.defer(item, due_after(item.refusals, self._now()))
            self._store.consents.settle(settled)
        if problem is not None:
            raise problem
        return sum(state == "confirmed" for _, _, _, state in settled)

    def _stays_refused(self, item: StoredReceipt, last_epoch: int | None) -> bool:
        """Whether a refused choice is not sent again: it was a grant, or it was signed anew, or its person is gone.

        A choice that was refused because the leader is further is signed again beyond; the next turn of ``deliver``
        sends it. A withdrawal that was refused for anything else has to arrive all the same.
        """
        if not self._store.participants.has(item.participant_id):
            return True
        record = self._store.participants.get(item.participant_id)
        try:
            kind = verify_receipt_of(item.jws, keys_of_participant(self._store, self._pins.leader_key, record)).kind
        except ConsentError:  # it was edited here: nobody will ever take it, and it holds nobody else's up
            return True
        self._again[item.participant_id] += 1
        if self._again[item.participant_id] > _AGAIN or last_epoch is None:
            return kind != "withdrawal"
        return self._keeper.sign_again(item, last_epoch) or kind != "withdrawal"

    def _confirm(self, item: StoredReceipt, countersignature: str) -> None:
        """Append the row that keeps a countersignature, unless a later choice, or an erasure, has overtaken it.

        Raises:
            ProblemError: ``bad-signature``: it does not confirm this choice, whether that was overtaken or not.
        """
        self._check(item.jws, countersignature)
        try:
            state = self._keeper.state_of(item.participant_id)
        except NotEnrolled:
            return
        if state.receipt != item.digest or state.countersigned or state.fault is not None:
            return
        try:
            after, row = confirm(state, countersignature, self._now())
        except ConsentError as error:
            raise ProblemError("bad-signature", str(error)) from None
        self._store.consents.append([ConsentRow(item.participant_id, row, after.epoch)])

    def _now(self) -> int:
        return self._clock.now_ms() // 1_000

    def _device_id(self, participant_id: str) -> bytes:
        device_id = self._store.participants.get(participant_id).device_id
        if device_id is None:
            raise NotEnrolled("expected an enrolled participant; enrol first")
        return device_id


def _notice(taken: TakenReport) -> SealedWithdrawal | WithdrawalNotice:
    if not taken.seal:
        return WithdrawalNotice(report_id=taken.report_id.hex(), token=taken.token.hex())
    return SealedWithdrawal(
        study_hash=taken.study_hash.hex(), round=taken.round, seal=to_base64(taken.seal), token=taken.token.hex()
    )


def _passing(result: ReceiptResult) -> ProblemError | None:
    """What kept the leader from answering for good: another attempt may overcome it. None for an answer."""
    if result.problem is None:
        return None
    problem = ProblemError(problem_code(result.problem), result.problem.detail)
    return problem if problem.problem_type.retry else None


def _submit(leader: LeaderConnection, receipts: Sequence[tuple[bytes, str]]) -> Sequence[ReceiptResult]:
    """Send (device id, signed receipt) of up to 256 choices; as many results."""
    results = leader.submit_receipts([SubmittedReceipt(device_id=name.hex(), receipt=jws) for name, jws in receipts])
    if len(results) != len(receipts):
        raise ProblemError("malformed", f"expected {len(receipts)} results, got {len(results)}")
    return results
