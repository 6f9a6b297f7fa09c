"""``hearthside bench ledger``: what a charge costs, what verifying a ledger costs, and what recomposing would.

The peer is dp-accounting alone, as one would use it without a ledger that composes incrementally: a fresh accountant
that composes every event so far again, for each new event.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from pathlib import Path

from client_agent.keys import FileKeyring
from client_agent.store import CONTRACT, LedgerRow, open_store
from privacy.accounting import Charge, Contract, Costs, LedgerState, SumEvent, Times, charge, open_ledger, price, replay
from privacy.accounting.rows import Row
from simulations.bench.rows import Measured, beside, measure, row
from simulations.bench.rows import Row as Figure
from simulations.bench.secure_sum import Options

ACTIVE_ROWS = 10_000
VERIFIED_ROWS = 100_000
TERMS = Contract(40.0, 1e-6, 9, window_seconds=2**40)
"""Wide enough for every row to be paid, long enough for every row to count."""
EVENT = SumEvent(4.0, 0.01)
_APPROVAL = "5a" * 32
_CHARGES = 100
_STORED_CHARGES = 20


def run(options: Options | None = None) -> list[Figure]:
    """Measure ours, then the library; it is always at hand, so it runs however few runs a slow peer is given."""
    tell = (options or Options()).tell
    tell(f"a ledger of {VERIFIED_ROWS:,} rows")
    costs = price(EVENT, TERMS)
    state, head, bodies = _ledger(costs)
    charging = measure(lambda: _charge_often(state, costs), per=_CHARGES)
    tell("charges through the store")
    stored = _through_the_store(state, costs)
    tell("verifying")
    verified = measure(lambda: replay(TERMS, "bench", bodies, head)).times(1e-3)
    return [
        beside(
            row(f"charge at {ACTIVE_ROWS:,} active rows, without the disk", "ms CPU", charging, target=10.0),
            "dp-accounting alone, per distinct event",
            _recompose_ms(),
        ),
        row(
            f"charge at {ACTIVE_ROWS:,} active rows, through the device's store",
            "ms",
            stored,
            target=10.0,
            floor=_three_fsyncs_ms(),
            note="by the clock on the wall; a commit and a write of the mirror before and after it, each on the disk:"
            " the floor is three such writes of nothing else",
        ),
        row(f"verify {VERIFIED_ROWS:,} rows, parsing included", "s CPU", verified, target=2.0),
        Figure("bytes of a row", "bytes", len(bodies[-1]), 0.0),
    ]


def _item(round_: int, costs: Costs) -> Charge:
    return Charge("5a" * 32, round_, "measurement", EVENT, costs, _APPROVAL, 1)


def _times(round_: int) -> Times:
    return Times(1_800_000_000 + round_, float(round_))


def _charge_often(state: LedgerState, costs: Costs) -> None:
    for _ in range(_CHARGES):
        charge(state, _item(ACTIVE_ROWS, costs), _times(ACTIVE_ROWS))


def _ledger(costs: Costs) -> tuple[LedgerState, bytes, list[bytes]]:
    """The state after so many active rows; the head and the bodies of a chain that goes on to ten times as many."""
    state, bodies = open_ledger(TERMS, "bench"), []
    for number in range(ACTIVE_ROWS):
        state, made = charge(state, _item(number, costs), _times(number))
        bodies.append(made.body())
    head = state.head
    for number in range(ACTIVE_ROWS, VERIFIED_ROWS):
        made = Row.follow(number, head, _item(number, costs), _times(number))
        head = made.digest
        bodies.append(made.body())
    return state, head, bodies


def _through_the_store(state: LedgerState, costs: Costs) -> Measured:
    """One charge to the disk and back, by the device's own path."""
    numbers = itertools.count(ACTIVE_ROWS)
    with tempfile.TemporaryDirectory(prefix="hearthside-bench-") as scratch:
        store = open_store(Path(scratch), FileKeyring(Path(scratch)))

        def one() -> None:
            nonlocal state
            number = next(numbers)
            state, made = charge(state, _item(number, costs), _times(number))
            with store.transaction():
                store.ledgers.append([LedgerRow("bench", CONTRACT, made)])

        def several() -> None:
            for _ in range(_STORED_CHARGES):
                one()

        try:
            return measure(several, per=_STORED_CHARGES, clock=time.perf_counter)
        finally:
            store.close()


def _three_fsyncs_ms() -> float:
    """Milliseconds for three small files to reach the disk, one after the other."""
    with tempfile.TemporaryDirectory(prefix="hearthside-bench-") as scratch:
        path = Path(scratch) / "floor"

        def write() -> None:
            for _ in range(3):
                with path.open("wb") as file:
                    file.write(bytes(256))
                    file.flush()
                    os.fsync(file.fileno())

        return measure(write, clock=time.perf_counter).value


def _recompose_ms() -> float:
    """Milliseconds for the library to price one more distinct event at its own orders: an accountant, epsilon."""
    from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    noises = itertools.count(1)

    def recompose() -> float:
        accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_SPECIAL)
        accountant.compose(PoissonSampledDpEvent(0.01, GaussianDpEvent(1 + 1e-6 * next(noises))))
        return float(accountant.get_epsilon(1e-6))

    return measure(recompose).value
