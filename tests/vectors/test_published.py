"""Published vectors of every primitive that we use, run through the objects that production uses."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from contextlib import nullcontext

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from privacy.crypto import (
    MerkleTree,
    ProofInvalid,
    SealInvalid,
    SealPrivateKey,
    SignatureInvalid,
    SigningKey,
    VerifyKey,
    canonical_json,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from privacy.crypto.merkle import EMPTY_ROOT
from privacy.crypto.requests import signature_base
from privacy.mechanisms import RandomStream
from tests.vectors import hpke
from tests.vectors.files import FOLDER, cases, published

unhex = bytes.fromhex


def flipped(data: bytes) -> bytes:
    """The data with its last bit changed."""
    return data[:-1] + bytes([data[-1] ^ 1])


def test_every_file_names_its_source():
    """Twelve files and more, each a transcription that says of what."""
    files = sorted((FOLDER / "rfc").glob("*.json"))
    assert len(files) >= 12
    assert all(len(json.loads(path.read_text("utf-8"))["source"]) > 10 for path in files)


@pytest.mark.parametrize("case", cases("rfc8032_ed25519"), ids=lambda case: case["name"])
def test_ed25519(case):
    """RFC 8032, section 7.1: key, signature, verification; one changed bit is refused."""
    key, message, signature = SigningKey(unhex(case["secret_key"])), unhex(case["message"]), unhex(case["signature"])
    assert key.verify_key.raw.hex() == case["public_key"]
    assert key.sign(message) == signature
    VerifyKey(unhex(case["public_key"])).verify(signature, message)
    for bad, text in ((flipped(signature), message), (signature, message + b"x")):
        with pytest.raises(SignatureInvalid):
            key.verify_key.verify(bad, text)


@pytest.mark.parametrize("case", published("rfc7748_x25519")["multiplications"], ids=["one", "two"])
def test_x25519_multiplies(case):
    """RFC 7748, section 5.2: the scalar multiplication below the sealing key."""
    assert hpke.x25519(unhex(case["scalar"]), unhex(case["u"])).hex() == case["output"]


def test_x25519_iterated():
    """RFC 7748, section 5.2: after one and after a thousand iterations."""
    chain = published("rfc7748_x25519")["iterated"]
    scalar = point = unhex(chain["start"])
    for count in range(1_000):
        scalar, point = hpke.x25519(scalar, point), scalar
        assert count or scalar.hex() == chain["after_1"]
    assert scalar.hex() == chain["after_1000"]


def test_x25519_exchange():
    """RFC 7748, section 6.1: both sides get the shared secret."""
    facts = published("rfc7748_x25519")["exchange"]
    alice, bob = (X25519PrivateKey.from_private_bytes(unhex(facts[f"{name}_secret"])) for name in ("alice", "bob"))
    assert alice.public_key().public_bytes_raw().hex() == facts["alice_public"]
    assert bob.public_key().public_bytes_raw().hex() == facts["bob_public"]
    for one, other in ((alice, facts["bob_public"]), (bob, facts["alice_public"])):
        assert one.exchange(X25519PublicKey.from_public_bytes(unhex(other))).hex() == facts["shared"]


@pytest.mark.parametrize("case", cases("sp800_38a_ctr"), ids=lambda case: case["name"])
def test_counter_mode(case):
    """SP 800-38A, F.5.1 and F.5.5: masks use AES-128, noise and coins AES-256."""
    cipher = Cipher(AES(unhex(case["key"])), CTR(unhex(case["counter"])))
    assert cipher.encryptor().update(unhex(case["plaintext"])).hex() == case["ciphertext"]


def test_the_random_stream_is_counter_mode_from_zero():
    """The keystream is AES-256 of 0, 1, 2, ...: FIPS 197's cipher through SP 800-38A's counter."""
    key = unhex(cases("sp800_38a_ctr")[1]["key"])
    blocks = (
        Cipher(AES(key), ECB()).encryptor().update(b"".join(i.to_bytes(16, "big") for i in range(3)))
    )  # the definition
    assert RandomStream(key).bytes(48) == blocks


@pytest.mark.parametrize("case", cases("rfc5869_hkdf_sha256"), ids=lambda case: case["name"])
def test_hkdf(case):
    """RFC 5869, appendix A: extract and expand, whole and in two steps."""
    ikm, salt, info, okm = (unhex(case[name]) for name in ("ikm", "salt", "info", "okm"))
    assert HKDF(SHA256(), len(okm), salt or None, info).derive(ikm) == okm
    assert HKDFExpand(SHA256(), len(okm), info).derive(unhex(case["prk"])) == okm


@pytest.mark.parametrize("case", cases("sha256"), ids=lambda case: str(len(case["message"]) // 2))
def test_sha256(case):
    """NIST's byte-oriented short messages."""
    assert hashlib.sha256(unhex(case["message"])).hexdigest() == case["digest"]


