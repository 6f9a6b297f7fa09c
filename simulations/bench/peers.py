"""Peers run in environments of their own under ``.peers/``, installed by the benchmark that needs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_INSTALL_SECONDS = 900
RUN_SECONDS = 600


class PeerUnavailable(Exception):
    """The peer could not be installed or did not run; the message says which and why."""


def run_peer(name: str, script: str, *arguments: str, seconds: float = RUN_SECONDS) -> dict[str, Any]:
    """Install the peer if needed, run its script and read one JSON object.

    Args:
        name: of its requirements file in ``bench/peers``, without the suffix.
        script: in the same folder.
        arguments: of the script.
        seconds: the longest that it may run.

    Raises:
        PeerUnavailable: with the last line of what went wrong.
    """
    python = _environment(name)
    result = _call([str(python), str(_ROOT / "bench" / "peers" / script), *arguments], seconds, name)
    try:
        return dict(json.loads(result.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        raise PeerUnavailable(f"{name} printed no figures") from None


def _environment(name: str) -> Path:
    requirements = _ROOT / "bench" / "peers" / f"{name}.txt"
    if not requirements.is_file():
        raise PeerUnavailable(f"{name} is measured from a checkout of the repository: {requirements.name} is not here")
    folder = _ROOT / ".peers" / name
    done = folder / "installed.txt"
    if not (done.is_file() and done.read_text() == requirements.read_text()):
        _call([sys.executable, "-m", "venv", str(folder)], _INSTALL_SECONDS, name)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(requirements)]
        _call(pip, _INSTALL_SECONDS, name)
        done.write_text(requirements.read_text())
    return folder / "bin" / "python"


def _call(command: list[str], seconds: float, name: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise PeerUnavailable(f"{name} took more than {seconds:.0f} s") from None
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise PeerUnavailable(f"{name} ended with code {result.returncode}: {lines[-1] if lines else 'no output'}")
    return result.stdout
