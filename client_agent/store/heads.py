"""The heads of all consent ledgers, and one digest over them that is mirrored outside of the store.

Why: a chain of digests shows that a row was edited, dropped or moved, but not that the whole store is an older copy of
itself, in which something is still granted that was taken back since. The keyring is no part of a copy of the store.

How: the heads lie in buckets. Each bucket has a digest over its heads, and the root covers the buckets' digests and
the number of the last change, which no two states of a store share. So a choice costs the heads of one bucket and one
root, however many people there are, and whoever reads one person's rows checks them up to the root.

The keyring is written once for each transaction that moved a head: after its commit, under the store's lock. In between
the store is one transaction ahead of its mirror; it knows the root before, and is accepted for it. The mirror names
the state before for no longer than it must, for until it moves on, a copy of that state passes for the present: whoever
finds it lagging, at the start, at a poll or before a choice, brings it up, floors and all. After a loss was noticed
there is no such bridge: a crash before the keyring is written leaves a store that is still not the mirror's, and the
loss is noticed again.

The mirror also keeps, by leader, the largest epoch ever. It outlives rows that were lost: a receipt in one of them
never passes again, and the next choice is signed beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from client_agent.errors import ConsentOvertaken
from client_agent.keys import Keyring
from client_agent.store.database import Database
from client_agent.store.facts import Facts
from consent import Row
from privacy.crypto import digest

CONSENT_MIRROR = "consent-mirror"
CHANGE = "consents-change"
_BEFORE = "consents-before"
_DIGEST_BYTES, _EPOCH_BYTES, _KEY_BYTES = 32, 8, 32
_FLOOR_BYTES = _KEY_BYTES + _EPOCH_BYTES
Standing = Literal["present", "ahead", "lost"]
"""The mirror's root is the store's; or the one before it, as the keyring was not told yet; or that of another store."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a consent ledger stands.

    Attributes:
        head: digest of the last row (32 bytes); empty for a ledger without rows.
        length: number of rows.
        epoch: the largest epoch that is remembered of it.
        fault: why nothing in it counts until the person chooses again; None if it counts.
    """

    head: bytes
    length: int
    epoch: int
    fault: str | None


@dataclass(frozen=True, slots=True)
class StoredMirror:
    """What the keyring remembers: the root, and the largest epoch ever by the leader's key."""

    root: bytes
    floors: dict[bytes, int]

    def to_bytes(self) -> bytes:
        """Root, then a leader's key and its epoch (big endian) for each leader."""
        floors = sorted(self.floors.items())
        return self.root + b"".join(key + epoch.to_bytes(_EPOCH_BYTES, "big") for key, epoch in floors)

    @classmethod
    def from_bytes(cls, raw: bytes) -> StoredMirror:
        """Read what ``to_bytes`` wrote; anything else, nothing at all included, has a root that no store has."""
        floors = raw[_DIGEST_BYTES:]
        if len(raw) < _DIGEST_BYTES or len(floors) % _FLOOR_BYTES:
            return cls(b"", {})
        parts = [floors[at : at + _FLOOR_BYTES] for at in range(0, len(floors), _FLOOR_BYTES)]
        return cls(raw[:_DIGEST_BYTES], {part[:_KEY_BYTES]: int.from_bytes(part[_KEY_BYTES:], "big") for part in parts})


