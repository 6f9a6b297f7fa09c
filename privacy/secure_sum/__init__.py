"""The one-shot two-server sum: what a crowd has in common, without anyone's part of it.

Read in order: ``errors``, ``parameters``, ``context``, ``encoding``, ``packing``, ``masking``, ``reports`` (device),
``batches``, ``leader``, ``helper``, ``exchange`` (the whole protocol in one function). Every role is sans-I/O: time
and randomness are arguments, storage and transport are the caller's.
"""

from privacy.secure_sum.batches import BatchDigest, batch_digest
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
    PeerMisbehaved,
    ReportInvalid,
    SealFailure,
    SecureSumError,
    ShareInvalid,
    ValuesInvalid,
)
from privacy.secure_sum.exchange import Release, exchange
from privacy.secure_sum.helper import HelperSum, noised_share
from privacy.secure_sum.leader import LeaderSum, unmask
from privacy.secure_sum.packing import pack, packed_size, unpack
from privacy.secure_sum.parameters import SumParameters
from privacy.secure_sum.reports import Report, make_report, verify_report

__all__ = [
    "BatchDigest",
    "BatchRefused",
    "CohortExceeded",
    "CohortTooSmall",
    "ContextInvalid",
    "HelperSum",
    "LeaderSum",
    "LocalMisuse",
    "PackingInvalid",
    "ParametersRefused",
    "PeerMisbehaved",
    "Release",
    "Report",
    "ReportInvalid",
    "SealFailure",
    "SecureSumError",
    "ShareInvalid",
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
    "unmask",
    "unpack",
    "verify_report",
]
