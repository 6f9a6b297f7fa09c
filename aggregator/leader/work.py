"""What devices poll: one document, the same bytes for everyone, rebuilt when a round opens, closes or is stopped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from aggregator.clock import Clock
from aggregator.leader.log import TransparencyLog
from models.wire.limits import CLOCK_SKEW_SECONDS
from models.wire.log import stamp
from models.wire.rounds import Inclusion, RoundWork, Work
from models.wire.studies import Study


@dataclass(frozen=True)
class PublishedRound:
    """An open round with what a device checks: the approval, the helper's opening, the log's proof."""

    study: Study
    approval: str
    opening: str
    inclusion: Inclusion

    def work(self) -> RoundWork:
        """As it travels."""
        return RoundWork(study=self.study, approval=self.approval, opening=self.opening, inclusion=self.inclusion)


@dataclass
class WorkBoard:
    """The published work, as bytes with their ETag. A model is known to it while a round needs it."""

    clock: Clock
    log: TransparencyLog
    bundle_version: int = 0
    at_ms: int | None = None
    """When what is published last changed, by the store; no checkpoint states an earlier time.

    One that lies further ahead than clocks may lie apart was written while some worker's clock was wrong: it is passed
    over, for devices take a checkpoint of the future for a frozen log.
    """
    _rounds: dict[bytes, PublishedRound] = field(default_factory=dict)
    _stopped: set[str] = field(default_factory=set)
    body: bytes = b""
    etag: str = ""
    _stamp: int = -1

    def __post_init__(self) -> None:
        """Publish the empty board."""
        self.refresh()

    def put_up(self, context: bytes, item: PublishedRound) -> None:
        """Publish a round."""
        self._rounds[context] = item
        self.refresh()

    def take_down(self, context: bytes) -> None:
        """Publish no longer."""
        if self._rounds.pop(context, None) is not None:
            self.refresh()

    def stop(self, decision: str) -> None:
        """Publish an officer's signed decision to stop a study: devices believe nothing else."""
        self._stopped.add(decision)
        self.refresh()

    def tells(self, decision: str) -> bool:
        """Whether this stop is published."""
        return decision in self._stopped

    def announce_bundle(self, version: int) -> None:
        """Publish the newest bundle's version."""
        self.bundle_version = version
        self.refresh()

    def renew(self) -> None:
        """Rebuild the bytes where their checkpoint has another time by now: an old one looks like a frozen log."""
        if stamp(self.clock.now_ms()) != self._stamp:
            self.refresh()

    def refresh(self) -> None:
        """Rebuild the bytes."""
        now_ms = self.clock.now_ms()
        self._stamp = stamp(now_ms)
        work = Work(
            rounds=tuple(item.work() for item in self._rounds.values()),
            stopped=tuple(sorted(self._stopped)),
            checkpoint=self.log.checkpoint(self._at(now_ms)),
            bundle_version=self.bundle_version,
        )
        self.body = work.model_dump_json().encode()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'

    def _at(self, now_ms: int) -> int:
        changed_ms = self.at_ms or 0
        return now_ms if changed_ms - now_ms > CLOCK_SKEW_SECONDS * 1_000 else max(now_ms, changed_ms)
