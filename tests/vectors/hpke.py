"""HPKE a second time, from its documents and not from our code: RFC 9180 base mode, X25519 and MLKEM768-X25519.

The library that seals in production draws its own randomness. Here the randomness of an encapsulation is an argument,
so that a seal is a function of its inputs and can stand in a vector. Slow, not constant-time, for tests only.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

MLKEM768_X25519, DHKEM_X25519 = 0x647A, 0x0020
HKDF_SHA256 = 1
AES_128_GCM, CHACHA20_POLY1305 = 1, 3
XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")
_KEY_BYTES = {AES_128_GCM: 16, CHACHA20_POLY1305: 32}
_AEADS = {AES_128_GCM: AESGCM, CHACHA20_POLY1305: ChaCha20Poly1305}
_Q, _N, _K, _DU, _DV = 3329, 256, 3, 10, 4


# HPKE: RFC 9180, sections 4 and 5.1


@dataclass(frozen=True)
class Schedule:
    """What the key schedule yields for one message: section 5.1."""

    aead: int
    key: bytes
    base_nonce: bytes

    def seal(self, plaintext: bytes, aad: bytes = b"", sequence: int = 0) -> bytes:
        """Encrypt the message with this number: section 5.2."""
        nonce = (int.from_bytes(self.base_nonce, "big") ^ sequence).to_bytes(12, "big")
        return _AEADS[self.aead](self.key).encrypt(nonce, plaintext, aad)


def key_schedule(shared: bytes, info: bytes, kem: int, aead: int) -> Schedule:
    """Key and nonce of base mode (mode 0, no pre-shared key) with HKDF-SHA256."""
    suite = b"HPKE" + kem.to_bytes(2, "big") + HKDF_SHA256.to_bytes(2, "big") + aead.to_bytes(2, "big")
    hashes = (labeled_extract(suite, b"", b"psk_id_hash", b""), labeled_extract(suite, b"", b"info_hash", info))
    context = b"\0" + b"".join(hashes)
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, _KEY_BYTES[aead])
    return Schedule(aead, key, labeled_expand(suite, secret, b"base_nonce", context, 12))


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labeled + b"\x01", hashlib.sha256)[:length]


def seal_hybrid(public: bytes, plaintext: bytes, info: bytes, randomness: bytes) -> bytes:
    """The suite of a round's key: MLKEM768-X25519, HKDF-SHA256, AES-128-GCM; the encapsulation, then the ciphertext."""
    enc, shared = encapsulate_hybrid(public, randomness)
    return enc + key_schedule(shared, info, MLKEM768_X25519, AES_128_GCM).seal(plaintext)


# KEMs


def encapsulate_x25519(public: bytes, ephemeral: bytes) -> tuple[bytes, bytes]:
    """DHKEM(X25519, HKDF-SHA256): RFC 9180, section 4.1; (encapsulation, shared secret)."""
    enc = x25519_public(ephemeral)
    suite = b"KEM" + DHKEM_X25519.to_bytes(2, "big")
    prk = labeled_extract(suite, b"", b"eae_prk", x25519(ephemeral, public))
    return enc, labeled_expand(suite, prk, b"shared_secret", enc + public, 32)


def encapsulate_hybrid(public: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """MLKEM768-X25519 (X-Wing) with its randomness given: 32 bytes for ML-KEM, 32 for the ephemeral key."""
    lattice, curve = public[:1184], public[1184:]
    mlkem_ct, mlkem_shared = encapsulate_mlkem768(lattice, randomness[:32])
    ephemeral = randomness[32:]
    curve_ct, curve_shared = x25519_public(ephemeral), x25519(ephemeral, curve)
    shared = hashlib.sha3_256(mlkem_shared + curve_shared + curve_ct + curve + XWING_LABEL).digest()
    return mlkem_ct + curve_ct, shared


def expand_hybrid_seed(seed: bytes) -> bytes:
    """The documents' 32-byte private key as the 96 bytes that we store: ML-KEM's seed (64), X25519's scalar (32)."""
    return hashlib.shake_256(seed).digest(96)


def x25519(scalar: bytes, point: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))


