"""The ``hearthside`` command: figures on stdout, one clear line on stderr, exit codes, instant help."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from simulations.cli import main
from tests.commands import call


def hearthside(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process."""
    return call(main, "hearthside", *arguments)


def hearthside_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    command = [sys.executable, "-c", "from simulations.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


PLAN = ("account", "--sigma", "1", "--q", ".01", "--steps", "100", "--delta", "1e-6")


@pytest.mark.parametrize(
    ("options", "figure", "tolerance"),
    [
        (("--method", "pld"), 0.954, 0.0005),
        (("--method", "rdp"), 1.507, 0.0005),
        (("--method", "pld", "--no-amplification"), 96.7, 0.05),
        (("--method", "rdp", "--no-amplification"), 100.7, 0.05),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_account_prints_one_number(options: tuple[str, ...], figure: float, tolerance: float) -> None:
    """The figure alone on stdout, with at least four significant digits."""
    result = hearthside(*PLAN, *options)
    assert result.returncode == 0, result.stderr
    printed = result.stdout.strip()
    assert float(printed) == pytest.approx(figure, abs=tolerance)
    assert len(printed.replace(".", "").lstrip("0")) >= 4


def test_account_json_names_its_unit() -> None:
    """Machines get the figure with its delta and unit."""
    document = json.loads(hearthside_process(*PLAN, "--json").stdout)
    assert document["unit"] == "device, zero-out"
    assert document["delta"] == 1e-6


@pytest.mark.parametrize(
    "change",
    [("--sigma", "0"), ("--sigma", "nan"), ("--q", "1.5"), ("--q", "0"), ("--steps", "0"), ("--delta", "1"),
     ("--delta", "x"), ("--method", "gdp"), ("--surprise", "1")],
    ids=" ".join,
)  # fmt: skip
def test_bad_values_get_one_line_and_exit_code_2(change: tuple[str, str]) -> None:
    """Nothing on stdout, one line on stderr that names the option."""
    result = hearthside(*PLAN, *change)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert change[0] in result.stderr


def test_an_unknown_command_is_named() -> None:
    """One line, exit code 2."""
    result = hearthside_process("dmeo")
    assert result.returncode == 2
    assert "dmeo" in result.stderr


def test_help_loads_nothing_heavy() -> None:
    """The help of the command and of its subcommands loads no torch, Flower, scipy or dp-accounting."""
    check = (
        "import sys; from simulations.cli import app; from typer.main import get_command\n"
        "for arguments in (['--help'], ['account', '--help'], ['demo', '--help'], ['bench', '--help']):\n"
        "    try: get_command(app)(arguments)\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'flwr', 'scipy', 'dp_accounting', 'opacus', 'sklearn'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, timeout=120)
    assert "heavy: []" in result.stdout, result.stdout + result.stderr
    for word in ("demo", "account", "bench", "--once", "--sigma"):
        assert word in result.stdout


def test_missing_data_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """One line that names the set and where it comes from."""
    monkeypatch.setenv("HEARTHSIDE_DATA", str(tmp_path))
    result = hearthside_process("demo", "--once", "--data", "msnbc")
    assert result.returncode == 3
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "msnbc" in lines[0]
    assert "HEARTHSIDE_DATA" in lines[0]
