"""A change of a device's key: both keys sign it, consent goes on, and the old key may do nothing but withdraw."""

import dataclasses

import pytest

from consent import (
    PURPOSES,
    Accepted,
    Parties,
    Refused,
    RotationInvalid,
    accept,
    decline,
    grant,
    keys_of,
    make_record,
    make_rotation,
    notice,
    open_ledger,
    read_rotation,
    record,
    replay,
    restart,
    rotate,
    sign_receipt,
    verify_record,
    write_record,
)
from consent.choices import EPOCHS_AHEAD, beyond
from privacy.crypto import SigningKey, canonical_json, parse_canonical

NOW = 1_800_000_000
SITE = "shop.example"


class Chain:
    """A device's ledger and the keys under which it was kept."""

    def __init__(self) -> None:
        self.leader, self.old, self.new = (SigningKey.generate() for _ in range(3))
        self.key = self.old
        self.state = open_ledger(self.parties())
        self.rows: list[bytes] = []

    def parties(self, *former) -> Parties:
        return Parties(self.key.verify_key, self.leader.verify_key, SITE, "p", former)

    def choose(self, act, key=None, **changes) -> str:
        receipt = act(self.state, ["measurement"], notice=notice(SITE, "en"), issued_at=NOW)
        return sign_receipt(key or self.key, dataclasses.replace(receipt, **changes))

    def keep(self, jws: str) -> None:
        self.state, row = record(self.state, jws, NOW)
        self.rows.append(row.body())

    def turn(self) -> None:
        content = make_rotation(self.old, self.new, self.leader.verify_key, NOW)
        self.state, row = rotate(self.state, content, NOW)
        self.rows.append(row.body())
        self.key = self.new


def test_consent_goes_on_under_the_new_key_and_every_row_verifies_under_the_key_of_its_time():
    """A grant from before the change stands after it, in the same epoch; a later choice is signed by the new key."""
    chain = Chain()
    chain.keep(chain.choose(grant))
    epoch = chain.state.epoch
    chain.turn()
    assert chain.state.grant_of("measurement") is not None
    assert chain.state.epoch == epoch
    chain.keep(chain.choose(decline))
    read = replay(chain.parties(), chain.rows)
    assert read.fault is None
    assert read == chain.state
    assert not read.granted
    assert keys_of(chain.parties(), chain.rows) == (chain.new.verify_key, chain.old.verify_key)


def test_without_the_row_of_the_change_the_rest_of_a_chain_counts_for_nothing():
    """Dropping, forging or moving the row leaves a fault; a restart then begins an empty chain under the key of now."""
    chain = Chain()
    chain.keep(chain.choose(grant))
    chain.turn()
    named, stranger = (key.verify_key.raw.hex().encode() for key in (chain.new, SigningKey.generate()))
    other = chain.rows[1].replace(named, stranger)
    for rows in (chain.rows[:1], chain.rows[1:], [chain.rows[0], other]):
        read = replay(chain.parties(), rows)
        assert read.fault is not None
        assert not read.granted
        again, row = restart(read, NOW)
        assert again.parties.device_key == chain.new.verify_key
        assert replay(chain.parties(), [*rows[: read.length], row.body()]).fault is None


def test_a_change_counts_only_if_both_keys_signed_it_for_this_leader():
    """Another leader's, one with a signature of the wrong key, or from another key than the device's is refused."""
    chain, thief = Chain(), SigningKey.generate()
    content = make_rotation(chain.old, chain.new, chain.leader.verify_key, NOW)
    assert read_rotation(content, chain.leader.verify_key).new == chain.new.verify_key
    with pytest.raises(RotationInvalid):
        read_rotation(content, SigningKey.generate().verify_key)
    fields = parse_canonical(content.encode())
    for name, value in (("new", thief.verify_key.raw.hex()), ("old", thief.verify_key.raw.hex()), ("at", NOW + 1)):
        with pytest.raises(RotationInvalid):
            read_rotation(canonical_json({**fields, name: value}).decode(), chain.leader.verify_key)
    with pytest.raises(RotationInvalid):
        make_rotation(chain.old, chain.old, chain.leader.verify_key, NOW)
    with pytest.raises(RotationInvalid):
        rotate(chain.state, make_rotation(thief, chain.new, chain.leader.verify_key, NOW), NOW)


def test_the_old_key_may_withdraw_and_nothing_else():
    """At the leader: a grant by the old key is refused with the epoch that stands, a withdrawal is recorded."""
    chain = Chain()
    chain.keep(chain.choose(grant))
    leading = chain.state
    chain.turn()
    after, _ = rotate(leading, make_rotation(chain.old, chain.new, chain.leader.verify_key, NOW), NOW)
    old = {"device_key": chain.old.verify_key, "epoch": after.epoch + 1}
    refused = accept(after, chain.choose(grant, chain.old, **old), chain.leader, NOW)
    assert isinstance(refused, Refused)
    assert refused.code == "key_replaced"
    assert refused.last_epoch == after.epoch
    taken = accept(after, chain.choose(decline, chain.old, **old), chain.leader, NOW)
    assert isinstance(taken, Accepted)
    assert not taken.state.granted
    assert replay(chain.parties(), [*chain.rows, taken.row.body()]).fault is None
    stranger = SigningKey.generate()
    forged = chain.choose(decline, stranger, device_key=stranger.verify_key, epoch=after.epoch + 1)
    assert accept(after, forged, chain.leader, NOW).code == "signature_invalid"


