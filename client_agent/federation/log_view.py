"""The leader's log as this device sees it: followed from poll to poll, compared with what the helper was shown.

The last checkpoint that held is kept in the store. A newer one must be shown to continue it, and the one that the
helper signed in a round's opening must lie on the tree of this poll. No round is taken from a poll that shows less than
was seen before, and after a few minutes of it the log counts as shrunk.

Proofs are made here, from tiles that are the same for everybody (``privacy.crypto.tiles``), and tiles are asked for of
the size that this very poll shows, whatever is kept: the leader does not hear what this device saw last.

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
from models.wire.log import FRESH_SECONDS, LAG_SECONDS
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint
from privacy.crypto import CryptoError, ProofInvalid, VerifyKey, verify_consistency, verify_document
from privacy.crypto.tiles import TileTree

_log = logging.getLogger(__name__)
_CHECKPOINT: Final = "log-checkpoint"
_FAULT: Final = "log-fault"
_BEHIND: Final = "log-behind"
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
        self._unread = ""
        self._shown: Checkpoint | None = None
        self._compared: set[tuple[int, str]] = set()
        self._said = ""

    @property
    def fault(self) -> str | None:
        """What is wrong, as a sentence; None where the log holds."""
        found = _read(self._store.facts.get(_FAULT))
        return None if found is None else str(found["words"])

    @property
    def is_current(self) -> bool:
        """Whether the last poll showed all that was seen before, and it held; rounds are admitted from no other."""
        return self._shown is not None

    def follow(self, checkpoint: str | None) -> None:
        """Take in the checkpoint of a poll. ``fault`` then says whether the log holds, ``is_current`` for this poll.

        A fork that the leader's own two signatures prove stands until a person has looked into it (``accept``).
        """
        self._shown = None
        before = _read(self._store.facts.get(_FAULT))
        if before is not None and before["lasting"]:
            return
        try:
            self._take_in(checkpoint)
        except LogFault as fault:
            self._note(fault, before, checkpoint)
        else:
            if before is not None and self.is_current:
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
        if self._shown is None or self.fault is not None:
            raise RoundRefused("log", self.fault or "the leader showed no checkpoint of its log")
        if seen.size > self._shown.size:
            raise RoundRefused("checkpoint", "the log is shorter than when the round was opened")
        if (seen.size, seen.root) in self._compared:
            return
        try:
            self._compare(seen, self._shown)
        except LogFault as fault:
            self._note(fault, None, opening)
            raise RoundRefused("log", f"the leader and the helper state different logs: {fault}") from None
        self._compared.add((seen.size, seen.root))

    def _take_in(self, jws: str | None) -> None:
        shown = self._read_shown(jws)
        assert jws is not None, "what was read was there"
        self._read_edge(shown)
        stored = self._store.facts.get(_CHECKPOINT)
        known = None if stored is None else _statement(stored.decode(), self._key)
        if known is not None and shown.size < known.size:
            self._bear_with(shown, known)
            return
        if known is not None:
            self._compare(known, shown)
        if known is None or (shown.size, shown.at_ms) > (known.size, known.at_ms):
            self._keep(jws)
        if self._store.facts.get(_BEHIND) is not None:
            with self._store.transaction():
                self._store.facts.remove(_BEHIND)
        self._shown = shown

    def _read_edge(self, shown: Checkpoint) -> None:
        """Ask for the tiles at the edge of what is shown, needed or not: what is asked for must not depend on that.

        Where they do not come, or do not lead to what is shown, everybody asks for them again at the next poll.
        """
        if len(self._tree) != shown.size or self._unread:
            self._tree = TileTree(shown.size, self._leader.log_tile)
        self._unread = ""
        try:
            self._tree.read_edge()
            if self._tree.root().hex() != shown.root:
                self._unread = f"the tiles do not lead to the stated tree of {shown.size} entries"
        except (ProblemError, ProofInvalid) as error:
            self._unread = str(error)

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

    def _bear_with(self, shown: Checkpoint, known: Checkpoint) -> None:
        """Less than before: a worker of the leader may lag behind another for a moment, and no longer.

        Whether it is the beginning of what is known is not looked into: that would take tiles of the known size, whose
        names tell which it is.
        """
        now_ms, since = self._clock.now_ms(), self._store.facts.get(_BEHIND)
        if since is None:
            with self._store.transaction():
                self._store.facts.put(_BEHIND, str(now_ms).encode())
        elif not 0 <= now_ms - int(since) <= LAG_SECONDS * 1_000:
            raise LogFault("shrunk", f"expected at least {known.size} entries, got {shown.size}")

    def _compare(self, old: Checkpoint, new: Checkpoint) -> None:
        """Return if the newer tree, which this poll shows, begins with the older one.

        Tiles are believed once they lead to the newer root. What they then say of the beginning is a proof, whichever
        way it goes; tiles that lead elsewhere say nothing of the log.
        """
        if old.size == new.size:
            if old.root != new.root:
                raise LogFault("forked", f"two logs of {old.size} entries")
            return
        if old.size == 0:
            return
        if self._unread:
            raise LogFault("unproven", self._unread)
        try:
            beginning, path = self._tree.root(old.size), self._tree.consistency_proof(old.size)
            verify_consistency(old.size, beginning, new.size, bytes.fromhex(new.root), path)
        except (ProblemError, ProofInvalid) as error:
            raise LogFault("unproven", str(error)) from None
        if beginning != bytes.fromhex(old.root):
            proof = {"size": old.size, "beginning": beginning.hex(), "path": [node.hex() for node in path]}
            words = f"the log of {new.size} entries does not begin with the one of {old.size} entries"
            raise LogFault("forked", words, proof)

    def _keep(self, jws: str) -> None:
        with self._store.transaction():
            self._store.facts.put(_CHECKPOINT, jws.encode())

    def _note(self, fault: LogFault, before: dict[str, Any] | None, shown: str | None) -> None:
        """Remember a fault, and for a contradiction what was signed on both sides."""
        if fault.code == "unproven":
            self._tree = TileTree(0, self._leader.log_tile)  # what was read in vain is read again
        code_before = None if before is None else before["code"]
        now_ms, kept = self._clock.now_ms(), self._store.facts.get(_CHECKPOINT)
        item = {"code": fault.code, "words": str(fault), "noticed_at_ms": now_ms, "lasting": False}
        with self._store.transaction():
            # One look at a worker that lags is no evidence of a log that lost entries: the next one is.
            if kept is not None and shown and (fault.code == "forked" or fault.code == code_before == "shrunk"):
                item["lasting"] = self._proves_fork(kept.decode(), shown)
                evidence = {**item, "kept": kept.decode(), "shown": shown}
                if fault.proof is not None:
                    evidence["proof"] = fault.proof
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
        each with what was ``kept`` and what was ``shown``, as signed; where they are of different sizes and a fork is
        proven, with ``proof``: the tree of the larger size has ``beginning`` as its first ``size`` entries, and
        ``path`` proves that (RFC 9162, section 2.1.4).
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
        for name in (_FAULT, _BEHIND, _CHECKPOINT):
            store.facts.remove(name)


def _statement(jws: str, key: VerifyKey) -> Checkpoint:
    return Checkpoint.model_validate(verify_document(jws, CHECKPOINT_TYPE, (key,)))


def _read(stored: bytes | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = None if stored is None else json.loads(stored)
    return found


def _added(store: AgentStore, item: dict[str, Any]) -> list[dict[str, Any]]:
    """The evidence with one more; the first stay, for they show where it began.

    Where there is no room, the last of those that prove least makes room for what proves more.
    """
    known: list[dict[str, Any]] = json.loads(store.facts.get(_EVIDENCE) or b"[]")
    if any(old["shown"] == item["shown"] and _weight(old) >= _weight(item) for old in known):
        return known
    if len(known) >= _EVIDENCE_MAXIMUM:
        least = min(map(_weight, known))
        if least >= _weight(item):
            return known
        del known[max(place for place, old in enumerate(known) if _weight(old) == least)]
    return [*known, item]


def _weight(item: dict[str, Any]) -> int:
    """How much an item proves: two logs of one size need nothing else, other forks need the proof that is with them."""
    if item["code"] != "forked":
        return 0
    return 1 if "proof" in item else 2
