"""The one-shot two-server sum: what a crowd has in common, without anyone's part of it.

Read in order: ``errors``, ``parameters``, ``context``, ``encoding``, ``packing``, ``masking``, ``reports`` (device),
``batches``, ``partials``, ``leader``, ``helper``, ``exchange`` (the whole protocol in one function). Every role is
sans-I/O: time and randomness are arguments, storage, transport and processes are the caller's.
"""

from privacy.secure_sum.batches import BatchDigest, Span, SpannedBatch, batch_digest
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.encoding import decode, encode
from privacy.secure_sum.errors import (
    BatchRefused,
    CohortExceeded,
    CohortTooSmall,
    ContextInvalid,
    LocalMisuse,
    PackingInvalid,
    ParametersRefused,
    PartialRefused,
    PeerMisbehaved,
    ReportInvalid,
    SealFailure,
    SecureSumError,
    ShareInvalid,
    ValuesInvalid,
)
from privacy.secure_sum.exchange import Release, exchange
from privacy.secure_sum.helper import Failure, HelperSum, noised_share
from privacy.secure_sum.leader import LeaderSpan, LeaderSum, unmask
from privacy.secure_sum.packing import pack, packed_size, unpack
from privacy.secure_sum.parameters import SumParameters
from privacy.secure_sum.partials import MergedSum, PartialSum, Role
from privacy.secure_sum.reports import Report, make_report, resign_report, verify_report

__all__ = [
    "BatchDigest",
    "BatchRefused",
    "CohortExceeded",
    "CohortTooSmall",
    "ContextInvalid",
    "Failure",
    "HelperSum",
    "LeaderSpan",
    "LeaderSum",
    "LocalMisuse",
    "MergedSum",
    "PackingInvalid",
    "ParametersRefused",
    "PartialRefused",
    "PartialSum",
    "PeerMisbehaved",
    "Release",
    "Report",
    "ReportInvalid",
    "Role",
    "SealFailure",
    "SecureSumError",
    "ShareInvalid",
    "Span",
    "SpannedBatch",
    "SumContext",
    "SumParameters",
    "ValuesInvalid",
    "batch_digest",
    "decode",
    "encode",
    "exchange",
    "make_report",
    "noised_share",
    "pack",
    "packed_size",
    "resign_report",
    "unmask",
    "unpack",
    "verify_report",
]