def test_a_consent_record_shows_choices_under_both_keys():
    """Anyone verifies the exported file with the leader's fingerprint; both receipts are proven."""
    chain = Chain()
    chain.keep(chain.choose(grant))
    chain.turn()
    chain.keep(chain.choose(decline))
    data = write_record(make_record(chain.new, chain.parties(), chain.rows, [], NOW))
    shown = verify_record(data, chain.leader.verify_key.fingerprint)
    assert shown.fault is None
    assert [item.receipt.kind for item in shown.receipts] == ["grant", "withdrawal"]


class Stolen(Chain):
    """A device that granted two purposes and changed its key, because somebody else had the old one."""

    def __init__(self) -> None:
        super().__init__()
        told = {"notice": notice(SITE, "en"), "issued_at": NOW}
        self.keep(sign_receipt(self.key, grant(self.state, ["measurement", "persona"], **told)))
        self.turn()
        self.there = self.state
        """What stands at the leader."""

    def send(self, jws: str) -> Accepted | Refused:
        answer = accept(self.there, jws, self.leader, NOW)
        if isinstance(answer, Accepted):
            self.there = answer.state
        return answer

    def steal(self, epoch: int) -> Accepted | Refused:
        """The thief withdraws one purpose, which does no harm, in an epoch of their choice."""
        told = {"notice": notice(SITE, "en"), "issued_at": NOW}
        receipt = decline(self.there, ["persona"], **told)
        changes = {"device_key": self.old.verify_key, "epoch": epoch, "kind": "withdrawal"}
        return self.send(sign_receipt(self.old, dataclasses.replace(receipt, **changes)))


@pytest.mark.parametrize("ahead", [1, 7, EPOCHS_AHEAD])
def test_what_a_stolen_old_key_signs_never_makes_the_owners_withdrawal_too_late(ahead):
    """However far the thief went: the withdrawal under the new key passes as it was signed, and once."""
    chain = Stolen()
    assert isinstance(chain.steal(chain.there.epoch + ahead), Accepted)
    reached, no = chain.there.epoch, chain.choose(decline)
    assert isinstance(chain.send(no), Accepted)
    assert not chain.there.granted
    assert chain.there.epoch == reached, "epochs never go back: reports of before stay out"
    assert chain.send(no).row is None, "the same again is the same"
    yes = chain.choose(grant, epoch=reached + 1)
    assert isinstance(chain.send(yes), Accepted)
    assert chain.send(no).code == "epoch_not_after"
    assert chain.there.grant_of("measurement")


@pytest.mark.parametrize("epoch", [2**53 - 1, 2**40, EPOCHS_AHEAD + 2])
def test_an_old_key_signs_no_further_ahead_than_a_device_follows(epoch):
    """In one step or in many: what the leader names is an epoch beyond which the owner's device signs."""
    chain = Stolen()
    turned = chain.there.epoch
    assert chain.steal(epoch).code == "epoch_too_far"
    assert isinstance(chain.steal(turned + EPOCHS_AHEAD - 1), Accepted)
    assert isinstance(chain.steal(turned + EPOCHS_AHEAD), Accepted)
    assert chain.steal(turned + EPOCHS_AHEAD + 1).code == "epoch_too_far"
    receipt = grant(chain.state, ["measurement"], notice=notice(SITE, "en"), issued_at=NOW)
    refused = chain.send(sign_receipt(chain.new, receipt))
    assert refused.code == "epoch_not_after"
    again = beyond(receipt, refused.last_epoch)
    assert again is not None
    assert isinstance(chain.send(sign_receipt(chain.new, again)), Accepted)


def test_a_change_of_key_is_the_way_out_for_whoever_lost_the_key_of_now():
    """A thief went to the last epoch there is with the key itself: under the next one a withdrawal counts."""
    chain = Chain()
    chain.keep(chain.choose(grant))
    versions = tuple((name, PURPOSES.find(name).version) for name in ("measurement", "persona"))
    no = chain.choose(
        decline, epoch=2**53 - 1, chosen=("persona",), granted=("measurement",), purpose_versions=versions
    )
    answer = accept(chain.state, no, chain.leader, NOW)
    assert isinstance(answer, Accepted)
    assert answer.state.grant_of("measurement")
    content = make_rotation(chain.old, chain.new, chain.leader.verify_key, NOW)
    there, _ = rotate(answer.state, content, NOW)
    chain.turn()
    taken = accept(there, chain.choose(decline), chain.leader, NOW)
    assert isinstance(taken, Accepted)
    assert not taken.state.granted


def test_a_grant_lies_no_further_ahead_than_a_device_follows_and_a_withdrawal_may():
    """A device that was told too large an epoch is heard when it takes consent back, and then when it grants."""
    chain = Chain()
    far = chain.state.epoch + EPOCHS_AHEAD + 1
    assert accept(chain.state, chain.choose(grant, epoch=far), chain.leader, NOW).code == "epoch_too_far"
    assert isinstance(accept(chain.state, chain.choose(grant, epoch=far - 1), chain.leader, NOW), Accepted)
    chain.keep(chain.choose(grant))
    taken = accept(chain.state, chain.choose(decline, epoch=far + 9), chain.leader, NOW)
    assert isinstance(taken, Accepted)
    assert isinstance(accept(taken.state, chain.choose(grant, epoch=far + 10), chain.leader, NOW), Accepted)
