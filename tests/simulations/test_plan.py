"""``hearthside plan``: readable for people, JSON for machines, and an exit code that says whether it fits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.simulations.test_commands import hearthside, hearthside_process

KINDS = ("count", "proportion", "mean", "histogram", "comparison", "coverage", "train")


@pytest.mark.parametrize("kind", KINDS)
def test_every_question_has_a_plan_as_it_comes(kind):
    """Defaults fit the budget: a cost with its unit, an expectation with its unit, ranked knobs."""
    result = hearthside("plan", kind, "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["question"] == kind
    assert document["cost"]["unit"] == "device, zero-out"
    assert 0 < document["cost"]["epsilon_declared_plan_only"] < document["cost"]["epsilon_filter"] <= 4.0
    assert document["cost"]["bytes_per_device"] > 1_000
    expect = document["expect"]
    assert expect["unit"]
    assert expect["standard_error"] > expect["from_noise"] > 0
    assert (expect["smallest_effect"] is not None) == (kind == "comparison")
    assert (expect["signal_to_noise"] is not None) == (kind == "train")
    relative = [item["expect"]["relative"] for item in document["alternatives"]]
    assert len(relative) >= 4
    assert relative == sorted(relative)


def test_people_get_tables():
    """Cost, expectation and knobs, in words."""
    result = hearthside_process("plan", "comparison", "--devices", "100000")
    assert result.returncode == 0
    for words in (
        "the filter charges",
        "zero-out",
        "PLD",
        "both servers' noise",
        "smallest effect",
        "twice the devices",
    ):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("options", "reason", "help_with"),
    [
        (("--noise", ".5"), "of the contract's budget", "noise multiplier"),
        (("--devices", "100"), "nothing is released", "devices"),
        (("--within", ".002"), "was asked for", "devices"),
        (("--spent", "1"), "nothing is left", "wait"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_does_not_fit_is_exit_1_with_a_way_out(options, reason, help_with):
    """The answer is no, with the reason and what would help, in both forms."""
    told = hearthside("plan", "proportion", *options)
    assert told.returncode == 1
    words = " ".join(told.stdout.split())
    assert reason in words
    assert "What would help" in words
    document = json.loads(hearthside("plan", "proportion", *options, "--json").stdout)
    assert document["feasible"] is False
    assert any(reason in obstacle for obstacle in document["obstacles"])
    assert any(help_with in remedy for remedy in document["remedies"])


@pytest.mark.parametrize(
    "arguments",
    [("median",), ("count", "--devices", "0"), ("count", "--q", "0"), ("count", "--consent", "nan"),
     ("count", "--epsilon", "-1"), ("count", "--delta", "1"), ("count", "--order", "1"), ("count", "--expected", "1"),
     ("count", "--epsilon", "1e9"), ("mean", "--low", "3", "--high", "1"), ("mean", "--spread", "5"),
     ("histogram", "--cells", "1"),
     ("comparison", "--power", "1"), ("train", "--within", ".1"), ("train", "--parameters", "0"),
     ("count", "--epsilon", ".01", "--order", "2")],
    ids=" ".join,
)  # fmt: skip
def test_bad_values_get_one_line_and_exit_code_2(arguments):
    """Nothing on stdout, one line on stderr."""
    result = hearthside("plan", *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_loads_nothing_heavy_and_its_examples_run():
    """The help alone imports no accountant; each of its examples fits its budget."""
    check = (
        "import sys; from simulations.cli import app; from typer.main import get_command\n"
        "try: get_command(app)(['plan', '--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'flwr', 'scipy', 'numpy', 'dp_accounting'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", check]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "heavy: []" in result.stdout, result.stdout + result.stderr
    assert "hearthside plan comparison" in result.stdout
    assert "--exposed" in result.stdout
    examples = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("hearthside plan ")]
    assert len(examples) == 6
    for example in examples:
        assert hearthside(*example[1:]).returncode == 0, example
