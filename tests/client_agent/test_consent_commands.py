"""``hearthside-agent consent``: what it shows, what a withdrawal says, and a record that a stranger verifies."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.commands.findings import verified_lines
from client_agent.evidence import consent_record
from client_agent.keys import FileKeyring
from client_agent.overview import rule_words
from client_agent.people import PeopleKeeper
from consent import INTENT, MEASUREMENT, PERSONA, PURPOSES, RULES, Rule, Verified, verify_record, write_record
from consent.proofs import Restart
from models.wire.problems import ProblemError
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.world import SITE, federate, make_store, populate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def agent(world, tmp_path):
    """An agent with two people, whose services answer in this process."""
    folder = tmp_path / "home"
    store = make_store(folder)
    populate(world, store, 2, purposes=())
    store.close()
    return set_up(folder, world.pins, Addresses("http://leader.test", "http://helper.test"), FileKeyring(folder))


@pytest.fixture(autouse=True)
def _services(world, monkeypatch):
    monkeypatch.setattr("client_agent.agent.LeaderConnection", lambda _: world.connections()[0])
    monkeypatch.setattr("client_agent.agent.HelperConnection", lambda _: world.connections()[1])
    monkeypatch.setattr("client_agent.clocks.SystemClock", lambda: world.clock)


@pytest.fixture
def offline(monkeypatch):
    """Neither service answers."""

    def unreachable(*_):
        raise ProblemError("leader-unavailable", "expected an answer, got none")

    monkeypatch.setattr("client_agent.connection.LeaderConnection.submit_receipts", unreachable)


def run(agent, *arguments, person="person-0"):
    return CliRunner().invoke(cli.app, ["consent", *arguments, "--dir", str(agent.folder), "--person", person])


def shown(agent, *arguments, **options):
    done = run(agent, *arguments, "--json", **options)
    assert done.exit_code in {0, 1}, done.output
    return json.loads(done.stdout)


def exported(agent, tmp_path, person="person-0") -> Path:
    out = tmp_path / f"{person}.json"
    assert run(agent, "export", "--out", str(out), person=person).exit_code == 0
    return out


def alone(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Verify a file as a stranger does: another process, no agent, an empty home."""
    command = [sys.executable, "-m", "client_agent.cli", "consent", "verify", str(file), *arguments]
    home = {"HOME": str(file.parent / "nobody"), "PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=ROOT, env=home, check=False, capture_output=True, text=True)


def test_show_says_why_for_each_purpose(agent):
    """Yes or no, the rule in words, the receipt, since when, until when, and that the leader confirmed it."""
    run(agent, "grant", INTENT)
    purposes = shown(agent, "show")["purposes"]
    assert list(purposes) == [purpose.id for purpose in PURPOSES]
    yes, no = purposes[INTENT], purposes[PERSONA]
    assert (yes["granted"], yes["rule"], yes["words"]) == (True, "granted", RULES["granted"])
    assert len(yes["receipt"]) == 64
    assert yes["granted_at"] < yes["expires_at"]
    assert yes["confirmed_at"] is not None
    assert (no["granted"], no["rule"], no["receipt"], no["granted_at"]) == (False, "not_granted", None, None)


def test_show_for_a_person_to_read(agent):
    """One line of answer, one of reason; the receipt's beginning is named."""
    run(agent, "grant", INTENT)
    lines = run(agent, "show").stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith(f"yes  {INTENT} ")]
    assert lines[at + 1].strip() == RULES["granted"]
    assert lines[at + 2].strip().startswith("receipt ")
    assert "confirmed by the leader" in lines[at + 2]


def test_show_names_the_receipt_that_said_no(agent):
    """A later choice about something else does not take its place; the leader's word on it stands beside it."""
    run(agent, "grant", INTENT)
    withdrawal = shown(agent, "withdraw", INTENT)["receipt"]
    run(agent, "grant", PERSONA)
    standing = shown(agent, "show")["purposes"][INTENT]
    assert (standing["rule"], standing["receipt"]) == ("declined", withdrawal)
    assert f"receipt {withdrawal[:16]} says no, confirmed by the leader 20" in run(agent, "show").stdout


