"""The Merkle log: an append-only tree whose root commits to every entry (RFC 9162, section 2.1; SHA-256).

``MTH({}) = H()``, ``MTH({d}) = H(0x00 || d)``, ``MTH(D[n]) = H(0x01 || MTH(D[0:k]) || MTH(D[k:n]))`` with k the largest
power of two below n. The two prefixes keep an entry from passing as a node. An *inclusion* proof shows that an entry is
in the tree of a root; a *consistency* proof shows that a newer tree begins with the older one, entry for entry.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from privacy.crypto.errors import HistoryContradicted, ProofInvalid

HASH_BYTES = 32
_PAIR_BYTES = 2 * HASH_BYTES
EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry: ``SHA-256(0x00 || entry)`` (32 bytes)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: ``SHA-256(0x01 || left || right)`` (32 bytes)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class HashTree(ABC):
    """Roots and proofs over stored subtrees: whoever can give the hash of a complete subtree can prove.

    Any past size can be asked for. A root and a proof take ``O(log n)`` hashes.
    """

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of entries."""

    @abstractmethod
    def node(self, level: int, index: int) -> bytes:
        """MTH of the complete subtree of the 2^level entries that begin with entry ``index * 2^level``."""

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
            return self.node(count.bit_length() - 1, start // count)
        half = _split(count)
        return node_hash(self._range(start, half), self._range(start + half, count - half))


class MerkleTree(HashTree):
    """The log's hashes in memory, without its entries: 64 bytes an entry, one hash amortised to append one.

    Level k holds the hashes of the complete subtrees of 2^k entries, one after the other.
    """

    __slots__ = ("_levels",)

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._levels = [bytearray()]
        self.extend(map(leaf_hash, entries))

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, entry: bytes) -> int:
        """Append an entry; returns its index."""
        return self.append_hash(leaf_hash(entry))

    def append_hash(self, leaf: bytes) -> int:
        """Append an entry by its leaf hash (32 bytes); returns its index."""
        self.extend((leaf,))
        return len(self) - 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append entries by their leaf hashes (32 bytes each): all, or none where one is no hash."""
        fresh = list(leaves)
        for leaf in fresh:
            if len(leaf) != HASH_BYTES:
                raise ValueError(f"expected a leaf hash of {HASH_BYTES} bytes, got {len(leaf)}")
        self._levels[0] += b"".join(fresh)
        level = 0
        while self._complete(level):
            level += 1

    def node(self, level: int, index: int) -> bytes:
        """The stored hash of a complete subtree."""
        return self.nodes(level, index, 1)

    def nodes(self, level: int, start: int, count: int) -> bytes:
        """The hashes of ``count`` complete subtrees of 2^level entries, from number ``start`` on, one after the other.

        Raises:
            ValueError: the tree has no such subtrees.
        """
        held = len(self._levels[level]) // HASH_BYTES if 0 <= level < len(self._levels) else 0
        if not 0 <= start < start + count <= held:
            raise ValueError(f"expected some of the {held} complete subtrees of level {level}")
        return bytes(self._levels[level][start * HASH_BYTES : (start + count) * HASH_BYTES])

    def _complete(self, level: int) -> bool:
        """Hash the pairs of a level that have become complete; says whether there were any."""
        if level + 1 == len(self._levels):
            self._levels.append(bytearray())
        below, above = self._levels[level], self._levels[level + 1]
        first, last = len(above) // HASH_BYTES, len(below) // _PAIR_BYTES
        pairs = memoryview(below)[first * _PAIR_BYTES : last * _PAIR_BYTES]
        whole = bytes(pairs)
        pairs.release()
        above += b"".join(
            hashlib.sha256(b"\x01" + whole[at : at + _PAIR_BYTES]).digest() for at in range(0, len(whole), _PAIR_BYTES)
        )
        return bool(whole)


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
        if fn & 1:
            node = node_hash(sibling, node)
        elif fn == sn:
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
        HistoryContradicted: the proof leads to the newer root and from another tree than the older one, or two roots
            are of one size: the roots alone are to blame. Never where the old size is a power of two and not the new
            one: the proof then begins with the old root itself, and the two cannot be told apart.
        ProofInvalid: it does not lead to the newer root, which says nothing of either tree.
    """
    _check_hashes(old_root, root, *proof)
    if not 0 < old_size <= size:
        raise ProofInvalid(f"expected an old size from 1 to {size}, got {old_size}")
    if old_size == size:
        if old_root != root:
            raise HistoryContradicted(f"two trees of {size} entries with different roots")
        if proof:
            raise ProofInvalid("expected no proof between two trees of one size")
        return
    # A power of two is a whole subtree of the newer tree: its root starts the path and is left out of the proof.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid(f"expected a proof from {old_size} to {size} entries, got none")
    old_node, node = _climb(path, old_size - 1, size - 1)
    if node != root:
        raise ProofInvalid(f"the proof from {old_size} entries does not lead to the stated tree of {size}")
    if old_node != old_root:
        raise HistoryContradicted(f"the tree of {size} entries does not begin with the stated tree of {old_size}")


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
    if set(map(len, hashes)) - {HASH_BYTES}:
        raise ProofInvalid(f"expected hashes of {HASH_BYTES} bytes")
