"""The coin compares integers and never favours heads."""

import pytest

from privacy.mechanisms import RandomStream, RateInvalid, StreamInvalid, flip_coin


@pytest.mark.parametrize("rate", [2.0**-60, 0.01, 0.1, 0.5, 1 - 2.0**-53])
def test_heads_below_the_threshold_and_tails_at_it(rate: float) -> None:
    """The last token of heads is floor(q 2^64) - 1."""
    numerator, denominator = rate.as_integer_ratio()
    threshold = numerator * 2**64 // denominator
    assert flip_coin(rate, lambda: (threshold - 1).to_bytes(8, "big"))
    assert not flip_coin(rate, lambda: threshold.to_bytes(8, "big"))


def test_the_ends_are_certain() -> None:
    """Rate 0 is never heads, rate 1 always, whatever the token."""
    assert not flip_coin(0.0, lambda: bytes(8))
    assert flip_coin(1.0, lambda: b"\xff" * 8)


def test_a_stream_gives_heads_at_the_rate() -> None:
    """20,000 seeded coins at .1 are within five standard deviations of 2,000."""
    stream = RandomStream(b"coin".ljust(32, b"\0"))
    heads = sum(flip_coin(0.1, stream) for _ in range(20_000))
    assert abs(heads - 2_000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5


@pytest.mark.parametrize("rate", [-0.1, 1.0000001, float("nan"), float("inf")])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    """Outside [0, 1] there is no coin."""
    with pytest.raises(RateInvalid):
        flip_coin(rate, lambda: bytes(8))


def test_a_short_token_is_refused() -> None:
    """Fewer random bytes would favour heads."""
    with pytest.raises(StreamInvalid):
        flip_coin(0.5, lambda: bytes(4))
