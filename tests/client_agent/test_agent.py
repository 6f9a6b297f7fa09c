"""The agent as a whole: its command line, what it loads, the stored visitor, its data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, open_agent, set_up
from client_agent.errors import NotEnrolled
from client_agent.keys import FileKeyring
from client_agent.policy import INSTALLED_CONTRACT, lowered
from client_agent.profiles import EventData, stored_events
from client_agent.visitor import StoredVisitor
from consent import notice
from models.events import FeatureSpec, parse_event
from models.queries.answers import named_features
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.world import SITE, START_MS, federate, make_store, populate

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "flwr", "dp_accounting", "opacus", "scipy")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["client_agent", "client_agent.cli", "client_agent.serving", "client_agent.visitor"])
def test_the_resident_agent_stays_light(module):
    """Neither the command line nor the serving process loads the worker's heavy parts."""
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_federation_stays_light_until_it_prices():
    """dp-accounting is loaded by the first charge, not before."""
    code = (
        "import sys, client_agent.federation.federation; print('dp_accounting' in sys.modules, 'flwr' in sys.modules)"
    )
    assert python(code).stdout.strip() == "False False"


@pytest.fixture
def agent(world, tmp_path):
    """An agent with one person, whose services answer in this process."""
    folder = tmp_path / "home"
    store = make_store(folder)
    populate(world, store, 1, purposes=())
    store.close()
    return set_up(folder, world.pins, Addresses("http://leader.test", "http://helper.test"), FileKeyring(folder))


def run(agent, *arguments):
    return CliRunner().invoke(cli.app, [*arguments, "--dir", str(agent.folder), "--person", "person-0"])


@pytest.fixture
def _services(world, monkeypatch):
    monkeypatch.setattr("client_agent.agent.LeaderConnection", lambda _: world.connections()[0])
    monkeypatch.setattr("client_agent.agent.HelperConnection", lambda _: world.connections()[1])
    monkeypatch.setattr("client_agent.clocks.SystemClock", lambda: world.clock)


@pytest.mark.usefixtures("_services")
def test_consent_by_command_line(world, agent):
    """Grant, show and withdraw; the leader hears of both."""
    assert run(agent, "consent", "grant", "measurement", "persona").exit_code == 0
    shown = json.loads(run(agent, "consent", "show", "--json").stdout)
    assert [name for name, row in shown["purposes"].items() if row["granted"]] == ["persona", "measurement"]
    assert shown["confirmed_by_leader"]
    assert run(agent, "consent", "withdraw").exit_code == 0
    assert all(not state.granted for state in world.states.values())


@pytest.mark.usefixtures("_services")
def test_status_and_export_by_command_line(agent):
    """Both print JSON; neither tells coins or null counts."""
    agent.store.insert_events(agent.store.participants.all()[0].participant_id, [("e1", 1, '{"kind": "click"}')])
    status = run(agent, "status", "--json").stdout
    assert json.loads(status)["site"] == SITE
    exported = run(agent, "export").stdout
    assert [row["event"] for row in json.loads(exported)["events"]] == [{"kind": "click"}]
    assert "null_reports" not in exported


@pytest.mark.usefixtures("_services")
def test_erase_by_command_line(world, agent):
    """Everything about the person goes; the leader hears the withdrawal first."""
    run(agent, "consent", "grant", "measurement")
    assert run(agent, "erase", "--yes").exit_code == 0
    assert agent.store.participants.all() == []
    assert all(not state.granted for state in world.states.values())


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["status", "--dir", "/nonexistent/agent"], "enrol first", 2),
        (["consent", "grant"], "Missing argument", 2),
        (["enrol", "--leader", "x"], "Missing option", 2),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, code):
    """Errors say what was expected, on one line of stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "client_agent.cli", *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_store_is_one_line_and_exit_code_3(agent):
    """A store that does not open is told from bad input."""
    agent.store.close()
    (agent.folder / "agent.db").write_bytes(b"not a store" * 1_000)
    command = [sys.executable, "-m", "client_agent.cli", "status", "--dir", str(agent.folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


def test_an_agent_that_was_never_pinned_does_not_open(tmp_path):
    """A store without pins belongs to nobody."""
    make_store(tmp_path / "x").close()
    with pytest.raises(NotEnrolled, match="never enrolled"):
        open_agent(tmp_path / "x", FileKeyring(tmp_path / "x"))


def test_a_setting_can_only_lower_the_budget():
    """The installed contract is a ceiling."""
    assert lowered(None) == INSTALLED_CONTRACT
    assert lowered(2.0).epsilon == 2.0
    with pytest.raises(ValueError, match="at most"):
        lowered(INSTALLED_CONTRACT.epsilon + 1)


def events():
    kinds = (
        ("page_view", {"category": "home"}),
        ("page_view", {"category": "sale"}),
        ("dwell", {"category": "sale", "dwell_seconds": 12.0}),
        ("purchase", {"price": 10.0}),
    )
    for i, (kind, more) in enumerate(kinds):
        raw = {"version": 1, "event_id": f"e{i}", "kind": kind, "at_ms": START_MS - 10_000 + i, "site": SITE, **more}
        event = parse_event(raw)
        assert event.kind == kind
        yield event


def test_the_stored_visitor_keeps_choices_and_events(world, store):
    """What the visitor's page does lands in the encrypted store and is told to the resident process."""
    (who,) = populate(world, store, 1, purposes=())
    told = []
    visitor = StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: told.append(1))
    visitor.choose(["measurement"], ["persona"], notice(SITE, "en"))
    assert set(visitor.consent().granted_versions) == {"measurement"}
    assert told == [1]
    visitor.append_events(list(events()))
    visitor.append_events(list(events()))
    assert [event.event_id for event in visitor.events()] == ["e0", "e1", "e2", "e3"]
    assert len(visitor.receipts()) == 2
    assert visitor.budget() is None
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    federation.send_due()
    assert [(sent.purpose, sent.reports) for sent in visitor.sent()] == [("measurement", 1)]
    budget = visitor.budget()
    assert 0 < budget.spent_epsilon < budget.cap_epsilon == 4.0
    assert budget.intact
    visitor.erase_events()
    assert visitor.events() == []


def test_stored_events_answer_studies(world, store):
    """Raw events become counts, profiles and rows on the device."""
    (who,) = populate(world, store, 1)
    visitor = StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: None)
    visitor.append_events(list(events()))
    data = EventData(stored_events(store, who, START_MS), START_MS)
    assert data.transitions(("home", "sale")).tolist() == [[0, 1], [0, 0]]
    assert list(data.dwell_seconds()) == [12.0]
    rows, labels = data.rows(named_features(FeatureSpec("session", ("home", "sale"))))
    assert rows.shape[0] == 1
    assert labels.tolist() == [1.0]
    assert data.profile(named_features(FeatureSpec("profile", ("home", "sale"))))[1] == 1.0
