"""A signal is never a consent: no path leads from any reading to an allow."""

from dataclasses import fields

import pytest

from consent import GATES, NO_SIGNALS, PURPOSES, ConsentState, Grant, Receipt, Signals, decide, open_ledger
from consent.signals import Reading, read_gpc_values, read_gpp, read_tcf, read_us_privacy
from tests.consent.scenes import NOW, PARTIES, Scene
from tests.consent.tc_strings import TcCore, in_ranges, pack, tc_string
from tests.consent.test_signals_gpp import CALIFORNIA, gpp

EVERYTHING = tc_string(
    TcCore(
        features=range(1, 13),
        consents=range(1, 25),
        interests=range(1, 25),
        vendor_consents=in_ranges(range(1, 2000)),
    )
)
READINGS = {
    "a TC string that consents to everything": read_tcf(EVERYTHING),
    "a TC string that is not accepted": read_tcf(TcCore(specific=False).text()),
    "a GPP string with it": read_gpp(gpp((2, EVERYTHING))),
    "a GPP string with an opt-out": read_gpp(gpp((8, f"{CALIFORNIA}.{pack('011')}"))),
    "us_privacy without an opt-out": read_us_privacy("1YNY"),
    "Sec-GPC on": read_gpc_values(["1"]),
    "Sec-GPC off": read_gpc_values(["0"]),
}
readings = pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)


def gates():
    """Every gate with every purpose."""
    return [(gate, purpose.id) for gate in GATES for purpose in PURPOSES]


@readings
def test_no_reading_opens_a_gate(reading):
    """Without a grant every gate stays shut for every purpose, whatever a string says."""
    state = open_ledger(PARTIES)
    decisions = [decide(gate, purpose, state, reading.signals, NOW) for gate, purpose in gates()]
    assert not any(decision.allowed for decision in decisions)


@readings
def test_a_reading_can_only_take_away(reading):
    """Beside a grant of everything, a reading leaves the answer as it is or turns it into a no."""
    scene = Scene()
    scene.grant(*(purpose.id for purpose in PURPOSES))
    for gate, purpose in gates():
        without = decide(gate, purpose, scene.device, NO_SIGNALS, NOW)
        with_it = decide(gate, purpose, scene.device, reading.signals, NOW)
        assert with_it.allowed is (without.allowed and not reading.opts_out)


@readings
def test_a_reading_passed_in_place_of_anything_never_allows(reading):
    """A caller who confuses a reading with the state or the signals gets an error, never a yes."""
    scene = Scene()
    scene.grant(*(purpose.id for purpose in PURPOSES))
    for state, signals in ((reading, NO_SIGNALS), (scene.device, reading), (reading, reading)):
        for gate, purpose in gates():
            try:
                allowed = decide(gate, purpose, state, signals, NOW).allowed
            except (AttributeError, TypeError):
                continue
            assert not allowed


@readings
def test_a_reading_has_no_truth_value(reading):
    """``if read_tcf(...)`` cannot be written by mistake."""
    with pytest.raises(TypeError, match="neither yes nor no"):
        bool(reading)


def test_a_reading_shares_no_type_and_no_field_with_consent():
    """Nothing that the policy reads of a state, grant, receipt or signal is a field of a reading."""
    assert not issubclass(Reading, (Signals, Grant, Receipt, ConsentState))
    names = {field.name for field in fields(Reading)}
    for kind in (Signals, Grant, ConsentState):
        assert not names & {field.name for field in fields(kind)}