def x25519_public(scalar: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()


# ML-KEM-768, encapsulation only: FIPS 203, algorithms 14 and 17


def encapsulate_mlkem768(public: bytes, message: bytes) -> tuple[bytes, bytes]:
    """(ciphertext, shared secret) for 32 given random bytes."""
    keys = hashlib.sha3_512(message + hashlib.sha3_256(public).digest()).digest()
    return _encrypt(public, message, keys[32:]), keys[:32]


def _encrypt(public: bytes, message: bytes, coins: bytes) -> bytes:
    secret = [_decode(public[384 * i : 384 * (i + 1)], 12) for i in range(_K)]
    rho = public[384 * _K :]
    matrix = [[_sample_uniform(rho + bytes([j, i])) for j in range(_K)] for i in range(_K)]
    noise = [_sample_binomial(hashlib.shake_256(coins + bytes([n])).digest(128)) for n in range(2 * _K + 1)]
    mask, errors, last = [_ntt(poly) for poly in noise[:_K]], noise[_K : 2 * _K], noise[-1]
    u = [_add(_inverse_ntt(_dot([matrix[j][i] for j in range(_K)], mask)), errors[i]) for i in range(_K)]
    bits = [(_Q + 1) // 2 * (message[i // 8] >> i % 8 & 1) for i in range(_N)]
    v = _add(_add(_inverse_ntt(_dot(secret, mask)), last), bits)
    return b"".join(_encode(_compress(poly, _DU), _DU) for poly in u) + _encode(_compress(v, _DV), _DV)


def _sample_uniform(seed: bytes) -> list[int]:
    stream, out, at = hashlib.shake_128(seed).digest(1_344), [], 0
    while len(out) < _N:
        low, middle, high = stream[at : at + 3]
        out += [value for value in (low + 256 * (middle % 16), middle // 16 + 16 * high) if value < _Q]
        at += 3
    return out[:_N]


def _sample_binomial(data: bytes) -> list[int]:
    bits = int.from_bytes(data, "little")
    return [
        ((bits >> 4 * i & 1) + (bits >> 4 * i + 1 & 1) - (bits >> 4 * i + 2 & 1) - (bits >> 4 * i + 3 & 1)) % _Q
        for i in range(_N)
    ]


def _reverse(value: int) -> int:
    return int(f"{value:07b}"[::-1], 2)


_ZETAS = [pow(17, _reverse(i), _Q) for i in range(128)]
_GAMMAS = [pow(17, 2 * _reverse(i) + 1, _Q) for i in range(128)]


def _ntt(poly: list[int]) -> list[int]:
    out, index, length = list(poly), 1, 128
    while length >= 2:
        for start in range(0, _N, 2 * length):
            for j in range(start, start + length):
                turned = _ZETAS[index] * out[j + length] % _Q
                out[j], out[j + length] = (out[j] + turned) % _Q, (out[j] - turned) % _Q
            index += 1
        length //= 2
    return out


def _inverse_ntt(poly: list[int]) -> list[int]:
    out, index, length = list(poly), 127, 2
    while length <= 128:
        for start in range(0, _N, 2 * length):
            for j in range(start, start + length):
                low, high = out[j], out[j + length]
                out[j], out[j + length] = (low + high) % _Q, _ZETAS[index] * (high - low) % _Q
            index -= 1
        length *= 2
    return [value * 3303 % _Q for value in out]


def _dot(left: list[list[int]], right: list[list[int]]) -> list[int]:
    total = [0] * _N
    for one, other in zip(left, right, strict=True):
        for i in range(128):
            a, b, c, d = one[2 * i], one[2 * i + 1], other[2 * i], other[2 * i + 1]
            total[2 * i] = (total[2 * i] + a * c + b * d * _GAMMAS[i]) % _Q
            total[2 * i + 1] = (total[2 * i + 1] + a * d + b * c) % _Q
    return total


def _add(left: list[int], right: list[int]) -> list[int]:
    return [(a + b) % _Q for a, b in zip(left, right, strict=True)]


def _compress(poly: list[int], bits: int) -> list[int]:
    return [((value << bits) + _Q // 2) // _Q % (1 << bits) for value in poly]


def _encode(values: list[int], bits: int) -> bytes:
    return sum(value << bits * i for i, value in enumerate(values)).to_bytes(32 * bits, "little")


def _decode(data: bytes, bits: int) -> list[int]:
    word = int.from_bytes(data, "little")
    return [(word >> bits * i) % (1 << bits) % _Q for i in range(_N)]