@pytest.mark.parametrize("case", cases("aes128_gcm"), ids=lambda case: f"{len(case['plaintext'])}-{len(case['aad'])}")
def test_aes_128_gcm(case):
    """NIST's vectors of HPKE's cipher: both ways; a changed tag is refused."""
    cipher, nonce, aad = AESGCM(unhex(case["key"])), unhex(case["iv"]), unhex(case["aad"])
    sealed = unhex(case["ciphertext"] + case["tag"])
    assert cipher.encrypt(nonce, unhex(case["plaintext"]), aad) == sealed
    assert cipher.decrypt(nonce, sealed, aad).hex() == case["plaintext"]
    with pytest.raises(InvalidTag):
        cipher.decrypt(nonce, flipped(sealed), aad)


class TestHybridKem:
    """The KEM of a round's key: its lattice half, its combiner, and HPKE around it."""

    def test_mlkem768(self):
        """ML-KEM-768's known answers hold for the library, and for the second implementation of the tests."""
        case = cases("fips203_mlkem768")[0]
        key = MLKEM768PrivateKey.from_seed_bytes(unhex(case["seed"]))
        assert key.public_key().public_bytes_raw().hex() == case["public_key"]
        assert key.decapsulate(unhex(case["ciphertext"])).hex() == case["shared_secret"]
        made = hpke.encapsulate_mlkem768(unhex(case["public_key"]), unhex(case["message"]))
        assert [part.hex() for part in made] == [case["ciphertext"], case["shared_secret"]]

    @pytest.mark.parametrize("case", cases("xwing"), ids=["one", "two"])
    def test_xwing(self, case):
        """The draft's seed is our sealing key; encapsulating to it gives the draft's secret, and we open the seal."""
        key = SealPrivateKey(hpke.expand_hybrid_seed(unhex(case["seed"])))
        enc, shared = hpke.encapsulate_hybrid(key.public.raw, unhex(case["eseed"]))
        assert shared.hex() == case["shared_secret"]
        schedule = hpke.key_schedule(shared, b"context", hpke.MLKEM768_X25519, hpke.AES_128_GCM)
        assert key.open(enc + schedule.seal(b"sealed"), b"context") == b"sealed"

    def test_the_drafts_hpke_vector(self):
        """HPKE's post-quantum draft, MLKEM768-X25519: public key, encapsulation, secret, key schedule, ciphertexts."""
        facts = published("hpke_pq_mlkem768_x25519")
        key = SealPrivateKey(hpke.expand_hybrid_seed(unhex(facts["skRm"])))
        assert key.public.raw.hex() == facts["pkRm"]
        enc, shared = hpke.encapsulate_hybrid(key.public.raw, unhex(facts["ikmE"]))
        assert [enc.hex(), shared.hex()] == [facts["enc"], facts["shared_secret"]]
        check_schedule(facts, shared)

    def test_the_library_opens_the_same_schedule(self):
        """The draft seals with ChaCha20; the library's suite of it opens what the second implementation seals."""
        facts = published("hpke_pq_mlkem768_x25519")
        key = SealPrivateKey(hpke.expand_hybrid_seed(unhex(facts["skRm"])))
        suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
        schedule = hpke.key_schedule(
            unhex(facts["shared_secret"]), unhex(facts["info"]), hpke.MLKEM768_X25519, hpke.CHACHA20_POLY1305
        )
        assert isinstance(key._key, MLKEM768X25519PrivateKey)
        sealed = unhex(facts["enc"]) + schedule.seal(b"plain")
        assert suite.decrypt(sealed, key._key, info=unhex(facts["info"])) == b"plain"

    def test_our_suite_is_open_to_a_second_implementation(self):
        """A seal made without our code opens; under another context or with a changed bit it does not."""
        key = SealPrivateKey(bytes(range(96)))
        seal = hpke.seal_hybrid(key.public.raw, b"seed" * 26, b"context", bytes(range(64)))
        assert key.open(seal, b"context") == b"seed" * 26
        for bad, info in ((seal, b"another"), (flipped(seal), b"context")):
            with pytest.raises(SealInvalid):
                key.open(bad, info)


def check_schedule(facts: dict, shared: bytes) -> None:
    """Key, base nonce and the ciphertexts of successive messages, with their associated data."""
    schedule = hpke.key_schedule(shared, unhex(facts["info"]), facts["kem_id"], facts["aead_id"])
    assert [schedule.key.hex(), schedule.base_nonce.hex()] == [facts["key"], facts["base_nonce"]]
    for index, item in enumerate(facts["encryptions"]):
        assert schedule.seal(unhex(item["pt"]), unhex(item["aad"]), index).hex() == item["ct"]


