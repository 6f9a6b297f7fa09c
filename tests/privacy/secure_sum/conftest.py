"""A small round with fixed keys: enough to run each role alone and to break one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from privacy.crypto import SealPrivateKey, SigningKey
from privacy.mechanisms import RandomStream
from privacy.secure_sum import HelperSum, Report, SumContext, SumParameters, make_report

NOW = 1_900_000_000


def key_of(label: str) -> bytes:
    return label.encode().ljust(32, b"\0")


@dataclass
class Round:
    """One round's fixed facts, and the calls that tests repeat."""

    params: SumParameters
    context: SumContext
    round_key: SealPrivateKey
    device: SigningKey
    stream: RandomStream
    now: int = NOW
    tokens: dict[bytes, bytes] = field(default_factory=dict)

    def report(self, values: np.ndarray | None = None, **changes: object) -> Report:
        """A report with fresh seed and token; ``context`` and the keyword arguments of make_report can be replaced."""
        chosen = np.zeros(self.params.dimension, dtype=np.int64) if values is None else values
        arguments = {
            "seed": self.stream.bytes(32),
            "withdrawal_token": self.stream.bytes(32),
            "expires_at": self.now + 60,
            "signer": self.device,
        } | {name: value for name, value in changes.items() if name != "context"}
        report = make_report(
            chosen, self.params, changes.get("context", self.context), self.round_key.public, **arguments
        )
        self.tokens[report.report_id] = arguments["withdrawal_token"]
        return report

    def reports(self, count: int) -> list[Report]:
        """Reports with random values, in increasing order of their ids."""
        made = [self.report(self.values()) for _ in range(count)]
        return sorted(made, key=lambda report: report.report_id)

    def values(self) -> np.ndarray:
        """Small values within the sensitivity."""
        return (self.stream.uint64(self.params.dimension) % np.uint64(201)).astype(np.int64) - 100

    def helper(self, withdrawn: dict[bytes, bytes] | None = None) -> HelperSum:
        return HelperSum(self.params, self.context, self.round_key, now=self.now, withdrawn=withdrawn or {})


@pytest.fixture
def make_round() -> Callable[..., Round]:
    """A maker of rounds; keyword arguments replace parameters."""

    def make(**changes: object) -> Round:
        given = {
            "dimension": 13,
            "clip_norm": 1.0,
            "sensitivity": 2**16,
            "noise_multiplier": 1.0,
            "maximum_cohort": 20,
            "minimum_cohort": 2,
        }
        stream = RandomStream(key_of("round"))
        context = SumContext(key_of("study"), 7, key_of("model"), key_of("leader"), key_of("helper"), key_of("policy"))
        return Round(
            SumParameters(**(given | changes)),
            context,
            SealPrivateKey(stream.bytes(96)),
            SigningKey(stream.bytes(32)),
            stream,
        )

    return make


@pytest.fixture
def round_(make_round: Callable[..., Round]) -> Round:
    """The round with default parameters: 13 entries, 2 to 20 reports."""
    return make_round()
