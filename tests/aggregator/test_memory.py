"""What one large model took goes back to the system when it is dropped."""

import subprocess
import sys

import pytest

_STORY = """
import sys
from aggregator.memory import return_large_blocks

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

fixed = sys.argv[1] == "fixed" and return_large_blocks()
large = bytearray(24 * 2**20)
del large  # from here on glibc would take blocks of this size from the heap
before = resident()
vectors, between = [], []
for _ in range(4):
    vectors.append(bytearray(b"x") * (6 * 2**20))
    between.append(bytearray(200_000))  # keeps the heap below it from shrinking
del vectors
print(fixed, resident() - before)
"""


def held(how: str) -> tuple[str, int]:
    command = [sys.executable, "-c", _STORY, how]
    fixed, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return fixed, int(grown)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_vectors_that_were_dropped_are_not_kept() -> None:
    """Four vectors of 6 MiB with small blocks between them leave nothing of their size behind."""
    fixed, grown = held("fixed")
    if fixed != "True":
        pytest.skip("another C library")
    assert grown < 6 * 2**20
    assert held("as it is")[1] > 2 * grown
