"""A round's messages: the helper's signed opening, the work that devices poll, the helper's answer, withdrawals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from models.wire.limits import LONGEST_WINDOW_SECONDS
from models.wire.log import LogProof, log_entry
from models.wire.message import Base64, CompactJws, Hex32, Message, Milliseconds, Slug
from models.wire.studies import Study
from privacy.crypto import canonical_json, digest
from privacy.secure_sum import SumContext

OPENING_TYPE = "hearthside-opening+jwt"
"""JWS type of the helper's round opening."""
ANSWER_TYPE = "hearthside-answer+jwt"
"""JWS type of the helper's answer to one batch."""
WITHDRAWN_TYPE = "hearthside-withdrawn+jwt"
"""JWS type of the helper's word on a report that was taken back."""
CHECKPOINT_TYPE = "hearthside-checkpoint+jwt"
"""JWS type of the leader's log checkpoint."""


def model_hash(model: bytes) -> bytes:
    """Digest of a round's model: little-endian float32 values, flat; empty for a question that needs none."""
    return digest("model", model)


class Checkpoint(Message):
    """Size and root of the leader's log (RFC 9162), signed by the leader."""

    version: Literal[1] = 1
    size: Annotated[int, Field(ge=0)]
    root: Hex32
    at_ms: Milliseconds


class Inclusion(Message):
    """Proof that the study's entry stands in the log at the checkpoint."""

    index: Annotated[int, Field(ge=0)]
    path: tuple[Hex32, ...]


def study_entry(study: Study) -> bytes:
    """The log's entry about a proposed study, which ``Inclusion`` proves: its leaf is ``leaf_hash`` of these bytes."""
    return log_entry("study", study.canonical())


class OpeningRequest(Message):
    """Leader to helper: open this round of an approved study."""

    version: Literal[1] = 1
    study_hash: Hex32
    round: Annotated[int, Field(ge=1)]
    model_hash: Hex32
    window_seconds: Annotated[float, Field(gt=0, le=LONGEST_WINDOW_SECONDS)]
    checkpoint: CompactJws
    log_proof: LogProof = LogProof()
    """Needed where the helper has seen another size of the leader's log before."""


class Opening(Message):
    """The helper's signed opening: the only source of a round's key that a device accepts."""

    version: Literal[1] = 1
    study_id: Slug
    study_hash: Hex32
    round: Annotated[int, Field(ge=1)]
    model_hash: Hex32
    round_key: Base64
    opens_at_ms: Milliseconds
    closes_at_ms: Milliseconds
    issued_at_ms: Milliseconds
    checkpoint: Checkpoint


def sum_context(study: Study, round_number: int, model_digest: bytes, bucket: int = 0) -> SumContext:
    """The context that every derivation of this round binds: study, round, model, both servers' keys, policy."""
    return SumContext(
        study_hash=study.study_hash(),
        round=round_number,
        model_hash=model_digest,
        leader_key=bytes.fromhex(study.leader_key),
        helper_key=bytes.fromhex(study.helper_key),
        policy_hash=bytes.fromhex(study.policy_hash),
        bucket=bucket,
    )


class RoundWork(Message):
    """One open round as a device polls it: the approved study, the opening, where the model is, the log's proof."""

    study: Study
    approval: CompactJws
    opening: CompactJws
    inclusion: Inclusion


class Work(Message):
    """What every device polls, the same bytes for everyone."""

    version: Literal[1] = 1
    rounds: tuple[RoundWork, ...]
    stopped: tuple[CompactJws, ...]
    """The officers' signed decisions (``studies.Decision``) to stop studies: a device believes no other."""
    checkpoint: CompactJws | None
    bundle_version: Annotated[int, Field(ge=0)]


class FailedSeal(Message):
    """A seal that the helper did not count, and why; it is spent all the same."""

    report_id: Hex32
    reason: Literal["unopened", "malformed", "policy", "expired", "withdrawn"]


def failed_digest(failed: Sequence[FailedSeal]) -> str:
    """SHA-256 in hex of a list of failed seals, in their order."""
    return digest("failed-seals", canonical_json([item.document() for item in failed])).hex()


class Answer(Message):
    """What the helper signs (JWS of type ``ANSWER_TYPE``) about its one answer to a round."""

    version: Literal[1] = 1
    context: Hex32
    batch: Hex32
    opened: Annotated[int, Field(ge=0)]
    share_sha256: Hex32
    failed_sha256: Hex32
    """Of the failed seals in canonical JSON (``failed_digest``): which reports the leader must leave out."""
    answered_at_ms: Milliseconds


class ShareAnswer(Message):
    """The helper's answer: its noised share, packed, and the signed statement about it."""

    version: Literal[1] = 1
    answer: CompactJws
    share: Base64
    failed: tuple[FailedSeal, ...]


class SealedWithdrawal(Message):
    """A device tells the helper directly not to count its report: the report's seal, and the token that it commits to.

    The seal shows that the notice is about a report of this round; the report's id is its SHA-256. Without it anyone
    could fill the helper's list with ids of nothing.
    """

    version: Literal[2] = 2
    study_hash: Hex32
    round: Annotated[int, Field(ge=1)]
    seal: Base64
    token: Hex32


WithdrawalStatus = Literal["kept", "late"]
"""What the helper says of a notice; ``Withdrawn`` says what each means."""


class Withdrawn(Message):
    """What the helper signs (JWS of type ``WITHDRAWN_TYPE``) about a notice, once what it says is durable.

    ``kept``: the report is in no sum of this round. A helper that then counts it, or a leader whose release holds it,
    is shown to lie by this word together with the round's signed answer, which names every seal that was left out.
    ``late``: the round's batch was fixed before the notice came, or the helper does not know the round any more; the
    report may be in the sum.
    """

    version: Literal[1] = 1
    study_hash: Hex32
    round: Annotated[int, Field(ge=1)]
    report_id: Hex32
    outcome: WithdrawalStatus
    at_ms: Milliseconds


class WithdrawalAnswer(Message):
    """The helper's answer to a notice; the old form, which names no round, gets no signed word."""

    version: Literal[1] = 1
    status: WithdrawalStatus
    confirmation: CompactJws | None = None


class WithdrawalNotice(Message):
    """The old form of a notice: the report's id and the token. Anyone can make one up, so the helper keeps few."""

    version: Literal[1] = 1
    report_id: Hex32
    token: Hex32 = Field(repr=False)
