"""The leader releases on top of exactly what the helper signed: batch, share, count and the list of failed seals."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from aggregator.errors import StoreCorrupt, StudyFailed
from aggregator.leader.releases import Counted, check_answer
from aggregator.leader.totals import from_stored, to_stored, total_sha256
from models.wire.message import to_base64
from models.wire.rounds import ANSWER_TYPE, Answer, FailedSeal, ShareAnswer, failed_digest
from privacy.crypto import SigningKey, sign_document

HELPER, OTHER = SigningKey(b"h" * 32), SigningKey(b"o" * 32)
CONTEXT, BATCH, SHARE = b"c" * 32, b"b" * 32, b"share"
FAILED = (FailedSeal(report_id="aa" * 32, reason="withdrawn"),)


def answered(
    signer: SigningKey = HELPER,
    failed: tuple[FailedSeal, ...] = FAILED,
    share: bytes = SHARE,
    signed: tuple[FailedSeal, ...] = FAILED,
    opened: int = 9,
) -> bytes:
    """An answer to a batch of ten with one failed seal; what travels beside the statement may differ from it."""
    statement = Answer(
        context=CONTEXT.hex(),
        batch=BATCH.hex(),
        opened=opened,
        share_sha256=hashlib.sha256(SHARE).hexdigest(),
        failed_sha256=failed_digest(signed),
        answered_at_ms=1,
    )
    jws = sign_document(signer, ANSWER_TYPE, statement.document())
    return ShareAnswer(answer=jws, share=to_base64(share), failed=failed).canonical()


def test_what_the_helper_signed_is_taken() -> None:
    """The signed count of opened seals comes back, and which ones failed."""
    counted = check_answer(answered(), CONTEXT, BATCH, 10, 9, HELPER.verify_key)
    assert counted == Counted(9, (bytes.fromhex("aa" * 32),))


@pytest.mark.parametrize(
    ("body", "context", "batch", "reports"),
    [
        (answered(signer=OTHER), CONTEXT, BATCH, 10),
        (answered(share=b"other"), CONTEXT, BATCH, 10),
        (answered(failed=(FailedSeal(report_id="bb" * 32, reason="withdrawn"),)), CONTEXT, BATCH, 10),
        (answered(failed=(FailedSeal(report_id="aa" * 32, reason="expired"),)), CONTEXT, BATCH, 10),
        (answered(), b"x" * 32, BATCH, 10),
        (answered(), CONTEXT, b"x" * 32, 10),
        (answered(), CONTEXT, BATCH, 11),
        (b"{}", CONTEXT, BATCH, 10),
    ],
    ids=["signer", "share", "another failed seal", "another reason", "context", "batch", "count", "garbage"],
)
def test_anything_else_releases_nothing(body: bytes, context: bytes, batch: bytes, reports: int) -> None:
    """One thing changed on the way, and the study fails with a reason."""
    with pytest.raises(StudyFailed):
        check_answer(body, context, batch, reports, 5, HELPER.verify_key)


def failures(count: int) -> tuple[FailedSeal, ...]:
    """Failed seals in the order of their ids."""
    return tuple(FailedSeal(report_id=f"{index:064x}", reason="expired") for index in range(count))


@pytest.mark.parametrize(
    ("failed", "opened", "message"),
    [
        (failures(6), 4, "at least 5 are needed"),
        (failures(9), 1, "at least 5 are needed"),
        ((*failures(2), failures(2)[1]), 7, "named twice"),
        (failures(3)[::-1], 7, "not in order"),
        (failures(3), 6, "do not add up"),
    ],
    ids=["below the cohort", "one report", "twice", "disorder", "count"],
)
def test_a_helper_that_lies_about_its_counts_releases_nothing(failed, opened, message) -> None:
    """The minimum cohort holds at the leader too, whatever the pinned helper signs: nobody's report is singled out."""
    body = answered(failed=failed, signed=failed, opened=opened)
    with pytest.raises(StudyFailed, match=message):
        check_answer(body, CONTEXT, BATCH, 10, 5, HELPER.verify_key)


@pytest.mark.parametrize("word", ["<i4", "<i8"])
def test_a_stored_sum_is_read_whichever_word_it_has(word: str) -> None:
    """What was stored in eight bytes an entry before, and in four since, reads as the same numbers."""
    values = np.arange(-3, 4).astype(word)
    assert from_stored(bytes(to_stored(values)), 7).tolist() == values.tolist()
    with pytest.raises(StoreCorrupt):
        from_stored(bytes(to_stored(values)), 6)


@pytest.mark.parametrize("word", ["<i4", "<i8"])
def test_the_digest_in_the_log_is_of_eight_bytes_an_entry(word: str) -> None:
    """How a sum is kept changes nothing of what is published about it, whatever its length."""
    values = np.arange(-20_000, 20_000)
    assert total_sha256(values.astype(word)) == hashlib.sha256(values.astype("<i8").tobytes()).hexdigest()
