"""Errors of ``aggregator``. On the wire everything is a ``models.wire.problems.ProblemError``; these stay inside.

::

    AggregatorError
    ├── SettingsInvalid     a folder, key file or setting that a service cannot start with
    ├── StoreCorrupt        durable state that does not verify: the ledger, the log or a consent chain
    ├── KeyGone             a round's wrapping key was destroyed, so what the store still holds of it stays shut
    ├── StepForbidden       an event that the study's or round's state does not allow (also a wrong-state problem)
    ├── StudyStopped        the privacy office stopped the study while a round was under way
    ├── LogHeldBack         others have seen a longer log than this one: nothing is appended (a log-unproven problem)
    ├── LeaseLost           another worker runs the studies now; this one has changed nothing
    ├── StudyFailed         a study that cannot go on; the message says why and what next
    └── WorkerLost          a process that opened seals for the helper ended early; the same batch may be sent again
"""

from __future__ import annotations

from models.wire.problems import ProblemError


class AggregatorError(Exception):
    """Something in a service does not hold; the message never carries reports, keys or tokens."""


class SettingsInvalid(AggregatorError):
    """A service cannot start with these settings; the message is one line for the operator."""


class StoreCorrupt(AggregatorError):
    """Durable state does not verify, so the service does not start on top of it."""


class KeyGone(AggregatorError):
    """A round's secrets cannot be opened any more: their wrapping key was destroyed. The message names no secret."""


class StepForbidden(ProblemError):
    """The state machine has no such transition."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__("wrong-state", f"{event!r} cannot happen in state {state!r}")


class LogHeldBack(ProblemError):
    """The log may lack entries that others have seen: appending would write a second history."""

    def __init__(self) -> None:
        super().__init__("log-unproven", "the leader was restored; put back what its log lacks with 'log restore'")


class StudyStopped(AggregatorError):
    """The privacy office stopped the study."""


class LeaseLost(AggregatorError):
    """Another worker runs the studies now; what this one was about to change stays as it is."""


class StudyFailed(AggregatorError):
    """The study cannot go on."""


class WorkerLost(AggregatorError):
    """A worker process ended or could not do its range; nothing was answered, and the batch stays marked."""
