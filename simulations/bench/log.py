"""``hearthside bench log``: what a transparency log of 100,000 entries takes to check, to start with and to follow.

The floors are the SHA-256 calls that RFC 9162 asks for, on the same bytes, in a loop that does nothing else: one for
each entry, one for each inner node, and for a proof one for each of its hashes.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from pathlib import Path

from aggregator.leader.log import TransparencyLog
from aggregator.storage.database import Change, Database
from aggregator.storage.leader import LeaderStore
from aggregator.storage.leader_tables import log_entries
from privacy.crypto import MerkleTree, SigningKey, leaf_hash, verify_consistency, verify_inclusion
from privacy.crypto.tiles import Tile, TileTree, read_tile
from simulations.bench.rows import Measured, Row, measure, row
from simulations.bench.secure_sum import Options

ENTRIES = 100_000
ENTRY_BYTES = 1_000
"""About what an entry of a running service has: decisions and steps are shorter, openings and studies longer."""
_PAIR, _NODE = bytes(65), bytes(32)
_FOLLOWED = 20


def run(options: Options | None = None) -> list[Row]:
    """Measure the tree, the proofs, a leader's start, and a device that follows."""
    tell = (options or Options()).tell
    tell(f"{ENTRIES:,} entries of {ENTRY_BYTES:,} bytes")
    entries = [index.to_bytes(8, "big") * (ENTRY_BYTES // 8) for index in range(ENTRIES)]
    tree = MerkleTree(entries)
    rebuilt = measure(lambda: MerkleTree(entries).root()).times(1e-3)
    leaves = _seconds(entries)
    inner = _seconds([_PAIR] * (ENTRIES - 1))
    tell("inclusion proofs")
    proofs = [tree.inclusion_proof(index) for index in range(ENTRIES)]
    hashes = sum(map(len, proofs))
    verified = measure(lambda: _verify(entries, proofs, tree.root())).times(1e-3)
    climbing = _seconds([_PAIR] * hashes)
    return [
        row(
            f"rebuild the tree of {ENTRIES:,} entries and its root",
            "s CPU",
            rebuilt,
            target=2.0,
            floor=leaves + inner,
            note=f"floor: {2 * ENTRIES - 1:,} SHA-256 calls",
        ),
        row(
            f"verify {ENTRIES:,} inclusion proofs, one by one",
            "s CPU",
            verified,
            target=2.0,
            floor=leaves + climbing,
            note=f"floor: {hashes + ENTRIES:,} SHA-256 calls",
        ),
        row("make one inclusion proof", "us CPU", _proving(tree)),
        _starting(entries),
        *_following(tree),
        Row("memory of the tree, an entry", "bytes", _held(tree) / ENTRIES, 0.0, note="floor: two hashes", floor=64.0),
    ]


def _verify(entries: list[bytes], proofs: list[list[bytes]], root: bytes) -> None:
    for index, (entry, proof) in enumerate(zip(entries, proofs, strict=True)):
        verify_inclusion(leaf_hash(entry), index, ENTRIES, proof, root)


def _proving(tree: MerkleTree) -> Measured:
    asked = range(0, ENTRIES, 50)
    return measure(lambda: [tree.inclusion_proof(index) for index in asked], per=len(asked)).times(1e3)


def _seconds(inputs: list[bytes]) -> float:
    """The floor: nothing but the hash of each input."""

    def hash_all() -> None:
        for data in inputs:
            hashlib.sha256(data).digest()

    return measure(hash_all).value / 1e3


def _starting(entries: list[bytes]) -> Row:
    """A worker's start: every entry read from SQLite, a page at a time, and hashed."""

    async def through_the_store(folder: str) -> Measured:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'leader.db'}")
        await database.open("leader")

        async def fill(change: Change) -> None:
            rows = [{"entry_index": index, "body": entry} for index, entry in enumerate(entries)]
            await change.connection.execute(log_entries.insert(), rows)

        await database.change(fill)
        figures = []
        for _ in range(3):
            log, started = TransparencyLog(LeaderStore(), SigningKey.generate()), time.perf_counter()
            async with database.reading() as connection:
                await log.catch_up(connection)
            figures.append(time.perf_counter() - started)
        await database.close()
        return Measured(sorted(figures)[1], max(figures) - min(figures))

    with tempfile.TemporaryDirectory(prefix="hearthside-bench-") as scratch:
        measured = asyncio.run(through_the_store(scratch))
    return row(
        f"a leader's worker takes in {ENTRIES:,} entries at its start",
        "s",
        measured,
        note="by the clock on the wall, from SQLite, 512 entries in memory at a time",
    )


def _following(tree: MerkleTree) -> list[Row]:
    """A device follows the log from one round to the next: four entries later."""
    old = ENTRIES - 4
    old_root, root = tree.root(old), tree.root()
    read: list[Tile] = []

    def fetch(tile: Tile) -> bytes:
        read.append(tile)
        return read_tile(tree, tile)

    def follow() -> None:
        read.clear()
        tiles = TileTree(ENTRIES, fetch)
        tiles.read_edge()
        verify_consistency(old, old_root, ENTRIES, root, tiles.consistency_proof(old))

    def follow_often() -> None:
        for _ in range(_FOLLOWED):
            follow()

    checked = measure(follow_often, per=_FOLLOWED)
    size_bytes = sum(tile.width * len(_NODE) for tile in read)
    return [
        row("a device follows the log, four entries later", "ms CPU", checked),
        Row("bytes of the tiles that it reads for that", "bytes", size_bytes, 0.0, note=f"{len(read)} requests"),
    ]


def _held(tree: MerkleTree) -> int:
    return sum(len(tree.nodes(level, 0, len(tree) >> level)) for level in range(len(tree).bit_length()))