class Heads:
    """The table of heads, its digests and the mirror.

    Args:
        database: the store's.
        keyring: where the mirror is kept.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._facts = Facts(database)
        self._found: bytes | None = None
        """The root that the present transaction found; None while none has moved a head."""
        self._touched: set[int] = set()
        self._floors: dict[bytes, int] = {}
        self.moved = False
        """Whether something was committed that the keyring has not been told."""

    def standing(self) -> Standing:
        """How the store and its mirror stand to each other."""
        if self._found is not None:
            return "present"  # this transaction looked before it moved anything
        mirrored, root = self._mirror().root, self._root()
        if mirrored == root or (not mirrored and root == _empty()):  # of a new store there is nothing to remember
            return "present"
        return "ahead" if mirrored and mirrored == self._facts.get(_BEFORE) else "lost"

    def catch_up(self) -> None:
        """Tell the keyring what was committed before somebody died or failed to. Part of a transaction: under the lock.

        Its floors too: the transaction that nobody told of may have reached further than any before.
        """
        self._keyring.write(CONSENT_MIRROR, self._present(self._reached()))

    def begin(self, *, after_loss: bool = False) -> None:
        """Heads are about to move. Part of the caller's transaction, in which ``standing`` was asked."""
        if self._found is not None:
            return
        root = self._root()
        if not after_loss and self._mirror().root != root:
            self.catch_up()
        self._found = root

    def of(self, participant_id: str) -> Head | None:
        """Where a participant's ledger stands; None for one without a choice."""
        found = self._database.fetch(
            "SELECT head, length, epoch, fault FROM consent_heads WHERE participant_id = ?", (participant_id,)
        )
        return Head(*found[0]) if found else None

    def covers(self, participant_id: str) -> bool:
        """Whether the digest over a participant's bucket is that of the heads in it, theirs or the lack of it included.

        Asked together with the head and the rows, in one snapshot.
        """
        bucket = _bucket(participant_id)
        if bucket in self._touched:
            return True  # its digest is made at the end of this transaction
        found = self._database.fetch("SELECT digest FROM consent_buckets WHERE bucket = ?", (bucket,))
        return (found[0][0] if found else None) == self._bucket_digest(bucket)

    def advance(self, participant_id: str, row: Row, epoch: int) -> None:
        """Move a head to a row that is being appended. Part of a transaction that has begun.

        Raises:
            ConsentOvertaken: the row follows another one than the last, or the ledger has to be restarted first.
        """
        before = self.of(participant_id)
        if row.kind != "restart":
            last = Head(row.previous, 0, 0, None) if before is None else before
            if last.fault is not None or (last.head, last.length) != (row.previous, row.index):
                raise ConsentOvertaken("expected a choice on what stands now; another one was recorded meanwhile")
        self._put(participant_id, Head(row.digest, row.index + 1, epoch, None))

    def distrust(self, participant_id: str, reason: str, epoch: int) -> None:
        """Let nothing in a ledger count until it is restarted. Part of a transaction that has begun."""
        before = self.of(participant_id) or Head(b"", 0, 0, None)
        self._put(participant_id, Head(before.head, before.length, max(before.epoch, epoch), reason))

    def forget(self, participant_id: str) -> None:
        """Delete the head of somebody who is erased. Part of a transaction that has begun."""
        self._touched.add(_bucket(participant_id))
        self._database.run("DELETE FROM consent_heads WHERE participant_id = ?", (participant_id,))

    def floor(self, leader: bytes) -> int:
        """The largest epoch that was ever reached towards a leader, as far as the keyring remembers."""
        return self._mirror().floors.get(leader, 0)

    def before_commit(self) -> None:
        """Bring the digests of buckets up to date, and remember the root that this transaction found."""
        if self._found is None:
            return
        for bucket in self._touched:
            found = self._bucket_digest(bucket)
            if found is None:
                self._database.run("DELETE FROM consent_buckets WHERE bucket = ?", (bucket,))
            else:
                self._database.run(
                    "INSERT INTO consent_buckets VALUES (?, ?)"
                    " ON CONFLICT (bucket) DO UPDATE SET digest = excluded.digest",
                    (bucket, found),
                )
        self._facts.put(_BEFORE, self._found)
        self.moved = True

    def settled(self) -> dict[str, bytes]:
        """The keyring's entry for what is committed. Asked under the store's lock, so that none comes after it."""
        present = self._present(self._floors)
        self.after_rollback()
        return {CONSENT_MIRROR: present}

    def after_rollback(self) -> None:
        """Forget what was about to move."""
        self._found, self.moved = None, False
        self._touched.clear()
        self._floors.clear()

    def _put(self, participant_id: str, head: Head) -> None:
        bucket = _bucket(participant_id)
        self._touched.add(bucket)
        self._database.run(
            "INSERT INTO consent_heads VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (participant_id) DO UPDATE SET"
            " head = excluded.head, length = excluded.length, epoch = excluded.epoch, fault = excluded.fault",
            (participant_id, bucket, head.head, head.length, head.epoch, head.fault),
        )
        for (leader,) in self._database.fetch(
            "SELECT leader FROM participants WHERE participant_id = ?", (participant_id,)
        ):
            self._floors[leader] = max(self._floors.get(leader, 0), head.epoch)

    def _reached(self) -> dict[bytes, int]:
        """The largest epoch in any head, by leader."""
        found = self._database.fetch(
            "SELECT p.leader, max(h.epoch) FROM consent_heads h JOIN participants p USING (participant_id)"
            " WHERE typeof(h.epoch) = 'integer' AND h.epoch >= 0 GROUP BY p.leader"
        )
        return {bytes(leader): int(epoch) for leader, epoch in found}

    def _present(self, reached: Mapping[bytes, int]) -> bytes:
        """The keyring's entry for what is in the store now; a floor is never lowered."""
        known = self._mirror().floors
        floors = {key: max(known.get(key, 0), reached.get(key, 0)) for key in known.keys() | reached.keys()}
        return StoredMirror(self._root(), floors).to_bytes()

    def _mirror(self) -> StoredMirror:
        return StoredMirror.from_bytes(self._keyring.read(CONSENT_MIRROR) or b"")

    def _root(self) -> bytes:
        buckets = self._database.fetch("SELECT bucket, digest FROM consent_buckets ORDER BY bucket")
        parts = (part for bucket, found in buckets for part in (bytes([bucket]), found))
        return digest("consent-mirror", self._facts.counted(CHANGE).to_bytes(8, "big"), *parts)

    def _bucket_digest(self, bucket: int) -> bytes | None:
        rows = self._database.fetch(
            "SELECT participant_id, head, length, epoch, fault FROM consent_heads WHERE bucket = ?"
            " ORDER BY participant_id",
            (bucket,),
        )
        parts = [repr(row).encode() for row in rows]  # whatever an editor may have put there
        return digest("consent-heads", *parts) if parts else None


def _bucket(participant_id: str) -> int:
    return digest("consent-bucket", participant_id.encode())[0]


def _empty() -> bytes:
    return digest("consent-mirror", bytes(8))
