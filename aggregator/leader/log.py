"""The transparency log: every study, decision, opening, release and bundle, in a Merkle tree that only grows."""

from __future__ import annotations

from aggregator.storage.database import Change
from aggregator.storage.leader import LeaderStore
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, Inclusion
from privacy.crypto import SigningKey, sign_document
from privacy.crypto.merkle import MerkleTree


class TransparencyLog:
    """The tree in memory; the entries are in the store."""

    def __init__(self, store: LeaderStore, key: SigningKey, entries: list[bytes]) -> None:
        self._store = store
        self._key = key
        self._tree = MerkleTree(entries)

    @property
    def size(self) -> int:
        """Number of entries that are durable."""
        return len(self._tree)

    async def append(self, change: Change, kind: str, body: bytes) -> int:
        """Append an entry ``kind NUL body`` within a change; returns its index."""
        entry, index = kind.encode("ascii") + b"\0" + body, self.size + change.log_pending
        change.log_pending += 1
        await self._store.add_log_entry(change.connection, index, entry)
        change.then(lambda: self._take(entry))
        return index

    def checkpoint(self, at_ms: int) -> str:
        """The newest signed checkpoint (JWS of type ``CHECKPOINT_TYPE``)."""
        statement = Checkpoint(size=self.size, root=self._tree.root().hex(), at_ms=at_ms)
        return sign_document(self._key, CHECKPOINT_TYPE, statement.document())

    def inclusion(self, index: int, size: int) -> Inclusion:
        """Proof that an entry stands in the tree of a size.

        Raises:
            ProblemError: ``malformed`` where the tree has no such entry or size.
        """
        try:
            path = self._tree.inclusion_proof(index, size)
        except ValueError as error:
            raise ProblemError("malformed", str(error)) from error
        return Inclusion(index=index, path=tuple(node.hex() for node in path))

    def consistency(self, first: int, second: int) -> tuple[str, ...]:
        """Proof that the tree of ``second`` entries begins with the tree of ``first``.

        Raises:
            ProblemError: ``malformed`` where the tree has no such sizes.
        """
        try:
            return tuple(node.hex() for node in self._tree.consistency_proof(first, second))
        except ValueError as error:
            raise ProblemError("malformed", str(error)) from error

    def _take(self, entry: bytes) -> None:
        self._tree.append(entry)
