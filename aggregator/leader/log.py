"""The transparency log: every study, decision, opening, release, bundle, key and action, in a tree that only grows.

``models.wire.log`` says which kinds there are. The entries are in the store; here are their hashes, 64 bytes an entry,
brought up to date from the store before anything is appended: several workers may write one log.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.database import Change
from aggregator.storage.leader import LeaderStore
from aggregator.storage.log import log_pages, log_size, require_continued
from models.wire.log import KnownLog, LogProof, log_entry, stamp
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, Inclusion
from privacy.crypto import SigningKey, sign_document
from privacy.crypto.merkle import MerkleTree, leaf_hash
from privacy.crypto.tiles import Tile, read_tile


class TransparencyLog:
    """The tree in memory; the entries are in the store.

    Args:
        store: the leader's.
        key: the leader's; it signs checkpoints.
        entries: the first entries, if they are at hand; ``catch_up`` reads the rest.
    """

    def __init__(self, store: LeaderStore, key: SigningKey, entries: Iterable[bytes] = ()) -> None:
        self._store = store
        self._key = key
        self._tree = MerkleTree(entries)

    @property
    def size(self) -> int:
        """Number of entries that are durable and known here."""
        return len(self._tree)

    def take(self, entries: Iterable[bytes], start: int | None = None) -> None:
        """Learn durable entries: the next ones, or those from ``start`` on, of which known ones are passed over."""
        known = 0 if start is None else self.size - start
        if known < 0:
            return  # a gap: who reads the store next fills it
        leaves = [leaf_hash(entry) for index, entry in enumerate(entries) if index >= known]
        self._tree.extend(leaves)

    async def catch_up(self, connection: AsyncConnection) -> None:
        """Learn what is durable in the store and not known here, whichever process appended it."""
        start = self.size
        async for page in log_pages(connection, start):
            self.take(page, start)
            start += len(page)

    async def append(self, change: Change, kind: str, body: bytes) -> int:
        """Append an entry within a change; returns its index.

        Raises:
            ValueError: there is no such kind.
            LogHeldBack: others may have seen entries that are not here.
        """
        await require_continued(change.connection)
        entry, index = log_entry(kind, body), await log_size(change.connection)
        if change.log_pending == 0 and index != self.size:
            await self.catch_up(change.connection)
        change.log_pending += 1
        await self._store.add_log_entry(change.connection, index, entry)
        change.then(lambda: self.take((entry,), index))
        return index

    def checkpoint(self, at_ms: int) -> str:
        """The newest signed checkpoint (JWS of type ``CHECKPOINT_TYPE``), of a time rounded down by ``stamp``."""
        statement = Checkpoint(size=self.size, root=self._tree.root().hex(), at_ms=stamp(at_ms))
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

    def begins_with(self, known: KnownLog) -> bool:
        """Whether the tree that the helper knows is a beginning of this one."""
        if known.root is None:
            return True
        return known.size <= self.size and self._tree.root(known.size).hex() == known.root

    def proof_for(self, known_size: int) -> LogProof:
        """What shows somebody who knows the tree of ``known_size`` entries that the newest one continues it.

        Raises:
            ProblemError: ``log-unproven`` where more is known there than here.
        """
        if known_size > self.size:
            detail = f"expected a log of at least {known_size} entries, which the helper has seen; it has {self.size}"
            raise ProblemError("log-unproven", f"{detail}: put back what is missing ('log restore')")
        return LogProof(size=known_size, path=self.consistency(known_size, self.size) if known_size else ())

    def tile(self, tile: Tile) -> bytes:
        """A tile's hashes: the same bytes for everybody, for ever.

        Raises:
            ProblemError: ``not-found`` where the tree has no such tile.
        """
        try:
            return read_tile(self._tree, tile)
        except ValueError as error:
            raise ProblemError("not-found", f"the log has {self.size} entries and no such tile: {error}") from error
