"""What the services sign about a choice, checked. A word that does not verify is no confirmation."""

from __future__ import annotations

from pydantic import ValidationError

from consent import ConsentError, verify_countersignature
from models.wire.enrolment import REMOVAL_TYPE, Removal
from models.wire.problems import ProblemError
from models.wire.rounds import WITHDRAWN_TYPE, Withdrawn
from privacy.crypto import CryptoError, VerifyKey, verify_document


def confirmed_at(countersignature: str | None, receipt: bytes, leader_key: VerifyKey) -> int | None:
    """When the leader confirmed a receipt, Unix seconds by its clock; None where no word of it says so.

    Args:
        countersignature: as stored beside the receipt, whatever became of it there.
        receipt: the receipt's digest (32 bytes).
        leader_key: the leader's.
    """
    try:
        word = verify_countersignature(countersignature or "", leader_key)
    except ConsentError:
        return None
    return word.accepted_at if word.receipt == receipt else None


def read_withdrawn(jws: str, helper_key: VerifyKey, study_hash: bytes, number: int, report_id: bytes) -> Withdrawn:
    """The helper's word on one report. Run by the device with the pinned key, and by anyone with the public one.

    Args:
        jws: as signed.
        helper_key: the helper's.
        study_hash: the study (32 bytes) that the word has to be about.
        number: likewise the round.
        report_id: likewise the report (32 bytes).

    Raises:
        ProblemError: ``bad-signature``: forged, of another kind, or about another report.
    """
    try:
        word = Withdrawn.model_validate(verify_document(jws, WITHDRAWN_TYPE, (helper_key,)))
    except (CryptoError, ValidationError, RecursionError):
        raise ProblemError("bad-signature", "expected the helper's signed word on a withdrawal") from None
    if (word.study_hash, word.round, word.report_id) != (study_hash.hex(), number, report_id.hex()):
        raise ProblemError("bad-signature", "expected the helper's word on this report, got it on another")
    return word


def read_removal(jws: str, leader_key: VerifyKey, device_id: bytes, receipt: bytes) -> Removal:
    """The leader's word on the open rounds that it took a device out of.

    Args:
        jws: as signed.
        leader_key: the leader's.
        device_id: the device (16 bytes) that the word has to be about.
        receipt: digest of the receipt (32 bytes) that it has to answer.

    Raises:
        ProblemError: ``bad-signature``: forged, of another kind, or about another device or receipt.
    """
    try:
        word = Removal.model_validate(verify_document(jws, REMOVAL_TYPE, (leader_key,)))
    except (CryptoError, ValidationError, RecursionError):
        raise ProblemError("bad-signature", "expected the leader's signed word on what it took out") from None
    if (word.device_id, word.receipt) != (device_id.hex(), receipt.hex()):
        raise ProblemError("bad-signature", "expected the leader's word on this device's receipt, got another's")
    return word
