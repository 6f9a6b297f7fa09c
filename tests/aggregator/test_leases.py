"""The lease of the studies: whatever owners, clocks, pauses and deaths do, two never write."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aggregator.errors import LeaseLost
from aggregator.leader.duty import SignOfLife
from aggregator.storage.leases import NOBODY, LeaseRow, Watch, hand_back, may_write, require_lease, step

LIFE = 3.0
OWNERS = ("a", "b", "c")


class Leases(RuleBasedStateMachine):
    """Several workers, one row. Each has a clock of its own that stands still while the worker is paused."""

    @initialize()
    def begin(self) -> None:
        self.row = LeaseRow()
        self.watches = {name: Watch(name, LIFE) for name in OWNERS}
        self.clocks = dict.fromkeys(OWNERS, 0.0)
        self.stale: dict[str, LeaseRow] = {}
        self.written: list[tuple[int, str]] = []
        self.generation = 0

    @rule(name=st.sampled_from(OWNERS), seconds=st.floats(0, 10))
    def time_passes_for_one(self, name: str, seconds: float) -> None:
        """A pause of the others, or a clock that runs ahead: their readings have nothing to do with each other."""
        self.clocks[name] += seconds

    @rule(seconds=st.floats(0, 2))
    def time_passes_for_all(self, seconds: float) -> None:
        for name in OWNERS:
            self.clocks[name] += seconds

    @rule(name=st.sampled_from(OWNERS), gone=st.booleans())
    def looks_after_the_lease(self, *, name: str, gone: bool) -> None:
        """In one transaction: read, decide, write. ``gone`` may even be a wrong belief."""
        before = self.row
        self.watches[name], wanted = step(self.watches[name], self.row, self.clocks[name], gone=gone)
        if wanted is not None:
            assert (wanted.fence, wanted.beat) > (before.fence, before.beat)
            self.row = wanted

    @rule(name=st.sampled_from(OWNERS))
    def writes(self, name: str) -> None:
        """A change of the round driver, with the fence in its own transaction."""
        watch = self.watches[name]
        if may_write(watch, self.row):
            assert watch.held is not None
            self.written.append((watch.held, name))
        else:
            with pytest.raises(LeaseLost):
                require_lease(watch, self.row)

    @rule(name=st.sampled_from(OWNERS))
    def hands_back(self, name: str) -> None:
        self.watches[name], wanted = hand_back(self.watches[name], self.row)
        self.row = wanted or self.row

    @rule(name=st.sampled_from(OWNERS))
    def dies_and_is_started_again(self, name: str) -> None:
        """A new run has a new name and remembers nothing; its clock begins anywhere."""
        self.generation += 1
        self.watches[name] = Watch(f"{name}{self.generation}", LIFE)
        self.clocks[name] = 0.0

    @invariant()
    def at_most_one_may_write(self) -> None:
        if hasattr(self, "watches"):
            assert sum(may_write(watch, self.row) for watch in self.watches.values()) <= 1

    @invariant()
    def numbers_never_go_back(self) -> None:
        """What was written under a number is older than everything under a higher one, and each has one owner."""
        if hasattr(self, "written"):
            fences = [fence for fence, _ in self.written]
            assert fences == sorted(fences)
            assert len({fence for fence, _ in self.written}) == len(set(self.written))


TestLeases = Leases.TestCase


def test_a_lease_is_taken_after_one_life_of_silence_and_no_sooner():
    """By the watcher's own clock, from when it first saw the row like that; each renewal begins it anew."""
    holder, row = step(Watch("a", LIFE), LeaseRow(), 100.0)
    watcher, wanted = step(Watch("b", LIFE), row, 5.0)
    assert wanted is None
    watcher, wanted = step(watcher, row, 5.0 + LIFE - 0.01)
    assert wanted is None
    holder, row = step(holder, row, 101.0)
    watcher, wanted = step(watcher, row, 5.0 + LIFE)
    assert wanted is None, "it was renewed meanwhile"
    watcher, wanted = step(watcher, row, 5.0 + 2 * LIFE)
    assert wanted == LeaseRow("b", 2, 0)
    assert may_write(watcher, wanted)
    assert not may_write(holder, wanted)


def test_an_owner_that_is_known_to_be_gone_is_followed_at_once():
    """And one that handed it back; the number rises each time."""
    watcher, wanted = step(Watch("b", LIFE), LeaseRow("a", 7, 3), 0.0, gone=True)
    assert wanted == LeaseRow("b", 8, 0)
    _, released = hand_back(watcher, wanted)
    assert released == LeaseRow(NOBODY, 8, 0)
    _, taken = step(Watch("c", LIFE), released, 0.0)
    assert taken == LeaseRow("c", 9, 0)


def test_a_run_that_lost_its_lease_knows_it():
    """It holds nothing any more, also where another run of the same name was given the row."""
    holder, row = step(Watch("a", LIFE), LeaseRow(), 0.0)
    after, wanted = step(holder, LeaseRow("b", 2, 0), 1.0)
    assert (after.held, wanted) == (None, None)
    assert not may_write(replace(holder, held=1), row._replace(fence=2))


def test_a_sign_of_life_lasts_as_long_as_its_process(tmp_path):
    """Locked: alive. Unlocked: gone, and buried. No file, or a name that is none: nobody here can know."""
    names = [f"{number:032x}" for number in range(3)]
    one, other = (SignOfLife(tmp_path / "workers", name) for name in names[:2])
    assert not other.is_gone(names[0])
    assert not other.is_gone(names[1]), "itself"
    assert not other.is_gone(names[2])
    for name in ("", "../" + names[0], names[0].upper() + "x"):
        assert not other.is_gone(name)
    (tmp_path / "workers" / names[2]).touch()
    assert other.is_gone(names[2])
    other.bury(names[2])
    assert not (tmp_path / "workers" / names[2]).exists()
    other.bury(names[0])
    assert (tmp_path / "workers" / names[0]).exists(), "it lives"
    for sign in (one, other):
        sign.end()
    assert list((tmp_path / "workers").iterdir()) == []
