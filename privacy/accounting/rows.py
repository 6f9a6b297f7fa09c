"""Charges and the hash-chained rows that keep them.

A row's body has one fixed binary form: it is hashed 20,000 times a round where a process speaks for that many devices,
and canonical JSON costs several times the rest of a charge. All integers big endian::

    1   version (1)              8   rdp (float64)
    8   index                    8   consent epoch
    32  digest of the row before 1   kind of event: 1 sum, 2 local, 3 carried
    8   signed time, seconds     8   noise multiplier (float64); carried: lifetime before
    8   monotonic time (float64) 8   sampling rate (float64); carried: 0
    8   round                    8   count; carried: 0
    then study, purpose, approval: each 2 bytes of length, then UTF-8
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from privacy.accounting.errors import AccountingError, ChargeInvalid
from privacy.accounting.events import CarriedEvent, LocalEvent, SumEvent
from privacy.accounting.times import Times
from privacy.crypto.canonical import digest

ROW_VERSION = 1
DIGEST_BYTES = 32
_FIXED = struct.Struct(">BQ32sQdQdQBddQ")
_LENGTH = struct.Struct(">H")
_MAXIMUM_TEXT_BYTES = 1_024
_MAXIMUM_INTEGER = 2**63
_SUM, _LOCAL, _CARRIED = 1, 2, 3
CARRIED_STUDY = "(carried)"
"""The study named in rows that stand for spend whose releases are not in this ledger."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one round of one study costs, and on whose word.

    Attributes:
        study: the study's id.
        round: the round, from 0.
        purpose: the consented purpose that the study serves.
        event: what is to happen.
        rdp: the event's Renyi divergence at the contract's order, nats, in [0, inf]: ``rdp(event, contract.order)``.
        approval: the officer's approval (its digest or id); empty where there is none.
        consent_epoch: the consent epoch under which it happens, from 0.

    Raises:
        ChargeInvalid: a figure or text is outside its range.
    """

    study: str
    round: int
    purpose: str
    event: SumEvent | LocalEvent | CarriedEvent
    rdp: float
    approval: str
    consent_epoch: int

    def __post_init__(self) -> None:
        if not self.rdp >= 0:  # false for NaN too; a negative charge would mint budget
            raise ChargeInvalid(f"expected rdp of at least 0, got {self.rdp!r}")
        for name, number in (("round", self.round), ("consent_epoch", self.consent_epoch)):
            if type(number) is not int or not 0 <= number < _MAXIMUM_INTEGER:
                raise ChargeInvalid(f"expected an integer {name} in [0, 2^63), got {number!r}")
        if not self.study:
            raise ChargeInvalid("expected a study's id, got an empty text")
        if (self.study == CARRIED_STUDY) != isinstance(self.event, CarriedEvent):
            raise ChargeInvalid(f"expected study {CARRIED_STUDY!r} for carried spend and for nothing else")


@dataclass(frozen=True, slots=True)
class Row:
    """A charge in its place in the chain.

    Attributes:
        index: from 0, without gaps.
        previous: the digest of the row before, or the ledger's genesis (32 bytes).
        charge: what was charged.
        times: both clocks as they were read when it was charged.
        digest: SHA-256 of the domain and ``body()`` (32 bytes): the ledger's head after this row.
    """

    index: int
    previous: bytes
    charge: Charge
    times: Times
    digest: bytes

    @classmethod
    def follow(cls, index: int, previous: bytes, charge: Charge, times: Times) -> Row:
        """The row that stands after ``previous``, with its digest."""
        return cls(index, previous, charge, times, row_digest(_encode(index, previous, charge, times)))

    def body(self) -> bytes:
        """The canonical bytes that the digest is of; see the module's table."""
        return _encode(self.index, self.previous, self.charge, self.times)

    @classmethod
    def parse(cls, body: bytes) -> Row:
        """Read a stored body; the digest is computed, never believed.

        Raises:
            ChargeInvalid: not the canonical body of any row.
        """
        try:
            row = _decode(body)
        except (struct.error, UnicodeDecodeError, AccountingError):
            raise ChargeInvalid(f"expected the body of a ledger row, got {len(body)} other bytes") from None
        if row.body() != body:
            raise ChargeInvalid("expected the canonical body of a ledger row, got another spelling")
        return row


def row_digest(body: bytes) -> bytes:
    """SHA-256 of a row's body under the ledger's domain (32 bytes)."""
    return digest("ledger-row", body)


def _encode(index: int, previous: bytes, charge: Charge, times: Times) -> bytes:
    event = charge.event
    if isinstance(event, CarriedEvent):
        kind, figures = _CARRIED, (event.lifetime_rdp, 0.0, 0)
    else:
        kind = _SUM if isinstance(event, SumEvent) else _LOCAL
        figures = (event.noise_multiplier, event.sampling_rate, event.count)
    fixed = _FIXED.pack(
        ROW_VERSION,
        index,
        previous,
        times.signed_seconds,
        times.monotonic_seconds,
        charge.round,
        charge.rdp,
        charge.consent_epoch,
        kind,
        *figures,
    )
    return fixed + _text(charge.study) + _text(charge.purpose) + _text(charge.approval)


def _text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ChargeInvalid("expected a text without lone surrogates") from None
    if len(data) > _MAXIMUM_TEXT_BYTES:
        raise ChargeInvalid(f"expected a text of at most {_MAXIMUM_TEXT_BYTES} bytes, got {len(data)}")
    return _LENGTH.pack(len(data)) + data


def _decode(body: bytes) -> Row:
    version, index, previous, signed, monotonic, round_, rdp, epoch, kind, noise, rate, count = _FIXED.unpack_from(body)
    if version != ROW_VERSION:
        raise ChargeInvalid(f"expected a row of version {ROW_VERSION}, got {version}")
    texts, position = [], _FIXED.size
    for _ in range(3):
        (length,) = _LENGTH.unpack_from(body, position)
        position += _LENGTH.size
        texts.append(body[position : position + length].decode())
        position += length
    study, purpose, approval = texts
    charge = Charge(study, round_, purpose, _event(kind, noise, rate, count), rdp, approval, epoch)
    return Row(index, previous, charge, Times(signed, monotonic), row_digest(body))


def _event(kind: int, noise: float, rate: float, count: int) -> SumEvent | LocalEvent | CarriedEvent:
    if kind == _SUM:
        return SumEvent(noise, rate, count)
    if kind == _LOCAL:
        return LocalEvent(noise, rate, count)
    if kind == _CARRIED:
        return CarriedEvent(noise)
    raise ChargeInvalid(f"expected an event of kind 1, 2 or 3, got {kind}")