def test_show_says_that_the_leader_has_not_confirmed(agent, offline):  # noqa: ARG001 - the fixture cuts the line
    """What stands here stands, confirmed or not; the page does not claim more than is known."""
    assert "the services will hear of it later" in run(agent, "grant", INTENT).stderr
    assert shown(agent, "show")["purposes"][INTENT]["confirmed_at"] is None
    assert "not yet confirmed by the leader" in run(agent, "show").stdout


def test_show_with_gates_and_in_german(agent):
    """All four gates with their rules; titles and rules in the language asked for."""
    run(agent, "grant", INTENT)
    row = shown(agent, "show", "--gates", "--language", "de")["purposes"][INTENT]
    assert {gate: answer["allowed"] for gate, answer in row["gates"].items()} == dict.fromkeys(row["gates"], True)
    assert set(row["gates"]) == {"collect", "use", "contribute", "accept"}
    assert row["title"] == PURPOSES.find(INTENT).text("de").title
    assert row["words"].startswith("Sie haben")
    assert "contribute: yes (granted)" in run(agent, "show", "--gates").stdout
    assert "gates" not in shown(agent, "show")["purposes"][INTENT]


def test_every_rule_has_words_in_both_languages():
    """A rule that is added later without German words is found here."""
    for rule in get_args(Rule):
        assert rule_words(rule, "en") == RULES[rule]
        assert rule_words(rule, "de") not in {"", RULES[rule]}


def test_a_purpose_that_does_not_exist_is_bad_input(agent):
    """One line that says what was expected; nothing is recorded."""
    done = run(agent, "grant", "telepathy")
    assert done.exit_code == 2
    assert "expected declared purposes" in done.output
    assert shown(agent, "verify")["rows"] == 0


def test_a_child_has_nothing_to_consent_to(world, agent):
    """The command says so rather than showing a profile that there never is."""
    people = PeopleKeeper(agent.store, agent.pins, world.clock, os.urandom)
    people.add("kid", "child")
    for command in ("show", "withdraw", "export", "verify"):
        done = run(agent, command, person="kid")
        assert done.exit_code == 2
        assert "is a child here" in done.output


