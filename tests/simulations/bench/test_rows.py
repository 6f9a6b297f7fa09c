"""Benchmarks: the form of a row, medians with their spread, and peers that cannot run."""

from __future__ import annotations

import json

import pytest

from models.wire.frames import ReportFrame, encode_report
from simulations.bench import peers, secure_sum
from simulations.bench.peers import PeerUnavailable
from simulations.bench.rows import Measured, beside, measure, row, to_json

FIELDS = {"name", "unit", "ours", "spread", "peer", "peer_name", "ratio", "target", "floor", "ok", "note"}


def test_a_row_has_every_field_a_machine_expects() -> None:
    """Peer fields are null where there is no peer."""
    (document,) = json.loads(to_json([row("x", "ms", Measured(2.0, 0.1), target=3.0)]))
    assert set(document) == FIELDS
    assert document["peer"] is None
    assert document["ok"] is True


def test_the_ratio_says_how_many_times_the_peer_takes() -> None:
    """Peer over ours; a target that is missed makes the row not ok."""
    item = beside(row("x", "ms", Measured(2.0, 0.0), target=1.0), "peer", 10.0)
    assert item.ratio == 5.0
    assert item.ok is False


def test_a_peer_that_did_not_run_makes_its_row_not_ok() -> None:
    """It never goes unmentioned."""
    item = beside(row("x", "ms", Measured(2.0, 0.0)), "peer (not installed)", None)
    assert (item.ok, item.peer, item.ratio) == (False, None, None)
    assert item.peer_name == "peer (not installed)"


def test_the_median_of_five_is_taken_with_its_spread() -> None:
    """One slow run moves the spread, not the figure."""
    ticks = iter([0.0, 1.0, 1.0, 2.0, 2.0, 12.0, 12.0, 13.0, 13.0, 14.0])
    measured = measure(lambda: None, clock=lambda: next(ticks))
    assert measured.value == 1_000.0
    assert measured.spread == 9_000.0


def test_the_secure_sum_is_measured_without_its_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Flower cannot be installed its rows say so, and ours are measured all the same."""

    def absent(*_: str) -> dict[str, float]:
        raise PeerUnavailable("no registry")

    monkeypatch.setattr(secure_sum, "run_peer", absent)
    for name, small in (("ENTRIES", 1_000), ("SAMPLED_REPORTS", 20), ("CROWD_PART", 200)):
        monkeypatch.setattr(secure_sum, name, small)
    told: list[str] = []
    rows = secure_sum.run(secure_sum.Options(tell=told.append))
    assert [item.name.split(" ")[0] for item in rows] == [
        *("report", "share", "discrete", "encoding", "bytes", "bytes", "1,000,000"),
    ]
    assert all(item.ours > 0 for item in rows)
    assert [item.ok for item in rows if item.peer_name] == [False, False, False]
    assert "measured on 200, times 5000" in rows[-1].note
    assert any("200 of 200 reports made" in text for text in told)


def test_the_sizes_are_those_of_the_wire() -> None:
    """What a row says a report takes is what its frame has, and both stay within 1.1 d b / 8 + 2 KB."""
    bench = secure_sum.Bench()
    frame = encode_report(ReportFrame(bytes(16), 0, bench.report()))
    item = secure_sum._size(bench)
    assert item.ours == len(frame) <= 357_000
    assert bench.params.modulus_bits == 28
    assert item.ok
    assert secure_sum.parameters(secure_sum.FINE_SENSITIVITY).scale >= 2**19


def test_a_peer_without_its_requirements_is_unavailable() -> None:
    """Outside a checkout there is nothing to install from."""
    with pytest.raises(PeerUnavailable, match="checkout"):
        peers.run_peer("nobody", "nothing.py")
