"""Signals from outside: Global Privacy Control."""

import datetime as dt
import json

import pytest

from consent import read_gpc, well_known_gpc


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