def test_hpke_of_the_rfc():
    """RFC 9180, A.1.1, base mode: encapsulation, schedule and ciphertexts; the library opens what they seal."""
    facts = published("rfc9180_hpke_base")
    enc, shared = hpke.encapsulate_x25519(unhex(facts["pkRm"]), unhex(facts["skEm"]))
    assert [enc.hex(), shared.hex()] == [facts["enc"], facts["shared_secret"]]
    check_schedule(facts, shared)
    # The library's one-shot call takes no associated data, so the published plaintext is sealed without it.
    plaintext = unhex(facts["encryptions"][0]["pt"])
    schedule = hpke.key_schedule(shared, unhex(facts["info"]), hpke.DHKEM_X25519, hpke.AES_128_GCM)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    private = X25519PrivateKey.from_private_bytes(unhex(facts["skRm"]))
    assert suite.decrypt(enc + schedule.seal(plaintext), private, info=unhex(facts["info"])) == plaintext


class TestCanonicalJson:
    facts = published("rfc8785_jcs")

    @pytest.mark.parametrize("case", facts["numbers"], ids=lambda case: case["ieee754"])
    def test_numbers(self, case):
        """RFC 8785, appendix B: each double has its one spelling."""
        (value,) = struct.unpack(">d", unhex(case["ieee754"]))
        assert canonical_json(value).decode() == case["json"]

    @pytest.mark.parametrize("bits", facts["refused"])
    def test_what_is_no_number(self, bits):
        """NaN and infinity have no spelling."""
        (value,) = struct.unpack(">d", unhex(bits))
        with pytest.raises(ValueError):  # noqa: PT011  # the library's own
            canonical_json(value)

    def test_the_example(self):
        """RFC 8785, section 3.2.2: numbers, a string with everything to escape, literals."""
        assert canonical_json(self.facts["example"]["value"]).hex() == self.facts["example"]["canonical_hex"]

    def test_the_order_of_names(self):
        """RFC 8785, section 3.2.3: names are sorted by UTF-16 units, so a face sorts before a Hebrew letter."""
        sorted_values = list(json.loads(canonical_json(self.facts["sorting"]["value"])).values())
        assert sorted_values == self.facts["sorting"]["order"]


class TestMerkle:
    facts = published("rfc9162_merkle")
    entries = tuple(unhex(text) for text in facts["entries"])
    roots = tuple(unhex(text) for text in facts["roots"])

    def test_roots(self):
        """Each size of the reference tree has its published root, while it grows and looking back."""
        assert MerkleTree().root() == EMPTY_ROOT == unhex(self.facts["empty_root"])
        tree = MerkleTree()
        for index, entry in enumerate(self.entries):
            assert tree.append(entry) == index
            assert tree.root() == self.roots[index]
        assert tuple(tree.root(size) for size in range(1, 9)) == self.roots

    @pytest.mark.parametrize("case", facts["inclusion"], ids=lambda case: f"{case['index']}-{case['size']}")
    def test_inclusion(self, case):
        """The published paths are made, and verify."""
        made = MerkleTree(self.entries).inclusion_proof(case["index"], case["size"])
        assert [node.hex() for node in made] == case["path"]
        leaf = leaf_hash(self.entries[case["index"]])
        verify_inclusion(leaf, case["index"], case["size"], made, self.roots[case["size"] - 1])

    @pytest.mark.parametrize("case", facts["consistency"], ids=lambda case: f"{case['old_size']}-{case['size']}")
    def test_consistency(self, case):
        """The published proofs are made, and verify."""
        old, size = case["old_size"], case["size"]
        made = MerkleTree(self.entries).consistency_proof(old, size)
        assert [node.hex() for node in made] == case["path"]
        verify_consistency(old, self.roots[old - 1], size, self.roots[size - 1], made)


@pytest.mark.parametrize("case", published("transparency_dev_merkle")["consistency"], ids=lambda case: case["file"])
def test_consistency_of_another_implementation(case):
    """transparency-dev/merkle: its good proofs between two sizes hold, and each one that it calls wrong is refused."""
    path = [unhex(node) for node in case["path"]]
    with pytest.raises(ProofInvalid) if case["refused"] else nullcontext():
        verify_consistency(case["old_size"], unhex(case["old_root"]), case["size"], unhex(case["root"]), path)


@pytest.mark.parametrize("case", published("transparency_dev_merkle")["inclusion"], ids=lambda case: case["file"])
def test_inclusion_of_another_implementation(case):
    """transparency-dev/merkle: its good proofs of an entry hold, and each one that it calls wrong is refused."""
    path = [unhex(node) for node in case["path"]]
    with pytest.raises(ProofInvalid) if case["refused"] else nullcontext():
        verify_inclusion(unhex(case["leaf"]), case["index"], case["size"], path, unhex(case["root"]))


def test_the_signature_base_of_a_request():
    """RFC 9421, appendix B.2.6: its Ed25519 signature verifies over our signature base."""
    facts = published("rfc9421_ed25519")
    key = VerifyKey(base64.urlsafe_b64decode(facts["public_key"]))
    base = signature_base([(name, value) for name, value in facts["components"]], facts["parameters"])
    key.verify(base64.b64decode(facts["signature"]), base)
