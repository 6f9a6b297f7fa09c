"""What an officer's folder remembers: a request that lies about the root in force is found out."""

import datetime as dt
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.leader import officers
from aggregator.leader.ceremony import Change, Request, draft
from aggregator.leader.known_roots import KnownRoots, file_of, read_root
from aggregator.leader.repository import public_key, signer
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from tests import bundles
from tests.bundles import change

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
FIRST, SECOND, LEADER = SigningKey(b"o" * 32), SigningKey(b"p" * 32), SigningKey(b"l" * 32)
BOTH = [FIRST, SECOND]


@pytest.fixture
def made(tmp_path):
    """A site with two officers, both of whom sign a root."""
    return bundles.repository(tmp_path / "tuf", BOTH, NOW, threshold=2)


def lying(made) -> Request:
    """Root 2 with the leader for an officer, as if root 1 had had it and a threshold of one."""
    state = made.files.state()
    state.root.signed.add_key(public_key(LEADER.verify_key), "root")
    state.root.signed.add_key(public_key(LEADER.verify_key), "targets")
    state.root.signed.roles["root"].threshold = 1
    state.root.signatures.clear()
    state.root.sign(signer(LEADER))
    return Request.parse(draft("shop.example", state, Change(renew=True), NOW).to_bytes())


def known_after(made, *roots: Metadata[Root]) -> KnownRoots:
    return KnownRoots().led_by([*roots, made.files.root()])


def test_a_root_that_is_said_to_be_in_force_and_is_not(made):
    """Neither an officer who knows root 1 nor one who knows nothing signs on top of a forged one."""
    for known in (known_after(made), KnownRoots(None, made.files.root()), KnownRoots()):
        for officer in BOTH:
            asked = lying(made)
            officers.check(asked, NOW)
            with pytest.raises(ProblemError, match=r"does not follow|not signed"):
                officers.sign(asked, officer, NOW, known)
            assert not asked.root.signatures


def test_what_changes_is_told_from_the_real_root(made):
    """The leader's key is called new and a lower threshold is a change, whatever else is in the request."""
    wanted = Change([*(key.verify_key for key in BOTH), LEADER.verify_key], threshold=1)
    asked = made.request(wanted, NOW)
    words = officers.describe(asked, known_after(made), FIRST.verify_key)
    assert f"officer {LEADER.verify_key.fingerprint} (new)" in words
    assert "signatures for a root: 2 -> 1" in words
    assert f"officer {SECOND.verify_key.fingerprint}" in words


def test_at_a_first_meeting_everybody_else_is_new(made):
    """A folder without a memory takes a root with its own signature, and vouches for nobody in it."""
    asked = made.request(Change(renew=True), NOW)
    words = officers.describe(asked, KnownRoots(), FIRST.verify_key)
    assert f"officer {SECOND.verify_key.fingerprint} (new)" in words
    assert f"officer {FIRST.verify_key.fingerprint}" in words
    assert any("nothing of this site is remembered" in line for line in words)
    officers.sign(asked, FIRST, NOW, KnownRoots())


def test_who_was_taken_out_is_new_again(made):
    """A second draft over the same root is told from what was signed last, too; and it says that it is another."""
    gone = made.request(Change(officers=[FIRST.verify_key], threshold=1), NOW)
    known = known_after(made)
    known = known.after(officers.sign(gone, FIRST, NOW, known))
    words = officers.describe(made.request(Change(renew=True), NOW), known, FIRST.verify_key)
    assert f"officer {SECOND.verify_key.fingerprint} (new)" in words
    assert "another root 2 than the one that you signed before" in words


def test_roots_that_an_officer_has_not_seen(made):
    """One that known officers have signed follows; after another set of them the officer is shown what lies between."""
    known = known_after(made)
    change(made, BOTH, NOW, renew=True)
    change(made, BOTH, NOW, renew=True)
    officers.sign(made.request(Change(renew=True), NOW), FIRST, NOW, known)
    third = SigningKey(b"t" * 32)
    change(made, [*BOTH, third], NOW, officers=[SECOND.verify_key, third.verify_key], threshold=1)
    change(made, [third], NOW, officers=[third.verify_key, FIRST.verify_key])
    asked = made.request(Change(renew=True), NOW)
    with pytest.raises(ProblemError, match="--root"):
        officers.sign(asked, FIRST, NOW, known)
    between = [read_root((made.metadata_dir / f"{version}.root.json").read_bytes()) for version in (3, 4, 5)]
    officers.sign(asked, FIRST, NOW, known.led_by(between))
    with pytest.raises(ProblemError, match="does not follow"):
        known.led_by(between[2:])
    first = read_root((made.metadata_dir / "1.root.json").read_bytes())
    with pytest.raises(ProblemError, match="has one"):
        officers.sign(Request(asked.site, None, first, None), FIRST, NOW, known)


def test_the_command_remembers_and_refuses(tmp_path, monkeypatch):
    """What was signed is in the officer's folder before the signature leaves; a forged beginning is one line."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    officer = runner.invoke(app, ["init", "officer", "--dir", "officer"]).output.split()[1]
    runner.invoke(app, ["init", "leader", "--dir", "leader", "--site", "shop", "--officer-key", officer])
    runner.invoke(app, ["tuf", "init", "--dir", "leader", "--request", "first.json"])
    arguments = ["tuf", "sign", "first.json", "--dir", "officer"]
    assert runner.invoke(app, arguments, input="n\n").exit_code == 1
    assert not file_of(Path("officer"), "shop").exists()
    assert runner.invoke(app, arguments, input="y\n").exit_code == 0
    known = KnownRoots.read(Path("officer"), "shop")
    assert (known.in_force, known.signed.signed.version) == (None, 1)
    assert known.signed.signed == Request.parse(Path("first.json").read_bytes()).root.signed
    other = bundles.repository(tmp_path / "other", [LEADER], NOW, site="shop")
    Path("forged.json").write_bytes(other.request(Change(renew=True), NOW).to_bytes())
    done = runner.invoke(app, ["tuf", "sign", "forged.json", "--dir", "officer", "--yes"])
    assert done.exit_code != 0
    assert "does not follow" in f"{done.output}{done.exception}"
    file_of(Path("officer"), "shop").write_text("{")
    assert "damaged" in f"{runner.invoke(app, arguments, input='y').exception}"
