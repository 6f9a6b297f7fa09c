"""``hearthside bench consent``: what a decision, a receipt and their verification cost, above what signatures cost.

The floor is the primitive alone: one Ed25519 signature made or verified by the library, over as many bytes. No receipt
is met twice, so that nothing that is remembered flatters a figure.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from typing import Final, TypeVar

from consent import (
    GATES,
    NO_SIGNALS,
    PURPOSES,
    ConsentState,
    Gate,
    Parties,
    Receipt,
    Row,
    confirm,
    countersign,
    decide,
    grant,
    make_record,
    notice,
    open_ledger,
    record,
    replay,
    sign_receipt,
    verify_countersignature,
    verify_receipt,
    verify_record,
    write_record,
)
from privacy.crypto import SigningKey
from privacy.crypto.signing import forget_verified
from simulations.bench.rows import Measured, measure, row
from simulations.bench.rows import Row as Figure
from simulations.bench.secure_sum import Options

LEDGER_ROWS: Final = 1_000
_BATCH: Final = 400
_DECISIONS: Final = 20_000
_NOW: Final = 1_800_000_000
_DEVICE: Final = SigningKey(bytes(range(32)))
_LEADER: Final = SigningKey(bytes(range(32, 64)))
_PARTIES: Final = Parties(_DEVICE.verify_key, _LEADER.verify_key, "https://shop.example", "bench")
_SECOND_MICROSECONDS: Final = 1e6
Item = TypeVar("Item")


def run(options: Options | None = None) -> list[Figure]:
    """Measure everything; there is no peer: no other consent manager signs or enforces."""
    tell = (options or Options()).tell
    state = _granted()
    tell("policy decisions")
    decisions = _decisions(state)
    tell("receipts")
    receipts = _receipts()
    tell(f"a ledger of {LEDGER_ROWS:,} rows")
    return [*decisions, *receipts, *_ledgers()]


def _granted() -> ConsentState:
    """A realistic state: five of seven purposes granted one by one, one refused, everything confirmed."""
    state = open_ledger(_PARTIES)
    for number, purpose in enumerate(list(PURPOSES)[:5]):
        jws = sign_receipt(_DEVICE, _choice(state, [purpose.id], _NOW + number))
        state, _ = record(state, jws, _NOW + number)
        state, _ = confirm(state, countersign(_LEADER, jws, _NOW + number), _NOW + number)
    return state


def _choice(state: ConsentState, purposes: list[str], at: int) -> Receipt:
    return grant(state, purposes, notice=notice(_PARTIES.site, "en"), issued_at=at)


def _decisions(state: ConsentState) -> list[Figure]:
    """Median and 99th percentile over every gate and purpose, each call timed by itself."""
    asked = [(gate, purpose.id) for gate, purpose in product(GATES, PURPOSES)]
    runs = [_percentiles(state, asked) for _ in range(5)]
    figures = []
    for name, index in (("median", 0), ("99th percentile", 1)):
        values = [run[index] for run in runs]
        measured = Measured(statistics.median(values), max(values) - min(values))
        about = f"policy decision, every gate and purpose, {name}"
        figures.append(row(about, "us", measured, target=20.0, note="by the wall's clock, reading which is included"))
    return figures


def _percentiles(state: ConsentState, asked: Sequence[tuple[Gate, str]]) -> tuple[float, float]:
    took = []
    for number in range(_DECISIONS):
        gate, purpose = asked[number % len(asked)]
        before = time.perf_counter_ns()
        decide(gate, purpose, state, NO_SIGNALS, _NOW)
        took.append((time.perf_counter_ns() - before) / 1e3)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


@dataclass(frozen=True)
class _Fresh:
    """Receipts that nobody has met, of one purpose or of all."""

    receipt: Receipt
    times: Iterator[int]

    def receipts(self) -> list[Receipt]:
        return [replace(self.receipt, issued_at=next(self.times)) for _ in range(_BATCH)]

    def signed(self) -> list[str]:
        return [sign_receipt(_DEVICE, receipt) for receipt in self.receipts()]


def _receipts() -> list[Figure]:
    times = count(_NOW)
    everything = _Fresh(_choice(open_ledger(_PARTIES), [purpose.id for purpose in PURPOSES], _NOW), times)
    one = _Fresh(_choice(open_ledger(_PARTIES), [next(iter(PURPOSES)).id], _NOW), times)
    signing_floor, verifying_floor = _floors(everything.signed()[0])
    confirmations = _timed(lambda: [countersign(_LEADER, jws, _NOW) for jws in one.signed()], _confirmed)
    verifying = "one Ed25519 verification of as many bytes by the library"
    return [
        _rate(
            "sign a receipt of all purposes", _timed(everything.receipts, _sign), signing_floor, "one Ed25519 signature"
        ),
        _rate(
            "verify a receipt of all purposes", _timed(everything.signed, _verify), verifying_floor, verifying, 5_000
        ),
        _rate("verify a receipt of one purpose", _timed(one.signed, _verify), verifying_floor, verifying, 5_000),
        _rate("verify a countersignature", confirmations, verifying_floor, verifying, 5_000),
        Figure("characters of a receipt of all purposes", "characters", len(everything.signed()[0]), 0.0),
    ]


def _sign(receipt: Receipt) -> object:
    return sign_receipt(_DEVICE, receipt)


def _verify(jws: str) -> object:
    return verify_receipt(jws, _DEVICE.verify_key)


def _confirmed(jws: str) -> object:
    return verify_countersignature(jws, _LEADER.verify_key)


def _timed(prepare: Callable[[], list[Item]], work: Callable[[Item], object]) -> Measured:
    """Microseconds of CPU for one item; each of five runs has its own items, made before the clock starts."""
    figures = []
    for _ in range(6):
        items = prepare()
        forget_verified()  # making them has verified some
        before = time.process_time()
        for item in items:
            work(item)
        figures.append((time.process_time() - before) * _SECOND_MICROSECONDS / len(items))
    figures = figures[1:]  # the first run warms up
    return Measured(statistics.median(figures), max(figures) - min(figures))


def _floors(jws: str) -> tuple[float, float]:
    """Microseconds of CPU for the library to sign, and to verify, what a JWS of this length signs."""
    message = jws.rsplit(".", 1)[0].encode()
    signature, public, private = _DEVICE.sign(message), _DEVICE.verify_key.public_key(), _DEVICE.private_key()
    signing = measure(lambda: [private.sign(message) for _ in range(_BATCH)], per=_BATCH)
    verifying = measure(lambda: [public.verify(signature, message) for _ in range(_BATCH)], per=_BATCH)
    return signing.value * 1e3, verifying.value * 1e3


def _rate(name: str, took: Measured, floor: float, of: str, per_second: float | None = None) -> Figure:
    """A row in microseconds, with the rate that follows in its note."""
    rate, above = _SECOND_MICROSECONDS / took.value, took.value / floor
    note = f"{rate:,.0f} a second a core, {above:.1f} times the floor: {of}"
    target = None if per_second is None else _SECOND_MICROSECONDS / per_second
    return row(name, "us CPU", took, target=target, floor=floor, note=note)


def _ledgers() -> list[Figure]:
    """Replaying, and verifying as a stranger, ledgers that were not met before."""
    floor = _floors("." + "x" * 3_000 + ".")[1] * LEDGER_ROWS / 1e3
    starts = count(_NOW, LEDGER_ROWS)
    replayed = _timed(lambda: [_rows(next(starts))], lambda rows: replay(_PARTIES, [made.body() for made in rows]))
    files = _timed(lambda: [_file(next(starts))], lambda data: verify_record(data, _LEADER.verify_key.fingerprint))
    note = "half of the rows are receipts of one purpose, half their confirmations; the floor is their signatures alone"
    return [
        row(f"replay a ledger of {LEDGER_ROWS:,} rows", "ms CPU", replayed.times(1e-3), floor=floor, note=note),
        row(f"verify an exported record of {LEDGER_ROWS:,} rows", "ms CPU", files.times(1e-3), floor=floor, note=note),
    ]


def _rows(start: int) -> list[Row]:
    state, rows, purposes = open_ledger(_PARTIES), [], [purpose.id for purpose in PURPOSES]
    for number in range(LEDGER_ROWS // 2):
        at = start + number
        jws = sign_receipt(_DEVICE, _choice(state, [purposes[number % len(purposes)]], at))
        state, made = record(state, jws, at)
        state, confirmed = confirm(state, countersign(_LEADER, jws, at), at)
        rows += [made, confirmed]
    return rows


def _file(start: int) -> bytes:
    return write_record(make_record(_DEVICE, _PARTIES, [made.body() for made in _rows(start)], [], start))
