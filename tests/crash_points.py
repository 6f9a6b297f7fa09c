"""A process killed at each of its durable steps in turn. The child is forked, so a step costs milliseconds."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_FAILED = 3


class Steps:
    """Counts what a process makes durable, and kills it at the fatal one: no clean-up, no flush, no exit handler."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self.count = 0

    def reach(self) -> None:
        """One more point at which a process can die."""
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Make a point before and one after each call of a method."""
        inner = getattr(owner, name)

        def stepped(*arguments: Any, **options: Any) -> Any:
            self.reach()
            result = inner(*arguments, **options)
            self.reach()
            return result

        setattr(owner, name, stepped)


def deaths(
    prepare: Callable[[int], Path], work: Callable[[Path, Steps], None], stride: int = 1
) -> Iterator[tuple[int, Path]]:
    """Kill ``work`` at its first step, at its second, and so on until it ends by itself; yields what each death left.

    Args:
        prepare: makes the folder for the n-th attempt.
        work: runs in a child process on that folder.
        stride: look at every so many-th step only.

    Yields:
        The number of the step and the folder; the last one is that of the process which nobody killed.
    """
    for fatal in range(1, 10_000, stride):
        folder = prepare(fatal)
        killed = _in_child(work, folder, fatal)
        yield fatal, folder
        if not killed:
            assert fatal > 1, "no durable step was reached: nothing was tested"
            return


def _in_child(work: Callable[[Path, Steps], None], folder: Path, fatal: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            work(folder, Steps(fatal))
        except BaseException:  # noqa: BLE001 - nothing may escape into the parent's test run
            traceback.print_exc()
            os._exit(_FAILED)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself; its trace is on standard error"
    return False


def note(path: Path, line: str) -> None:
    """Remember, durably, what left the process: it cannot be called back."""
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def noted(path: Path) -> list[str]:
    """What left."""
    return path.read_text().split() if path.exists() else []
