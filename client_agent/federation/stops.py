"""The privacy office's stops, heard on two ways: from the leader, and from the helper itself.

A stop is an officer's signed decision. What the leader shows is believed where a pinned officer signed it, and only
there: a made-up stop would silence devices in the office's name. What the leader leaves out, the helper tells: it is
asked once a poll about each study that this device is about to answer or still has reports of. Whoever stands between
the device and both services can hide a stop all the same; what is then sent nobody can open, for the helper destroyed
the rounds' keys when it took the stop in.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

from pydantic import ValidationError

from client_agent.clocks import Clock
from client_agent.connection import HelperConnection
from client_agent.enrolment import Pins
from client_agent.store import AgentStore
from models.wire.problems import ProblemError
from models.wire.studies import APPROVAL_TYPE, Decision
from privacy.crypto import CryptoError, verify_document

_log = logging.getLogger(__name__)
IGNORED_STOPS = "ignored-stops"
"""Counter of stops that no pinned officer signed; ``hearthside-agent status`` shows it."""
_ASK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
"""For so long a helper that did not answer is not asked again: slots must not wait for it."""
_REMEMBERED = 4_096


class Stops:
    """Which studies the office has stopped, as far as this device can know.

    Args:
        store: where made-up stops are counted.
        helper: connection to the helper; None: only the leader is heard.
        pins: whose signatures count.
        clock: the machine's clocks.
    """

    def __init__(self, store: AgentStore, helper: HelperConnection | None, pins: Pins, clock: Clock) -> None:
        self._store = store
        self._helper = helper
        self._pins = pins
        self._clock = clock
        self._stopped: set[bytes] = set()
        self._heard: set[bytes] = set()
        self._asked: dict[bytes, float] = {}
        self._silent_until_seconds = float("-inf")

    def hear(self, decisions: Iterable[str]) -> None:
        """Take in what the leader shows; what no pinned officer signed is ignored and counted, once."""
        for jws in decisions:
            name = hashlib.sha256(jws.encode()).digest()
            if name in self._heard or len(self._heard) >= _REMEMBERED:
                continue
            self._heard.add(name)
            if not self._take_in(jws):
                _log.warning("a stop that no pinned officer signed is ignored")
                with self._store.transaction():
                    self._store.facts.count(IGNORED_STOPS)

    def is_stopped(self, study_hash: bytes) -> bool:
        """Whether the office has stopped a study: heard before, or said by the helper now."""
        if study_hash not in self._stopped and self._may_ask(study_hash):
            self._ask(study_hash)
        return study_hash in self._stopped

    def _may_ask(self, study_hash: bytes) -> bool:
        now_seconds = self._clock.monotonic_seconds()
        due = self._asked.get(study_hash, float("-inf")) + _ASK_SECONDS <= now_seconds
        return self._helper is not None and due and now_seconds >= self._silent_until_seconds

    def _ask(self, study_hash: bytes) -> None:
        assert self._helper is not None, "asked only where there is one"
        self._asked[study_hash] = self._clock.monotonic_seconds()
        try:
            jws = self._helper.decision(study_hash.hex())
        except ProblemError as problem:
            self._silent_until_seconds = self._clock.monotonic_seconds() + _PATIENCE_SECONDS
            _log.info("the helper does not say whether a study was stopped: %s", problem)
            return
        if jws is not None:
            self._take_in(jws)

    def _take_in(self, jws: str) -> bool:
        """Whether a pinned officer signed this as a stop."""
        try:
            decision = Decision.model_validate(verify_document(jws, APPROVAL_TYPE, self._pins.officers))
        except (CryptoError, ValidationError):
            return False
        if decision.decision != "stop":
            return False
        self._stopped.add(bytes.fromhex(decision.study_hash))
        return True
