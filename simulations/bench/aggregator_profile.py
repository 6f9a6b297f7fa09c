"""The leader's command under a profiler: ``python -m simulations.bench.aggregator_profile FOLDER leader --dir ...``.

A thread looks at every thread's stack a thousand times in three seconds and counts where it is; each process writes
``FOLDER/PID.txt`` at its end. Unlike cProfile it sees worker threads and costs little, so that the shares are those of
the run without it. Threads that wait are left out.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

_EVERY_SECONDS: Final = 0.003
_WAITING: Final = frozenset({"select", "wait", "_wait_for_tstate_lock", "get", "read", "_worker", "poll", "sleep"})
_LOOP: Final = "asyncio/runners.py:Runner.run"
"""On top of a stack where the event loop waits, or works in its own C code."""
_SHOWN: Final = 60


class Sampler(threading.Thread):
    """Counts where time goes: on top of the stack (itself) and anywhere in it (with what it calls)."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="profiler")
        self.itself: Counter[str] = Counter()
        self.with_calls: Counter[str] = Counter()
        self.samples = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._over.wait(_EVERY_SECONDS):
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 - what the standard library offers for it
                if ident != self.ident:
                    self._count(frame)

    def _count(self, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_name in _WAITING or _place(frame) == _LOOP:
            return
        self.samples += 1
        self.itself[_place(frame)] += 1
        seen = set()
        while frame is not None:
            seen.add(_place(frame))
            frame = frame.f_back
        self.with_calls.update(seen)

    def write(self, path: Path) -> None:
        """Stop and write both tables, in per cent of the samples."""
        self._over.set()
        lines = [f"{self.samples} samples, every {_EVERY_SECONDS * 1e3:g} ms"]
        for title, counts in (("itself", self.itself), ("with what it calls", self.with_calls)):
            lines += ["", title]
            total = max(1, self.samples)
            lines += [f"{100 * count / total:6.1f} %  {place}" for place, count in counts.most_common(_SHOWN)]
        path.write_text("\n".join(lines) + "\n")


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_qualname}"


def main() -> None:
    """Run the aggregator's command with every process of it sampled."""
    folder = Path(sys.argv.pop(1))
    folder.mkdir(parents=True, exist_ok=True)
    from aggregator import cli
    from aggregator.commands import serving

    run = serving._run  # noqa: SLF001 - where each worker begins, after the fork

    def sampled(*arguments: object) -> None:
        sampler = Sampler()
        sampler.start()
        try:
            run(*arguments)  # type: ignore[arg-type]  # passed on as they come
        finally:
            sampler.write(folder / f"{os.getpid()}.txt")

    serving._run = sampled  # type: ignore[assignment]  # noqa: SLF001 - as above
    cli.main()


if __name__ == "__main__":
    main()
