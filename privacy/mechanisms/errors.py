"""Errors of ``privacy.mechanisms``. All of them are the caller's: a mechanism has no peer.

::

    MechanismError
    ├── StreamInvalid    a key of the wrong length, or a negative amount of randomness
    ├── SigmaInvalid     a noise scale that is not positive, not finite, or too large for 62 bits
    ├── RateInvalid      a probability outside [0, 1]
    ├── VectorInvalid    a vector with NaN or infinities, of the wrong shape or dtype, or a norm that is not positive
    ├── ResponseInvalid  an answer that is no bucket, or a noise parameter, epsilon or histogram out of range
    └── QuantileInvalid  a plan for the clipping norm, or what it is fed, that is out of range
"""

from __future__ import annotations


class MechanismError(ValueError):
    """A mechanism was asked for something it cannot do; the message never carries the data."""


class StreamInvalid(MechanismError):
    """A stream's key has the wrong length, or a negative amount was asked for."""


class SigmaInvalid(MechanismError):
    """The noise scale or the number of samples is outside what the sampler proves."""


class RateInvalid(MechanismError):
    """A probability lies outside [0, 1]."""


class VectorInvalid(MechanismError):
    """A vector is not finite, has the wrong shape or dtype, or the norm to clip to is not positive and finite."""


class ResponseInvalid(MechanismError):
    """A randomised response cannot be given or decoded: the answer, the noise or the histogram is out of range."""


class QuantileInvalid(MechanismError):
    """The plan that moves the clipping norm, or a norm, count or sum that it is given, is out of range."""
