"""The consent benchmark measures real receipts, none of them twice."""

from consent import PURPOSES, replay, verify_receipt, verify_record
from simulations.bench import consent


def test_every_figure_stands_on_its_floor(monkeypatch):
    """Decisions, receipts, ledgers and records, all measured; signatures stand beside the library alone."""
    monkeypatch.setattr(consent, "LEDGER_ROWS", 6)
    monkeypatch.setattr(consent, "_BATCH", 3)
    monkeypatch.setattr(consent, "_DECISIONS", 60)
    rows = consent.run()
    assert all(item.ours > 0 for item in rows)
    verified = [item for item in rows if item.name.startswith("verify a")]
    assert [item.target for item in verified if item.unit == "us CPU"] == [200.0] * 3
    assert all(item.floor is not None and item.floor > 0 for item in verified)
    assert {item.target for item in rows if item.name.startswith("policy decision")} == {20.0}


def test_what_is_verified_was_never_met(monkeypatch):
    """Each receipt is another one, each ledger too: remembered verifications would flatter the figures."""
    monkeypatch.setattr(consent, "_BATCH", 4)
    monkeypatch.setattr(consent, "LEDGER_ROWS", 6)
    fresh = consent._Fresh(consent._choice(consent._granted(), [next(iter(PURPOSES)).id], consent._NOW), iter(range(9)))
    first, second = fresh.signed(), fresh.signed()
    assert len({*first, *second}) == 8
    assert verify_receipt(first[0], consent._DEVICE.verify_key).issued_at == 0
    assert consent._rows(1)[0].content != consent._rows(7)[0].content


def test_ledgers_and_records_that_are_measured_verify(monkeypatch):
    """A benchmark of refusals would be fast and worthless."""
    monkeypatch.setattr(consent, "LEDGER_ROWS", 6)
    rows = consent._rows(consent._NOW)
    state = replay(consent._PARTIES, [made.body() for made in rows])
    assert (state.fault, state.length) == (None, 6)
    assert verify_record(consent._file(consent._NOW), consent._LEADER.verify_key.fingerprint).holds
