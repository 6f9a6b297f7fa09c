"""The hash-chained consent ledger."""

import json
from dataclasses import asdict, replace

import pytest

from consent import (
    INTENT,
    NO_SIGNALS,
    PERSONA,
    PURPOSES,
    ChoiceInvalid,
    CountersignatureInvalid,
    LedgerFaulty,
    Mirror,
    ReceiptInvalid,
    Row,
    confirm,
    countersign,
    decide,
    decline,
    grant,
    notice,
    observe_gpc,
    open_ledger,
    record,
    replay,
    restart,
    withdraw_all,
)
from tests.consent.scenes import DAY, DEVICE, LEADER, NOW, PARTIES, SITE, STRANGER, Scene, a_grant, next_version, signed


def a_history():
    """A scene with one row of each kind that a normal life has."""
    scene = Scene()
    jws = scene.grant(INTENT, PERSONA)
    scene.device, row = confirm(scene.device, scene.deliver(jws).countersignature, NOW)
    scene.rows.append(row)
    scene.device, row = observe_gpc(scene.device, NOW)
    scene.rows.append(row)
    scene.grant(INTENT)
    scene.decline(PERSONA)
    return scene


def _edited(content):
    """Another character in the middle: one whose bits all count, as those of a signature's last one do not."""
    if not content:
        return "A"
    place = len(content) // 2
    return content[:place] + ("B" if content[place] == "A" else "A") + content[place + 1 :]


def _body(row):
    """A row's bytes, written without the checks of ``Row.body``."""
    return json.dumps({**asdict(row), "previous": row.previous.hex()}, sort_keys=True, separators=(",", ":")).encode()


def refused(receipt, at=NOW, state=None, registry=PURPOSES):
    with pytest.raises(ReceiptInvalid) as caught:
        record(state or open_ledger(PARTIES), signed(receipt), at, registry)
    return caught.value.code


def test_replay_arrives_at_the_recorded_state():
    """From rows or from their bytes, with the mirrored head."""
    scene = a_history()
    assert replay(PARTIES, scene.rows, scene.device.mirror) == scene.device
    assert replay(PARTIES, [row.body() for row in scene.rows], scene.device.mirror) == scene.device


def test_the_epoch_counts_changes_of_what_is_granted():
    """Grants and withdrawals raise it; a refusal keeps it, so that no gap betrays it."""
    scene = Scene()
    epochs = []
    for act in (
        lambda: scene.decline(INTENT),
        lambda: scene.grant(PERSONA),
        lambda: scene.decline(INTENT),
        lambda: scene.decline(PERSONA),
    ):
        act()
        epochs.append(scene.device.epoch)
    assert epochs == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"leader": STRANGER.verify_key.fingerprint}, "wrong_audience"),
        ({"site": "https://other.example"}, "wrong_site"),
        ({"person": "person-2"}, "wrong_person"),
        ({"issued_at": NOW + 301}, "issued_in_future"),
        ({"issued_at": NOW - 180 * DAY}, "expired"),
        ({"chosen": ("x",), "granted": ("x",), "purpose_versions": (("x", 1),)}, "purpose_unknown"),
        ({"purpose_versions": ((INTENT, 2),)}, "purpose_version"),
    ],
)
def test_a_receipt_for_something_else_is_refused(change, code):
    """Wrong audience, site, person, time, purpose or version: each has its code."""
    assert refused(replace(a_grant(), **change)) == code


def test_a_grant_of_an_old_version_is_refused_after_the_change():
    """A receipt that was signed before a purpose changed does not pass after it."""
    assert refused(a_grant(), registry=next_version(PURPOSES, INTENT)) == "purpose_version"


def test_a_replayed_or_reordered_receipt_is_refused():
    """An old yes cannot follow a later no."""
    scene = Scene()
    yes = scene.grant(INTENT)
    scene.decline(INTENT)
    with pytest.raises(ReceiptInvalid, match="epoch_not_after"):
        record(scene.device, yes, NOW)
    refusal = Scene().decline(INTENT)
    with pytest.raises(ReceiptInvalid, match="epoch_not_after"):
        record(scene.device, refusal, NOW)


def test_two_receipts_never_share_an_epoch():
    """Neither the same receipt twice nor another one of the same epoch: one of them would be lost at the leader."""
    scene = Scene()
    other = signed(a_grant(scene.device, purposes=(PERSONA,)))
    yes = scene.grant(INTENT)
    for jws in (yes, other):
        with pytest.raises(ReceiptInvalid, match="epoch_not_after"):
            record(scene.device, jws, NOW)


