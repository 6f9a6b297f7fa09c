"""``hearthside signal``: every public vector through the command line, exit codes, one line, nothing heavy loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from simulations.cli import main
from tests.consent.signal_vectors import GPP, SEC_GPC, TCF_V1, TCF_V2, US_PRIVACY, shown
from tests.consent.tc_strings import TcCore, tc_string


@pytest.fixture
def signal(monkeypatch, capsys):
    """The command in this process: its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hearthside", "signal", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def refused(outcome: tuple[int, str, str]) -> str:
    """Exit code 2, nothing on stdout, one line on stderr: that line."""
    code, out, err = outcome
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    return err


@pytest.mark.realdata
@pytest.mark.parametrize("vector", TCF_V2, ids=lambda v: shown(v["tc_string"]))
def test_tc_strings(signal, vector):
    """Decoded exactly and accepted as the specification in force has it; bad ones are refused."""
    outcome = signal("--tcf", vector["tc_string"])
    if not vector["ok"]:
        assert "--tcf" in refused(outcome)
        return
    document = json.loads(outcome[1])
    assert (outcome[0], outcome[2]) == (0, "")
    assert list(document) == ["accepted", "reason", "decoded"]
    assert document["decoded"] == vector["decoded"]
    assert document["accepted"] is vector["valid_under_current_spec"]
    assert document["reason"]


@pytest.mark.realdata
@pytest.mark.parametrize("vector", TCF_V1, ids=lambda v: shown(v["string"]))
def test_tc_strings_of_version_1(signal, vector):
    """Unsupported, and the line says so."""
    assert "Version: expected 2, got 1" in refused(signal("--tcf", vector["string"]))


@pytest.mark.realdata
@pytest.mark.parametrize("vector", GPP, ids=lambda v: shown(v["gpp_string"]))
def test_gpp_strings(signal, vector):
    """Sections and their fields exactly; bad ones are refused."""
    outcome = signal("--gpp", vector["gpp_string"])
    if not vector["ok"]:
        assert "--gpp" in refused(outcome)
        return
    decoded = json.loads(outcome[1])["decoded"]
    assert outcome[0] == 0
    assert decoded == {"sectionIds": vector["sectionIds"], "sections": vector["sections"]}


@pytest.mark.realdata
@pytest.mark.parametrize("vector", US_PRIVACY, ids=lambda v: v["s"])
def test_us_privacy_strings(signal, vector):
    """The named answers."""
    code, out, _ = signal("--us-privacy", vector["s"])
    assert code == 0
    assert json.loads(out)["decoded"] == {name: value for name, value in vector.items() if name != "s"}


@pytest.mark.realdata
@pytest.mark.parametrize("vector", [v for v in SEC_GPC if v["headers"]], ids=lambda v: str(v["headers"]))
def test_sec_gpc_values(signal, vector):
    """One option a header; always exit code 0, since another value counts as none."""
    code, out, _ = signal(*(part for _, value in vector["headers"] for part in ("--gpc", value)))
    document = json.loads(out)
    assert code == 0
    assert document["decoded"] == {"gpc": vector["gpc"]}
    assert document["accepted"] is vector["gpc"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tcf", ""), ("--tcf", "hello"), ("--tcf", "\n\n"), ("--tcf", tc_string() + "é"), ("--gpp", ""),
        ("--gpp", "DBABTA~1YN"), ("--us-privacy", "1Y"), ("--us-privacy", "-YNN"),
        ("--tcf", tc_string(TcCore(cmp=0))), (), ("--gpc", "1", "--us-privacy", "1YNN"), ("--surprise", "1"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_input_gets_one_line_and_exit_code_2(signal, arguments):
    """Garbage, no option, two options, an unknown option."""
    refused(signal(*arguments))


def test_a_string_that_is_not_accepted_still_decodes(signal):
    """Exit code 0 with the reason."""
    code, out, _ = signal("--tcf", TcCore().text())
    document = json.loads(out)
    assert (code, document["accepted"]) == (0, False)
    assert "DisclosedVendors" in document["reason"]


def test_nothing_heavy_is_loaded():
    """Decoding loads no torch, Flower, dp-accounting, scipy or numpy, nor a web framework."""
    check = (
        "import sys; from simulations.cli import main\n"
        f"sys.argv = ['hearthside', 'signal', '--gpp', 'DBABMA~{tc_string()}']\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "heavy = {'torch', 'flwr', 'dp_accounting', 'scipy', 'numpy', 'opacus', 'fastapi'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, timeout=120)
    assert "heavy: []" in result.stdout, result.stdout + result.stderr
    assert '"tcfeuv2"' in result.stdout
