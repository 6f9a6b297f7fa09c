"""A log's hashes in pieces that are the same for everybody: whoever reads them makes any proof without asking for it.

A tile holds up to 256 neighbouring hashes of one level: level 0 those of entries, level 1 those of complete subtrees of
256 entries, level 2 of 65,536 (C2SP, tlog-tiles). A full tile never changes. Who asks a log for a proof from an old
size says when it looked last; who reads the tiles at the right edge of the newest tree says nothing, for everybody
needs them. Nothing in a tile is believed: the proof that is made of it leads to a signed root, or it does not verify.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from privacy.crypto.errors import ProofInvalid
from privacy.crypto.merkle import HASH_BYTES, HashTree, MerkleTree, node_hash

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
LEVELS_MAXIMUM = 8
"""Eight levels of tiles cover 2^64 entries."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Names a tile.

    Attributes:
        level: of tiles: its hashes are of complete subtrees of 256^level entries.
        index: its place in the level.
        width: number of hashes, 256 where it is full.
    """

    level: int
    index: int
    width: int

    def __post_init__(self) -> None:
        """Refuse what is no tile."""
        if not 0 <= self.level < LEVELS_MAXIMUM or self.index < 0 or not 1 <= self.width <= TILE_WIDTH:
            raise ValueError(
                f"expected a tile of 1 to {TILE_WIDTH} hashes in one of {LEVELS_MAXIMUM} levels, got {self}"
            )


def edge_tiles(size: int) -> tuple[Tile, ...]:
    """The last tile of every level in a tree of a size: the ones that everybody reads who has just seen that size."""
    found = []
    for level in range(LEVELS_MAXIMUM):
        held = size >> (level * TILE_HEIGHT)
        if not held:
            break
        found.append(_last(level, held))
    return tuple(found)


def read_tile(tree: MerkleTree, tile: Tile) -> bytes:
    """A tile's hashes, one after the other. Run by the log.

    Raises:
        ValueError: the tree has no such tile (yet).
    """
    return tree.nodes(tile.level * TILE_HEIGHT, tile.index * TILE_WIDTH, tile.width)


class TileTree(HashTree):
    """Roots and proofs of a log from its tiles, fetched when they are needed, each once. Run by whoever checks a log.

    Args:
        size: number of entries.
        fetch: returns a tile's hashes.
    """

    __slots__ = ("_fetch", "_size", "_tiles")

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], bytes] = {}

    def __len__(self) -> int:
        return self._size

    def read_edge(self) -> None:
        """Fetch the tiles at the right edge, whatever will be proved with them: the requests then tell nothing."""
        for tile in edge_tiles(self._size):
            self._read(tile.level, tile.index)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree, from the tile of the level below it.

        Raises:
            ProofInvalid: what was fetched is no such tile.
        """
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, place = divmod(index << height, TILE_WIDTH)
        hashes = self._read(tile_level, tile_index)
        nodes = [hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(place, place + (1 << height))]
        while len(nodes) > 1:
            nodes = [node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
        return nodes[0]

    def _read(self, level: int, index: int) -> bytes:
        known = self._tiles.get((level, index))
        if known is None:
            held = (self._size >> (level * TILE_HEIGHT)) - index * TILE_WIDTH
            tile = Tile(level, index, min(held, TILE_WIDTH))
            known = self._tiles[level, index] = self._fetch(tile)
            if len(known) != tile.width * HASH_BYTES:
                raise ProofInvalid(f"expected a tile of {tile.width} hashes, got {len(known)} bytes")
        return known


def _last(level: int, held: int) -> Tile:
    index = (held - 1) // TILE_WIDTH
    return Tile(level, index, held - index * TILE_WIDTH)