def test_a_wrong_clock_never_stops_a_withdrawal():
    """Taking consent back works with the clock a century off in either direction."""
    for clock in (0, NOW + 36_500 * DAY):
        scene = Scene()
        scene.grant(INTENT)
        no = decline(scene.device, [INTENT], notice=notice(SITE, "en"), issued_at=clock)
        scene.device, _ = record(scene.device, signed(no), NOW)
        assert not scene.device.granted


def test_a_changed_purpose_never_stops_a_withdrawal():
    """What was granted under an older registry can be taken back under any."""
    scene = Scene()
    scene.grant(INTENT)
    scene.registry = next_version(PURPOSES, INTENT)
    scene.decline(INTENT)
    assert not scene.device.granted


def test_saying_no_to_something_granted_is_a_withdrawal_that_the_leader_hears():
    """The device picks the kind; a refusal that would hide a withdrawal is refused."""
    scene = Scene()
    scene.grant(INTENT)
    no = decline(scene.device, [INTENT, PERSONA], notice=notice(SITE, "en"), issued_at=NOW)
    assert (no.kind, no.chosen) == ("withdrawal", (INTENT, PERSONA))
    hidden = replace(no, kind="refusal", epoch=scene.device.epoch)
    assert refused(hidden, state=scene.device) == "refusal_of_granted"


def test_one_act_takes_everything_back():
    """Withdrawing is no harder than granting."""
    scene = Scene()
    scene.grant(INTENT, PERSONA)
    scene.device, _ = record(
        scene.device, signed(withdraw_all(scene.device, notice=notice(SITE, "de"), issued_at=NOW)), NOW
    )
    assert not scene.device.granted
    assert len(scene.device.declined) == len(PURPOSES)


def test_a_withdrawal_cannot_smuggle_in_a_grant():
    """What it lists as standing counts only if it stood before."""
    scene = Scene()
    scene.grant(INTENT)
    no = decline(scene.device, [INTENT], notice=notice(SITE, "en"), issued_at=NOW)
    sly = replace(no, granted=(PERSONA,), purpose_versions=((INTENT, 1), (PERSONA, 1)))
    scene.device, _ = record(scene.device, signed(sly), NOW)
    assert not scene.device.granted


def test_a_choice_that_nobody_offered_cannot_be_signed():
    """An unknown purpose or an empty choice is the caller's mistake, found before signing."""
    state = open_ledger(PARTIES)
    for purposes in ([], ["nonsense"]):
        for act in (grant, decline):
            with pytest.raises(ChoiceInvalid):
                act(state, purposes, notice=notice(SITE, "en"), issued_at=NOW)


def test_only_the_leaders_confirmation_of_the_last_receipt_is_recorded():
    """Neither a stranger's nor one of an older receipt."""
    scene = Scene()
    first = scene.grant(INTENT)
    second = scene.grant(PERSONA)
    for bad in (countersign(LEADER, first, NOW), countersign(STRANGER, second, NOW)):
        with pytest.raises(CountersignatureInvalid):
            confirm(scene.device, bad, NOW)
    state, _ = confirm(scene.device, countersign(LEADER, second, NOW), NOW)
    assert state.countersigned


@pytest.mark.parametrize("position", range(5))
def test_an_edited_row_ends_in_no_consent_with_the_reason(position):
    """Whichever row and whichever field is changed, the chain or a signature breaks."""
    scene = a_history()
    row = scene.rows[position]
    for edit in (
        {"at": row.at + 1},
        {"index": row.index + 1},
        {"previous": bytes(32)},
        {"content": _edited(row.content)},
        {"kind": "restart"},
    ):
        rows = [*scene.rows[:position], replace(row, **edit), *scene.rows[position + 1 :]]
        state = replay(PARTIES, rows, scene.device.mirror)
        assert state.fault
        assert not state.granted


@pytest.mark.parametrize("missing", range(5))
def test_a_dropped_or_truncated_row_ends_in_no_consent(missing):
    """Dropping from the middle breaks the chain; dropping the end misses the remembered head."""
    scene = a_history()
    dropped = [row for row in scene.rows if row.index != missing]
    assert replay(PARTIES, dropped, scene.device.mirror).fault
    truncated = replay(PARTIES, scene.rows[:missing], scene.device.mirror)
    assert "remembered" in (truncated.fault or "")
    assert not truncated.granted


