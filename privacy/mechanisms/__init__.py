"""The mechanisms: clipping and its private quantile, quantisation, discrete Gaussian, responses, the hidden coin.

No floating-point noise and no general-purpose generator: whatever is released is an integer drawn from AES-256-CTR,
and the stream that it is drawn from is an argument.
"""

from privacy.mechanisms.clipping import clip, quantise, squared_norm
from privacy.mechanisms.coins import flip_coin
from privacy.mechanisms.errors import (
    MechanismError,
    QuantileInvalid,
    RateInvalid,
    ResponseInvalid,
    SigmaInvalid,
    StreamInvalid,
    VectorInvalid,
)
from privacy.mechanisms.gaussian import add_discrete_gaussian, discrete_gaussian, sampler_delta, tv_error
from privacy.mechanisms.quantiles import (
    ClippedSum,
    ClippingPlan,
    ClippingState,
    advance,
    attach,
    detach,
    share_deviation,
)
from privacy.mechanisms.randomness import RandomStream
from privacy.mechanisms.responses import (
    NO_ANSWER,
    ResponseEstimate,
    estimate_counts,
    respond,
    respond_many,
    response_epsilon,
    response_noise,
    response_probabilities,
)

__all__ = [
    "NO_ANSWER",
    "ClippedSum",
    "ClippingPlan",
    "ClippingState",
    "MechanismError",
    "QuantileInvalid",
    "RandomStream",
    "RateInvalid",
    "ResponseEstimate",
    "ResponseInvalid",
    "SigmaInvalid",
    "StreamInvalid",
    "VectorInvalid",
    "add_discrete_gaussian",
    "advance",
    "attach",
    "clip",
    "detach",
    "discrete_gaussian",
    "estimate_counts",
    "flip_coin",
    "quantise",
    "respond",
    "respond_many",
    "response_epsilon",
    "response_noise",
    "response_probabilities",
    "sampler_delta",
    "share_deviation",
    "squared_norm",
    "tv_error",
]
