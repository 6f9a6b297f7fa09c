"""A device's contribution to one round: theory of operation. Sans-I/O; the shell stores and sends.

::

    reserve   consent? -> slot -> charge -> null report    the shell makes all of this durable, then
    compute   in a process of its own, for heads and tails alike: nobody knows yet which it will be
    offer     at the slot, a real report of what is ready  made for heads and tails alike, and laid beside the null
    settle    the coin, once: on heads the real report stands, on tails the null; the shell fixes and sends

The slot is chosen before anything is known about the answer, heads and tails are charged alike, and null and real
reports are of one size and made by one function. Until the slot there is no coin that anything could depend on, and
at the slot both reports are there: so neither the leader, the helper nor the network learns the coin, be it by size,
by time or by what the machine has to do. A simulation that speaks for thousands may ``flip`` first and compute for
heads alone (``replace_null``): that hides the coin in the bytes only.

A device over its budget sends nulls and never flips. A device without consent makes nothing at all. A restart finds a
null that may no longer be replaced, so neither coin nor seed is ever drawn twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import ReportFixed
from client_agent.federation.budgets import Budget
from client_agent.federation.prices import RoundPrice
from client_agent.federation.trust import VerifiedRound
from client_agent.store import CONTRACT, LedgerRow, StoredReport
from client_agent.store.reports import RESERVED
from consent import NO_SIGNALS, ConsentState, Signals, decide
from consent.signals import Subject
from models.wire.frames import ReportFrame, encode_report
from models.wire.studies import CoverageQuery, Query
from privacy.accounting import NO_QUOTAS, Charge, LedgerError, LedgerState, Quotas, Times, charge, is_charged
from privacy.crypto import SigningKey
from privacy.mechanisms import flip_coin
from privacy.secure_sum import Report, make_report

Entropy = Callable[[int], bytes]
Payment = Literal["paid", "over_budget", "over_local_budget", "unsupported", "charged_before"]
"""Why a reservation may or may not become a real report; all but ``paid`` are nulls for good."""
SEAL_GRACE_SECONDS = 3_600
"""How long after the window's end the helper may still open the seal."""
_SECRET_BYTES = 32


@dataclass(slots=True)
class Participant:
    """One person on one site, as the worker holds it.

    Attributes:
        participant_id: names it on this device.
        key: signs its reports.
        device_id: as the leader knows it (16 bytes).
        consent: what stands.
        budget: the person's, shared with the person's other participants.
        subject: who the person is; a child contributes nothing, whatever stands.
    """

    participant_id: str
    key: SigningKey
    device_id: bytes
    consent: ConsentState
    budget: Budget
    subject: Subject = "known"


@dataclass(frozen=True, slots=True)
class Slots:
    """Where in what is left of the window the send slot is drawn, uniformly.

    Attributes:
        earliest: share of the remaining window, in [0, 1]; leaves time for a real answer.
        latest: likewise, at least ``earliest``; leaves time for a retry.
    """

    earliest: float = 0.2
    latest: float = 0.9

    def draw(self, now_ms: int, closes_at_ms: int, token: bytes) -> int:
        """A slot in Unix milliseconds, from 8 random bytes."""
        left = max(0, closes_at_ms - now_ms)
        first, last = int(left * self.earliest), int(left * self.latest)
        return now_ms + first + int.from_bytes(token, "big") * (last - first + 1) // 2**64


@dataclass(slots=True)
class Reservation:
    """A participant's place in a round: first a null, perhaps replaced once. Its ``repr`` does not tell the coin.

    Attributes:
        participant: whose.
        found: the round.
        slot_ms: when it is sent.
        report: the report that stands.
        token: its withdrawal token (32 secret bytes).
        payment: whether a real report may follow.
        rows: ledger rows to be stored with the null.
        after: the budget's ledger after the charge.
        local_after: the local layer's ledger after the charge.
        granted: of the purposes that the study asks about, those allowed at this moment: what a coverage study counts.
            A choice made later changes nothing here, for heads and tails alike.
        epoch: the consent epoch that the report names, null or real: a choice made later would tell them apart.
        heads: the coin; None before it was flipped.
        real: a real report stands.
        fixed: nothing may replace the report any more.
        offered: a real report and its token, made before the coin, which decides whether they stand.
        prepared: an offer was made, if only of nothing.
    """

    participant: Participant
    found: VerifiedRound = field(repr=False)
    slot_ms: int
    report: Report = field(repr=False)
    token: bytes = field(repr=False)
    payment: Payment
    rows: tuple[LedgerRow, ...] = field(repr=False)
    after: LedgerState | None = field(repr=False)
    local_after: LedgerState | None = field(repr=False)
    epoch: int
    granted: tuple[str, ...] = field(default=(), repr=False)
    heads: bool | None = field(default=None, repr=False)
    real: bool = field(default=False, repr=False)
    fixed: bool = field(default=False, repr=False)
    offered: tuple[Report, bytes] | None = field(default=None, repr=False)
    prepared: bool = field(default=False, repr=False)

    @property
    def may_be_real(self) -> bool:
        """Whether a real report can still come to stand: before the coin of a paid charge, or on heads."""
        return self.payment == "paid" and self.heads is not False and not self.fixed

    def stored(self) -> StoredReport:
        """The report as the store keeps it."""
        return StoredReport(
            *self.found.key,
            self.participant.participant_id,
            self.report.report_id,
            self.token,
            RESERVED,
            self.slot_ms,
            self.frame(),
            self.report.seal,
        )

    def frame(self) -> bytes:
        """The bytes to send."""
        return encode_report(ReportFrame(self.participant.device_id, self.epoch, self.report))


