"""The real exchange as its leader sees it, and the one hook by which a simulated helper adds other noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import SumContext, SumParameters, encode, exchange

_NOW = 1_000_000
_ROUND_KEY_BYTES = 96
"""What the helper's stream has given to its round key before its noise is drawn (``privacy.secure_sum.exchange``)."""


class HookBroken(RuntimeError):
    """The exchange no longer adds the noise that the hook takes for the helper's; messages carry no values."""


def seeded_stream(seed: int, *label: object) -> RandomStream:
    """A stream for one use of one audit. Two uses never share a label."""
    return RandomStream(hashlib.sha256(repr(("hearthside audit", seed, *label)).encode()).digest())


def audit_context(round_number: int) -> SumContext:
    """A context that belongs to no study."""
    tag = hashlib.sha256(b"hearthside audit").digest()
    return SumContext(tag, round_number, tag, tag, tag, tag)


def leaders_view(
    vectors: Sequence[NDArray[np.float64] | None],
    params: SumParameters,
    *,
    seed: int,
    label: object,
    noise_factor: float = 1.0,
) -> NDArray[np.float64]:
    """Run one exchange and take the leader's own noise off what it releases: float64[d], in the vectors' unit.

    At a noise factor of 1 nothing but the exchange decides what is seen. At any other the helper's noise N, drawn once
    more from its seeded stream, is replaced by ``round(factor N)``: the release of a helper that scales its noise.
    (``SumParameters`` refuses noise that small, so it cannot be had by asking for it.)

    Args:
        vectors: one float64[d] per device, or None for a null.
        params: of the sum, with the declared noise.
        seed: the audit's.
        label: of this exchange.
        noise_factor: at least 0.

    Raises:
        HookBroken: a factor other than 1, and the release is not the sum and both noises.
    """
    release = exchange(
        vectors,
        params,
        audit_context(0),
        devices=seeded_stream(seed, label, "devices"),
        helper=seeded_stream(seed, label, "helper"),
        leader=seeded_stream(seed, label, "leader"),
        now=_NOW,
    )
    own = discrete_gaussian(params.noise_sigma, params.dimension, seeded_stream(seed, label, "leader"))
    seen = release.total - own
    if noise_factor != 1.0:
        noise = _helpers_noise(params, seed, label)
        if not np.array_equal(seen - noise, _true_sum(vectors, params)):
            raise HookBroken("expected the release to be the sum and both servers' noise, got something else")
        seen += np.rint(noise * noise_factor).astype(np.int64) - noise
    return seen / params.scale


def _helpers_noise(params: SumParameters, seed: int, label: object) -> NDArray[np.int64]:
    stream = seeded_stream(seed, label, "helper")
    stream.bytes(_ROUND_KEY_BYTES)
    return discrete_gaussian(params.noise_sigma, params.dimension, stream)


def _true_sum(vectors: Sequence[NDArray[np.float64] | None], params: SumParameters) -> NDArray[np.int64]:
    total = np.zeros(params.dimension, dtype=np.int64)
    for vector in vectors:
        if vector is not None:
            total += encode(vector, params)
    return total
