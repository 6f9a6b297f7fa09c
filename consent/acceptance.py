"""The leader's core: take in a receipt and confirm it, or refuse it with a code. Pure; the service is a shell."""

from __future__ import annotations

from dataclasses import dataclass

from consent.choices import EPOCHS_AHEAD
from consent.countersignatures import countersign
from consent.errors import LedgerFaulty, ReceiptInvalid, RefusalCode
from consent.ledger import record
from consent.notices import notice_hashes
from consent.purposes import PURPOSES
from consent.receipts import Receipt, receipt_digest
from consent.registry import Registry
from consent.rotations import verify_receipt_of
from consent.rows import Row
from consent.state import ConsentState
from privacy.crypto import SigningKey


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receipt is in force.

    Attributes:
        state: what stands now for this device, site and person.
        row: to be stored before the countersignature is sent; None if this very receipt was stored before.
        countersignature: JWS for the device.
        receipt: what it says.
    """

    state: ConsentState
    row: Row | None
    countersignature: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Refused:
    """The receipt changes nothing.

    Attributes:
        code: why, for machines.
        reason: why, for people.
        last_epoch: the epoch that stands, so that a restored device can sign again beyond it.
    """

    code: RefusalCode
    reason: str
    last_epoch: int


def accept(
    state: ConsentState, receipt_jws: str, leader: SigningKey, now: int, registry: Registry = PURPOSES
) -> Accepted | Refused:
    """Verify a receipt and countersign it; a retry of the last receipt gets identical bytes. Run by the leader.

    A withdrawal is refused for a forged signature, other parties or an old epoch only: neither a clock, a notice nor a
    version may stand in its way. One that the device's key of now signed is old only beside what that very key signed.
    A grant, and what a key of before signed, may lie ``EPOCHS_AHEAD`` ahead at most: as far as a device follows.

    Args:
        state: what stands for this device, site and person, from ``replay`` of the leader's rows.
        receipt_jws: what the device sent.
        leader: the leader's key, the one in ``state.parties``.
        now: Unix seconds by the leader's clock.
        registry: the purposes as installed.

    Raises:
        ValueError: the key is not the leader's of this state (local misuse).
    """
    if leader.verify_key != state.parties.leader_key:
        raise ValueError(f"expected key {state.parties.leader_key.fingerprint}, got {leader.verify_key.fingerprint}")
    try:
        return _accepted(state, receipt_jws, leader, now, registry)
    except ReceiptInvalid as refused:
        return Refused(refused.code, refused.reason, state.epoch)
    except LedgerFaulty as faulty:
        return Refused("ledger_faulty", str(faulty), state.epoch)


def _accepted(state: ConsentState, jws: str, leader: SigningKey, now: int, registry: Registry) -> Accepted:
    receipt = verify_receipt_of(jws, (state.parties.device_key, *state.parties.former_keys))
    if receipt.kind == "refusal":
        raise ReceiptInvalid("refusal_stays_home", "expected a grant or a withdrawal; a refusal is never sent")
    if state.receipt == receipt_digest(jws) and state.fault is None:
        return Accepted(state, None, countersign(leader, jws, state.recorded_at), receipt)
    _check_distance(state, receipt)
    after, row = record(state, jws, now, registry)
    if receipt.kind == "grant" and receipt.notice_hash not in notice_hashes(receipt.site, receipt.language, registry):
        raise ReceiptInvalid("notice_unknown", f"expected the present notice in {receipt.language!r}, got another")
    return Accepted(after, row, countersign(leader, jws, now), receipt)


def _check_distance(state: ConsentState, receipt: Receipt) -> None:
    """Keep epochs within what a device follows (``choices.beyond``), whoever else signs in its name.

    A key of before is held to the epoch of the change, however many receipts it signs, so that the leader's epoch stays
    one that the owner's device believes. The present key's withdrawal is held to none: a device that was told too large
    an epoch still has to be heard.
    """
    own = receipt.device_key == state.parties.device_key
    if own and receipt.kind == "withdrawal":
        return
    last = (state.epoch if own else state.turned_epoch) + EPOCHS_AHEAD
    if receipt.epoch > last:
        raise ReceiptInvalid("epoch_too_far", f"expected an epoch up to {last}, got {receipt.epoch}")