def may_contribute(
    participant: Participant, found: VerifiedRound, now_seconds: int, signals: Signals = NO_SIGNALS
) -> bool:
    """The gate: whether this person's consent lets anything at all be sent for the study's purpose."""
    return may_send(participant, found.study.purpose, now_seconds, signals)


def may_send(participant: Participant, purpose: str, now_seconds: int, signals: Signals = NO_SIGNALS) -> bool:
    """The same gate by the purpose: it is asked again when a report leaves, be its round long forgotten here."""
    return decide("contribute", purpose, participant.consent, _of(participant, signals), now_seconds).allowed


def granted_of(
    participant: Participant, query: Query, now_seconds: int, signals: Signals = NO_SIGNALS
) -> tuple[str, ...]:
    """Of the purposes that a coverage study asks about, those for which this person would contribute now (device).

    The gate itself is asked, so a grant that expired, changed or is overruled by a signal counts as none. A question
    of another kind learns nothing: the answer is empty.
    """
    if not isinstance(query, CoverageQuery):
        return ()
    return tuple(name for name in query.purposes if may_send(participant, name, now_seconds, signals))


def _of(participant: Participant, signals: Signals) -> Signals:
    """The signals with what the household says of the person; a signal can only take consent away."""
    return signals if participant.subject == "known" else replace(signals, subject=participant.subject)


def reserve(
    participant: Participant,
    found: VerifiedRound,
    price: RoundPrice,
    local: LedgerState | None,
    *,
    times: Times,
    now_ms: int,
    slots: Slots,
    entropy: Entropy,
    signals: Signals = NO_SIGNALS,
    quotas: Quotas = NO_QUOTAS,
) -> Reservation | None:
    """Pick the slot, charge, and make the null report. Run by the device, once per participant and round.

    Args:
        participant: who; not changed here: the shell applies ``after`` once the rows are durable.
        found: the verified round.
        price: what the round costs.
        local: the ledger of the local layer, where the price has one.
        times: both clocks, for the charge.
        now_ms: Unix milliseconds.
        slots: where the slot is drawn.
        entropy: a CSPRNG.
        signals: what accompanies this moment.
        quotas: what each purpose may take of the contract; a purpose that has taken it sends nulls.

    Returns:
        The reservation, or None without consent: nothing is made, nothing is sent.
    """
    # The opening's own time, which was checked against this device's clock; not the latest signed time of all, which a
    # single lie could have put years ahead, and every grant with it behind its end.
    gate_seconds = max(now_ms, found.opening.issued_at_ms) // 1_000
    if not may_contribute(participant, found, gate_seconds, signals):
        return None
    secrets = entropy(8 + 2 * _SECRET_BYTES)
    slot_ms = slots.draw(now_ms, found.opening.closes_at_ms, secrets[:8])
    payment, rows, after, local_after = _pay(participant, found, price, local, times, quotas)
    seed, token = secrets[8 : 8 + _SECRET_BYTES], secrets[8 + _SECRET_BYTES :]
    zeros = np.zeros(found.parameters.dimension, dtype=np.int64)
    report = _report(participant, found, zeros, seed, token)
    epoch = participant.consent.epoch
    granted = granted_of(participant, found.study.query, gate_seconds, signals)
    return Reservation(participant, found, slot_ms, report, token, payment, rows, after, local_after, epoch, granted)


def flip(reservation: Reservation, entropy: Entropy) -> bool:
    """The hidden coin: heads with the study's rate. Run by the device once, after the null and the charge are durable.

    Raises:
        ReportFixed: the coin was flipped before, or the report is fixed.
    """
    if reservation.heads is not None or reservation.fixed:
        raise ReportFixed("expected a reservation whose coin was never flipped")
    rate = reservation.found.study.plan.sampling_rate
    reservation.heads = reservation.payment == "paid" and flip_coin(rate, lambda: entropy(8))
    return reservation.heads


