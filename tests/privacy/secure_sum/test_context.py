"""Every part of the context changes its digest; the bucket changes the batch."""

from dataclasses import replace

import pytest

from privacy.secure_sum import BatchDigest, BatchRefused, ContextInvalid, SumContext, batch_digest

CONTEXT = SumContext(b"a" * 32, 1, b"b" * 32, b"c" * 32, b"d" * 32, b"e" * 32)
IDS = [bytes([index]) * 32 for index in range(5)]


@pytest.mark.parametrize("name", ["study_hash", "model_hash", "leader_key", "helper_key", "policy_hash"])
def test_each_part_is_bound(name: str) -> None:
    """Another hash or key is another context."""
    assert replace(CONTEXT, **{name: b"x" * 32}).digest != CONTEXT.digest


def test_parts_are_not_interchangeable() -> None:
    """Swapping two keys is another context; so is the next round."""
    assert replace(CONTEXT, leader_key=CONTEXT.helper_key, helper_key=CONTEXT.leader_key).digest != CONTEXT.digest
    assert replace(CONTEXT, round=2).digest != CONTEXT.digest


def test_the_bucket_is_bound_in_the_batch_alone() -> None:
    """Devices cannot know their bucket, so reports do not bind it; batches do."""
    other = replace(CONTEXT, bucket=1)
    assert other.digest == CONTEXT.digest
    assert batch_digest(other, IDS) != batch_digest(CONTEXT, IDS)


@pytest.mark.parametrize(
    "change",
    [{"study_hash": b"short"}, {"policy_hash": "e" * 32}, {"round": -1}, {"round": 2**63}, {"bucket": -1}],
)
def test_malformed_parts_are_refused(change: dict[str, object]) -> None:
    """Lengths and ranges are checked once, here."""
    with pytest.raises(ContextInvalid, match="expected"):
        replace(CONTEXT, **change)


def test_a_batch_is_its_ids_their_order_and_their_number() -> None:
    """Streaming and one-shot digests agree; a missing id is another batch; the empty batch has a digest too."""
    batch = BatchDigest(CONTEXT)
    seen = {batch.digest()}
    for report_id in IDS:
        batch.add(report_id)
        seen.add(batch.digest())
    assert len(seen) == len(IDS) + 1
    assert batch.digest() == batch_digest(CONTEXT, IDS)
    assert batch.count == len(IDS)


@pytest.mark.parametrize("ids", [[IDS[1], IDS[0]], [IDS[1], IDS[1]], [IDS[0], IDS[2], IDS[1]], [b"short"], [b"x" * 33]])
def test_ids_that_do_not_increase_are_refused(ids: list[bytes]) -> None:
    """A repeated, disordered or malformed id stops the batch."""
    with pytest.raises(BatchRefused):
        batch_digest(CONTEXT, ids)
