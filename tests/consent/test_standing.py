"""A state that is written down and read again: the same state, or nothing."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from consent import PURPOSES, decline, distrust, grant, notice, open_ledger, record, sign_receipt
from consent.acceptance import accept
from consent.errors import LedgerFaulty
from consent.standing import check_seal, read_standing, seal_standing, write_standing
from consent.state import Parties
from privacy.crypto import SigningKey

LEADER, DEVICE = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
PARTIES = Parties(DEVICE.verify_key, LEADER.verify_key, "shop", "p")
SECRET = bytes(range(32))
NOW = 1_800_000_000
NAMES = [purpose.id for purpose in PURPOSES if purpose.leaves != "nothing"]
CHOICES = st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(NAMES), min_size=1, max_size=3)), max_size=4)


def _follow(choices):
    """The leader's state after a device's choices, as ``accept`` takes them in."""
    device = held = open_ledger(PARTIES)
    for step, (yes, purposes) in enumerate(choices):
        act = grant if yes else decline
        receipt = act(device, tuple(sorted(purposes)), notice=notice("shop", "en"), issued_at=NOW + step)
        jws = sign_receipt(DEVICE, receipt)
        device, _ = record(device, jws, NOW + step)
        if receipt.kind != "refusal":
            held = accept(held, jws, LEADER, NOW + step).state
    return held


@given(choices=CHOICES)
@settings(max_examples=12)
def test_what_is_read_is_what_was_written(choices):
    """Every field, the same bytes each time; what follows from it is what follows from the rows."""
    state = _follow(choices)
    body = write_standing(state)
    assert read_standing(PARTIES, body) == state
    assert write_standing(read_standing(PARTIES, body)) == body
    check_seal(SECRET, PARTIES, body, seal_standing(SECRET, PARTIES, body))


@given(where=st.integers(0, 2**20), bit=st.integers(0, 7), choices=CHOICES)
@settings(max_examples=12)
def test_an_altered_bit_is_found(where, bit, choices):
    """In the standing or in its seal."""
    body = bytearray(write_standing(_follow(choices)))
    seal = bytearray(seal_standing(SECRET, PARTIES, bytes(body)))
    altered = body if where % 2 else seal
    altered[where % len(altered)] ^= 1 << bit
    with pytest.raises(LedgerFaulty):
        check_seal(SECRET, PARTIES, bytes(body), bytes(seal))


def test_a_seal_holds_for_one_device_person_and_leader_alone():
    """A standing that was moved to another row is not that row's."""
    body = write_standing(_follow([(True, {NAMES[0]})]))
    seal = seal_standing(SECRET, PARTIES, body)
    others = (
        Parties(LEADER.verify_key, LEADER.verify_key, "shop", "p"),
        Parties(DEVICE.verify_key, DEVICE.verify_key, "shop", "p"),
        Parties(DEVICE.verify_key, LEADER.verify_key, "other", "p"),
        Parties(DEVICE.verify_key, LEADER.verify_key, "shop", "q"),
    )
    for parties in others:
        with pytest.raises(LedgerFaulty):
            check_seal(SECRET, parties, body, seal)
    with pytest.raises(LedgerFaulty):
        check_seal(bytes(32), PARTIES, body, seal)


def test_a_faulty_ledger_has_no_standing():
    """Nothing follows from it that could be written down."""
    with pytest.raises(LedgerFaulty):
        write_standing(distrust(_follow([(True, {NAMES[0]})]), "edited"))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"granted":[[1]]}', b"[" * 5_000])
def test_other_bytes_are_no_standing(body):
    """Whatever stands there, the answer is one error."""
    with pytest.raises(LedgerFaulty):
        read_standing(PARTIES, body)