def offer(reservation: Reservation, values: NDArray[np.int64] | None, entropy: Entropy) -> None:
    """Make the real report before the coin is flipped, with a seed and token of its own. Run by the device at the slot.

    Args:
        reservation: paid, with a coin that was not flipped.
        values: int64[d] from ``privacy.secure_sum.encode``; None where there is nothing to send: then the same is done
            with zeros, and nothing is offered.
        entropy: a CSPRNG.

    Raises:
        ReportFixed: the coin was flipped, the report is fixed, or an offer was made.
        ValuesInvalid: the values do not fit the study; the null stands.
    """
    if reservation.heads is not None or not reservation.may_be_real or reservation.prepared:
        raise ReportFixed("expected a paid reservation whose coin was never flipped")
    reservation.prepared = True
    secrets = entropy(2 * _SECRET_BYTES)
    seed, token = secrets[:_SECRET_BYTES], secrets[_SECRET_BYTES:]
    zeros = np.zeros(reservation.found.parameters.dimension, dtype=np.int64)
    shown = zeros if values is None else values
    report = _report(reservation.participant, reservation.found, shown, seed, token)
    reservation.offered = None if values is None else (report, token)


def settle(reservation: Reservation, entropy: Entropy) -> None:
    """Flip the coin of a prepared reservation, let it choose, and fix. Run by the device once, at the slot or before.

    A reservation that was not prepared stays what it is: its null, or what ``replace_null`` made of it on heads.
    """
    if reservation.prepared and reservation.heads is None:
        heads = flip(reservation, entropy)
        report, token = reservation.offered or (reservation.report, reservation.token)
        chosen = ((reservation.report, reservation.token), (report, token))[heads]
        reservation.report, reservation.token = chosen
        reservation.real = heads and reservation.offered is not None
        reservation.offered = None
    reservation.fixed = True


def replace_null(reservation: Reservation, values: NDArray[np.int64], entropy: Entropy) -> None:
    """Put the real report in the place of the null where the coin is known already: heads. Run by simulations.

    Args:
        reservation: with heads, not fixed.
        values: int64[d] from ``privacy.secure_sum.encode``.
        entropy: a CSPRNG.

    Raises:
        ReportFixed: tails, fixed, or replaced before.
        ValuesInvalid: the values do not fit the study; the null stands.
    """
    if reservation.heads is not True or reservation.fixed or reservation.real:
        raise ReportFixed("expected a reservation with heads whose null still stands")
    secrets = entropy(2 * _SECRET_BYTES)
    seed, token = secrets[:_SECRET_BYTES], secrets[_SECRET_BYTES:]
    reservation.report = _report(reservation.participant, reservation.found, values, seed, token)
    reservation.token = token
    reservation.real = True


def _report(
    participant: Participant, found: VerifiedRound, values: NDArray[np.int64], seed: bytes, token: bytes
) -> Report:
    return make_report(
        values,
        found.parameters,
        found.context,
        found.round_key,
        seed=seed,
        withdrawal_token=token,
        expires_at=found.opening.closes_at_ms // 1_000 + SEAL_GRACE_SECONDS,
        signer=participant.key,
    )


_Paid = tuple[Payment, tuple[LedgerRow, ...], LedgerState | None, LedgerState | None]


def _pay(
    participant: Participant,
    found: VerifiedRound,
    price: RoundPrice,
    local: LedgerState | None,
    times: Times,
    quotas: Quotas,
) -> _Paid:
    """Charge the contract, and the local layer where the study declares one: both or neither."""
    study, budget = found.study_hash.hex(), participant.budget
    if not found.supported:
        return "unsupported", (), None, None
    if is_charged(budget.contract, study, found.round):
        return "charged_before", (), None, None
    where = (study, found.round, found.study.purpose)
    word = (found.approval, participant.consent.epoch)
    local_after, rows = None, []
    if price.local is not None and local is not None:
        try:
            local_after, row = charge(local, Charge(*where, price.local.event, price.local.costs, *word), times)
        except LedgerError:
            return "over_local_budget", (), None, None
        rows.append(LedgerRow(budget.owner, study, row))
    try:
        item = Charge(*where, price.event, price.costs, *word)
        after, row = charge(budget.contract, item, times, quotas)
    except LedgerError:
        return "over_budget", (), None, None
    return "paid", (LedgerRow(budget.owner, CONTRACT, row), *rows), after, local_after
