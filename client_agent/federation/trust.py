"""What a round must prove before a device has anything to do with it. Pure: bytes and a time in, a verdict out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from client_agent.enrolment import Pins
from client_agent.errors import RefusalCode, RoundRefused
from consent import registry_hash
from models.wire.features import FEATURES, missing
from models.wire.future import FutureStudy
from models.wire.limits import CLOCK_SKEW_SECONDS, LONGEST_WINDOW_SECONDS
from models.wire.message import Message, from_base64
from models.wire.rounds import (
    CHECKPOINT_TYPE,
    OPENING_TYPE,
    Checkpoint,
    Opening,
    RoundWork,
    model_hash,
    study_entry,
    sum_context,
)
from models.wire.studies import APPROVAL_TYPE, Decision, Study, purpose_of
from privacy.crypto import CryptoError, KeyInvalid, SealPublicKey, VerifyKey, verify_document
from privacy.crypto.merkle import leaf_hash, verify_inclusion
from privacy.secure_sum import SecureSumError, SumContext, SumParameters

CLOCK_SKEW_MS = CLOCK_SKEW_SECONDS * 1_000
LONGEST_WINDOW_MS = LONGEST_WINDOW_SECONDS * 1_000
_Kind = TypeVar("_Kind", bound=Message)


@dataclass(frozen=True, slots=True)
class VerifiedRound:
    """A round that checked out: everything a device needs to answer it.

    Attributes:
        study: the approved study.
        study_hash: its digest (32 bytes).
        round: the round's number.
        opening: the helper's word on key, window and log.
        opening_digest: digest of the signed opening (32 bytes); a second opening of the round is refused by it.
        source: the signed opening and approval, so that what was verified need not be verified again.
        context: what every derivation binds.
        parameters: of the sum.
        round_key: the helper's sealing key of this round.
        model: the round's model: flat little-endian float32, empty for a question that needs none.
        approval: digest of the officer's signed approval, in hex; named in every charge.
        supported: this version can do all that the study needs; if not, nulls are sent.
    """

    study: Study
    study_hash: bytes
    round: int
    opening: Opening
    opening_digest: bytes
    source: tuple[str, str] = field(repr=False)
    context: SumContext
    parameters: SumParameters
    round_key: SealPublicKey
    model: bytes = field(repr=False)
    approval: str
    supported: bool

    @property
    def key(self) -> tuple[bytes, int]:
        """Names the round on this device."""
        return self.study_hash, self.round


def verify_round(
    item: RoundWork,
    checkpoint: str | None,
    pins: Pins,
    now_ms: int,
    model: bytes,
    features: frozenset[str] = FEATURES,
) -> VerifiedRound:
    """Check a round against the pinned keys. Run by the device; for everyone behind one gateway once.

    Args:
        item: the round as polled.
        checkpoint: the leader's signed log checkpoint that came with it, None if there was none.
        pins: the keys that were given out of band.
        now_ms: Unix milliseconds.
        model: the bytes that the leader served as the round's model.
        features: what this version can do.

    Raises:
        RoundRefused: with the code of the check that failed.
    """
    study = item.study
    study_hash = study.study_hash()
    _check_keys(study, pins)
    _check_approval(item, study_hash, pins)
    opening = _opening(item, pins)
    _check_opening(opening, study, study_hash, model)
    _check_log(item, opening, checkpoint, pins)
    _check_times(study, opening, now_ms)
    try:
        parameters, round_key = study.plan.parameters(), SealPublicKey(from_base64(opening.round_key))
    except (SecureSumError, KeyInvalid, ValueError) as error:
        raise RoundRefused("parameters", str(error)) from None
    return VerifiedRound(
        study=study,
        study_hash=study_hash,
        round=opening.round,
        opening=opening,
        opening_digest=hashlib.sha256(item.opening.encode()).digest(),
        source=(item.opening, item.approval),
        context=sum_context(study, opening.round, model_hash(model)),
        parameters=parameters,
        round_key=round_key,
        model=model,
        approval=hashlib.sha256(item.approval.encode()).hexdigest(),
        supported=not lacking(study, features),
    )


def lacking(study: Study, features: frozenset[str] = FEATURES) -> list[str]:
    """What a study needs and this version cannot do; empty where it can be answered."""
    form = [f"study/{study.version}:{study.query.question}"] if isinstance(study, FutureStudy) else []
    return [*form, *missing(study.needs, features)]


def claimed_model(item: RoundWork, pins: Pins) -> str:
    """The hex digest of the model that the helper's opening names: which model to fetch.

    Raises:
        RoundRefused: the helper did not sign the opening.
    """
    return _opening(item, pins).model_hash


def claimed_tree(item: RoundWork, pins: Pins) -> Checkpoint:
    """The tree of the leader's log that the helper's opening states.

    Raises:
        RoundRefused: the helper did not sign the opening.
    """
    return _opening(item, pins).checkpoint


def _check_keys(study: Study, pins: Pins) -> None:
    expected = (pins.leader_key.raw.hex(), pins.helper_key.raw.hex())
    _require((study.leader_key, study.helper_key) == expected, "keys", "the study names services that are not pinned")
    _require(study.site == pins.site, "keys", "the study is for another site")
    if not isinstance(study, FutureStudy):  # which purpose a question of a newer form is for, a newer version knows
        purpose = purpose_of(study.query)
        _require(study.purpose == purpose, "purpose", f"the question is for purpose {purpose!r}, not {study.purpose!r}")
    _require(study.policy_hash == registry_hash().hex(), "policy", "the study was written for other purposes or texts")


def _check_approval(item: RoundWork, study_hash: bytes, pins: Pins) -> None:
    decision = _signed(Decision, item.approval, APPROVAL_TYPE, pins.officers, "approval")
    _require(decision.decision == "approve", "approval", f"the officer's decision is {decision.decision!r}")
    fits = (decision.study_hash, decision.study_id) == (study_hash.hex(), item.study.study_id)
    _require(fits, "approval", "the officer approved another study")


def _opening(item: RoundWork, pins: Pins) -> Opening:
    return _signed(Opening, item.opening, OPENING_TYPE, (pins.helper_key,), "opening")


def _check_opening(opening: Opening, study: Study, study_hash: bytes, model: bytes) -> None:
    fits = (opening.study_hash, opening.study_id) == (study_hash.hex(), study.study_id)
    _require(fits, "opening", "the opening is for another study")
    _require(opening.round <= study.rounds, "opening", f"round {opening.round} of a study of {study.rounds}")
    _require(opening.model_hash == model_hash(model).hex(), "model", "the model is not the one of the opening")


def _check_log(item: RoundWork, opening: Opening, checkpoint: str | None, pins: Pins) -> None:
    seen, proof = opening.checkpoint, item.inclusion
    try:
        path = [bytes.fromhex(node) for node in proof.path]
        verify_inclusion(leaf_hash(study_entry(item.study)), proof.index, seen.size, path, bytes.fromhex(seen.root))
    except CryptoError as error:
        raise RoundRefused("inclusion", str(error)) from None
    if checkpoint is not None:
        current = _signed(Checkpoint, checkpoint, CHECKPOINT_TYPE, (pins.leader_key,), "checkpoint")
        _require(current.size >= seen.size, "checkpoint", "the log is shorter than when the round was opened")
        same = current.size != seen.size or current.root == seen.root
        _require(same, "checkpoint", "the leader and the helper state different logs of one size")


def _check_times(study: Study, opening: Opening, now_ms: int) -> None:
    _require(now_ms < study.expires_at_ms, "expired", "the study has expired")
    _require(opening.opens_at_ms < opening.closes_at_ms, "window", "the window ends before it starts")
    window_ms = int(study.window_seconds * 1_000)
    _require(opening.closes_at_ms - opening.opens_at_ms <= window_ms, "window", "the window is not the study's")
    _require(window_ms <= LONGEST_WINDOW_MS, "window", "the study's window is longer than any may be")
    _require(now_ms < opening.closes_at_ms, "window", "the window is past")
    _require(opening.opens_at_ms <= now_ms + CLOCK_SKEW_MS, "window", "the window lies in the future")
    # The ledger keeps the latest signed time that it ever saw. One that lies far ahead would hold every later charge
    # until that day; one that lies behind would let a charge go too early. So it is bound to the window, which this
    # device's own clock has just confirmed.
    apart_ms = abs(opening.issued_at_ms - opening.opens_at_ms)
    _require(apart_ms <= CLOCK_SKEW_MS, "window", "the opening was not signed when it says that its window began")
    _require(opening.issued_at_ms <= now_ms + CLOCK_SKEW_MS, "window", "the opening was signed in the future")


def _signed(kind: type[_Kind], jws: str, typ: str, keys: tuple[VerifyKey, ...], code: RefusalCode) -> _Kind:
    try:
        return kind.model_validate(verify_document(jws, typ, keys))
    except ValidationError:
        raise RoundRefused(code, f"expected the fields of {kind.__name__}") from None
    except CryptoError as error:
        raise RoundRefused(code, str(error)) from None


def _require(holds: bool, code: RefusalCode, otherwise: str) -> None:  # noqa: FBT001 - the condition is the argument
    if not holds:
        raise RoundRefused(code, otherwise)
