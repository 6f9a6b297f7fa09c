"""Signals from outside: Global Privacy Control."""

import datetime as dt
import json

import pytest

from consent import read_gpc, well_known_gpc
from consent.signals import GpcSupport, SignalMalformed, parse_well_known_gpc, read_gpc_values, read_navigator


@pytest.mark.realdata
def test_every_vector_of_the_header_is_read_exactly(data_folder):
    """Only the value 1 counts, in any of several headers, under any spelling of the name."""
    vectors = json.loads((data_folder / "consent" / "usprivacy_gpc_vectors.json").read_text(encoding="utf-8"))
    cases = vectors["sec_gpc_header"]["vectors"]
    assert len(cases) >= 8
    assert [read_gpc(map(tuple, case["headers"])) for case in cases] == [case["gpc"] for case in cases]


@pytest.mark.parametrize("value", ["", " 1", "1 ", "01", "1.0", "true", "1, 0", "１"])
def test_nothing_but_the_exact_value_is_the_signal(value):
    """What the specification does not define is treated as absent."""
    assert not read_gpc([("Sec-GPC", value)])
    assert read_gpc([("SEC-GPC", "1"), ("Sec-GPC", value)])


def test_the_site_says_that_it_honours_the_signal():
    """The well-known document has the two members that the specification names."""
    assert well_known_gpc(dt.date(2026, 1, 31)) == {"gpc": True, "lastUpdate": "2026-01-31"}


@pytest.mark.parametrize(("values", "on"), [(["1"], True), (["0"], False), (["0", "1"], True), ([], False)])
def test_the_values_of_a_request_are_a_reading(values, on):
    """Accepted and an opt-out where one value is exactly 1; never an error."""
    reading = read_gpc_values(values)
    assert (reading.accepted, reading.decoded, reading.signals.gpc) == (on, {"gpc": on}, on)


@pytest.mark.parametrize(
    ("value", "on"), [(True, True), (False, False), (None, False), (1, False), ("1", False), ("true", False)]
)
def test_only_true_in_the_page_is_the_signal(value, on):
    """Anything else that a script may have put there is treated as absent."""
    assert read_navigator(value) is on


@pytest.mark.parametrize("honours", [True, False])
def test_a_conforming_site_is_recognised(honours):
    """The two members, as the specification shows them; what this house publishes conforms."""
    text = json.dumps({"gpc": honours, "lastUpdate": "2025-04-15"})
    assert parse_well_known_gpc(text) == GpcSupport(honours, dt.date(2025, 4, 15))
    assert parse_well_known_gpc(json.dumps(well_known_gpc(dt.date(2026, 1, 31)))).honours


@pytest.mark.parametrize(
    "document",
    [
        "", "[]", "true", "{", '{"gpc": true}', '{"gpc": 1, "lastUpdate": "2025-04-15"}',
        '{"gpc": "true", "lastUpdate": "2025-04-15"}', '{"gpc": true, "lastUpdate": "2025-04-31"}',
        '{"gpc": true, "lastUpdate": "15.4.2025"}', '{"gpc": true, "lastUpdate": 20250415}',
        '{"gpc": true, "lastUpdate": "2025-04-15", "more": 1}', "[" * 100_000,
    ],
    ids=lambda text: text[:50],
)  # fmt: skip
def test_another_shape_does_not_conform(document):
    """Other types, a day that no calendar has, missing or further members."""
    with pytest.raises(SignalMalformed):
        parse_well_known_gpc(document)
