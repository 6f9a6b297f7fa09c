"""Errors of ``privacy.secure_sum``. The type says who broke the rule; ``code`` is short and stable, for machines.

::

    SecureSumError
    ├── LocalMisuse              this side's caller
    │   ├── ParametersRefused      parameters that would wrap, leak or mean nothing
    │   ├── ContextInvalid         a hash, key, round or bucket of the wrong form
    │   ├── ValuesInvalid          a vector with NaN, of the wrong shape or dtype, or outside the sensitivity
    │   └── PartialRefused         a partial sum that would be counted twice, leaves a gap, or is of another batch
    └── PeerMisbehaved           the other side of the wire
        ├── PackingInvalid         packed words of the wrong length, or with bits set in the padding
        ├── ReportInvalid          a report that must not enter a batch
        ├── BatchRefused           report ids that are malformed or not strictly increasing
        ├── CohortExceeded         more reports than the parameters were validated for
        ├── CohortTooSmall         fewer opened seals than the minimum cohort
        └── ShareInvalid           a helper's answer that does not fit the round

A single bad seal in a batch is not an error: the helper drops it and says why (:class:`SealFailure`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class SecureSumError(Exception):
    """The sum was refused; the message says what was expected and got, and never carries a value or a secret."""

    code: ClassVar[str] = "secure_sum"


class LocalMisuse(SecureSumError):
    """This side's caller asked for something that the protocol does not allow."""

    code = "local_misuse"


class ParametersRefused(LocalMisuse):
    """The parameters of a sum are inconsistent, could wrap, or are too small to be private."""

    code = "parameters_refused"


class ContextInvalid(LocalMisuse):
    """A part of the context has the wrong form."""

    code = "context_invalid"


class ValuesInvalid(LocalMisuse):
    """A vector is not finite, has the wrong shape or dtype, or exceeds the sensitivity."""

    code = "values_invalid"


class PartialRefused(LocalMisuse):
    """A partial sum does not fit the others: counted twice, left out, malformed, or of another batch or study."""

    code = "partial_refused"


class PeerMisbehaved(SecureSumError):
    """The other side sent something that no honest peer sends."""

    code = "peer_misbehaved"


class PackingInvalid(PeerMisbehaved):
    """Packed words have the wrong length, or bits set in their padding."""

    code = "packing_invalid"


class ReportInvalid(PeerMisbehaved):
    """A report has another context, the wrong size or a signature that does not verify. ``reason`` says which."""

    code = "report_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BatchRefused(PeerMisbehaved):
    """Report ids are malformed, repeated or out of order."""

    code = "batch_refused"


class CohortExceeded(PeerMisbehaved):
    """More reports than the maximum cohort: their sum could wrap."""

    code = "cohort_exceeded"


class CohortTooSmall(PeerMisbehaved):
    """Fewer seals opened than the minimum cohort: nothing is released."""

    code = "cohort_too_small"


class ShareInvalid(PeerMisbehaved):
    """The helper's share or its count does not fit the round."""

    code = "share_invalid"


class SealFailure(StrEnum):
    """Why the helper left one report out."""

    UNOPENED = "seal_unopened"
    MALFORMED = "payload_malformed"
    POLICY = "policy_mismatch"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
