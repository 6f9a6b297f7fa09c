"""One page of metrics for all workers of a service: each leaves its counts in a file, whoever is asked joins them.

The library's own way to do this is fixed when it is imported, for a whole process, and keeps a file for each process
that ever was; here a worker takes the lowest number that is free and holds it by a lock, so numbers stay small and a
worker that died is followed by one of the same number. Counts are not added up: each series has the label ``worker``,
so that one that begins again at zero is seen as such, and ``sum by`` is the reader's.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aggregator.metrics import Metrics
from aggregator.storage.processes import is_held

METRICS_FOLDER: Final = "metrics"
_MOST_WORKERS: Final = 256
Family = dict[str, Any]


class Exposition:
    """The page of one worker.

    Args:
        folder: shared by the workers of one machine; made if it is missing.
        metrics: what this worker has counted.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder, self._metrics = folder, metrics
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.worker, self._lock = _take_number(folder)

    def write(self) -> None:
        """Leave this worker's counts for the others."""
        path = self._folder / f"{self.worker}.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(self._own()))
        draft.replace(path)

    def page(self) -> bytes:
        """The text that Prometheus scrapes: this worker's counts as they are, the others' as they left them."""
        others = [family for worker in self._others() for family in self._left_by(worker)]
        registry = CollectorRegistry()
        registry.register(_Merged([*self._own(), *others]))
        return generate_latest(registry) + generate_latest(self._metrics.state)

    def close(self) -> None:
        """Give the number back."""
        (self._folder / f"{self.worker}.json").unlink(missing_ok=True)
        os.close(self._lock)

    def _own(self) -> list[Family]:
        return [
            {
                "name": family.name,
                "text": family.documentation,
                "kind": family.type,
                "samples": [
                    (sample.name, {**sample.labels, "worker": str(self.worker)}, sample.value)
                    for sample in family.samples
                ],
            }
            for family in self._metrics.registry.collect()
        ]

    def _others(self) -> Iterator[int]:
        for path in sorted(self._folder.glob("*.lock")):
            if path.stem.isdecimal() and int(path.stem) != self.worker and is_held(path):
                yield int(path.stem)

    def _left_by(self, worker: int) -> list[Family]:
        try:
            found = json.loads((self._folder / f"{worker}.json").read_text())
        except (OSError, ValueError):  # it has not written yet
            return []
        return found if isinstance(found, list) else []


class _Merged(Collector):
    """Families of several workers, each once."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for family in self._families:
            name = family["name"]
            metric = merged.setdefault(name, Metric(name, family["text"], family["kind"]))
            for sample, labels, value in family["samples"]:
                metric.add_sample(sample, labels, value)
        yield from merged.values()


def _take_number(folder: Path) -> tuple[int, int]:
    for number in range(_MOST_WORKERS):
        descriptor = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return number, descriptor
    raise AssertionError("there are fewer workers than numbers")
