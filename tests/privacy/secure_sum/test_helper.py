"""The helper drops bad seals with a reason, refuses disorder, and never answers below the minimum cohort."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from privacy.crypto import SealPrivateKey
from privacy.secure_sum import (
    BatchRefused,
    CohortExceeded,
    CohortTooSmall,
    PeerMisbehaved,
    SealFailure,
    ValuesInvalid,
    batch_digest,
    noised_share,
)
from privacy.secure_sum.reports import SealedPayload, seal_info


def by_id(seals: list[bytes]) -> list[bytes]:
    return sorted(seals, key=lambda seal: hashlib.sha256(seal).digest())


def outcome(round_: object, seal: bytes, **withdrawn: dict[bytes, bytes]) -> list[SealFailure]:
    """Add the seal among two honest ones and return the reasons for what was dropped."""
    helper = round_.helper(**withdrawn)
    for each in by_id([seal, *(report.seal for report in round_.reports(2))]):
        helper.add(each)
    assert helper.opened + len(helper.failed) == 3
    return [failure.reason for failure in helper.failures]


def test_honest_seals_open(round_: object) -> None:
    """All masks are counted and the batch is the one that the leader closed."""
    reports = round_.reports(5)
    helper = round_.helper()
    for report in reports:
        helper.add(report.seal)
    assert (helper.opened, helper.failed) == (5, [])
    assert helper.batch == batch_digest(round_.context, [report.report_id for report in reports])


@pytest.mark.parametrize(
    "damage",
    [
        lambda seal: seal[:-1],
        lambda seal: seal[:100],
        lambda seal: seal[:0],
        lambda seal: seal + b"\0",
        lambda seal: bytes(len(seal)),
        lambda seal: bytes([seal[0] ^ 1]) + seal[1:],
        lambda seal: seal[:-1] + bytes([seal[-1] ^ 1]),
    ],
)
def test_a_truncated_or_forged_seal_is_dropped_alone(round_: object, damage: Callable[[bytes], bytes]) -> None:
    """One bad seal costs that report and nothing else."""
    assert outcome(round_, damage(round_.report().seal)) == [SealFailure.UNOPENED]


@pytest.mark.parametrize("part", ["study_hash", "model_hash", "leader_key", "helper_key", "policy_hash"])
def test_a_seal_from_another_context_does_not_open(round_: object, part: str) -> None:
    """Two models, studies, keys or policies in one round: the odd ones out fail."""
    other = replace(round_.context, **{part: b"x" * 32})
    assert outcome(round_, round_.report(context=other).seal) == [SealFailure.UNOPENED]


def test_a_seal_to_another_key_does_not_open(round_: object) -> None:
    """A report to last round's key is lost, not counted."""
    seal = SealPrivateKey(bytes(range(96))).public.seal(bytes(104), seal_info(round_.context))
    assert outcome(round_, seal) == [SealFailure.UNOPENED]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (bytes(103), SealFailure.MALFORMED),
        (bytes(105), SealFailure.MALFORMED),
        (SealedPayload(bytes(32), b"stale".ljust(32), 2**40, bytes(32)).to_bytes(), SealFailure.POLICY),
    ],
)
def test_a_payload_that_is_wrong_inside_is_dropped(round_: object, payload: bytes, reason: SealFailure) -> None:
    """Its length and its policy hash are checked though the seal itself opens."""
    assert outcome(round_, round_.round_key.public.seal(payload, seal_info(round_.context))) == [reason]


@pytest.mark.parametrize(("margin", "reasons"), [(0, [SealFailure.EXPIRED]), (-5, [SealFailure.EXPIRED]), (1, [])])
def test_a_report_expires_at_its_second(round_: object, margin: int, reasons: list[SealFailure]) -> None:
    """Expiry must lie after now."""
    assert outcome(round_, round_.report(expires_at=round_.now + margin).seal) == reasons


def test_a_withdrawn_report_is_dropped_by_its_token_only(round_: object) -> None:
    """The right token takes the report back; a guess does not."""
    report = round_.report()
    right = {report.report_id: round_.tokens[report.report_id]}
    assert outcome(round_, report.seal, withdrawn=right) == [SealFailure.WITHDRAWN]
    assert outcome(round_, report.seal, withdrawn={report.report_id: b"guess"}) == []


def test_withdrawals_can_be_a_look_up(round_: object) -> None:
    """A store's function serves as well as a mapping."""
    reports = round_.reports(3)
    helper = type(round_.helper())(
        round_.params, round_.context, round_.round_key, now=round_.now, withdrawn=round_.tokens.get
    )
    for report in reports:
        helper.add(report.seal)
    assert helper.failed == [report.report_id for report in reports]


def test_a_repeated_or_disordered_seal_stops_the_batch(round_: object) -> None:
    """A leader cannot have one seal summed twice."""
    first, second = round_.reports(2)
    helper = round_.helper()
    helper.add(second.seal)
    for seal in (second.seal, first.seal):
        with pytest.raises(BatchRefused) as refusal:
            helper.add(seal)
        assert isinstance(refusal.value, PeerMisbehaved)
    assert helper.opened == 1


def test_no_total_below_the_minimum_cohort(make_round: Callable) -> None:
    """Dropped reports do not count towards the minimum."""
    case = make_round(minimum_cohort=3)
    reports = case.reports(3)
    helper = case.helper({reports[1].report_id: case.tokens[reports[1].report_id]})
    for report in reports:
        helper.add(report.seal)
    with pytest.raises(CohortTooSmall, match="at least 3 opened seals, got 2"):
        _ = helper.total


def test_no_more_seals_than_the_maximum_cohort(make_round: Callable) -> None:
    """The sum was proven not to wrap for that many."""
    case = make_round(maximum_cohort=2)
    helper = case.helper()
    reports = case.reports(3)
    for report in reports[:2]:
        helper.add(report.seal)
    with pytest.raises(CohortExceeded):
        helper.add(reports[2].seal)


def test_a_share_needs_whole_vectors(round_: object) -> None:
    """Noise of another length or type is refused: a broadcast would noise nothing well."""
    total = np.zeros(13, dtype=np.uint64)
    for noise in (np.zeros(1, dtype=np.int64), np.zeros(13)):
        with pytest.raises(ValuesInvalid):
            noised_share(total, noise, round_.params)


def test_the_running_sum_is_not_shown(round_: object) -> None:
    """The helper's repr has counts only."""
    assert repr(round_.helper()) == "HelperSum(opened=0, failed=0, total=<redacted>)"
