"""The command line: help with examples, and one clear line for bad input."""

import os
import stat

import pytest

from aggregator.cli import main
from tests.commands import call

from .test_processes import run


def in_process(*arguments: object):
    """One call of the command line, without a process of its own."""
    return call(main, "hearthside-aggregator", *map(str, arguments))


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("init",),
        ("token",),
        ("study",),
        ("leader",),
        ("helper",),
        ("configure",),
        ("token", "create"),
        ("study", "propose"),
    ],
)
def test_help_has_an_example(command):
    """Every command shows how it is called."""
    called = run if command in {(), ("leader",)} else in_process
    assert "Example: hearthside-aggregator" in called(*command, "--help").stdout


def test_keys_are_private_and_never_overwritten(tmp_path):
    """A key file is readable by its owner alone; a second init refuses."""
    run("init", "officer", "--dir", tmp_path)
    key = tmp_path / "officer.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    again = run("init", "officer", "--dir", tmp_path, check=False)
    assert (again.returncode, key.read_bytes()) == (2, before)
    assert "never overwritten" in again.stderr


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    """A setting, a key file and a study file that do not fit are named, and nothing is changed."""
    run("init", "leader", "--dir", tmp_path / "l", "--site", "shop")
    settings = (tmp_path / "l" / "settings.json").read_bytes()
    (tmp_path / "bad.json").write_text("{}")
    calls = [
        (("configure", "--dir", tmp_path / "l", "helper_key=zz"), "helper_key"),
        (("configure", "--dir", tmp_path / "l", "nonsense=1"), "nonsense"),
        (("configure", "--dir", tmp_path / "l", "nonsense"), "name=value"),
        (("leader", "--dir", tmp_path / "none"), "service.key"),
        (("leader", "--dir", tmp_path / "l", "--port", "0"), "--port"),
        (("token", "create", "--dir", tmp_path / "l", "--scope", "root"), "--scope"),
        (("token", "create", "--dir", tmp_path / "l", "--scope", "analyst", "--uses", "3"), "--uses"),
        (("study", "propose", tmp_path / "bad.json", "--leader", "http://x", "--token", "t"), "study_id"),
    ]
    for arguments, word in calls:
        # A service's start is tried as a process: it is one that must end.
        done = run(*arguments, check=False) if arguments[0] == "leader" else in_process(*arguments)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("hearthside-aggregator: ")
        assert done.stderr.count("\n") == 1
        assert word in done.stderr
    assert (tmp_path / "l" / "settings.json").read_bytes() == settings


def test_a_key_that_others_can_read_is_refused(tmp_path):
    """The service does not start on a key that may have been copied."""
    run("init", "leader", "--dir", tmp_path)
    os.chmod(tmp_path / "service.key", 0o644)  # noqa: PTH101  # the mode is the test
    done = run("leader", "--dir", tmp_path, check=False)
    assert done.returncode == 2
    assert "0600" in done.stderr


def test_an_unreachable_service_is_exit_code_3():
    """A script can tell 'try again' from 'wrong'."""
    done = run("study", "show", "moves", "--leader", "http://127.0.0.1:1", check=False)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
