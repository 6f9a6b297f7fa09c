"""The house's own checks: layers, lint, types, what the wheel holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"client_agent", "aggregator", "privacy", "consent", "models", "simulations"}


def _tool(*command: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).parent / command[0])
    return subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [("lint-imports",), ("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["layers", "ruff", "format", "mypy"],
)
@pytest.mark.timeout(600)
def test_static_checks_pass(command: tuple[str, ...]) -> None:
    """Layers, lint, layout and strict types hold for the whole house."""
    result = _tool(*command)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_broken_layer_is_found(tmp_path: Path) -> None:
    """The layer check can fail: consent importing models is refused."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for inner in ("learning", "personalisation", "queries", "wire", "events"):
        (tmp_path / "models" / inner).mkdir()
        (tmp_path / "models" / inner / "__init__.py").touch()
    for inner in ("audit", "secure_sum", "mechanisms", "accounting", "crypto"):
        (tmp_path / "privacy" / inner).mkdir()
        (tmp_path / "privacy" / inner / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "consent" / "__init__.py").write_text("import models.wire\n")
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "consent is not allowed to import models" in result.stdout


def test_wheel_holds_exactly_the_six_packages(tmp_path: Path) -> None:
    """The wheel's top level is the six packages and its metadata, marked as not for upload."""
    result = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    assert "Private :: Do Not Upload" in metadata
