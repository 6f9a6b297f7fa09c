"""The arithmetic of a release: frame the batch, check the helper's answer, unmask. No I/O; run in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aggregator.errors import StudyFailed
from models.wire.frames import encode_seals
from models.wire.message import from_base64
from models.wire.rounds import ANSWER_TYPE, Answer, ShareAnswer, failed_digest
from models.wire.studies import Study
from privacy.crypto import SignatureInvalid, VerifyKey, digest, verify_document
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import LeaderSum, SecureSumError, SumContext, batch_digest, unmask


def frame_batch(seals: list[bytes], context: SumContext) -> tuple[bytes, bytes]:
    """The batch as it travels to the helper, and its digest. ``seals`` are in increasing order of their ids."""
    return encode_seals(seals), batch_digest(context, (hashlib.sha256(seal).digest() for seal in seals))


def check_answer(body: bytes, context: bytes, batch: bytes, reports: int, helper_key: VerifyKey) -> int:
    """The helper's signed count of opened seals, if its answer is about exactly this batch and share.

    Args:
        body: the bytes of a ``ShareAnswer``.
        context: digest of the round's context.
        batch: the batch's digest, as the leader computed it.
        reports: how many seals were sent.
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
    if statement.opened + len(answer.failed) != reports:
        raise StudyFailed("the helper's counts do not add up to the batch")
    return statement.opened


class Unmasking:
    """One round's masked vectors, summed as they stream by, without those that the helper left out.

    Args:
        study: for the sum's parameters.
        context: the round's context.
        answer: the helper's answer, checked.
    """

    def __init__(self, study: Study, context: SumContext, answer: ShareAnswer) -> None:
        self._params = study.plan.parameters()
        self._context = context
        self._share = from_base64(answer.share)
        self._left_out = {bytes.fromhex(item.report_id) for item in answer.failed}
        self._sum = LeaderSum(self._params)
        self._ids: list[bytes] = []

    def add(self, chunk: Iterable[tuple[bytes, bytes]]) -> None:
        """Take (report id, masked vector) pairs."""
        for report_id, masked in chunk:
            self._ids.append(report_id)
            if report_id not in self._left_out:
                self._sum.add(masked)

    def finish(self, noise_secret: bytes, opened: int) -> tuple[NDArray[np.int64], bytes]:
        """The noisy sum on the grid (int64[d]) and the batch's digest.

        The leader's noise is a function of its stored secret and the batch, so that a release that is computed again
        after a crash is the same release.

        Raises:
            StudyFailed: the store does not hold the reports that the helper counted, or the share does not fit.
        """
        if self._sum.count != opened:
            raise StudyFailed("the reports that the helper counted are not those in the store")
        batch = batch_digest(self._context, sorted(self._ids))
        stream = RandomStream(digest("leader-noise", noise_secret, batch))
        noise = discrete_gaussian(self._params.noise_sigma, self._params.dimension, stream)
        try:
            return unmask(self._sum.total, self._share, noise, self._params), batch
        except SecureSumError as error:
            raise StudyFailed(f"the helper's share cannot be unmasked: {error}") from error
