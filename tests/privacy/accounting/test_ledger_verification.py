"""A broken chain names the row that is wrong, and the byte."""

from __future__ import annotations

import random

import pytest

from privacy.accounting import (
    Charge,
    Contract,
    LedgerCorrupt,
    LedgerState,
    SumEvent,
    Times,
    charge,
    explain,
    forfeit,
    open_ledger,
    reopen,
    replay,
)
from privacy.accounting.rows import PREVIOUS, field_at
from privacy.accounting.verification import find_change

CONTRACT = Contract(8.0, 1e-6, (5, 9), window_seconds=1_000)
EVENT = SumEvent(4.0, 0.5)
HEADER = 1 + 8 + 32 + 8 + 8 + 8 + 8 + 1 + 24 + 1


def ledger(rows: int, contract: Contract = CONTRACT) -> tuple[LedgerState, list[bytes]]:
    """A ledger of charges whose times differ in every byte that a clock has."""
    state, bodies = open_ledger(contract, "o"), []
    for round_ in range(rows):
        item = Charge("s", round_, "p", EVENT, (0.001,) * len(contract.caps), "", 3)
        state, row = charge(state, item, Times(1_800_000_000 + 77 * round_, 0.5 + 77 * round_))
        bodies.append(row.body())
    return state, bodies


def flipped(bodies: list[bytes], index: int, offset: int, mask: int) -> list[bytes]:
    """The same rows with one byte changed."""
    body = bytearray(bodies[index])
    body[offset] ^= mask
    return [*bodies[:index], bytes(body), *bodies[index + 1 :]]


def found_in(bodies: list[bytes], head: bytes | None, contract: Contract = CONTRACT) -> LedgerCorrupt:
    with pytest.raises(LedgerCorrupt) as found:
        replay(contract, "o", bodies, head)
    return found.value


def test_any_flipped_byte_is_found_and_named():
    """Every byte of every row, the row before the broken link and the last row included: row, offset and field."""
    state, bodies = ledger(3)
    for index, body in enumerate(bodies):
        for offset in range(len(body)):
            error = found_in(flipped(bodies, index, offset, 0x10), state.head)
            assert (error.index, error.offset, error.field) == (index, offset, field_at(body, offset))
            assert f"row {index}, byte {offset} ({error.field})" in str(error)


def test_any_flipped_byte_of_a_large_ledger_is_found_and_named():
    """The same, at random places and with random changes, in 2,000 rows."""
    state, bodies = ledger(2_000)
    chance = random.Random(5)
    for _ in range(12):
        index = chance.randrange(len(bodies))
        offset, mask = chance.randrange(len(bodies[index])), chance.randrange(1, 256)
        error = found_in(flipped(bodies, index, offset, mask), state.head)
        assert (error.index, error.offset) == (index, offset)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_every_flip_of_a_small_ledger_is_found_and_named():
    """All 255 changes of every byte of every row."""
    state, bodies = ledger(2)
    for index, body in enumerate(bodies):
        for offset in range(len(body)):
            for mask in range(1, 256):
                error = found_in(flipped(bodies, index, offset, mask), state.head)
                assert (error.index, error.offset) == (index, offset)


def test_without_a_head_only_the_last_row_can_hide():
    """The head is what vouches for the last row; all rows before it are found and named without one."""
    state, bodies = ledger(3)
    places = [(index, offset) for index in range(2) for offset in range(len(bodies[index]))]
    for index, offset in random.Random(1).sample(places, 60):
        assert found_in(flipped(bodies, index, offset, 1), None).index == index
    link = found_in(flipped(bodies, 2, PREVIOUS.start + 5, 1), None)
    assert (link.index, link.offset) == (2, PREVIOUS.start + 5), "a link one byte off shows itself"
    cheaper = flipped(bodies, 2, HEADER + 7, 1)  # the last bit of a cost: it still reads well
    assert replay(CONTRACT, "o", cheaper).head != state.head
    found = explain(cheaper, state.head)
    assert found is not None
    assert (found.index, found.offset, found.field) == (2, HEADER + 7, "costs")


