"""The models that studies may train: one entry each. A study names an entry; it cannot bring code of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from models.learning.errors import UnknownModel
from models.learning.nets import Net
from models.learning.plans import LocalPlan


@dataclass(frozen=True)
class Model:
    """One entry of the registry.

    Attributes:
        name: what studies call it.
        purpose: the consent purpose without which no device trains or scores it.
        features_version: the version of the feature vector that it reads; an agent without it sends nulls.
        loss: the loss on one row.
        metric: the figure that its quality is quoted in.
        hidden: default number of hidden units.
        plan: default local plan; a study may change its constants.
    """

    name: str
    purpose: str
    features_version: int
    loss: Literal["binary_cross_entropy"]
    metric: Literal["auc"]
    hidden: int
    plan: LocalPlan

    def net(self, features: int, hidden: int | None = None) -> Net:
        """The net over ``features`` features, with the entry's hidden units unless others are given."""
        return Net(features, self.hidden if hidden is None else hidden)


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "intent": Model(
            name="intent",
            purpose="intent",
            features_version=1,
            loss="binary_cross_entropy",
            metric="auc",
            hidden=16,
            plan=LocalPlan(steps=1, learning_rate=1.0, max_grad_norm=1.0, maximum_rows=25, denominator=25.0),
        ),
    }
)
"""Every model that a study may name."""


def model(name: str) -> Model:
    """Look up an entry.

    Raises:
        UnknownModel: there is none of that name.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise UnknownModel(f"expected one of {sorted(MODELS)}, got {name!r}") from None