def test_a_withdrawal_says_what_was_deleted_and_who_confirmed_it(world, agent):
    """A report that waits is deleted, the leader has signed; no sum holds anything."""
    run(agent, "grant", MEASUREMENT)
    federation = federate(world, agent.store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    found = shown(agent, "withdraw", MEASUREMENT)
    assert (found["withdrawn"], found["kind"]) == ([MEASUREMENT], "withdrawal")
    assert found["deleted_reports"] == 1
    assert found["confirmed_at"] is not None
    assert [(item["outcome"], item["may_be_in_release"]) for item in found["releases"]] == [("unsent", False)]


def sent_report(world, agent):
    run(agent, "grant", MEASUREMENT)
    federation = federate(world, agent.store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    assert federation.send_due().accepted == 1


def test_a_withdrawal_lists_the_releases_that_it_may_not_undo(world, agent, monkeypatch):
    """What was sent is named with its study and round as long as nobody has signed that it is in no sum."""
    sent_report(world, agent)

    def unreachable(*_):
        raise ProblemError("helper-unavailable", "expected an answer, got none")

    monkeypatch.setattr("client_agent.connection.HelperConnection.withdraw", unreachable)
    done = run(agent, "withdraw")
    assert "withdrawn: everything" in done.stdout
    assert "deleted here: 1 report(s)" in done.stdout
    assert "the helper has yet to hear of 1 report(s)" in done.stdout
    assert "1 sum(s) may hold a report" in done.stdout
    assert "round 1, sent 2" in done.stdout


def test_a_withdrawal_that_came_in_time_lists_no_release(world, agent):
    """The helper has signed that the report is in no sum: it is told, with who signed, and not listed as possible."""
    sent_report(world, agent)
    found = shown(agent, "withdraw")
    (item,) = found["releases"]
    assert (item["outcome"], item["may_be_in_release"]) == ("kept_out", False)
    assert item["confirmed_by_helper"]
    assert found["waiting_for_helper"] == 0
    assert "no released sum holds anything" in run(agent, "withdraw").stdout


def test_a_refusal_stays_at_home_and_says_so(world, agent):
    """Nothing was granted: the leader is not told, and no confirmation is promised."""
    found = shown(agent, "withdraw", INTENT)
    assert (found["kind"], found["confirmed_at"]) == ("refusal", None)
    assert "a refusal stays at home" in run(agent, "withdraw", INTENT).stdout
    assert not any(state.length for state in world.states.values())


def test_a_withdrawal_is_in_force_when_nobody_answers(agent, offline):  # noqa: ARG001 - the fixture cuts the line
    """Exit code 0, off at once, and the command says that the leader has yet to hear."""
    run(agent, "grant", INTENT)
    done = run(agent, "withdraw")
    assert done.exit_code == 0
    assert "has not confirmed it yet" in done.stdout
    assert not shown(agent, "show")["purposes"][INTENT]["granted"]


def test_the_agents_own_ledger_verifies_and_a_damaged_one_does_not(agent):
    """Exit 0 with every receipt; exit 1 with the row and the reason once a stored row was edited."""
    run(agent, "grant", INTENT)
    run(agent, "withdraw", INTENT)
    found = shown(agent, "verify")
    assert found["verified"]
    assert [receipt["kind"] for receipt in found["receipts"]] == ["grant", "withdrawal"]
    assert all(receipt["confirmed_at"] for receipt in found["receipts"])
    _edit_row(agent, 1)
    done = run(agent, "verify")
    assert done.exit_code == 1
    assert "does NOT verify: row 2: expected row 2 of this chain" in done.stdout  # the row after the edited one


def test_an_older_copy_of_the_own_ledger_does_not_verify(agent):
    """The rows hold together, the keyring remembers more: the agent says so before anybody else has to."""
    run(agent, "grant", INTENT)
    agent.store._database.run("DELETE FROM consent_rows WHERE position > 0")
    done = run(agent, "verify")
    assert done.exit_code == 1
    assert "does NOT verify" in done.stdout


def _edit_row(agent, position):
    row = agent.store._database.fetch("SELECT body FROM consent_rows WHERE position = ?", (position,))[0][0]
    agent.store._database.run(
        "UPDATE consent_rows SET body = ? WHERE position = ?", (row.replace(b'"at":1', b'"at":2', 1), position)
    )


def test_a_stranger_verifies_a_record_with_the_fingerprint_alone(world, agent, tmp_path):
    """Another process, no store, no network: exit 0, every receipt with the leader's word, and what stands."""
    run(agent, "grant", INTENT, PERSONA)
    run(agent, "withdraw", PERSONA)
    file = exported(agent, tmp_path)
    done = alone(file, "--leader-fingerprint", world.leader.verify_key.fingerprint, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["verified"], found["site"], found["rows"]) == (True, SITE, 4)
    assert [item["purpose"] for item in found["standing"]] == [INTENT]
    assert "person-0" not in file.read_text()
    assert not (file.parent / "nobody").exists()


def test_a_stranger_is_told_row_and_reason(world, agent, tmp_path):
    """Forged, cut, another leader's fingerprint, no fingerprint, no record: each is refused in one way."""
    run(agent, "grant", INTENT)
    file = exported(agent, tmp_path)
    fingerprint = ("--leader-fingerprint", world.leader.verify_key.fingerprint)
    document = json.loads(file.read_text())
    other = world.helper.verify_key.fingerprint
    assert "expected the leader with fingerprint" in alone(file, "--leader-fingerprint", other).stdout
    assert alone(file).returncode == 2
    assert alone(tmp_path / "none", *fingerprint).returncode == 2
    document["rows"][1]["content"] = document["rows"][0]["content"]
    file.write_text(json.dumps(document))
    done = alone(file, *fingerprint)
    assert done.returncode == 1
    assert "does NOT verify: row 1: " in done.stdout
    file.write_text("no record")
    assert alone(file, *fingerprint, "--json").returncode == 1


def test_a_receipt_of_another_person_in_this_record_is_refused(world, agent, tmp_path):
    """Two people of one device have two keys: neither's receipts pass for the other's."""
    for person in ("person-0", "person-1"):
        run(agent, "grant", INTENT, person=person)
    mine, theirs = (json.loads(exported(agent, tmp_path, name).read_text()) for name in ("person-0", "person-1"))
    mine["rows"] = theirs["rows"]
    result = verify_record(write_record(mine), world.leader.verify_key.fingerprint)
    assert result.fault is not None
    assert result.fault.row == 0


def test_a_record_is_personal(agent, tmp_path):
    """The file is for its owner's eyes; standard output carries the same bytes; no key or name is in it."""
    run(agent, "grant", INTENT)
    file = exported(agent, tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    printed = json.loads(run(agent, "export").stdout)
    assert printed["rows"] == json.loads(file.read_text())["rows"]
    assert agent.store.participants.of_person("person-0")[0].seed.hex() not in file.read_text()


def test_a_confirmation_that_a_later_choice_overtook_is_in_the_record(world, agent, offline):  # noqa: ARG001
    """Two choices before the leader answers: the first one's confirmation has no row, and is not lost."""
    run(agent, "grant", INTENT)
    run(agent, "grant", PERSONA)
    record = agent.store.participants.of_person("person-0")[0]
    first, second = agent.store.consents.receipts_of(record.participant_id)
    from consent import countersign

    word = countersign(world.leader, first.jws, 1_800_000_000)
    with agent.store.transaction():
        agent.store.consents.settle([(record.participant_id, first.digest, word, "confirmed")])
    document = consent_record(agent.store, agent.pins.leader_key, record, 1_800_000_000)
    assert document["confirmations"] == [word]
    found = verify_record(write_record(document), world.leader.verify_key.fingerprint)
    assert found.holds
    assert [item.confirmed_at is not None for item in found.receipts] == [True, False]
    assert second.countersignature is None


def test_a_receipt_that_was_set_aside_does_not_spoil_the_record(agent):
    """A lost ledger begins anew; what the leader confirmed before is shown beside it, and the record verifies."""
    run(agent, "grant", INTENT)
    agent.store._database.run("UPDATE consent_rows SET body = X'00'")
    run(agent, "withdraw")
    record = agent.store.participants.of_person("person-0")[0]
    assert agent.store.consents.receipts_of(record.participant_id)[0].countersignature
    found = shown(agent, "verify")
    assert (found["verified"], [item["kind"] for item in found["receipts"]]) == (True, ["withdrawal"])
    assert [(item["kind"], item["confirmed_at"] is not None) for item in found["found"]] == [("grant", True)]
    assert found["restarts"][0]["reason"].startswith("row 0: expected a row")
    printed = run(agent, "verify").stdout
    for words in ("the ledger was restarted, everything off: row 0", "signed receipts:", "epoch 1, ", "verifies: "):
        assert words in printed, words


def test_a_strangers_record_moves_no_terminal():
    """What a record says is printed as text, whatever the device that signed it wrote."""
    found = Verified(site="x", person="p", device="d", restarts=(Restart(0, 1, 2, "\x1b[2J\u202egone\nverifies"),))
    text = "\n".join(verified_lines(found))
    assert "\\x1b[2J\\u202egone\\nverifies" in text
    assert all(mark == "\n" or mark.isprintable() for mark in text)


@pytest.mark.parametrize("command", ["show", "grant", "withdraw", "verify", "export"])
def test_every_command_has_an_example(command):
    """Help ends with a line that can be copied."""
    done = CliRunner().invoke(cli.app, ["consent", command, "--help"])
    assert f"Example: hearthside-agent consent {command}" in done.stdout
