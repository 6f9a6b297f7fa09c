"""``hearthside documents``: what it writes, what it finds, how it ends, and what it does not load."""

import hashlib
import json
import subprocess
import sys

import pytest

from consent.documents import example_facts, generate, read_facts
from simulations.cli import main
from tests.conftest import ROOT

MADE = generate(read_facts(example_facts()))


@pytest.fixture
def documents(monkeypatch, capsys):
    """The command in this process: its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hearthside", "documents", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def facts(tmp_path):
    """The example's facts in a file."""
    path = tmp_path / "controller.toml"
    path.write_text(example_facts(), encoding="utf-8")
    return path


def test_it_writes_every_document_and_finds_them_in_step(documents, facts, tmp_path):
    """Written, then checked: the same bytes, nothing else beside them, exit code 0 twice."""
    out = tmp_path / "out"
    code, said, _ = documents("--facts", facts, "--out", out)
    assert (code, said.splitlines()) == (0, [str(out / name) for name in MADE])
    written = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert written == MADE
    assert documents("--facts", facts, "--out", out, "--check")[0] == 0


def test_a_drift_is_named_and_nothing_is_written(documents, facts, tmp_path):
    """Exit code 1, every file that differs or is missing by name; a second look finds the same."""
    out = tmp_path / "out"
    documents("--facts", facts, "--out", out)
    (out / "purposes.md").write_text("by hand")
    (out / ".well-known" / "gpc.json").unlink()
    for _ in range(2):
        code, said, _ = documents("--facts", facts, "--out", out, "--check")
        assert code == 1
        assert said.splitlines()[:2] == [f"{out / '.well-known/gpc.json'}: missing", f"{out / 'purposes.md'}: differs"]
    assert (out / "purposes.md").read_text() == "by hand"


def test_changed_facts_are_a_drift(documents, facts, tmp_path):
    """A new address makes every document old that has it; a record that is no longer made is left over."""
    out = tmp_path / "out"
    documents("--facts", facts, "--out", out)
    facts.write_text(
        example_facts().replace("1 Example Street", "3 Example Street").replace("processor", "joint_controller", 1)
    )
    code, said, _ = documents("--facts", facts, "--out", out, "--check", "--json")
    drifted = json.loads(said)["drifted"]
    assert code == 1
    assert drifted["privacy-notice.de.md"] == "differs"
    assert drifted["record-of-processing-helper.en.csv"] == "left over"
    assert "purposes.md" not in drifted


def test_one_language_leaves_the_other_alone(documents, facts, tmp_path):
    """Asked for German, the English files that lie there are neither written nor looked at."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "privacy-notice.en.md").write_text("another's")
    assert documents("--facts", facts, "--out", out, "--language", "de")[0] == 0
    assert documents("--facts", facts, "--out", out, "--language", "de", "--check")[0] == 0
    assert (out / "privacy-notice.en.md").read_text() == "another's"
    assert not (out / "privacy-label.en.html").exists()


def test_json_lists_each_file_with_its_digest(documents, facts, tmp_path):
    """The digests are those of the files, and the policy hash that of the registry."""
    out = tmp_path / "out"
    summary = json.loads(documents("--facts", facts, "--out", out, "--json")[1])
    assert {each["name"] for each in summary["documents"]} == set(MADE)
    for each in summary["documents"]:
        assert hashlib.sha256((out / each["name"]).read_bytes()).hexdigest() == each["sha256"]
    assert summary["policy_hash"] in MADE["purposes.md"]


def test_the_example_is_a_facts_file(documents, tmp_path):
    """What it prints can be given back at once."""
    code, said, _ = documents("--example")
    (tmp_path / "facts.toml").write_text(said)
    assert code == 0
    assert documents("--facts", tmp_path / "facts.toml", "--out", tmp_path / "out")[0] == 0


def test_a_failed_write_leaves_the_old_documents_whole(documents, facts, tmp_path, monkeypatch):
    """The disk fills up in the middle: every old file is as it was, and no half file stays."""
    out = tmp_path / "out"
    documents("--facts", facts, "--out", out)
    facts.write_text(example_facts().replace("1 Example Street", "3 Example Street"))
    written = []

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 7:
            raise OSError(28, "No space left on device", "a document")

    monkeypatch.setattr("os.fsync", full)
    code, _, said = documents("--facts", facts, "--out", out)
    assert code == 2
    assert "No space left on device" in said
    assert {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()} == MADE


def test_who_is_reading_a_document_goes_on_reading_the_same_one(documents, facts, tmp_path):
    """A web server that has a file open while it is renewed serves the old one whole, never half of each."""
    out = tmp_path / "out"
    documents("--facts", facts, "--out", out)
    facts.write_text(example_facts().replace("2026-01-31", "2027-12-24"))
    with (out / "privacy-notice.en.html").open("rb", buffering=0) as reader:
        beginning = reader.read(100)
        assert documents("--facts", facts, "--out", out)[0] == 0
        assert beginning + reader.read() == MADE["privacy-notice.en.html"].encode()
    assert "2027-12-24" in (out / "privacy-notice.en.html").read_text()


@pytest.mark.parametrize(
    ("text", "named"),
    [("", "controller.name"), ("x =", "TOML"), ("[site]\ncolour = 1", "site.colour"), (b"\xff", "utf-8")],
)
def test_bad_facts_are_one_line_that_names_the_field(documents, tmp_path, text, named):
    """Exit code 2, nothing on stdout, nothing written."""
    path = tmp_path / "bad.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = documents("--facts", path, "--out", tmp_path / "out")
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert "bad.toml" in err
    assert named in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [(), ("--facts", "missing.toml", "--out", "x"), ("--language", "fr")])
def test_what_is_missing_or_unknown_is_said(documents, arguments):
    """No facts, no such file, no such language: exit code 2 and one line."""
    code, out, err = documents(*arguments)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)


def test_the_committed_documents_are_made_by_the_documented_command(documents):
    """docs/consent.md has the command that renews them; with --check it finds nothing to do."""
    command = "hearthside documents --facts docs/consent/facts.toml --out docs/consent"
    assert command in (ROOT / "docs" / "consent.md").read_text(encoding="utf-8")
    folder = ROOT / "docs" / "consent"
    assert documents("--facts", folder / "facts.toml", "--out", folder, "--check")[0] == 0


def test_help_loads_neither_the_documents_nor_anything_heavy():
    """The page of help waits for no framework and no wording."""
    source = (
        "import sys; sys.argv = ['hearthside', 'documents', '--help']\n"
        "from simulations.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'flwr', 'pydantic', 'consent.documents', 'fastapi', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--facts" in done.stdout
