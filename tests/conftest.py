"""Shared settings of the tests: no telemetry, deterministic hypothesis, real data or a reason for its absence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ("tests.postgres",)

settings.register_profile(
    "house", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("HEARTHSIDE_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that read real data skip with a reason without it; in CI its absence is a failure."""
    if DATA.is_dir() or os.environ.get("CI"):
        return
    skip = pytest.mark.skip(reason=f"real data not found at {DATA}; set HEARTHSIDE_DATA")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the public data sets."""
    if not DATA.is_dir():
        pytest.fail(f"real data not found at {DATA}; set HEARTHSIDE_DATA")
    return DATA
