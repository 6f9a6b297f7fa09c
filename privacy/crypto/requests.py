"""Signed requests between servers, and from devices: HTTP Message Signatures (RFC 9421) in one fixed profile.

Covered: method, request target (path and query), and the body's SHA-256 (``Content-Digest``, RFC 9530), with the time,
a nonce, the signer's fingerprint, and the audience as ``tag``. A verifier rebuilds the signature base from the request
that it got, so nothing in a header is believed before the signature holds; any other profile is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from privacy.crypto.errors import RequestStale, SignatureInvalid
from privacy.crypto.keys import SigningKey, VerifyKey

WINDOW_SECONDS = 60
MINIMUM_NONCE_BYTES = 16
MAXIMUM_NONCE_BYTES = 64
_COMPONENTS = '("@method" "@request-target" "content-digest")'
_TAG = "hearthside"
_INPUT = re.compile(
    r'sig1=(?P<parameters>\("@method" "@request-target" "content-digest"\);created=(?P<created>[0-9]{1,12})'
    r';nonce="(?P<nonce>[A-Za-z0-9_-]{1,88})";keyid="(?P<keyid>[a-z2-7-]{1,64})";alg="ed25519";tag="(?P<tag>[!-~]{1,128})")'
)
_SIGNATURE = re.compile(r"sig1=:(?P<signature>[A-Za-z0-9+/]{86}==):")
_DIGEST = re.compile(r"sha-256=:(?P<digest>[A-Za-z0-9+/]{43}=):")
_AUDIENCE = re.compile(r"[A-Za-z0-9._:/-]{0,100}")


def sign_request(
    key: SigningKey, method: str, path: str, body: bytes, at: int, nonce: bytes, *, audience: str = ""
) -> dict[str, str]:
    """Sign a request; returns the three headers to send with it. Run by whoever sends.

    Args:
        key: the sender's.
        method: the HTTP method, as sent.
        path: the request target: path and query, as sent.
        body: the exact bytes sent.
        at: Unix time, seconds.
        nonce: 16 to 64 random bytes, never used before with this key.
        audience: whom it is for (for example the receiving key's fingerprint), so that a receiver cannot pass it on.

    Returns:
        ``Content-Digest``, ``Signature-Input`` and ``Signature``.
    """
    return sign_head(key, method, path, hashlib.sha256(body).digest(), at, nonce, audience=audience)


def sign_head(
    key: SigningKey, method: str, path: str, body_sha256: bytes, at: int, nonce: bytes, *, audience: str = ""
) -> dict[str, str]:
    """:func:`sign_request` for a body that is sent as a stream: its SHA-256 (32 bytes) is computed before."""
    if not MINIMUM_NONCE_BYTES <= len(nonce) <= MAXIMUM_NONCE_BYTES:
        raise ValueError(f"expected a nonce of {MINIMUM_NONCE_BYTES} to {MAXIMUM_NONCE_BYTES} bytes, got {len(nonce)}")
    text = base64.urlsafe_b64encode(nonce).rstrip(b"=").decode("ascii")
    signer = key.verify_key.fingerprint
    parameters = f'{_COMPONENTS};created={at};nonce="{text}";keyid="{signer}";alg="ed25519";tag="{_tag(audience)}"'
    base = signature_base(_components(method, path, _content_digest(body_sha256)), parameters)
    signature = base64.b64encode(key.sign(base)).decode("ascii")
    return {
        "Content-Digest": _content_digest(body_sha256),
        "Signature-Input": f"sig1={parameters}",
        "Signature": f"sig1=:{signature}:",
    }


def verify_request(
    headers: Mapping[str, str],
    method: str,
    path: str,
    body: bytes,
    accepted: Iterable[VerifyKey],
    now: int,
    *,
    window_seconds: int = WINDOW_SECONDS,
    audience: str = "",
) -> tuple[VerifyKey, bytes]:
    """Return who signed this very request, and its nonce. Run by whoever receives.

    The caller keeps the nonces of the last two windows per key and refuses one that it has seen: only that stops a
    replay inside the window.

    Args:
        headers: as received; names in any case.
        method: the HTTP method, as received.
        path: the request target: path and query, as received.
        body: the exact bytes received.
        accepted: the keys that may send this.
        now: Unix time, seconds.
        window_seconds: how far ``created`` may lie from now, either way.
        audience: what the sender was to name as receiver.

    Raises:
        RequestStale: signed at another time than now.
        SignatureInvalid: unsigned, malformed, another audience, an unknown signer, or not this request.
    """
    head = verify_head(headers, method, path, accepted, now, window_seconds=window_seconds, audience=audience)
    check_body(head, hashlib.sha256(body).digest())
    return head.signer, head.nonce


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A request whose signature holds and whose body is still to come: who signed it, its nonce, the body's SHA-256."""

    signer: VerifyKey
    nonce: bytes
    body_sha256: bytes


def verify_head(
    headers: Mapping[str, str],
    method: str,
    path: str,
    accepted: Iterable[VerifyKey],
    now: int,
    *,
    window_seconds: int = WINDOW_SECONDS,
    audience: str = "",
) -> SignedHead:
    """Say who signed a request before its body is read, so that no stranger's body is ever stored.

    The signature covers ``Content-Digest``, not the body itself: what arrives counts only after :func:`check_body`.
    Arguments as in :func:`verify_request`.

    Raises:
        RequestStale: signed at another time than now.
        SignatureInvalid: unsigned, malformed, another audience, an unknown signer, or another request.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    found = _INPUT.fullmatch(lower.get("signature-input", ""))
    signed = _SIGNATURE.fullmatch(lower.get("signature", ""))
    body = _DIGEST.fullmatch(lower.get("content-digest", ""))
    if found is None or signed is None or body is None:
        raise SignatureInvalid("expected a request signed in the hearthside profile of RFC 9421")
    created = int(found["created"])
    if abs(now - created) > window_seconds:
        raise RequestStale(f"expected a request signed within {window_seconds} s of {now}, got {created}")
    if found["tag"] != _tag(audience):
        raise SignatureInvalid(f"expected a request for {_tag(audience)!r}, got one for {found['tag']!r}")
    signer = next((key for key in accepted if key.fingerprint == found["keyid"]), None)
    if signer is None:
        raise SignatureInvalid(f"signer {found['keyid']!r} is not among the accepted keys")
    base = signature_base(_components(method, path, body[0]), found["parameters"])
    signer.verify(base64.b64decode(signed["signature"]), base)
    return SignedHead(signer, _nonce(found["nonce"]), base64.b64decode(body["digest"]))


def check_body(head: SignedHead, body_sha256: bytes) -> None:
    """Return if this is the body that was signed.

    Raises:
        SignatureInvalid: it is another.
    """
    if not hmac.compare_digest(head.body_sha256, body_sha256):
        raise SignatureInvalid("the body is not the one that Content-Digest names")


def signature_base(components: Sequence[tuple[str, str]], parameters: str) -> bytes:
    """The bytes that are signed: one line a component, then the parameters (RFC 9421, section 2.5)."""
    lines = [f'"{name}": {value}' for name, value in (*components, ("@signature-params", parameters))]
    return "\n".join(lines).encode("utf-8")


def _components(method: str, path: str, content_digest: str) -> tuple[tuple[str, str], ...]:
    if "\n" in method or "\n" in path:
        raise SignatureInvalid("expected a method and path of one line")
    return (("@method", method), ("@request-target", path), ("content-digest", content_digest))


def _content_digest(body_sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(body_sha256).decode('ascii')}:"


def _tag(audience: str) -> str:
    if not _AUDIENCE.fullmatch(audience):
        raise ValueError("expected an audience of at most 100 letters, digits and ._:/-")
    return f"{_TAG}/{audience}" if audience else _TAG


def _nonce(text: str) -> bytes:
    try:
        nonce = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise SignatureInvalid("expected a nonce in base64url") from None
    if not MINIMUM_NONCE_BYTES <= len(nonce) <= MAXIMUM_NONCE_BYTES:
        raise SignatureInvalid(f"expected a nonce of at least {MINIMUM_NONCE_BYTES} bytes, got {len(nonce)}")
    return nonce
