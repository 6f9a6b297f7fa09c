"""From a float vector to a bounded integer vector, and back from the sum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms import VectorInvalid, clip, quantise, squared_norm
from privacy.secure_sum.errors import ValuesInvalid
from privacy.secure_sum.parameters import SumParameters


def encode(vector: NDArray[np.float64], params: SumParameters) -> NDArray[np.int64]:
    """Clip, scale and round: x = round(s clip(v, C)), with s = (Delta - sqrt(d)/2) / C.

    Sensitivity: after clipping, ``||s v|| <= s C = Delta - sqrt(d)/2``. Rounding moves each of d entries by at most
    1/2, so the vector by at most sqrt(d)/2 in L2. By the triangle inequality ``||x|| <= Delta``. Replacing one
    device's report by the null report (zero-out) changes the sum by x, so the L2 sensitivity of the sum is at most
    Delta, exactly, after rounding. The bound is asserted in exact integers here and again when the report is made.

    Error: each entry of the decoded sum of n vectors is off by at most n/(2s) from rounding, and a single vector by
    RMS 1/(s sqrt(12)): at s = 2^19 / C that is 5.5e-7 C. Run by the device.

    Args:
        vector: float64[d], in its own unit, finite.
        params: the study's parameters.

    Returns:
        int64[d] with ``sum x^2 <= Delta^2``.

    Raises:
        ValuesInvalid: NaN or infinities, or the wrong shape or dtype.
    """
    if vector.shape != (params.dimension,):
        raise ValuesInvalid(f"expected a vector of shape ({params.dimension},), got {vector.shape}")
    try:
        values = quantise(clip(vector, params.clip_norm), params.scale)
    except VectorInvalid as error:
        raise ValuesInvalid(str(error)) from error
    check_values(values, params)
    return values


def decode(total: NDArray[np.signedinteger[Any]], params: SumParameters) -> NDArray[np.float64]:
    """The sum in the vector's own unit (float64[d]): total / s. Run by the leader, on what is released."""
    if total.shape != (params.dimension,):
        raise ValuesInvalid(f"expected a total of shape ({params.dimension},), got {total.shape}")
    return total / params.scale


def check_values(values: NDArray[np.int64], params: SumParameters) -> None:
    """Insist on an integer vector within the sensitivity, in exact integers.

    Raises:
        ValuesInvalid: wrong shape or dtype, or ``sum x^2 > Delta^2``.
    """
    if values.shape != (params.dimension,) or values.dtype != np.int64:
        raise ValuesInvalid(
            f"expected int64 values of shape ({params.dimension},), got {values.dtype} of shape {values.shape}"
        )
    if squared_norm(values) > params.sensitivity**2:
        raise ValuesInvalid(f"expected values within the sensitivity {params.sensitivity}, got a larger norm")
