"""The README's blocks are run as a stranger would run them, the two make blocks apart."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
QUALITY = re.compile(r"(?<=next page )\d\.\d+")
NOISE = 0.06
"""Released noise is never seeded: what 400 draws of it may move the quality by, and some more."""
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _with_output() -> list[tuple[str, str, str]]:
    """Runnable blocks that are followed by the output they must give."""
    return [
        (kind, body, BLOCKS[i + 1][1])
        for i, (kind, body) in enumerate(BLOCKS[:-1])
        if kind in {"sh", "python"} and not body.startswith("make ") and BLOCKS[i + 1][0] == "text"
    ]


def test_the_first_two_blocks_are_the_two_commands() -> None:
    """A stranger finds make demo and make test first."""
    assert [body.strip() for _, body in BLOCKS[:2]] == ["make demo", "make test"]


def test_every_runnable_block_says_what_it_prints() -> None:
    """No block stands without its output, the two make blocks apart."""
    runnable = [body for kind, body in BLOCKS if kind in {"sh", "python"} and not body.startswith("make ")]
    assert len(runnable) == len(_with_output()) == 2


@pytest.mark.parametrize(("kind", "body", "output"), _with_output(), ids=lambda value: value.split("\n")[0][:30])
def test_a_block_prints_what_the_readme_says(kind: str, body: str, output: str) -> None:
    """Running the block gives the text under it; released noise may move a quality a little."""
    command = [sys.executable, "-c", body] if kind == "python" else shlex.split(body)
    result = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=200
    )
    assert result.returncode == 0, result.stderr
    expected, got = output.strip().splitlines(), result.stdout.strip().splitlines()
    assert len(expected) == len(got)
    for wanted, line in zip(expected, got, strict=True):
        assert QUALITY.sub("", line) == QUALITY.sub("", wanted)
        for stated, measured in zip(QUALITY.findall(wanted), QUALITY.findall(line), strict=True):
            assert float(measured) == pytest.approx(float(stated), abs=NOISE)


def test_the_python_block_has_about_ten_lines() -> None:
    """The simulation fits ten statements' worth of lines."""
    body = next(body for kind, body in BLOCKS if kind == "python")
    assert len([line for line in body.splitlines() if line.strip()]) <= 11


def test_every_local_link_leads_somewhere() -> None:
    """Links of the README point at files that exist."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
