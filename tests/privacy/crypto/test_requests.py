"""Signed requests: whatever part is changed, or too old, the signature does not hold."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.crypto import SignatureInvalid, SigningKey, sign_request, verify_request
from privacy.crypto.requests import check_body, sign_head, verify_head

KEY, OTHER = SigningKey(b"\x01" * 32), SigningKey(b"\x02" * 32)
NOW, NONCE, BODY = 1_800_000_000, b"n" * 16, b'{"a":1}'
ACCEPTED = [OTHER.verify_key, KEY.verify_key]


def signed(**changes) -> dict[str, str]:
    """Headers of one good request, or of one that differs."""
    parts = {"method": "POST", "path": "/share?round=1", "body": BODY, "at": NOW, "nonce": NONCE} | changes
    return sign_request(KEY, **parts)


def verify(headers, *, method="POST", path="/share?round=1", body=BODY, accepted=ACCEPTED, now=NOW, **rest):
    """Verify as the receiver of that good request."""
    return verify_request(headers, method, path, body, accepted, now, **rest)


@given(st.binary(max_size=200), st.binary(min_size=16, max_size=64), st.sampled_from(["GET", "POST", "DELETE"]))
def test_a_signed_request_verifies(body, nonce, method):
    """Who signed and the nonce come back, whatever the body."""
    headers = signed(body=body, nonce=nonce, method=method)
    assert verify(headers, body=body, method=method) == (KEY.verify_key, nonce)


def test_header_names_come_in_any_case():
    """Servers lower header names; that changes nothing."""
    headers = {name.lower(): value for name, value in signed().items()}
    assert verify(headers)[0] == KEY.verify_key


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"path": "/share?round=2"},
        {"path": "/share"},
        {"body": BODY + b" "},
        {"accepted": [OTHER.verify_key]},
        {"accepted": []},
        {"now": NOW + 61},
        {"now": NOW - 61},
        {"now": NOW + 6, "window_seconds": 5},
        {"audience": "helper"},
        {"path": "/share?round=1\n"},
    ],
)
def test_another_request_does_not_verify(changes):
    """Another method, path, query, body, signer, time or audience is refused."""
    assert verify(signed())
    with pytest.raises(SignatureInvalid):
        verify(signed(), **changes)


def test_the_window_is_inclusive():
    """Sixty seconds off, either way, still pass."""
    assert verify(signed(), now=NOW + 60)
    assert verify(signed(), now=NOW - 60)


def test_a_request_is_for_its_audience_alone():
    """What was signed for the leader does not verify at the helper, nor where nobody was named."""
    headers = signed(audience="leader")
    assert verify(headers, audience="leader")
    for audience in ("helper", ""):
        with pytest.raises(SignatureInvalid):
            verify(headers, audience=audience)


@pytest.mark.parametrize("name", ["Content-Digest", "Signature-Input", "Signature"])
def test_every_header_counts(name):
    """Missing, empty, from another request, or with any one character changed: refused."""
    headers = signed()
    foreign = signed(nonce=b"m" * 16, body=b"other")[name]
    text = headers[name]
    changed = [text[:i] + ("B" if text[i] != "B" else "C") + text[i + 1 :] for i in range(len(text))]
    for value in ("", foreign, text + ";x", *changed):
        with pytest.raises(SignatureInvalid):
            verify(headers | {name: value})
    with pytest.raises(SignatureInvalid):
        verify({key: value for key, value in headers.items() if key != name})


def test_another_key_under_this_fingerprint_does_not_verify():
    """Claiming an accepted signer does not make one."""
    headers = sign_request(OTHER, "POST", "/share?round=1", BODY, NOW, NONCE)
    forged = headers["Signature-Input"].replace(OTHER.verify_key.fingerprint, KEY.verify_key.fingerprint)
    with pytest.raises(SignatureInvalid):
        verify(headers | {"Signature-Input": forged})


@pytest.mark.parametrize("changes", [{"nonce": b"short"}, {"nonce": bytes(65)}, {"audience": 'a"b'}])
def test_local_misuse_is_a_value_error(changes):
    """Nonces too short to be unique and audiences that would break the header are refused before signing."""
    with pytest.raises(ValueError, match="expected"):
        signed(**changes)


def test_a_head_is_believed_before_its_body_and_names_it():
    """The signature says who sends which body; what then arrives must be that one, whole."""
    headers = signed()
    assert headers == sign_head(KEY, "POST", "/share?round=1", hashlib.sha256(BODY).digest(), NOW, NONCE)
    head = verify_head(headers, "POST", "/share?round=1", ACCEPTED, NOW)
    assert (head.signer, head.nonce) == (KEY.verify_key, NONCE)
    check_body(head, hashlib.sha256(BODY).digest())
    for other in (BODY[:-1], BODY + b" ", b""):
        with pytest.raises(SignatureInvalid, match="Content-Digest"):
            check_body(head, hashlib.sha256(other).digest())


def test_a_head_that_names_another_body_does_not_verify():
    """The digest header is covered by the signature: swapping body and digest together is found at the head."""
    headers = signed() | {"Content-Digest": signed(body=b"other")["Content-Digest"]}
    with pytest.raises(SignatureInvalid):
        verify_head(headers, "POST", "/share?round=1", ACCEPTED, NOW)
