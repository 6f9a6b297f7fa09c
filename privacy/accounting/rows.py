"""Charges and the hash-chained rows that keep them.

A row's body has one fixed binary form: it is hashed 20,000 times a round where a process speaks for that many devices,
and canonical JSON costs several times the rest of a charge. All integers big endian::

    1   version (2)              1   kind of event: 1 sum, 2 local, 3 carried, 4 response, 5 tree
    8   index                    8   sum, local, tree: noise multiplier; response: noise (float64); carried: 0
    32  digest of the row before 8   sum, local: sampling rate; response: buckets; tree: steps (float64); carried: 0
    8   signed time, seconds     8   count; carried: 0
    8   monotonic time (float64) 1   K, the figures of the filter's currency
    8   round                    8K  costs (float64); carried: then 8K more, the lifetime before
    8   consent epoch
    then study, purpose, approval: each 2 bytes of length, then UTF-8

Version 1 had one cost, before the consent epoch, and a carried row's one lifetime figure in the place of the noise
multiplier. Its rows are read, and replay in the chain they stand in; new rows are of version 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache

from privacy.accounting.contract import MAXIMUM_ORDERS, Costs
from privacy.accounting.errors import AccountingError, ChargeInvalid
from privacy.accounting.events import CarriedEvent, LocalEvent, ResponseEvent, SumEvent, TreeEvent
from privacy.accounting.times import Times
from privacy.crypto.canonical import digest

ROW_VERSION = 2
OLD_VERSION = 1
DIGEST_BYTES = 32
PREVIOUS = slice(9, 9 + DIGEST_BYTES)
"""Where any version's body keeps the digest of the row before."""
_FIXED = struct.Struct(">BQ32sQdQQBddQB")
_OLD_FIXED = struct.Struct(">BQ32sQdQdQBddQ")
_LENGTH = struct.Struct(">H")
_MAXIMUM_TEXT_BYTES = 1_024
_MAXIMUM_INTEGER = 2**63
_SUM, _LOCAL, _CARRIED, _RESPONSE, _TREE = 1, 2, 3, 4, 5
_HEAD_FIELDS = (("version", 1), ("index", 8), ("previous digest", 32), ("signed time", 8), ("monotonic time", 8))
_EVENT_FIELDS = (("kind of event", 1), ("event's first figure", 8), ("event's second figure", 8), ("event's count", 8))
_FIELDS = (*_HEAD_FIELDS, ("round", 8), ("consent epoch", 8), *_EVENT_FIELDS, ("number of costs", 1))
_OLD_FIELDS = (*_HEAD_FIELDS, ("round", 8), ("cost", 8), ("consent epoch", 8), *_EVENT_FIELDS)
CARRIED_STUDY = "(carried)"
"""The study named in rows that stand for spend whose releases are not in this ledger."""

ChargedEvent = SumEvent | LocalEvent | ResponseEvent | TreeEvent | CarriedEvent


@dataclass(frozen=True, slots=True)
class Charge:
    """What one round of one study costs, and on whose word.

    Attributes:
        study: the study's id.
        round: the round, from 0.
        purpose: the consented purpose that the study serves.
        event: what is to happen.
        costs: the event's figures in the currency of the contract's filter, nats, each in [0, inf]:
            ``price(event, contract)``.
        approval: the officer's approval (its digest or id); empty where there is none.
        consent_epoch: the consent epoch under which it happens, from 0.

    Raises:
        ChargeInvalid: a figure or text is outside its range.
    """

    study: str
    round: int
    purpose: str
    event: ChargedEvent
    costs: Costs
    approval: str
    consent_epoch: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.costs) <= MAXIMUM_ORDERS:
            raise ChargeInvalid(f"expected 1 to {MAXIMUM_ORDERS} costs, got {len(self.costs)}")
        for cost in self.costs:
            if not cost >= 0:  # false for NaN too; a negative charge would mint budget
                raise ChargeInvalid(f"expected costs of at least 0, got {self.costs!r}")
        for name, number in (("round", self.round), ("consent_epoch", self.consent_epoch)):
            if type(number) is not int or not 0 <= number < _MAXIMUM_INTEGER:
                raise ChargeInvalid(f"expected an integer {name} in [0, 2^63), got {number!r}")
        if not self.study:
            raise ChargeInvalid("expected a study's id, got an empty text")
        if (self.study == CARRIED_STUDY) != isinstance(self.event, CarriedEvent):
            raise ChargeInvalid(f"expected study {CARRIED_STUDY!r} for carried spend and for nothing else")
        if isinstance(self.event, CarriedEvent) and len(self.event.lifetime) != len(self.costs):
            raise ChargeInvalid(f"expected {len(self.costs)} lifetime figures, got {len(self.event.lifetime)}")


