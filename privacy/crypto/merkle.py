"""The Merkle log: an append-only tree whose root commits to every entry (RFC 9162, section 2.1; SHA-256).

``MTH({}) = H()``, ``MTH({d}) = H(0x00 || d)``, ``MTH(D[n]) = H(0x01 || MTH(D[0:k]) || MTH(D[k:n]))`` with k the largest
power of two below n. The two prefixes keep an entry from passing as a node. An *inclusion* proof shows that an entry is
in the tree of a root; a *consistency* proof shows that a newer tree begins with the older one, entry for entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from privacy.crypto.errors import ProofInvalid

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry: ``SHA-256(0x00 || entry)`` (32 bytes)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: ``SHA-256(0x01 || left || right)`` (32 bytes)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """The log's hashes, without its entries. Any past size can be asked for.

    Every complete subtree's hash is kept (two hashes an entry), so that appending costs one hash amortised, a root and
    a proof ``O(log n)``.
    """

    __slots__ = ("_levels",)

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, entry: bytes) -> int:
        """Append an entry; returns its index."""
        return self.append_hash(leaf_hash(entry))

    def append_hash(self, leaf: bytes) -> int:
        """Append an entry by its leaf hash (32 bytes); returns its index."""
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"expected a leaf hash of {HASH_BYTES} bytes, got {len(leaf)}")
        index = len(self)
        node, level = leaf, 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = node_hash(self._levels[level][-2], node)
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)
        return index

    def root(self, size: int | None = None) -> bytes:
        """The root of the first ``size`` entries; of all, unless said."""
        size = self._bounded(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """PATH(index, D[size]) of RFC 9162, section 2.1.3.1: sibling hashes, from the leaf up."""
        size = self._bounded(size)
        if not 0 <= index < size:
            raise ValueError(f"expected an index below {size}, got {index}")
        proof, start, count = [], 0, size
        while count > 1:
            half = _split(count)
            if index < start + half:
                proof.append(self._range(start + half, count - half))
                count = half
            else:
                proof.append(self._range(start, half))
                start, count = start + half, count - half
        return proof[::-1]

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """PROOF(old_size, D[size]) of RFC 9162, section 2.1.4.1; empty for equal sizes."""
        size = self._bounded(size)
        if not 0 < old_size <= size:
            raise ValueError(f"expected an old size from 1 to {size}, got {old_size}")
        proof, start, count, old, whole = [], 0, size, old_size, True
        while old < count:
            half = _split(count)
            if old <= half:
                proof.append(self._range(start + half, count - half))
                count = half
            else:
                proof.append(self._range(start, half))
                start, count, old, whole = start + half, count - half, old - half, False
        if not whole:
            proof.append(self._range(start, count))
        return proof[::-1]

    def _bounded(self, size: int | None) -> int:
        if size is None:
            return len(self)
        if not 0 <= size <= len(self):
            raise ValueError(f"expected a size from 0 to {len(self)}, got {size}")
        return size

    def _range(self, start: int, count: int) -> bytes:
        """MTH(D[start : start + count]); a range that comes from splitting begins at a multiple of its half's size."""
        if count & (count - 1) == 0:
            return self._levels[count.bit_length() - 1][start // count]
        half = _split(count)
        return node_hash(self._range(start, half), self._range(start + half, count - half))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the proof leads from a leaf hash to the root (RFC 9162, section 2.1.3.2). Run by anyone.

    Args:
        leaf: ``leaf_hash(entry)``.
        index: the entry's index.
        size: the tree's size.
        proof: from ``MerkleTree.inclusion_proof``.
        root: the tree's root, from a place that is trusted (a signed checkpoint).

    Raises:
        ProofInvalid: it does not.
    """
    _check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofInvalid(f"expected an index below {size}, got {index}")
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise ProofInvalid(f"inclusion proof of {len(proof)} hashes is too long for {size} entries")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or node != root:
        raise ProofInvalid(f"inclusion of entry {index} in {size} does not lead to the stated root")


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of ``root`` begins with the tree of ``old_root`` (RFC 9162, section 2.1.4.2). Run by anyone.

    Args:
        old_size: at least 1; every tree begins with the empty one.
        old_root: the root seen before.
        size: the newer tree's size, at least ``old_size``.
        root: the newer root.
        proof: from ``MerkleTree.consistency_proof``.

    Raises:
        ProofInvalid: it does not.
    """
    _check_hashes(old_root, root, *proof)
    if not 0 < old_size <= size:
        raise ProofInvalid(f"expected an old size from 1 to {size}, got {old_size}")
    if old_size == size:
        if proof or old_root != root:
            raise ProofInvalid(f"two trees of {size} entries with different roots, or a proof where none is due")
        return
    # A power of two is a whole subtree of the newer tree: its root starts the path and is left out of the proof.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid(f"expected a proof from {old_size} to {size} entries, got none")
    old_node, node = _climb(path, old_size - 1, size - 1)
    if old_node != old_root or node != root:
        raise ProofInvalid(f"the tree of {size} entries does not begin with the stated tree of {old_size}")


def _climb(path: Sequence[bytes], fn: int, sn: int) -> tuple[bytes, bytes]:
    """Rebuild the old and the new root along one path (RFC 9162, section 2.1.4.2, steps 4 to 6)."""
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old_node = node = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofInvalid("consistency proof is too long")
        if fn & 1 or fn == sn:
            old_node, node = node_hash(sibling, old_node), node_hash(sibling, node)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofInvalid("consistency proof is too short")
    return old_node, node


def _skip_right_edge(fn: int, sn: int) -> tuple[int, int]:
    """Levels at which the node at the right edge has no sibling and moves up unchanged."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _check_hashes(*hashes: bytes) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise ProofInvalid(f"expected hashes of {HASH_BYTES} bytes")
