"""The leader's log as this device sees it: followed from poll to poll, compared with what the helper was shown.

The last checkpoint that held is kept in the store. A newer one must be shown to continue it, an older one to be its
beginning, and the one that the helper signed in a round's opening must lie on the same tree. Proofs are made here, from
tiles that are the same for everybody (``privacy.crypto.tiles``): the leader does not hear what this device saw last.

While any of this does not hold nothing is contributed: a leader that can show people different logs can hide from some
of them what it asks of them.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from pydantic import ValidationError

from client_agent.clocks import Clock
from client_agent.connection import LeaderConnection
from client_agent.enrolment import Pins
from client_agent.errors import LogFault, RoundRefused
from client_agent.store import AgentStore
from models.wire.limits import CLOCK_SKEW_SECONDS
from models.wire.log import FRESH_SECONDS
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint
from privacy.crypto import CryptoError, ProofInvalid, VerifyKey, verify_consistency, verify_document
from privacy.crypto.tiles import TileTree

_log = logging.getLogger(__name__)
_CHECKPOINT: Final = "log-checkpoint"
_FAULT: Final = "log-fault"
_EVIDENCE: Final = "log-evidence"
_EVIDENCE_MAXIMUM: Final = 8


class LogView:
    """What this device knows of one leader's log.

    Args:
        store: the agent's store.
        leader: where tiles are fetched.
        pins: whose signatures count.
        clock: the machine's clocks.
    """

    def __init__(self, store: AgentStore, leader: LeaderConnection, pins: Pins, clock: Clock) -> None:
        self._store = store
        self._leader = leader
        self._key = pins.leader_key
        self._clock = clock
        self._tree = TileTree(0, leader.log_tile)
        self._compared: set[tuple[int, str]] = set()
        self._said = ""

    @property
    def fault(self) -> str | None:
        """What is wrong, as a sentence; None where the log holds."""
        found = _read(self._store.facts.get(_FAULT))
        return None if found is None else str(found["words"])

    def follow(self, checkpoint: str | None) -> None:
        """Take in the checkpoint of a poll. ``fault`` then says whether the log holds.

        A fork that the leader's own two signatures prove stands until a person has looked into it (``accept``).
        """
        before = _read(self._store.facts.get(_FAULT))
        if before is not None and before["lasting"]:
            return
        try:
            self._take_in(checkpoint)
        except LogFault as fault:
            self._note(fault, before, checkpoint)
        else:
            if before is not None:
                with self._store.transaction():
                    self._store.facts.remove(_FAULT)

    def require(self, seen: Checkpoint, opening: str) -> None:
        """Return if the tree that the helper was shown is a beginning of the one that this device follows.

        Args:
            seen: from the helper's signed opening.
            opening: the opening, as signed: evidence, where the two contradict each other.

        Raises:
            RoundRefused: it is not, or that was not shown.
        """
        stored = self._store.facts.get(_CHECKPOINT)
        if stored is None or self.fault is not None:
            raise RoundRefused("log", self.fault or "the leader showed no checkpoint of its log")
        known = _statement(stored.decode(), self._key)
        if seen.size > known.size:
            raise RoundRefused("checkpoint", "the log is shorter than when the round was opened")
        if (seen.size, seen.root) in self._compared:
            return
        try:
            self._compare(seen, known, self._tiles(known.size))
        except LogFault as fault:
            self._note(fault, None, opening)
            raise RoundRefused("log", f"the leader and the helper state different logs: {fault}") from None
        self._compared.add((seen.size, seen.root))

    def _take_in(self, jws: str | None) -> None:
        shown = self._read_shown(jws)
        assert jws is not None, "what was read was there"
        stored = self._store.facts.get(_CHECKPOINT)
        if stored is None:
            self._keep(jws)
            return
        known = _statement(stored.decode(), self._key)
        if shown.size < known.size:
            self._check_older(shown, known)
            return
        tiles = self._tree if shown.size == known.size else TileTree(shown.size, self._leader.log_tile)
        self._compare(known, shown, tiles)
        if (shown.size, shown.at_ms) > (known.size, known.at_ms):
            self._keep(jws)
        self._tree = tiles

    def _read_shown(self, jws: str | None) -> Checkpoint:
        if jws is None:
            raise LogFault("unsigned", "expected one with the work")
        try:
            shown = _statement(jws, self._key)
        except (CryptoError, ValidationError) as error:
            raise LogFault("unsigned", type(error).__name__) from None
        late_ms = self._clock.now_ms() - shown.at_ms
        if late_ms > FRESH_SECONDS * 1_000 or late_ms < -CLOCK_SKEW_SECONDS * 1_000:
            raise LogFault("frozen", f"expected one of the last hour, got one from {late_ms / 1_000:.0f} s ago")
        return shown

    def _check_older(self, shown: Checkpoint, known: Checkpoint) -> None:
        """A worker of the leader that lags behind another shows the beginning of what is known; nothing is lost."""
        try:
            self._compare(shown, known, self._tiles(known.size))
        except LogFault as fault:
            sizes = f"expected at least {known.size} entries, got {shown.size}"
            raise fault if fault.code == "forked" else LogFault("shrunk", sizes) from None

    def _compare(self, old: Checkpoint, new: Checkpoint, tiles: TileTree) -> None:
        """Return if the newer tree begins with the older one."""
        if old.size == new.size:
            if old.root != new.root:
                raise LogFault("forked", f"two logs of {old.size} entries")
            return
        if old.size == 0:
            return
        try:
            tiles.read_edge()
            proof = tiles.consistency_proof(old.size)
        except (ProblemError, ProofInvalid) as error:
            raise LogFault("unproven", str(error)) from None
        try:
            verify_consistency(old.size, bytes.fromhex(old.root), new.size, bytes.fromhex(new.root), proof)
        except ProofInvalid as error:
            raise LogFault("forked", str(error)) from None

    def _tiles(self, size: int) -> TileTree:
        if len(self._tree) != size:
            self._tree = TileTree(size, self._leader.log_tile)
        return self._tree

    def _keep(self, jws: str) -> None:
        with self._store.transaction():
            self._store.facts.put(_CHECKPOINT, jws.encode())

    def _note(self, fault: LogFault, before: dict[str, Any] | None, shown: str | None) -> None:
        """Remember a fault, and for a contradiction what was signed on both sides."""
        self._tree = TileTree(0, self._leader.log_tile)  # nothing that was read in vain is read again
        code_before = None if before is None else before["code"]
        now_ms, kept = self._clock.now_ms(), self._store.facts.get(_CHECKPOINT)
        item = {"code": fault.code, "words": str(fault), "noticed_at_ms": now_ms, "lasting": False}
        with self._store.transaction():
            # One look at a worker that lags is no evidence of a log that lost entries: the next one is.
            if kept is not None and shown and (fault.code == "forked" or fault.code == code_before == "shrunk"):
                item["lasting"] = self._proves_fork(kept.decode(), shown)
                evidence = {**item, "kept": kept.decode(), "shown": shown}
                self._store.facts.put(_EVIDENCE, json.dumps(_added(self._store, evidence)).encode())
            if code_before != fault.code or item["lasting"]:
                self._store.facts.put(_FAULT, json.dumps(item).encode())
        if str(fault) != self._said:
            _log.error("the leader's log does not hold; nothing is contributed: %s", fault)
            self._said = str(fault)

    def _proves_fork(self, kept: str, shown: str) -> bool:
        """Whether the leader itself signed two logs of one size: that needs no proof, and nothing takes it back."""
        try:
            first, second = (_statement(jws, self._key) for jws in (kept, shown))
        except (CryptoError, ValidationError):
            return False
        return first.size == second.size and first.root != second.root


def standing(store: AgentStore) -> dict[str, Any]:
    """What this device knows of the log: for status, page and command line, and to hand to whoever checks the log.

    Returns:
        ``checkpoint`` as signed (None before the first), ``fault`` (None where it holds), ``evidence``: contradictions,
        each with what was ``kept`` and what was ``shown``, as signed.
    """
    checkpoint = store.facts.get(_CHECKPOINT)
    return {
        "checkpoint": checkpoint.decode() if checkpoint else None,
        "fault": _read(store.facts.get(_FAULT)),
        "evidence": json.loads(store.facts.get(_EVIDENCE) or b"[]"),
    }


def accept(store: AgentStore) -> None:
    """Begin anew with the log that the leader shows next: for who has looked into a fault. The evidence stays."""
    with store.transaction():
        store.facts.remove(_FAULT)
        store.facts.remove(_CHECKPOINT)


def _statement(jws: str, key: VerifyKey) -> Checkpoint:
    return Checkpoint.model_validate(verify_document(jws, CHECKPOINT_TYPE, (key,)))


def _read(stored: bytes | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = None if stored is None else json.loads(stored)
    return found


def _added(store: AgentStore, item: dict[str, Any]) -> list[dict[str, Any]]:
    """The evidence with one more; the first stay, for they show where it began."""
    known: list[dict[str, Any]] = json.loads(store.facts.get(_EVIDENCE) or b"[]")
    if len(known) >= _EVIDENCE_MAXIMUM or any(old["shown"] == item["shown"] for old in known):
        return known
    return [*known, item]