@dataclass(frozen=True, slots=True)
class Row:
    """A charge in its place in the chain. Made by ``follow`` or ``parse``, so that the bytes are those of the fields.

    Attributes:
        index: from 0, without gaps.
        previous: the digest of the row before, or the ledger's genesis (32 bytes).
        charge: what was charged.
        times: both clocks as they were read when it was charged.
        encoded: the canonical bytes, as stored.
        digest: SHA-256 of the domain and the bytes (32 bytes): the ledger's head after this row.
    """

    index: int
    previous: bytes
    charge: Charge
    times: Times
    encoded: bytes = field(repr=False)
    digest: bytes

    @classmethod
    def follow(cls, index: int, previous: bytes, charge: Charge, times: Times) -> Row:
        """The row that stands after ``previous``, with its digest."""
        encoded = _encode(index, previous, charge, times)
        return cls(index, previous, charge, times, encoded, row_digest(encoded))

    def body(self) -> bytes:
        """The canonical bytes that the digest is of; see the module's table."""
        return self.encoded

    @classmethod
    def parse(cls, body: bytes) -> Row:
        """Read a stored body; the digest is computed, never believed.

        Raises:
            ChargeInvalid: not the canonical body of any row.
        """
        try:
            version = body[0] if body else None
            if version == ROW_VERSION:
                return _decode(body)
            if version == OLD_VERSION:
                return _decode_old(body)
        except (struct.error, UnicodeDecodeError, AccountingError) as error:
            reason = str(error) if isinstance(error, AccountingError) else "other bytes"
            raise ChargeInvalid(f"expected the body of a ledger row, got {len(body)} bytes: {reason}") from None
        raise ChargeInvalid(f"expected a row of version {OLD_VERSION} or {ROW_VERSION}, got {version}")


def row_digest(body: bytes) -> bytes:
    """SHA-256 of a row's body under the ledger's domain (32 bytes)."""
    return digest("ledger-row", body)


def field_at(body: bytes, offset: int) -> str:
    """The name of the field that a byte of a body belongs to, for an error to say.

    Args:
        body: a body that parses.
        offset: from 0, within it.
    """
    old = body[0] == OLD_VERSION
    fields = list(_OLD_FIELDS if old else _FIELDS)
    if not old:
        fields += [("costs", 8 * body[_FIXED.size - 1])]
        fields += [("lifetime", 8 * body[_FIXED.size - 1])] if body[_FIXED.size - 26] == _CARRIED else []
    position = sum(size for _, size in fields)
    for name in ("study", "purpose", "approval"):
        (length,) = _LENGTH.unpack_from(body, position)
        fields += [(f"length of {name}", _LENGTH.size), (name, length)]
        position += _LENGTH.size + length
    end = 0
    for name, size in fields:
        end += size
        if offset < end:
            return name
    raise ChargeInvalid(f"expected an offset within {len(body)} bytes, got {offset}")


def _encode(index: int, previous: bytes, charge: Charge, times: Times) -> bytes:
    kind, first, second, count = _figures(charge.event)
    fixed = _FIXED.pack(
        ROW_VERSION,
        index,
        previous,
        times.signed_seconds,
        times.monotonic_seconds,
        charge.round,
        charge.consent_epoch,
        kind,
        first,
        second,
        count,
        len(charge.costs),
    )
    costs = charge.costs + (charge.event.lifetime if isinstance(charge.event, CarriedEvent) else ())
    texts = _text(charge.study) + _text(charge.purpose) + _text(charge.approval)
    return fixed + _doubles(len(costs)).pack(*costs) + texts


