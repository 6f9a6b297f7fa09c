"""Signed documents: compact JWS (RFC 7515) with EdDSA, a required ``typ`` and a key looked up by fingerprint.

A verifier names the document type and the keys it accepts; the header's algorithm is never believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OKPKey

from privacy.crypto.canonical import canonical_json, parse_canonical
from privacy.crypto.errors import SignatureInvalid
from privacy.crypto.keys import SigningKey, VerifyKey

_REGISTRY = jws.JWSRegistry(algorithms=["Ed25519"])
MAXIMUM_JWS_CHARACTERS = 262_144
_HEADER = {"alg", "typ", "kid"}
"""Nothing else is taken: an extension ("crit", "b64") would change how the rest is read, in another library's code."""


def sign_document(key: SigningKey, typ: str, document: dict[str, Any]) -> str:
    """Sign a JSON document in canonical form; returns compact JWS. ``typ`` is bound by the signature."""
    header = {"alg": "Ed25519", "typ": typ, "kid": key.verify_key.fingerprint}
    return jws.serialize_compact(header, canonical_json(document), _private_jwk(key), registry=_REGISTRY)


def verify_document(token: str, typ: str, accepted: Iterable[VerifyKey]) -> dict[str, Any]:
    """Return the document that one of the accepted keys signed as this type.

    Raises:
        SignatureInvalid: malformed, another type, an unknown signer, or a signature that does not verify.
    """
    payload, parsed = _verified(token, typ, tuple(accepted))
    try:
        return parsed.pop()  # what this very call has just parsed; atomic, so that no two callers share it
    except IndexError:
        return json.loads(payload)  # type: ignore[no-any-return]  # checked to be an object


@lru_cache(maxsize=4_096)
def _verified(token: str, typ: str, accepted: tuple[VerifyKey, ...]) -> tuple[bytes, list[dict[str, Any]]]:
    """The payload, and what it says for the first who asks.

    Memoised because verification is pure: a gateway meets the same signed study once per person behind it.
    """
    if len(token) > MAXIMUM_JWS_CHARACTERS:
        raise SignatureInvalid(f"signed document of {len(token)} characters exceeds {MAXIMUM_JWS_CHARACTERS}")
    parts, header = _extracted(token)
    if set(header) != _HEADER:
        raise SignatureInvalid(f"expected a header of {sorted(_HEADER)} and nothing else")
    if not all(isinstance(value, str) for value in header.values()):
        raise SignatureInvalid(f"expected a header of {sorted(_HEADER)} as text")
    if header["typ"] != typ:
        raise SignatureInvalid(f"expected a signed document of type {typ!r}, got {header['typ']!r}")
    signer = next((key for key in accepted if key.fingerprint == header["kid"]), None)
    if signer is None:
        raise SignatureInvalid(f"signer {header['kid']!r} is not among the {len(accepted)} accepted keys")
    try:
        if not jws.validate_compact(parts, _public_jwk(signer), registry=_REGISTRY):
            raise BadSignatureError  # as ``deserialize_compact`` does, which would parse everything a second time
        document = parse_canonical(parts.payload)
    except (JoseError, ValueError, RecursionError):
        raise SignatureInvalid(f"signature on {typ!r} does not verify under key {signer.fingerprint}") from None
    if not isinstance(document, dict):
        raise SignatureInvalid(f"expected a JSON object in {typ!r}")
    return parts.payload, [document]


def forget_verified() -> None:
    """Verify everything anew from here on: for whoever measures, as a document met before costs next to nothing."""
    _verified.cache_clear()


def unverified_signer(token: str) -> str:
    """The fingerprint that a JWS *claims*; only to choose which key to verify with.

    Raises:
        SignatureInvalid: malformed, or it claims none.
    """
    claimed = _extracted(token)[1].get("kid")
    if not isinstance(claimed, str):
        raise SignatureInvalid("expected a compact JWS that names its signer")
    return claimed


def _extracted(token: str) -> tuple[jws.CompactSignature, dict[str, Any]]:
    """The parts and the header of a compact JWS, whose header is an object.

    The library looks into the header before it knows that, and fails in ways of its own on another value's type, and
    on one that nests deeper than the parser goes.
    """
    try:
        parts = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY)
        header = parts.headers()
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SignatureInvalid("not a compact JWS") from None
    if not isinstance(header, dict):
        raise SignatureInvalid("expected the header of a compact JWS to be a JSON object")
    return parts, header


def _private_jwk(key: SigningKey) -> OKPKey:
    return OKPKey.import_key(key.private_key())


@lru_cache(maxsize=65_536)
def _public_jwk(key: VerifyKey) -> OKPKey:
    return OKPKey.import_key(key.public_key())
