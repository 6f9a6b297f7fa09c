"""Thin wrappers over ``cryptography`` and ``joserfc``: keys, sealing (HPKE), signing (JWS, HTTP), the Merkle log."""

from privacy.crypto.canonical import canonical_json, digest, parse_canonical
from privacy.crypto.errors import (
    CryptoError,
    HistoryContradicted,
    KeyInvalid,
    ProofInvalid,
    RequestStale,
    SealInvalid,
    SignatureInvalid,
)
from privacy.crypto.keys import SigningKey, VerifyKey
from privacy.crypto.merkle import MerkleTree, leaf_hash, verify_consistency, verify_inclusion
from privacy.crypto.requests import sign_request, verify_request
from privacy.crypto.sealing import SealPrivateKey, SealPublicKey
from privacy.crypto.signing import sign_document, unverified_signer, verify_document

__all__ = [
    "CryptoError",
    "HistoryContradicted",
    "KeyInvalid",
    "MerkleTree",
    "ProofInvalid",
    "RequestStale",
    "SealInvalid",
    "SealPrivateKey",
    "SealPublicKey",
    "SignatureInvalid",
    "SigningKey",
    "VerifyKey",
    "canonical_json",
    "digest",
    "leaf_hash",
    "parse_canonical",
    "sign_document",
    "sign_request",
    "unverified_signer",
    "verify_consistency",
    "verify_document",
    "verify_inclusion",
    "verify_request",
]