def _text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ChargeInvalid("expected a text without lone surrogates") from None
    if len(data) > _MAXIMUM_TEXT_BYTES:
        raise ChargeInvalid(f"expected a text of at most {_MAXIMUM_TEXT_BYTES} bytes, got {len(data)}")
    return _LENGTH.pack(len(data)) + data


def _decode(body: bytes) -> Row:
    """Every field is read in full and only one spelling of it passes, so what was read needs no second encoding."""
    _, index, previous, signed, monotonic, round_, epoch, kind, first, second, count, figures = _FIXED.unpack_from(body)
    costs: Costs = _doubles(figures).unpack_from(body, _FIXED.size)
    position, event = _FIXED.size + 8 * figures, _event(kind, first, second, count)
    if isinstance(event, CarriedEvent):
        event = CarriedEvent(_doubles(figures).unpack_from(body, position))
        position += 8 * figures
    study, purpose, approval = _texts(body, position)
    charge = Charge(study, round_, purpose, event, costs, approval, epoch)
    return Row(index, previous, charge, Times(signed, monotonic), body, row_digest(body))


def _decode_old(body: bytes) -> Row:
    _, index, previous, signed, monotonic, round_, cost, epoch, kind, *figures = _OLD_FIXED.unpack_from(body)
    if kind == _CARRIED and figures[1:] == [0.0, 0]:
        event: ChargedEvent = CarriedEvent((figures[0],))
    elif kind in (_SUM, _LOCAL):
        event = _event(kind, *figures)
    else:
        raise ChargeInvalid(f"expected an event of kind 1, 2 or 3 in a row of version 1, got {kind}")
    study, purpose, approval = _texts(body, _OLD_FIXED.size)
    charge = Charge(study, round_, purpose, event, (cost,), approval, epoch)
    return Row(index, previous, charge, Times(signed, monotonic), body, row_digest(body))


def _texts(body: bytes, position: int) -> list[str]:
    texts = []
    for _ in range(3):
        (length,) = _LENGTH.unpack_from(body, position)
        position += _LENGTH.size
        texts.append(body[position : position + length].decode())
        position += length
        if length > _MAXIMUM_TEXT_BYTES:
            raise ChargeInvalid(f"expected a text of at most {_MAXIMUM_TEXT_BYTES} bytes, got {length}")
    if position != len(body):
        raise ChargeInvalid(f"expected texts up to byte {position}")
    return texts


def _figures(event: ChargedEvent) -> tuple[int, float, float, int]:
    if isinstance(event, SumEvent):
        return _SUM, event.noise_multiplier, event.sampling_rate, event.count
    if isinstance(event, LocalEvent):
        return _LOCAL, event.noise_multiplier, event.sampling_rate, event.count
    if isinstance(event, ResponseEvent):
        return _RESPONSE, event.noise, float(event.buckets), event.count
    if isinstance(event, TreeEvent):
        return _TREE, event.noise_multiplier, float(event.steps), event.count
    return _CARRIED, 0.0, 0.0, 0


@lru_cache(maxsize=4_096)
def _event(kind: int, first: float, second: float, count: int) -> ChargedEvent:
    """The event of these figures. Cached: a study's rows are about one event."""
    if kind == _SUM:
        return SumEvent(first, second, count)
    if kind == _LOCAL:
        return LocalEvent(first, second, count)
    if kind in (_RESPONSE, _TREE) and second.is_integer():
        return (ResponseEvent if kind == _RESPONSE else TreeEvent)(first, int(second), count)
    # By their signs too: minus zero would be a second spelling of the same row.
    if kind == _CARRIED and struct.pack(">ddQ", first, second, count) == bytes(24):
        return CarriedEvent()
    raise ChargeInvalid(f"expected an event of kind 1 to 5, got {kind}, {first!r}, {second!r}, {count}")


@lru_cache(maxsize=2 * MAXIMUM_ORDERS)
def _doubles(count: int) -> struct.Struct:
    return struct.Struct(f">{count}d")
