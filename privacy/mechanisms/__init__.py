"""The mechanisms: a CSPRNG as an argument, clipping, quantisation, the discrete Gaussian and the hidden coin.

No floating-point noise and no general-purpose generator: whatever is released is an integer drawn from AES-256-CTR.
"""

from privacy.mechanisms.clipping import clip, quantise, squared_norm
from privacy.mechanisms.coins import flip_coin
from privacy.mechanisms.errors import MechanismError, RateInvalid, SigmaInvalid, StreamInvalid, VectorInvalid
from privacy.mechanisms.gaussian import discrete_gaussian, tv_error
from privacy.mechanisms.randomness import RandomStream

__all__ = [
    "MechanismError",
    "RandomStream",
    "RateInvalid",
    "SigmaInvalid",
    "StreamInvalid",
    "VectorInvalid",
    "clip",
    "discrete_gaussian",
    "flip_coin",
    "quantise",
    "squared_norm",
    "tv_error",
]