def test_a_link_is_told_from_the_row_before_it():
    """A changed link and a changed row give the same broken link; the next row says which of them it was."""
    state, bodies = ledger(3)
    assert found_in(flipped(bodies, 1, PREVIOUS.start, 1), state.head).index == 1
    assert found_in(flipped(bodies, 0, HEADER, 1), state.head).index == 0
    assert found_in(flipped(bodies, 0, HEADER, 1), None).index == 0


def test_a_rewritten_row_is_named_without_a_byte():
    """More than one byte: the row is named, no place in it."""
    state, bodies = ledger(3)
    twice = flipped(flipped(bodies, 1, HEADER + 7, 1), 1, HEADER + 15, 1)
    error = found_in(twice, state.head)
    assert (error.index, error.offset, error.field) == (1, None, None)


def test_two_changed_rows_are_found_one_after_the_other():
    """The first one is named; when it is put right, the second."""
    state, bodies = ledger(6)
    worse = flipped(flipped(bodies, 1, HEADER, 4), 4, 3, 8)
    error = found_in(worse, state.head)
    assert (error.index, error.offset) == (1, HEADER)
    error = found_in([*worse[:1], bodies[1], *worse[2:]], state.head)
    assert (error.index, error.offset) == (4, 3)


def test_a_foreign_ledger_is_no_flipped_byte():
    """Another owner's or another contract's rows are refused at the first one, whole."""
    state, bodies = ledger(2)
    for contract, owner in ((CONTRACT, "someone else"), (Contract(7.0, 1e-6, (5, 9)), "o")):
        with pytest.raises(LedgerCorrupt, match="this owner's contract") as found:
            replay(contract, owner, bodies, state.head)
        assert (found.value.index, found.value.offset) == (0, None)


def test_missing_rows_are_named_by_what_should_stand_there():
    """A gap, an empty ledger that has a head, and a cut tail."""
    state, bodies = ledger(4)
    assert found_in([bodies[0], *bodies[2:]], state.head).index == 1
    assert found_in([], state.head).index == 0
    cut = found_in(bodies[:-1], state.head)
    assert (cut.index, cut.offset) == (2, None)


@pytest.mark.parametrize("body", [b"", b"\x02", b"\x07" * 200, b"\x01" * 120])
def test_a_row_that_is_none_is_named(body):
    """Cut to nothing, of an unknown version, or noise."""
    state, bodies = ledger(3)
    assert found_in([bodies[0], body, bodies[2]], state.head).index == 1


def test_carried_rows_are_covered():
    """Rows of a forfeit and of an erasure: their lifetime figures are fields like the others."""
    state, bodies = ledger(1)
    erased, (row,) = reopen(state, CONTRACT, "o", Times(1_800_000_100, 100.0), "e")
    lost, last = forfeit(erased, Times(1_800_000_200, 200.0), "f")
    bodies = [row.body(), last.body()]
    for index, body in enumerate(bodies):
        for offset in range(0, len(body), 3):
            error = found_in(flipped(bodies, index, offset, 0x21), lost.head)
            assert (error.index, error.offset) == (index, offset)
    assert field_at(bodies[0], HEADER + 16) == "lifetime"


def test_fields_are_those_of_the_table():
    """The names of both versions' fields, in order."""
    _, (body,) = ledger(1)
    names = list(dict.fromkeys(field_at(body, offset) for offset in range(len(body))))
    assert names[:6] == ["version", "index", "previous digest", "signed time", "monotonic time", "round"]
    assert names[6:12] == ["consent epoch", "kind of event"] + [f"event's {w} figure" for w in ("first", "second")] + [
        "event's count",
        "number of costs",
    ]
    assert names[12:] == ["costs", "length of study", "study", "length of purpose", "purpose", "length of approval"]


def test_no_byte_explains_another_row():
    """The search finds nothing where nothing is to be found."""
    _, bodies = ledger(2)
    assert find_change(bodies[0], bytes(32)) is None
    assert explain([], bytes(32)) is None
