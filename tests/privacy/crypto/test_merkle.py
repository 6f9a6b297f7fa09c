"""The Merkle log: the reference tree of Certificate Transparency, and proofs that hold exactly when they should."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.crypto import (
    HistoryContradicted,
    MerkleTree,
    ProofInvalid,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)


def grown(size: int) -> MerkleTree:
    """A tree of that many different entries."""
    return MerkleTree(index.to_bytes(4, "big") for index in range(size))


def defined_root(hashes: list[bytes]) -> bytes:
    """MTH by its definition, with no stored subtrees."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return hashlib.sha256(b"\x01" + defined_root(hashes[:half]) + defined_root(hashes[half:])).digest()


def test_every_proof_up_to_35_entries_verifies():
    """All sizes, all entries, all older sizes: roots equal their definition, proofs made are proofs that hold."""
    tree = grown(35)
    leaves = [leaf_hash(index.to_bytes(4, "big")) for index in range(35)]
    for size in range(1, 36):
        assert tree.root(size) == defined_root(leaves[:size])
        for index in range(size):
            verify_inclusion(leaves[index], index, size, tree.inclusion_proof(index, size), tree.root(size))
        for old in range(1, size + 1):
            verify_consistency(old, tree.root(old), size, tree.root(size), tree.consistency_proof(old, size))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_other_inclusion_verifies(data):
    """Another entry, index or root, a changed, missing or added hash: refused."""
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    tree = grown(size)
    leaf, proof, root = leaf_hash(index.to_bytes(4, "big")), tree.inclusion_proof(index), tree.root()
    other = data.draw(st.integers(-2, size + 2).filter(lambda value: value != index))
    forged = [
        (leaf_hash(b"another"), index, size, proof, root),
        (leaf, other, size, proof, root),
        (leaf, index, size, proof, bytes(32)),
        (leaf, index, size, [*proof, bytes(32)], root),
        (leaf, index, size, proof, root[:31]),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        forged.append((leaf, index, size, [*proof[:at], bytes(32), *proof[at + 1 :]], root))
        forged.append((leaf, index, size, [*proof[:at], *proof[at + 1 :]], root))
    for attempt in forged:
        with pytest.raises(ProofInvalid):
            verify_inclusion(*attempt)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_rewritten_history_verifies(data):
    """An older tree with one entry changed, a changed, missing or added hash, sizes out of order: refused."""
    size = data.draw(st.integers(2, 40))
    old = data.draw(st.integers(1, size - 1))
    tree = grown(size)
    old_root, root, proof = tree.root(old), tree.root(), tree.consistency_proof(old)
    changed = data.draw(st.integers(0, old - 1))
    rewritten = MerkleTree(b"rewritten" if i == changed else i.to_bytes(4, "big") for i in range(size))
    at = data.draw(st.integers(0, len(proof) - 1))
    forged = [
        (old, rewritten.root(old), size, root, proof),
        (old, old_root, size, rewritten.root(), rewritten.consistency_proof(old)),
        (old, old_root, size, root, [*proof, bytes(32)]),
        (old, old_root, size, root, [*proof[:at], *proof[at + 1 :]]),
        (old, old_root, size, root, [*proof[:at], bytes(32), *proof[at + 1 :]]),
        (old, old_root, size, root, []),
        (size, root, old, old_root, proof),
        (0, MerkleTree().root(), size, root, proof),
        (size, old_root, size, root, []),
    ]
    for attempt in forged:
        with pytest.raises(ProofInvalid):
            verify_consistency(*attempt)


def test_a_bad_proof_and_another_history_are_told_apart():
    """Only a path that leads to the newer root shows that the older one is of another history."""
    tree, other = grown(40), MerkleTree(b"other %d" % index for index in range(37))
    proof = tree.consistency_proof(37)
    with pytest.raises(HistoryContradicted):
        verify_consistency(37, other.root(), 40, tree.root(), proof)
    with pytest.raises(HistoryContradicted):
        verify_consistency(37, other.root(), 37, tree.root(37), [])
    junk = [proof[0], bytes(32), *proof[2:]]
    for old_size, old_root, path in (
        (37, tree.root(37), junk),
        (37, other.root(), junk),
        (37, other.root(), proof[:-1]),
        (32, other.root(32), tree.consistency_proof(32)),  # the path begins with the old root: it may be either
    ):
        with pytest.raises(ProofInvalid) as caught:
            verify_consistency(old_size, old_root, 40, tree.root(), path)
        assert not isinstance(caught.value, HistoryContradicted)


def test_a_proof_is_for_a_tree_of_its_depth():
    """A good path under a size that is too small or too large for it is refused, where its hashes alone would pass."""
    tree = grown(8)
    last, first = leaf_hash((7).to_bytes(4, "big")), leaf_hash((0).to_bytes(4, "big"))
    for attempt in ((last, 0, 1, tree.inclusion_proof(7)), (first, 0, 16, tree.inclusion_proof(0))):
        with pytest.raises(ProofInvalid):
            verify_inclusion(*attempt, tree.root())
    with pytest.raises(ProofInvalid):
        verify_consistency(1, tree.root(1), 16, tree.root(), tree.consistency_proof(1))


def test_an_entry_cannot_pass_as_a_node():
    """Two leaf hashes concatenated, as an entry, do not hash to their parent."""
    first, second = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(first + second) != MerkleTree([b"a", b"b"]).root()


def test_local_misuse_is_a_value_error():
    """Asking one's own tree for what it does not have is a mistake of the caller, not a hostile proof."""
    tree = grown(3)
    for ask in (
        lambda: tree.root(4),
        lambda: tree.inclusion_proof(3),
        lambda: tree.consistency_proof(0),
        lambda: tree.consistency_proof(3, 2),
        lambda: tree.append_hash(b"short"),
    ):
        with pytest.raises(ValueError, match="expected"):
            ask()
