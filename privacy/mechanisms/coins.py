"""The hidden coin: Poisson sampling that only the device sees."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from privacy.mechanisms.errors import RateInvalid, StreamInvalid
from privacy.mechanisms.randomness import RandomStream

_TOKEN_BYTES = 8


def flip_coin(rate: float, token: RandomStream | Callable[[], bytes]) -> bool:
    """Heads with probability floor(rate 2^64) / 2^64: never more than the rate that was charged.

    The comparison is between integers, so no rounding of the rate can favour heads (for rate = 1, always heads).
    Run by the device, once per round and never again, after the null report is stored and the round is charged.

    Args:
        rate: q, the sampling rate, in [0, 1].
        token: a stream, or a callable that returns 8 fresh bytes from a CSPRNG.

    Raises:
        RateInvalid: the rate is not in [0, 1].
        StreamInvalid: the callable returned another number of bytes.
    """
    if not 0.0 <= rate <= 1.0:
        raise RateInvalid(f"expected a sampling rate in [0, 1], got {rate!r}")
    drawn = token.bytes(_TOKEN_BYTES) if isinstance(token, RandomStream) else token()
    if len(drawn) != _TOKEN_BYTES:
        raise StreamInvalid(f"expected a token of {_TOKEN_BYTES} random bytes, got {len(drawn)}")
    return int.from_bytes(drawn, "big") < int(Fraction(rate) * 2**64)
