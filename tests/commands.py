"""Command lines in the process of the tests: the same entry point, output and exit code, without a start each time.

A start costs a second or two, nearly all of it imports. That the command works as a process of its own, and what it
loads, is held by tests that start one.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

import pytest


def call(main: Callable[[], object], *command: str) -> CompletedProcess[str]:
    """Call an entry point as its script does; an exception that it lets out fails the test, as a trace would."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", list(command))
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return CompletedProcess(command, code, out.getvalue(), err.getvalue())
