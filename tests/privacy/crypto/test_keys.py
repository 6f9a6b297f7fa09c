"""Keys, seals and signed documents: what is refused, and what a repr never shows."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import pickle
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.crypto import (
    KeyInvalid,
    SealInvalid,
    SealPrivateKey,
    SealPublicKey,
    SignatureInvalid,
    SigningKey,
    VerifyKey,
    canonical_json,
    digest,
    parse_canonical,
    sign_document,
    unverified_signer,
    verify_document,
)
from privacy.crypto.keys import _SMALL_ORDER
from privacy.crypto.sealing import SEAL_OVERHEAD_BYTES, SEAL_PUBLIC_BYTES
from privacy.crypto.signing import MAXIMUM_JWS_CHARACTERS

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
KEY, OTHER = SigningKey(SEED), SigningKey(b"\x02" * 32)


class TestKeys:
    def test_a_signature_is_for_one_message_and_key(self):
        """Another message, key or signature does not verify; verifying returns nothing to misread."""
        signature = KEY.sign(b"message")
        assert KEY.verify_key.verify(signature, b"message") is None
        for key, text, proof in ((KEY, b"messagf", signature), (OTHER, b"message", signature), (KEY, b"message", b"")):
            with pytest.raises(SignatureInvalid):
                key.verify_key.verify(proof, text)

    def test_a_private_key_is_not_shown_or_pickled(self):
        """Neither repr, str, pickle nor copy gives the seed away."""
        assert SEED.hex() not in repr(KEY) + str(KEY)
        assert "redacted" in repr(KEY)
        for leak in (pickle.dumps, copy.copy):
            with pytest.raises(TypeError):
                leak(KEY)
        assert SigningKey(KEY.seed()).verify_key == KEY.verify_key

    @pytest.mark.parametrize("make", [SigningKey, VerifyKey, SealPublicKey, SealPrivateKey])
    def test_key_material_of_another_length_is_refused(self, make):
        """31 and 33 bytes are no keys of any kind."""
        for length in (0, 31, 33):
            with pytest.raises(KeyInvalid):
                make(bytes(length))

    def test_fingerprints_tell_keys_apart(self):
        """Six groups of four, equal for equal keys only; equal keys are one in a set."""
        assert KEY.verify_key.fingerprint != OTHER.verify_key.fingerprint
        assert [len(group) for group in KEY.verify_key.fingerprint.split("-")] == [4] * 6
        assert len({KEY.verify_key, VerifyKey(KEY.verify_key.raw), OTHER.verify_key}) == 2
        assert SigningKey.generate().verify_key != SigningKey.generate().verify_key


class TestSealing:
    key = SealPrivateKey.generate()

    @settings(max_examples=20, deadline=None)
    @given(st.binary(max_size=300), st.binary(max_size=40))
    def test_a_seal_opens_under_its_key_and_context(self, plaintext, info):
        """What was sealed comes back; the length grows by the stated overhead; no two seals are alike."""
        seal = self.key.public.seal(plaintext, info)
        assert self.key.open(seal, info) == plaintext
        assert len(seal) == len(plaintext) + SEAL_OVERHEAD_BYTES
        assert self.key.public.seal(plaintext, info) != seal

    def test_no_other_key_context_or_bytes_open(self):
        """Another key, context, a flipped bit anywhere, a cut or empty seal: refused."""
        seal = self.key.public.seal(b"seed" * 8, b"context")
        with pytest.raises(SealInvalid):
            self.key.open(seal, b"contexu")
        with pytest.raises(SealInvalid):
            SealPrivateKey.generate().open(seal, b"context")
        flipped = [seal[:i] + bytes([seal[i] ^ 1]) + seal[i + 1 :] for i in range(0, len(seal), 97)]
        for bad in (*flipped, seal[:-1], seal + b"\x00", b"", seal[:100]):
            with pytest.raises(SealInvalid):
                self.key.open(bad, b"context")

    def test_a_round_key_survives_storage_and_stays_hidden(self):
        """The stored bytes make the same key; repr and pickle do not show them."""
        again = SealPrivateKey(self.key.private_bytes())
        assert again.public.raw == self.key.public.raw
        assert len(again.public.raw) == SEAL_PUBLIC_BYTES
        assert again.open(SealPublicKey(self.key.public.raw).seal(b"x", b""), b"") == b"x"
        assert self.key.private_bytes().hex()[:16] not in repr(self.key)
        with pytest.raises(TypeError):
            pickle.dumps(self.key)


class TestDocuments:
    document: ClassVar = {"study": "s", "rounds": 3}

    def token(self) -> str:
        """A signed document."""
        return sign_document(KEY, "study", self.document)

    def test_a_document_comes_back_from_its_signature(self):
        """The accepted signer's document is returned, and who claims to have signed can be read."""
        assert verify_document(self.token(), "study", [OTHER.verify_key, KEY.verify_key]) == self.document
        assert unverified_signer(self.token()) == KEY.verify_key.fingerprint

    def test_changing_a_returned_document_changes_no_later_one(self):
        """Verification is remembered, the document is not shared."""
        verify_document(self.token(), "study", [KEY.verify_key])["rounds"] = 9
        assert verify_document(self.token(), "study", [KEY.verify_key]) == self.document

    def test_another_type_signer_or_byte_is_refused(self):
        """The type, the signer and every character are bound."""
        token = self.token()
        attempts = [(token, "bundle", KEY), (token, "study", OTHER), ("", "study", KEY), ("a.b", "study", KEY)]
        attempts += [("é.b.c", "study", KEY), (token + "A" * MAXIMUM_JWS_CHARACTERS, "study", KEY)]
        for at in range(0, len(token) - 1, 7):  # the last character's low bits are padding
            attempts.append((token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :], "study", KEY))
        for text, typ, key in attempts:
            with pytest.raises(SignatureInvalid):
                verify_document(text, typ, [key.verify_key])

    @pytest.mark.parametrize(
        "extra",
        [
            {"crit": None},
            {"crit": [1]},
            {"crit": ["b64"], "b64": False},
            {"jwk": {}},
            {"alg": ["Ed25519"]},
            {"kid": None},
        ],
        ids=json.dumps,
    )
    def test_a_header_of_another_form_is_refused(self, extra):
        """An extension, a key of its own, a value of another type: refused in one way, before the library reads it."""
        header = {"alg": "Ed25519", "typ": "t", "kid": KEY.verify_key.fingerprint, **extra}
        parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), b"{}")]
        proof = base64.urlsafe_b64encode(KEY.sign(b".".join(parts))).rstrip(b"=")
        with pytest.raises(SignatureInvalid):
            verify_document(b".".join([*parts, proof]).decode(), "t", (KEY.verify_key,))

    any_json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["alg", "b64"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    )
    values = st.sampled_from(["Ed25519", "none", "t", KEY.verify_key.fingerprint, ["b64"], False, True]) | any_json
    headers = any_json | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), values)
    names = st.lists(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), max_size=5)

    @settings(max_examples=300, deadline=None)
    @given(headers | names, any_json, st.booleans())
    def test_whatever_json_header_and_payload_are_only_the_documented_error_leaves(self, header, payload, signed):
        """Any JSON value in either place, well signed or not: a document, a claimed signer, or ``SignatureInvalid``."""
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
        proof = KEY.sign(b".".join(parts)) if signed else bytes(64)
        token = b".".join([*parts, base64.urlsafe_b64encode(proof).rstrip(b"=")]).decode()
        with contextlib.suppress(SignatureInvalid):
            assert isinstance(verify_document(token, "t", (KEY.verify_key,)), dict)
        with contextlib.suppress(SignatureInvalid):
            assert isinstance(unverified_signer(token), str)

    @pytest.mark.parametrize(
        "header",
        [
            ["alg", "typ", "kid"],
            "alg",
            1,
            None,
            True,
            [],
            {},
            {"alg": "Ed25519", "typ": "t", "kid": [[]]},
            ["alg", "b64"],
        ],
        ids=json.dumps,
    )
    def test_a_header_that_is_no_object_of_text_is_refused(self, header):
        """A list of the right names is none: refused in one way, by both readers."""
        parts = [
            base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), b"{}", bytes(64))
        ]
        for read in (unverified_signer, lambda token: verify_document(token, "t", (KEY.verify_key,))):
            with pytest.raises(SignatureInvalid):
                read(b".".join(parts).decode())

    def test_nesting_deeper_than_the_parser_goes_is_refused(self):
        """In the header, and in a payload that an accepted key signed."""
        deep = b"[" * 90_000 + b"]" * 90_000
        header = json.dumps({"alg": "Ed25519", "typ": "t", "kid": KEY.verify_key.fingerprint}).encode()
        for head, payload in ((b'{"alg":' + b"[" * 300 + b"]" * 300 + b"}", b"{}"), (deep, b"{}"), (header, deep)):
            parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, payload)]
            proof = base64.urlsafe_b64encode(KEY.sign(b".".join(parts))).rstrip(b"=")
            with pytest.raises(SignatureInvalid):
                verify_document(b".".join([*parts, proof]).decode(), "t", (KEY.verify_key,))

    @pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256"])
    def test_the_header_does_not_choose_the_algorithm(self, algorithm):
        """A token that asks for no signature, or for the public key as a shared secret, is refused."""
        header, payload, signature = self.token().split(".")
        fields = json.loads(base64.urlsafe_b64decode(header + "=="))
        forged = base64.urlsafe_b64encode(json.dumps(fields | {"alg": algorithm}).encode()).rstrip(b"=").decode()
        for tail in ("", signature):
            with pytest.raises(SignatureInvalid):
                verify_document(f"{forged}.{payload}.{tail}", "study", [KEY.verify_key])

    def test_signed_text_is_canonical(self):
        """A payload in another spelling is refused though its signature is good."""
        from joserfc import jws
        from joserfc.jwk import OKPKey

        header = {"alg": "Ed25519", "typ": "study", "kid": KEY.verify_key.fingerprint}
        registry = jws.JWSRegistry(algorithms=["Ed25519"])
        for payload in (b'{"b": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"[1]", b"x"):
            token = jws.serialize_compact(header, payload, OKPKey.import_key(KEY.private_key()), registry=registry)
            with pytest.raises(SignatureInvalid):
                verify_document(token, "study", [KEY.verify_key])


class TestCanonical:
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    )

    @given(json_values)
    def test_one_value_has_one_spelling(self, value):
        """Canonical bytes parse to the same value and are the only spelling accepted."""
        data = canonical_json(value)
        assert parse_canonical(data) == value
        with pytest.raises(ValueError):  # noqa: PT011  # json's own errors and ours
            parse_canonical(data + b" ")

    @given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
    def test_digests_do_not_run_together(self, first, second):
        """Different lists of parts, or another domain, give different digests."""
        assert (digest("a", *first) == digest("a", *second)) == (first == second)
        assert digest("a", *first) != digest("b", *first)


