"""The arithmetic of a release: measure the batch, check the helper's answer, unmask. No I/O; run in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from aggregator.errors import StudyFailed
from aggregator.leader.totals import Total
from models.wire.frames import join_seals, seals_head
from models.wire.message import from_base64
from models.wire.rounds import ANSWER_TYPE, Answer, ShareAnswer, failed_digest
from models.wire.studies import Study
from privacy.crypto import SignatureInvalid, VerifyKey, digest, verify_document
from privacy.mechanisms import RandomStream
from privacy.secure_sum import BatchDigest, LeaderSpan, SecureSumError, SumContext


@dataclass(frozen=True)
class Outgoing:
    """A closed batch as it will travel to the helper: its digest, and what the request's signature needs."""

    batch: bytes
    body_sha256: bytes
    body_bytes: int


class Measuring:
    """One pass over a closed batch's seals, before they are sent: memory is one chunk, however many they are.

    Args:
        context: the round's context.
        count: how many seals there are.
    """

    def __init__(self, context: SumContext, count: int) -> None:
        head = seals_head(count)
        self._count = count
        self._batch = BatchDigest(context)
        self._body = hashlib.sha256(head)
        self._bytes = len(head)

    def add(self, seals: Sequence[bytes]) -> None:
        """Take the next seals, in increasing order of their ids."""
        for seal in seals:
            self._batch.add(hashlib.sha256(seal).digest())
        framed = join_seals(seals)
        self._body.update(framed)
        self._bytes += len(framed)

    def finish(self) -> Outgoing:
        """The batch.

        Raises:
            StudyFailed: the store does not hold the reports that the round was closed with.
        """
        if self._batch.count != self._count:
            raise StudyFailed(f"expected {self._count} reports in the store, got {self._batch.count}")
        return Outgoing(self._batch.digest(), self._body.digest(), self._bytes)


@dataclass(frozen=True)
class Counted:
    """What the helper signed about a batch: how many seals it opened, and the ids of those that it left out."""

    opened: int
    failed: tuple[bytes, ...]


def check_answer(
    body: bytes, context: bytes, batch: bytes, reports: int, minimum_cohort: int, helper_key: VerifyKey
) -> Counted:
    """The helper's signed counts, if its answer is about exactly this batch and share, and about enough of it.

    Whether the failed ids are reports of this round, the caller's store says.

    Args:
        body: the bytes of a ``ShareAnswer``.
        context: digest of the round's context.
        batch: the batch's digest, as the leader computed it.
        reports: how many seals were sent.
        minimum_cohort: the study's; no sum of fewer is released, whatever the helper signs.
        helper_key: the pinned key.

    Raises:
        StudyFailed: it is not; nothing is released on top of it.
    """
    try:
        answer = ShareAnswer.model_validate_json(body)
        statement = Answer.model_validate(verify_document(answer.answer, ANSWER_TYPE, (helper_key,)))
        share = hashlib.sha256(from_base64(answer.share)).hexdigest()
    except (SignatureInvalid, ValueError) as error:
        raise StudyFailed("the helper's answer does not verify under the pinned key") from error
    if (statement.context, statement.batch, statement.share_sha256) != (context.hex(), batch.hex(), share):
        raise StudyFailed("the helper's answer is about another batch or share")
    if statement.failed_sha256 != failed_digest(answer.failed):
        raise StudyFailed("the helper signed another list of failed seals")
    failed = tuple(bytes.fromhex(item.report_id) for item in answer.failed)
    if any(one >= other for one, other in pairwise(failed)):
        raise StudyFailed("the helper's failed seals are not in order, or named twice")
    if statement.opened + len(failed) != reports:
        raise StudyFailed("the helper's counts do not add up to the batch")
    if statement.opened < minimum_cohort:
        raise StudyFailed(f"the helper answered for {statement.opened} reports; at least {minimum_cohort} are needed")
    return Counted(statement.opened, failed)


def answered_at_ms(answer: ShareAnswer, helper_key: VerifyKey) -> int:
    """When the helper answered, by its own signed word, Unix milliseconds."""
    return Answer.model_validate(verify_document(answer.answer, ANSWER_TYPE, (helper_key,))).answered_at_ms


class Unmasking:
    """One round's masked vectors, summed as they stream by, without those that the helper left out.

    Args:
        study: for the sum's parameters.
        context: the round's context.
        answer: the helper's answer, checked.
    """

    def __init__(self, study: Study, context: SumContext, answer: ShareAnswer) -> None:
        self._params = study.plan.parameters()
        self._share = from_base64(answer.share)
        self._left_out = {bytes.fromhex(item.report_id) for item in answer.failed}
        self._sum = LeaderSpan(self._params, context)

    def add(self, chunk: Sequence[tuple[bytes, bytes]]) -> None:
        """Take (report id, masked vector) pairs, in increasing order of their ids."""
        self._sum.add(chunk, self._left_out)

    def finish(self, noise_secret: bytes, opened: int) -> tuple[Total, bytes]:
        """The noisy sum on the grid, and the batch's digest.

        Called once: sum and share are used up.

        The leader's noise is a function of its stored secret and the batch, so that a release that is computed again
        after a crash is the same release.

        Raises:
            StudyFailed: the store does not hold the reports that the helper counted, or the share does not fit.
        """
        if self._sum.counted != opened:
            raise StudyFailed("the reports that the helper counted are not those in the store")
        batch = self._sum.batch
        stream = RandomStream(digest("leader-noise", noise_secret, batch))
        share, self._share = self._share, b""
        try:
            return self._sum.release(share, stream), batch
        except SecureSumError as error:
            raise StudyFailed(f"the helper's share cannot be unmasked: {error}") from error