def test_swapped_rows_and_rows_of_another_ledger_end_in_no_consent():
    """Order is part of the chain, and so are the parties."""
    scene = a_history()
    assert replay(PARTIES, [scene.rows[1], scene.rows[0], *scene.rows[2:]]).fault
    for other in (
        replace(PARTIES, person="person-2"),
        replace(PARTIES, site="https://other.example"),
        replace(PARTIES, leader_key=STRANGER.verify_key),
    ):
        assert replay(other, scene.rows).fault


def test_rows_that_the_mirror_does_not_know_are_a_fault():
    """The mirror is stored with the row: a chain that goes on after it was extended by somebody else."""
    scene = a_history()
    state = replay(PARTIES, scene.rows, Mirror(scene.rows[-2].digest, 1))
    assert "remembered" in (state.fault or "")
    assert not state.granted


@pytest.mark.parametrize("stored", [b"", b"{}", b"[1]", b'{"at":1}', b"\xff", b"[" * 5000])
def test_a_stored_row_that_is_no_row_ends_in_no_consent(stored):
    """Garbage in the store is a fault, never an exception."""
    assert replay(PARTIES, [stored]).fault


@pytest.mark.parametrize(
    "forged", [{"index": 7}, {"at": -1}, {"at": 2**60}, {"at": 1.5}, {"index": True}, {"kind": "x"}]
)
def test_a_row_that_someone_appended_badly_ends_in_no_consent(forged):
    """Even with the right previous digest and no mirror, position and time must make sense."""
    scene = Scene()
    scene.grant(INTENT)
    row = replace(Row(1, scene.device.head, "gpc", "", NOW), **forged)
    state = replay(PARTIES, [*scene.rows, _body(row)])
    assert state.fault
    assert not state.granted


def test_a_restart_opens_a_faulty_ledger_with_everything_off():
    """The old yes stays dead, a new yes counts, and the whole replays."""
    scene = Scene()
    scene.grant(INTENT)
    rows = [*scene.rows]
    scene.decline(INTENT)
    faulty = replay(PARTIES, rows, scene.device.mirror)
    with pytest.raises(LedgerFaulty, match="restart"):
        record(faulty, signed(a_grant(faulty)), NOW)
    opened, row = restart(faulty, NOW)
    rows.append(row)
    assert not opened.granted
    assert opened.fault is None
    assert replay(PARTIES, rows, opened.mirror) == opened
    again, _ = record(opened, signed(a_grant(opened)), NOW)
    assert decide("use", INTENT, again, NO_SIGNALS, NOW).allowed
    with pytest.raises(LedgerFaulty):
        restart(again, NOW)


def test_receipts_of_lost_rows_never_pass_again():
    """The keyring remembers the epoch: an old yes cannot be put into a ledger that was truncated before it."""
    scene = Scene()
    yes = scene.grant(INTENT)
    scene.decline(INTENT)
    opened, row = restart(replay(PARTIES, [], scene.device.mirror), NOW)
    assert opened.epoch == scene.device.epoch
    with pytest.raises(ReceiptInvalid, match="epoch_not_after"):
        record(opened, yes, NOW)
    assert replay(PARTIES, [row], opened.mirror) == opened


@pytest.mark.parametrize("content", ["", "[]", '{"epoch":-1}', '{"epoch":"7"}', "junk"])
def test_a_restart_row_that_turns_the_epoch_back_is_a_fault(content):
    """No row lowers the epoch."""
    scene = Scene()
    scene.grant(INTENT)
    forged = Row(1, scene.device.head, "restart", content, NOW)
    assert "epoch 1" in (replay(PARTIES, [*scene.rows, forged]).fault or "")


def test_a_mirror_reads_back_from_the_keyring():
    """Forty bytes both ways; any other length is a fault."""
    mirror = a_history().device.mirror
    assert Mirror.from_bytes(mirror.to_bytes()) == mirror
    with pytest.raises(LedgerFaulty):
        Mirror.from_bytes(mirror.to_bytes()[:-1])


def test_a_row_reads_back_as_written():
    """Canonical bytes both ways."""
    row = a_history().rows[0]
    assert Row.parse(row.body()) == row
    assert Row.parse(row.body()).digest == row.digest


def test_a_state_shows_no_secret_key():
    """States hold public keys alone."""
    assert DEVICE.seed().hex() not in repr(a_history().device)
