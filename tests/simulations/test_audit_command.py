"""``hearthside audit``: JSON with claim and bound, exit code 1 where the bound exceeds the claim, 2 for bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def hearthside(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    command = [sys.executable, "-c", "from simulations.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_declared_noise_is_within_the_claim() -> None:
    """Exit code 0; one JSON object on stdout with claim, bound, delta, unit, neighbours and each attack's details."""
    result = hearthside("audit", "--json", "--seed", "7", "--trials", "500")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert document["lower_bound"] <= document["epsilon_claimed"]
    assert (document["unit"], document["neighbours"], document["seed"]) == ("device", "zero-out", 7)
    assert document["exceeded"] is False
    assert [attack["attack"] for attack in document["attacks"]] == ["one-run", "membership"]
    for attack in document["attacks"]:
        assert 0 < attack["lower_bound"] <= attack["epsilon_claimed"] < attack["reach"]
    nearest = max(document["attacks"], key=lambda attack: attack["lower_bound"] - attack["epsilon_claimed"])
    assert all(document[name] == nearest[name] for name in ("lower_bound", "epsilon_claimed", "delta"))


def test_noise_taken_out_is_found_in_one_run() -> None:
    """Exit code 1 and a bound above the claim, in JSON as in the table."""
    result = hearthside("audit", "--json", "--seed", "8", "--noise-factor", "0", "--attack", "one-run")
    document = json.loads(result.stdout)
    assert result.returncode == 1
    assert document["lower_bound"] > document["epsilon_claimed"]
    assert document["exceeded"] is True
    table = hearthside("audit", "--seed", "8", "--noise-factor", "0", "--attack", "one-run")
    assert table.returncode == 1
    assert "exceeds" in table.stdout
    assert "zero-out" in table.stdout


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_noise_is_found_by_many_trials(seed: int) -> None:
    """The command as it stands, without options but the seed: half of the noise is exit code 1, all of it 0."""
    halved = hearthside("audit", "--json", "--seed", str(seed), "--noise-factor", "0.5")
    assert halved.returncode == 1, halved.stdout
    assert json.loads(halved.stdout)["lower_bound"] > json.loads(halved.stdout)["epsilon_claimed"]
    assert hearthside("audit", "--json", "--seed", str(seed)).returncode == 0


@pytest.mark.parametrize(
    "change",
    [("--noise-factor", "nan"), ("--noise-factor", "-1"), ("--noise-multiplier", "0"), ("--noise-multiplier", "inf"),
     ("--seed", "-1"), ("--seed", "x"), ("--devices", "7"), ("--trials", "0"), ("--delta", "1"), ("--delta", "0"),
     ("--significance", ".5"), ("--attack", "two-runs"), ("--surprise", "1")],
    ids=" ".join,
)  # fmt: skip
def test_bad_values_get_one_line_and_exit_code_2(change: tuple[str, str]) -> None:
    """Nothing on stdout, one line on stderr that names the option."""
    result = hearthside("audit", *change)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert change[0] in result.stderr


def test_an_audit_that_cannot_fail_is_bad_input() -> None:
    """Too few canaries to refute anything: exit code 2 and one line that says what they could show."""
    result = hearthside("audit", "--json", "--devices", "100")
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "100 canaries" in result.stderr


def test_help_has_examples_and_loads_nothing_heavy() -> None:
    """The help shows how to see it fail, and loads no torch, scipy or dp-accounting."""
    check = (
        "import sys; from simulations.cli import app; from typer.main import get_command\n"
        "try: get_command(app)(['audit', '--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'flwr', 'scipy', 'dp_accounting', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, timeout=120)
    assert "heavy: []" in result.stdout, result.stdout + result.stderr
    assert "hearthside audit --json --seed 7" in result.stdout
    assert "--noise-factor 0" in result.stdout
