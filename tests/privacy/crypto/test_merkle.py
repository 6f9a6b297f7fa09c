"""The Merkle log: the reference tree of Certificate Transparency, and proofs that hold exactly when they should."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.crypto import MerkleTree, ProofInvalid, leaf_hash, verify_consistency, verify_inclusion
from privacy.crypto.merkle import EMPTY_ROOT

# The eight entries, roots and proofs of certificate-transparency's merkle_tree_test (and transparency-dev/merkle's
# testonly constants), which RFC 6962 and RFC 9162 logs are held to.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
NODE_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
NODE_2_4 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_4_8 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
NODE_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
NODE_6_8 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_4_6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSION = [
    (0, 1, []),
    (0, 8, [NODE_1, NODE_2_4, NODE_4_8]),
    (5, 8, [NODE_4, NODE_6_8, ROOTS[3]]),
    (2, 3, [ROOTS[1]]),
    (1, 5, [ROOTS[0], NODE_2_4, NODE_4]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [NODE_1, NODE_2_4, NODE_4_8]),
    (6, 8, [NODE_4_6, NODE_6_8, ROOTS[3]]),
    (2, 5, [NODE_2_4, NODE_4]),
]


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


def test_the_empty_tree():
    """No entries hash to SHA-256 of nothing."""
    assert MerkleTree().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_reference_roots():
    """Each size of the reference tree has its published root, while it grows and looking back."""
    tree = MerkleTree()
    for index, entry in enumerate(ENTRIES):
        assert tree.append(entry) == index
        assert tree.root().hex() == ROOTS[index]
    assert [tree.root(size).hex() for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_the_reference_inclusion_proofs(index, size, proof):
    """The published paths are made, and verify."""
    made = MerkleTree(ENTRIES).inclusion_proof(index, size)
    assert [node.hex() for node in made] == proof
    verify_inclusion(leaf_hash(ENTRIES[index]), index, size, made, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "size", "proof"), CONSISTENCY)
def test_the_reference_consistency_proofs(old, size, proof):
    """The published proofs are made, and verify."""
    made = MerkleTree(ENTRIES).consistency_proof(old, size)
    assert [node.hex() for node in made] == proof
    verify_consistency(old, bytes.fromhex(ROOTS[old - 1]), size, bytes.fromhex(ROOTS[size - 1]), made)


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
        (0, EMPTY_ROOT, size, root, proof),
        (size, old_root, size, root, []),
    ]
    for attempt in forged:
        with pytest.raises(ProofInvalid):
            verify_consistency(*attempt)


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