class TestWeakKeys:
    """Points of small order: keys that would bind nobody to anything, or agree on a secret that everybody knows."""

    identity = b"\x01" + bytes(31)

    def test_a_forgery_that_holds_for_every_message(self):
        """What the check stops: under the identity as a key, one signature made of no secret fits any message."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        key = Ed25519PublicKey.from_public_bytes(self.identity)
        for message in (b"", b"yes", b"no"):
            assert key.verify(self.identity + bytes(32), message) is None

    @pytest.mark.parametrize("sign", [0, 0x80])
    def test_no_key_of_small_order_is_taken(self, sign):
        """All seven spellings, with either sign bit; and each of them really is of order 8 or less."""
        assert len(_SMALL_ORDER) == 7
        for raw in _SMALL_ORDER:
            assert is_torsion(raw)
            with pytest.raises(KeyInvalid):
                VerifyKey(raw[:-1] + bytes([raw[-1] | sign]))
        assert not is_torsion(KEY.verify_key.raw)

    @pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), bytes.fromhex("ec" + "ff" * 30 + "7f")])
    def test_no_round_key_with_a_point_of_small_order_is_taken(self, point):
        """Refused with a typed error when it is read, so that making a report cannot fail on it."""
        with pytest.raises(KeyInvalid):
            SealPublicKey(SealPrivateKey.generate().public.raw[:1184] + point)


PRIME = 2**255 - 19


def is_torsion(raw: bytes) -> bool:
    """Whether three doublings lead to the identity: the y coordinate is enough on the curve of RFC 8032."""
    curve = -121665 * pow(121666, -1, PRIME) % PRIME
    y = int.from_bytes(raw, "little") % 2**255 % PRIME
    for _ in range(3):  # y(2P) = (y^2 + x^2) / (2 - y^2 + x^2) with x^2 = (y^2 - 1) / (d y^2 + 1)
        square = y * y % PRIME
        other = (square - 1) * pow(curve * square + 1, -1, PRIME) % PRIME
        y = (square + other) * pow(2 - square + other, -1, PRIME) % PRIME
    return y == 1
