"""The mask equals an independent computation from HMAC and AES-ECB, and depends on seed and context."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from privacy.secure_sum.masking import expand_mask, reduced, residues


@pytest.mark.parametrize(("cohort", "width"), [(20, 4), (2**32, 8)])
def test_the_mask_is_hkdf_then_a_counter_cipher(make_round: Callable, cohort: int, width: int) -> None:
    """RFC 5869 by hand, then AES-128 of successive counters, read as little-endian words of 4 or 8 bytes."""
    case = make_round(maximum_cohort=cohort)
    seed = bytes(range(32))
    extracted = hmac.digest(bytes(32), seed, hashlib.sha256)
    info = b"hearthside/1/secure-sum/mask" + case.context.digest
    keys = hmac.digest(extracted, info + b"\x01", hashlib.sha256)
    start = int.from_bytes(keys[16:], "big")
    counters = b"".join(((start + index) % 2**128).to_bytes(16, "big") for index in range(10))
    stream = Cipher(AES(keys[:16]), ECB()).encryptor().update(counters)
    expected = np.frombuffer(stream[: 13 * width], dtype=f"<u{width}") % 2**case.params.modulus_bits
    assert reduced(expand_mask(seed, case.params, case.context), case.params).tolist() == expected.tolist()


def test_another_seed_or_context_is_another_mask(round_: object) -> None:
    """No two of seed, round or model share a mask."""
    variants = [
        expand_mask(b"s" * 32, round_.params, round_.context),
        expand_mask(b"t" * 32, round_.params, round_.context),
        expand_mask(b"s" * 32, round_.params, replace(round_.context, round=8)),
        expand_mask(b"s" * 32, round_.params, replace(round_.context, model_hash=b"x" * 32)),
    ]
    assert len({words.tobytes() for words in variants}) == 4


def test_a_mask_is_uniform_over_the_modulus(make_round: Callable) -> None:
    """The top bits of 40,000 masked zeros fill 16 cells evenly (seeded chi-square)."""
    case = make_round(dimension=40_000)
    words = reduced(expand_mask(b"u" * 32, case.params, case.context), case.params)
    counts = np.bincount(words >> (case.params.modulus_bits - 4), minlength=16)
    assert ((counts - 2_500.0) ** 2 / 2_500.0).sum() < 45  # 15 degrees of freedom: p = 8e-5


@pytest.mark.parametrize("cohort", [20, 2**32])
def test_signed_values_become_residues(make_round: Callable, cohort: int) -> None:
    """-1 is 2^b - 1, in the narrow and in the wide word."""
    case = make_round(maximum_cohort=cohort)
    words = reduced(residues(np.array([-1, 0, 5]), case.params), case.params)
    assert words.tolist() == [2**case.params.modulus_bits - 1, 0, 5]
