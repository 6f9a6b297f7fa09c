"""Tiles of the log: whoever reads them makes the proofs that the log itself makes, and believes nothing in them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privacy.crypto import MerkleTree, ProofInvalid, leaf_hash, verify_consistency, verify_inclusion
from privacy.crypto.tiles import Tile, TileTree, edge_tiles, read_tile

LARGEST = 70_000
TREE = MerkleTree()
TREE.extend(leaf_hash(index.to_bytes(4, "big")) for index in range(LARGEST))


class Shelf:
    """A log that serves tiles of its first ``size`` entries, and notes which."""

    def __init__(self, tree: MerkleTree = TREE) -> None:
        self.tree = tree
        self.read: list[Tile] = []

    def __call__(self, tile: Tile) -> bytes:
        self.read.append(tile)
        return read_tile(self.tree, tile)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, LARGEST), st.data())
@example(65_536, None)
@example(257, None)
def test_tiles_give_the_roots_and_proofs_of_the_tree(size, data):
    """At any size: the same root, the same proof from any older size, the same proof of any entry."""
    old = data.draw(st.integers(1, size)) if data else size - 1
    tiled = TileTree(size, Shelf())
    assert tiled.root() == TREE.root(size)
    proof = tiled.consistency_proof(old)
    assert proof == TREE.consistency_proof(old, size)
    verify_consistency(old, TREE.root(old), size, tiled.root(), proof)
    assert tiled.inclusion_proof(old - 1) == TREE.inclusion_proof(old - 1, size)
    leaf = leaf_hash((old - 1).to_bytes(4, "big"))
    verify_inclusion(leaf, old - 1, size, tiled.inclusion_proof(old - 1), TREE.root(size))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, LARGEST), st.data())
def test_what_is_read_tells_at_most_which_256_entries_were_the_last(size, data):
    """The edge is read first, whatever was seen before; older sizes within one tile lead to the very same requests."""
    seen = data.draw(st.integers(1, size))
    first = (seen - 1) // 256 * 256 + 1
    alike = {first, seen, min(size, first + 255)}
    requests = []
    for old in sorted(alike):
        shelf = Shelf()
        tiled = TileTree(size, shelf)
        tiled.read_edge()
        tiled.consistency_proof(old)
        assert tuple(shelf.read[: len(edge_tiles(size))]) == edge_tiles(size)
        requests.append(set(shelf.read))
        if (old - 1) // 256 == (size - 1) // 256 and size < 65_536:
            assert all(tile in edge_tiles(size) for tile in shelf.read if tile.level == 0)
    extra = [found - requests[0] for found in requests] + [requests[0] - found for found in requests]
    assert all(tile.level > 0 or tile.index == (first - 1) // 256 for found in extra for tile in found)


def test_a_tile_that_was_altered_leads_to_no_signed_root():
    """One changed hash, or a tile of another length: the proof that is made of it does not verify."""
    size, old = 1_000, 400

    def altered(tile: Tile) -> bytes:
        body = bytearray(read_tile(TREE, tile))
        body[40] ^= 1
        return bytes(body)

    proof = TileTree(size, altered).consistency_proof(old)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, TREE.root(old), size, TREE.root(size), proof)
    for cut in (lambda tile: read_tile(TREE, tile)[:-32], lambda tile: read_tile(TREE, tile) + bytes(32)):
        with pytest.raises(ProofInvalid, match="expected a tile"):
            TileTree(size, cut).consistency_proof(old)


def test_a_log_serves_no_tile_that_it_does_not_have():
    """Beyond its size, of a level that it has not reached, or of no width: a mistake, said as one."""
    tree = MerkleTree([b"a", b"b", b"c"])
    assert read_tile(tree, Tile(0, 0, 3)) == b"".join(map(leaf_hash, (b"a", b"b", b"c")))
    for ask in (
        lambda: read_tile(tree, Tile(0, 0, 4)),
        lambda: read_tile(tree, Tile(0, 1, 1)),
        lambda: read_tile(tree, Tile(1, 0, 1)),
        lambda: Tile(0, 0, 0),
        lambda: Tile(0, 0, 257),
        lambda: Tile(8, 0, 1),
    ):
        with pytest.raises(ValueError, match="expected"):
            ask()
