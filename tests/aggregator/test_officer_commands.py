"""The commands around a raise and a study's life: what an officer and an analyst type, against real services."""

import asyncio
import json

import httpx
import pytest
from typer.testing import CliRunner

from aggregator import cli
from aggregator.commands import officers, studies
from models.wire.problems import Problem, ProblemError, problem_code

from .test_raises import TwoOfficers


@pytest.fixture
def office(tmp_path, monkeypatch):
    """Two officers' folders, and commands that reach both services of a world in this process."""
    world = TwoOfficers(tmp_path)
    for name, key in (("officer-1", world.officer), ("officer-2", world.second)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "officer.key"
        path.write_text(key.seed().hex())
        path.chmod(0o600)
    for name, settings in (("helper", world.helper_settings()), ("leader", world.leader_settings())):
        kept = settings.model_dump(mode="json", include={"site", "officers", "budget_epsilon", "leader_key"})
        (tmp_path / name / "settings.json").write_text(json.dumps(kept))

    def call(method, url, body, bearer=""):
        async def ask() -> httpx.Response:
            async with world.up():
                client = world.helper if "helper" in url else world.leader
                headers = await world.bearer("analyst") if bearer else {}
                return await client.request(method, httpx.URL(url).raw_path.decode(), json=body, headers=headers)

        response = asyncio.run(ask())
        if response.is_success:
            return response.json()
        problem = Problem.model_validate_json(response.content)
        raise ProblemError(problem_code(problem), problem.detail)

    for module in (officers, studies):
        monkeypatch.setattr(module, "call", call)
    return world


def run(*arguments: object):
    return CliRunner().invoke(cli.app, [str(item) for item in arguments])


def test_a_raise_from_its_question_to_the_service_that_takes_it_in(office, tmp_path):
    """One asks, one countersigns, the operator installs; the helper then starts with what both have signed."""
    paper, first, second = tmp_path / "raise.json", tmp_path / "officer-1", tmp_path / "officer-2"
    asked = run(
        "officer", "raise", "--dir", first, "--service", "http://helper.test", "--epsilon", 9, "--reason", "more",
        "--quota", "intent=0.5", "--out", paper,
    )  # fmt: skip
    assert asked.exit_code == 0, asked.output
    assert "epsilon: 8.0 -> 9.0" in asked.output
    early = run("officer", "install", paper, "--dir", tmp_path / "helper")
    assert early.exit_code != 0
    same = run("officer", "countersign", paper, "--dir", first, "--leader", "http://leader.test")
    assert isinstance(same.exception, ProblemError)
    assert same.exception.code == "bad-signature"
    done = run("officer", "countersign", paper, "--dir", second, "--leader", "http://leader.test")
    assert done.exit_code == 0, done.output
    assert "reason" not in done.output or "more" in done.output
    installed = run("officer", "install", paper, "--dir", tmp_path / "helper")
    assert installed.exit_code == 0, installed.output
    kept = json.loads((tmp_path / "helper" / "settings.json").read_text())
    assert (kept["budget_epsilon"], kept["budget_quotas"]) == (9.0, {"intent": 0.5})
    office.helper_options.update(budget_epsilon=9.0, budget_quotas={"intent": 0.5})
    state = officers.call("GET", "http://helper.test/v1/budget", None)
    assert (state["number"], state["in_force"]["epsilon"]) == (1, 9.0)


@pytest.mark.usefixtures("office")
def test_less_is_no_raise(tmp_path):
    """Whoever asks for less is sent to the settings."""
    less = run(
        "officer", "raise", "--dir", tmp_path / "officer-1", "--service", "http://helper.test", "--epsilon", 1,
        "--reason", "less", "--out", tmp_path / "raise.json",
    )  # fmt: skip
    assert less.exit_code == 2
    assert not (tmp_path / "raise.json").exists()


def test_a_check_from_the_command_line_exits_1_with_the_faults(office, tmp_path):
    """A script can tell a study that may be proposed from one that may not."""
    path = tmp_path / "study.json"
    for site, expected in (("shop", 0), ("elsewhere", 1)):
        path.write_text(json.dumps(office.study(site=site).document()))
        done = run("study", "check", path, "--leader", "http://leader.test", "--token", "t")
        assert done.exit_code == expected, done.output
        assert ("elsewhere" in done.output) == bool(expected)


def test_a_decision_without_a_reason_is_not_even_signed(tmp_path):
    """The option is asked for; so is an offset behind a time."""
    for verdict in ("approve", "refuse", "stop"):
        assert run("study", verdict, "moves", "--dir", tmp_path, "--helper", "http://h").exit_code == 2
    timeless = run("study", "schedule", "moves", "--at", "2027-01-04T06:00", "--leader", "http://l", "--token", "t")
    assert timeless.exit_code == 2
