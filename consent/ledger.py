"""The consent ledger: theory of operation.

A ledger is a chain of rows; a state is what follows from them. ``record`` and its siblings take a state and an event
and return the next state and the row to store; ``replay`` reads stored rows back and arrives at the same state. No
clock is read, nothing is written: the caller stores the row and ``state.mirror`` durably, binds the mirror to a place
that no copy of the store brings back (the keyring), and only then acts on the state. The same code keeps the device's
ledger and the leader's copy of what it countersigned.

The order of choices is the order of rows and epochs, never the order of clock times: turning a clock moves no choice
before another.

Anything that does not verify ends in a state with a ``fault`` and nothing granted. Rows after the fault are kept by
the caller as evidence; ``restart`` opens the chain again, with everything off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from consent.countersignatures import verify_countersignature
from consent.errors import ConsentError, CountersignatureInvalid, LedgerFaulty, ReceiptInvalid, RotationInvalid
from consent.instants import CLOCK_SKEW_SECONDS
from consent.purposes import PURPOSES
from consent.receipts import Receipt, receipt_digest
from consent.registry import Registry
from consent.rotations import first_key, read_rotation, verify_receipt_under
from consent.rows import Row, RowKind
from consent.state import ConsentState, Declined, Grant, Mirror, Parties
from privacy.crypto import canonical_json, parse_canonical

_LATEST_ROW_SECONDS: Final = 2**53


def open_ledger(parties: Parties) -> ConsentState:
    """An empty ledger: nothing granted, nothing declined."""
    return ConsentState(parties, head=parties.genesis())


def record(state: ConsentState, receipt_jws: str, at: int, registry: Registry = PURPOSES) -> tuple[ConsentState, Row]:
    """Check a receipt against the state and record it. Run by the device, and by the leader within ``accept``.

    Args:
        state: what stood before.
        receipt_jws: the signed receipt.
        at: Unix seconds now.
        registry: the purposes as installed; a grant must name their present versions.

    Raises:
        ReceiptInvalid: forged, edited, replayed, expired, future-dated, or for other parties or purposes.
        LedgerFaulty: the ledger does not verify; ``restart`` it first.
    """
    receipt = verify_receipt_under(receipt_jws, state.parties)
    if receipt.kind == "grant":
        check_versions(receipt, registry)
    return _append(state, "receipt", receipt_jws, at)


def confirm(state: ConsentState, countersignature_jws: str, at: int) -> tuple[ConsentState, Row]:
    """Record the leader's confirmation of the last receipt. Run by the device.

    Raises:
        CountersignatureInvalid: forged, or it confirms another receipt.
        LedgerFaulty: the ledger does not verify.
    """
    return _append(state, "countersignature", countersignature_jws, at)


def observe_gpc(state: ConsentState, at: int) -> tuple[ConsentState, Row | None]:
    """Record that Global Privacy Control is on for this site; the row is None if that was known. Run by the device.

    What was granted before without knowledge of the signal stops to hold, until the person chooses again.
    """
    return (state, None) if state.gpc_seen else _append(state, "gpc", "", at)


def rotate(state: ConsentState, rotation: str, at: int) -> tuple[ConsentState, Row]:
    """Record a change of the device's key (``rotations.make_rotation``). Run by device and leader.

    Consent goes on: what stands, and its epoch, stay. What follows is signed by the new key.

    Raises:
        RotationInvalid: forged, for another leader, or from another key than the device's.
        LedgerFaulty: the ledger does not verify.
    """
    return _append(state, "rotation", rotation, at)


def restart(state: ConsentState, at: int) -> tuple[ConsentState, Row]:
    """Open a faulty ledger again after its last row that verifies, with everything off. Run by the device.

    Raises:
        LedgerFaulty: the ledger has no fault.
    """
    if state.fault is None:
        raise LedgerFaulty("expected a ledger with a fault to restart")
    content = canonical_json({"epoch": state.epoch, "reason": state.fault}).decode("utf-8")
    return _append(replace(state, fault=None), "restart", content, at)


def replay(parties: Parties, rows: Iterable[Row | bytes], mirror: Mirror | None = None) -> ConsentState:
    """Verify a stored ledger and return what stands; never raises. Run at start-up, by device and leader.

    Args:
        parties: between whom, with the device's key of now: the chain begins with the genesis of the first, and each
            change from one to the next is a row.
        rows: stored rows in order, parsed or as bytes.
        mirror: what is remembered outside of the ledger. Its head must be the chain's last: a ledger that was truncated
            or restored from an older copy ends before it, one that somebody extended ends after it. None where there
            is no mirror, and then neither is noticed.

    Returns:
        The state; with a ``fault`` and nothing granted if anything does not verify.
    """
    epoch, rows = mirror.epoch if mirror else 0, list(rows)
    try:
        state = open_ledger(replace(parties, device_key=first_key(parties, rows)))
    except RotationInvalid as error:
        return distrust(open_ledger(parties), str(error), epoch)
    for stored in rows:
        try:
            state = _advance(state, stored if isinstance(stored, Row) else Row.parse(stored))
        except ConsentError as error:
            return _distrusted(parties, state, f"row {state.length}: {error}", epoch)
    if state.parties.device_key != parties.device_key:
        return _distrusted(parties, state, "its rows end under another key than the device's", epoch)
    if mirror is not None and mirror.head != state.head:
        return distrust(state, "its last row is not the one that is remembered: truncated, or another copy", epoch)
    return state


def distrust(state: ConsentState, reason: str, epoch: int = 0) -> ConsentState:
    """A ledger that is not to be believed, whatever its rows say: a fault, and nothing granted. Run by the device.

    Args:
        state: what the rows say.
        reason: why it does not count; goes into the row that restarts the ledger.
        epoch: the largest epoch that is remembered. It outlives lost rows: a receipt from one of them, put in again,
            is older than it and refused.
    """
    return replace(state, granted=(), epoch=max(state.epoch, epoch), fault=reason)


def _distrusted(parties: Parties, state: ConsentState, reason: str, epoch: int) -> ConsentState:
    """As ``distrust``; where the fault hides a change of key, nothing of the chain can be gone on with."""
    if state.parties.device_key != parties.device_key:
        return distrust(open_ledger(parties), reason, max(epoch, state.epoch))
    return distrust(state, reason, epoch)


def check_versions(receipt: Receipt, registry: Registry) -> None:
    """Insist that everything chosen is declared, in its present version.

    Raises:
        ReceiptInvalid: with code ``purpose_unknown`` or ``purpose_version``.
    """
    versions = dict(receipt.purpose_versions)
    for chosen in receipt.chosen:
        purpose = registry.find(chosen)
        if purpose is None:
            raise ReceiptInvalid("purpose_unknown", f"purpose {chosen!r} is not declared")
        if versions[chosen] != purpose.version:
            raise ReceiptInvalid(
                "purpose_version", f"expected version {purpose.version} of {chosen!r}, got {versions[chosen]}"
            )


def _append(state: ConsentState, kind: RowKind, content: str, at: int) -> tuple[ConsentState, Row]:
    if state.fault is not None:
        raise LedgerFaulty(f"the ledger does not verify ({state.fault}); expected a restart")
    row = Row(state.length, state.head, kind, content, at)
    return _advance(state, row), row


def _advance(state: ConsentState, row: Row) -> ConsentState:
    """The one step that recording and replaying share."""
    if row.index != state.length or row.previous != state.head:
        raise LedgerFaulty(f"expected row {state.length} of this chain, got row {row.index} of another")
    if not 0 <= row.at <= _LATEST_ROW_SECONDS:
        raise LedgerFaulty("expected a time in Unix seconds")
    if row.kind == "receipt":
        state = _with_receipt(state, row)
    elif row.kind == "countersignature":
        state = _with_countersignature(state, row)
    elif row.kind == "gpc":
        state = replace(state, gpc_observed=True)
    elif row.kind == "rotation":
        state = _with_rotation(state, row)
    else:
        state = _restarted(state, row)
    return replace(state, head=row.digest, length=state.length + 1)


def _with_receipt(state: ConsentState, row: Row) -> ConsentState:
    receipt = verify_receipt_under(row.content, state.parties)
    _check_parties(state.parties, receipt)
    _check_epoch(state, receipt)
    _check_times(receipt, row.at)
    name = receipt_digest(row.content)
    return replace(
        state,
        epoch=max(state.epoch, receipt.epoch),
        signed_epoch=receipt.epoch if receipt.device_key == state.parties.device_key else state.signed_epoch,
        granted=_standing(state, receipt, name),
        declined=_declined(state, receipt, name),
        gpc_known=receipt.gpc or (state.gpc_known and receipt.kind != "grant"),
        receipt=name,
        recorded_at=row.at,
        countersigned=False,
        behind=state.behind and receipt.kind == "refusal",  # any other receipt tells the leader all that stands
    )


def _with_countersignature(state: ConsentState, row: Row) -> ConsentState:
    confirmed = verify_countersignature(row.content, state.parties.leader_key)
    if confirmed.receipt != state.receipt:
        raise CountersignatureInvalid("expected a confirmation of the last receipt, got one of another")
    return replace(state, countersigned=True)


def _with_rotation(state: ConsentState, row: Row) -> ConsentState:
    rotation = read_rotation(row.content, state.parties.leader_key)
    if rotation.old != state.parties.device_key:
        raise RotationInvalid(f"expected a change from key {state.parties.device_key.fingerprint}, got another's")
    parties = state.parties.with_key(rotation.new)
    return replace(state, parties=parties, signed_epoch=0, turned_epoch=state.epoch)


def _restarted(state: ConsentState, row: Row) -> ConsentState:
    try:
        epoch = parse_canonical(row.content.encode("utf-8"))["epoch"]
    except (ValueError, TypeError, KeyError, RecursionError):
        epoch = None
    if type(epoch) is not int or epoch < state.epoch:
        raise LedgerFaulty(f"expected a restart in epoch {state.epoch} or later")
    return replace(state, granted=(), declined=(), epoch=epoch, signed_epoch=epoch, behind=True)


def _check_parties(parties: Parties, receipt: Receipt) -> None:
    if receipt.leader != parties.leader_key.fingerprint:
        raise ReceiptInvalid(
            "wrong_audience", f"expected leader {parties.leader_key.fingerprint}, got {receipt.leader}"
        )
    if receipt.site != parties.site:
        raise ReceiptInvalid("wrong_site", f"expected a receipt for {parties.site!r}")
    if receipt.person != parties.person:
        raise ReceiptInvalid("wrong_person", "expected a receipt of this person, got another's")


def _check_epoch(state: ConsentState, receipt: Receipt) -> None:
    if receipt.kind != "refusal":
        # What an earlier key signed, whoever has that by now, never makes the present key's withdrawal come too late.
        own_no = receipt.kind == "withdrawal" and receipt.device_key == state.parties.device_key
        last = state.signed_epoch if own_no else state.epoch
        if receipt.epoch <= last:
            raise ReceiptInvalid("epoch_not_after", f"expected an epoch after {last}, got {receipt.epoch}")
        return
    if receipt.epoch != state.epoch:
        raise ReceiptInvalid("epoch_not_after", f"expected a refusal in epoch {state.epoch}, got {receipt.epoch}")
    granted = [purpose for purpose in receipt.chosen if state.grant_of(purpose)]
    if granted:
        raise ReceiptInvalid("refusal_of_granted", f"expected a withdrawal of {granted}, got a refusal")


def _check_times(receipt: Receipt, at: int) -> None:
    # Only a grant depends on clocks: taking consent back must never fail because a clock is wrong.
    if receipt.kind != "grant":
        return
    if receipt.issued_at > at + CLOCK_SKEW_SECONDS:
        raise ReceiptInvalid("issued_in_future", f"issued {receipt.issued_at - at} s after the present")
    if at >= receipt.expires_at:
        raise ReceiptInvalid("expired", f"expired {at - receipt.expires_at} s ago")


def _standing(state: ConsentState, receipt: Receipt, name: bytes) -> tuple[Grant, ...]:
    """What stands after a receipt: older grants that it still lists, and what a grant chose. Nothing else."""
    versions = dict(receipt.purpose_versions)
    chosen, listed = set(receipt.chosen), set(receipt.granted)
    kept = [g for g in state.granted if g.purpose in listed - chosen and versions[g.purpose] == g.version]
    new = (
        [Grant(p, versions[p], name, receipt.issued_at, receipt.expires_at, receipt.gpc) for p in receipt.chosen]
        if receipt.kind == "grant"
        else []
    )
    return tuple(sorted((*kept, *new), key=lambda grant: grant.purpose))


def _declined(state: ConsentState, receipt: Receipt, name: bytes) -> tuple[Declined, ...]:
    versions = dict(receipt.purpose_versions)
    rest = [refused for refused in state.declined if refused.purpose not in receipt.chosen]
    new = [] if receipt.kind == "grant" else [Declined(purpose, versions[purpose], name) for purpose in receipt.chosen]
    return tuple(sorted((*rest, *new), key=lambda refused: refused.purpose))
