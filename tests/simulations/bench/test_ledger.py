"""The ledger's benchmark measures real ledgers, at any size."""

import pytest

from privacy.accounting import price, replay
from simulations.bench import ledger


def test_its_rows_stand_beside_the_library(monkeypatch):
    """Four figures, all measured; the library's own time is in the same run."""
    monkeypatch.setattr(ledger, "ACTIVE_ROWS", 20)
    monkeypatch.setattr(ledger, "VERIFIED_ROWS", 40)
    charging, stored, verified, size = ledger.run()
    assert charging.peer is not None
    assert charging.ratio == pytest.approx(charging.peer / charging.ours)
    assert stored.floor is not None
    assert all(item.ours > 0 for item in (charging, stored, verified, size))
    assert (charging.target, stored.target, verified.target) == (10.0, 10.0, 2.0)


def test_what_is_verified_is_a_whole_ledger(monkeypatch):
    """The chain goes on from the charged rows to its head, and replays."""
    monkeypatch.setattr(ledger, "ACTIVE_ROWS", 5)
    monkeypatch.setattr(ledger, "VERIFIED_ROWS", 12)
    state, head, bodies = ledger._ledger(price(ledger.EVENT, ledger.TERMS))
    assert (state.length, len(bodies)) == (5, 12)
    assert len(replay(ledger.TERMS, "bench", bodies, head).active) == 12
