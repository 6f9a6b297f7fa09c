"""Errors of ``models.learning``.

::

    LearningError
    ├── PlanInvalid          a constant of a net or a plan is out of its range
    ├── ParametersInvalid    a parameter vector that does not fit the net, or is not finite
    ├── UnknownModel         no entry of that name in the registry
    ├── NothingToLearn       this device cannot contribute; its caller sends a null report instead (no local noise)
    │   ├── NoRows             there is no training row
    │   ├── NotFinite          a feature, a label or the resulting update is NaN or infinite
    │   └── OneClass           all labels are equal and the plan asks for both classes
    └── FlowerMoved          Flower no longer has the internal name that messages need, or was imported too early
"""

from __future__ import annotations


class LearningError(Exception):
    """Something about a model or its training is wrong; the message never carries a person's data."""


class PlanInvalid(LearningError):
    """A constant of a net or of a training plan is out of its range."""


class ParametersInvalid(LearningError):
    """A parameter vector does not fit the net, or holds values that are not finite."""


class UnknownModel(LearningError):
    """The registry has no model of that name."""


class NothingToLearn(LearningError):
    """This device cannot contribute to this turn: the caller sends a null report, never a refusal."""


class NoRows(NothingToLearn):
    """There is no training row."""


class NotFinite(NothingToLearn):
    """A feature, a label or the resulting update is NaN or infinite."""


class OneClass(NothingToLearn):
    """All labels are equal, and the plan asks for rows of both classes."""


class FlowerMoved(LearningError):
    """Flower has no task identity where it used to be, or was imported before telemetry was switched off."""
