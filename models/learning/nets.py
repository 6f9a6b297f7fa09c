"""Small nets as plain numbers: a flat float32 vector and the names of its parts. No torch here.

A net is what travels (one flat vector), what trains (``modules`` and ``vectorised`` read the same names) and what an
agent scores with (``scores``, numpy alone). With no hidden units it is a logistic regression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.learning.errors import ParametersInvalid, PlanInvalid

Flat = NDArray[np.float32]
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Net:
    """A binary classifier: ``logit = v . tanh(W x + b) + c``, or ``logit = v . x + c`` without hidden units.

    Attributes:
        features: length of x, at least 1.
        hidden: hidden units, 0 for a logistic regression.
    """

    features: int
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.features < 1 or self.hidden < 0:
            raise PlanInvalid(f"expected features >= 1 and hidden >= 0, got {self.features} and {self.hidden}")

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the parameters, in the order of the flat vector."""
        if not self.hidden:
            return {"output.weight": (1, self.features), "output.bias": (1,)}
        return {
            "hidden.weight": (self.hidden, self.features),
            "hidden.bias": (self.hidden,),
            "output.weight": (1, self.hidden),
            "output.bias": (1,),
        }

    @property
    def size(self) -> int:
        """Length of the flat parameter vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def initial(net: Net, seed: int, *, prior: float = 0.5, gain: float = 1.0) -> Flat:
    """The public starting point: float32[net.size], the same for everybody with this seed.

    Hidden weights are normal with deviation ``2 gain / sqrt(features)``, output weights ``gain / (2 sqrt(hidden))``;
    a logistic regression starts at zero. The output bias is the logit of ``prior``: a guessed share of positives, a
    public constant of the study and never measured on the participants.

    Args:
        net: the net.
        seed: public, part of the study.
        prior: guessed share of positives, in (0, 1).
        gain: scale of the random weights, > 0.
    """
    if not 0 < prior < 1 or not gain > 0:
        raise PlanInvalid("expected 0 < prior < 1 and gain > 0")
    generator = np.random.default_rng(seed)
    named = {name: np.zeros(shape) for name, shape in net.shapes.items()}
    if net.hidden:
        named["hidden.weight"] = (
            generator.standard_normal((net.hidden, net.features)) * 2 * gain / math.sqrt(net.features)
        )
        named["output.weight"] = generator.standard_normal((1, net.hidden)) * gain / (2 * math.sqrt(net.hidden))
    named["output.bias"] = np.array([math.log(prior / (1 - prior))])
    return flatten(net, named)


def flatten(net: Net, named: Mapping[str, NDArray[np.floating]]) -> Flat:
    """Named arrays to one float32 vector, in the order of ``net.shapes``.

    Raises:
        ParametersInvalid: a name is missing or unknown, or an array has another shape.
    """
    if {name: array.shape for name, array in named.items()} != dict(net.shapes):
        raise ParametersInvalid(f"expected parameters {dict(net.shapes)}")
    return np.concatenate([named[name].ravel() for name in net.shapes]).astype(np.float32)


def unflatten(net: Net, flat: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """One vector to named float64 arrays (copies).

    Raises:
        ParametersInvalid: another length, or values that are not finite.
    """
    if flat.shape != (net.size,):
        raise ParametersInvalid(f"expected {net.size} parameters, got shape {flat.shape}")
    if not np.isfinite(flat).all():
        raise ParametersInvalid("expected finite parameters, got NaN or infinity")
    named: dict[str, NDArray[np.float64]] = {}
    start = 0
    for name, shape in net.shapes.items():
        stop = start + math.prod(shape)
        named[name] = np.array(flat[start:stop], dtype=np.float64).reshape(shape)
        start = stop
    return named


def scores(net: Net, flat: NDArray[np.floating], rows: Rows) -> Rows:
    """Probability of the positive class for float64[n, features] rows: float64[n] (agent, evaluation; numpy only).

    Raises:
        ParametersInvalid: parameters or rows do not fit the net.
    """
    if rows.shape[1:] != (net.features,):
        raise ParametersInvalid(f"expected rows of {net.features} features, got shape {rows.shape}")
    named = unflatten(net, flat)
    layer = np.tanh(rows @ named["hidden.weight"].T + named["hidden.bias"]) if net.hidden else rows
    logits = (layer @ named["output.weight"].T + named["output.bias"])[:, 0]
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
