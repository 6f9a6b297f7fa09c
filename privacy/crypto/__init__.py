"""Thin wrappers over ``cryptography`` and ``joserfc``: keys, sealing (HPKE), signing (JWS), hashing, the Merkle log."""

from privacy.crypto.canonical import canonical_json, digest, parse_canonical
from privacy.crypto.errors import CryptoError, KeyInvalid, ProofInvalid, SealInvalid, SignatureInvalid
from privacy.crypto.keys import SigningKey, VerifyKey
from privacy.crypto.sealing import SealPrivateKey, SealPublicKey
from privacy.crypto.signing import sign_document, unverified_signer, verify_document

__all__ = [
    "CryptoError",
    "KeyInvalid",
    "ProofInvalid",
    "SealInvalid",
    "SealPrivateKey",
    "SealPublicKey",
    "SignatureInvalid",
    "SigningKey",
    "VerifyKey",
    "canonical_json",
    "digest",
    "parse_canonical",
    "sign_document",
    "unverified_signer",
    "verify_document",
]
