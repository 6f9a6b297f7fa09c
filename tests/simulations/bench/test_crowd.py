"""Neither server's memory grows with the number of reports; the sum of a crowd is exact whatever it is summed with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulations.bench import crowd
from simulations.bench.crowd import Used, crowd_parameters, prepare, resident, run_round

MIB = 2**20
SLACK_BYTES = 4 * MIB
"""Allocators round up: far below the 45 MB of seals that 38,000 more reports bring."""


def peaks(folder: Path, reports: int, entries: int, workers: int, cap: int) -> tuple[Used, Used]:
    """What leader and helper took for a round of so many reports; its release was compared with the exact sum."""
    folder.mkdir()
    params = crowd_parameters(entries, cap)
    prepare(folder, params, reports, 2, lambda _: None)
    used = run_round(folder, params, reports, workers)
    shutil.rmtree(folder)
    return used


@pytest.mark.skipif(resident() == 0, reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_reports(tmp_path: Path) -> None:
    """2,000 and 40,000 reports of 100 entries: the peaks of leader, helper and its workers differ by a few MiB."""
    few = peaks(tmp_path / "few", 2_000, 100, 2, 40_000)
    many = peaks(tmp_path / "many", 40_000, 100, 2, 40_000)
    for role, one, other in zip(("leader", "helper"), few, many, strict=True):
        assert one.peak_bytes > 0
        assert other.peak_bytes - one.peak_bytes < SLACK_BYTES, role
    assert many[1].worker_peak_bytes - few[1].worker_peak_bytes < SLACK_BYTES


def test_a_wrong_sum_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: with one report's values changed in the account, the round is refused."""
    params = crowd_parameters(10, 100)
    prepare(tmp_path, params, 100, 1, lambda _: None)
    truth = tmp_path / "truth.npy"
    monkeypatch.setattr(crowd, "_in_process", lambda role, *arguments: role(*arguments) or Used(0.0, 0.0, 0))
    run_round(tmp_path, params, 100, 1)
    damaged = bytearray(truth.read_bytes())
    damaged[-8] ^= 1
    truth.write_bytes(bytes(damaged))
    with pytest.raises(RuntimeError, match="not the sum"):
        run_round(tmp_path, params, 100, 1)


@pytest.mark.soak
@pytest.mark.skipif(shutil.disk_usage("/tmp").free < 15 * 2**30, reason="a million reports take 12 GB of disk")
def test_a_million_reports_of_a_thousand_entries(tmp_path: Path) -> None:
    """The whole round with real seals, every id different, in less than 150 MiB a process."""
    for used in peaks(tmp_path / "crowd", 1_000_000, 1_000, 2, 1_000_000):
        assert 0 < used.peak_bytes < 150 * MIB
        assert used.worker_peak_bytes < 150 * MIB
