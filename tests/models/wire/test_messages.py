"""Messages are frozen and closed; a study names itself by its digest; problems come from one table."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.wire.bundle import Bundle, parse_bundle
from models.wire.enrolment import device_id, make_enrolment
from models.wire.message import from_base64
from models.wire.problems import PROBLEM_TYPES, ProblemError, problem_code
from models.wire.studies import Study
from privacy.crypto import SignatureInvalid, SigningKey
from simulations.demo.plans import Parties, coverage, intent, measurement, personas

PARTIES = Parties("00" * 32, "11" * 32, 1_780_000_000_000)
DRAFTS = (coverage(), measurement(), personas([1.0] * 8), intent())
STUDIES = [draft.build(PARTIES) for draft in DRAFTS]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.study_id)
def test_a_study_survives_the_wire_with_its_digest(study: Study) -> None:
    """Parsing a study's own bytes gives an equal study with an equal digest."""
    again = Study.model_validate_json(study.canonical())
    assert again == study
    assert again.study_hash() == study.study_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 2},
        {"delta": 2e-5},
        {"summary": "x"},
        {"plan": STUDIES[0].plan.model_copy(update={"noise_multiplier": 3.9})},
        {"leader_key": "22" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_to_a_study_changes_its_digest(change: dict[str, object]) -> None:
    """What the officer signs is exactly what runs."""
    assert STUDIES[0].model_copy(update=change).study_hash() != STUDIES[0].study_hash()


@pytest.mark.parametrize(
    "change",
    [{"surprise": 1}, {"version": 2}, {"delta": 0}, {"rounds": 0}, {"kind": "train"}, {"study_id": "../x"}],
    ids=str,
)
def test_unknown_fields_and_values_out_of_range_are_refused(change: dict[str, object]) -> None:
    """A message is closed: nothing unknown, nothing out of range."""
    with pytest.raises(ValidationError):
        Study.model_validate({**STUDIES[0].document(), **change})


def test_messages_cannot_be_changed() -> None:
    """A message is frozen."""
    with pytest.raises(ValidationError):
        STUDIES[0].rounds = 3


def test_an_enrolment_is_bound_to_its_leader() -> None:
    """The signature names the leader: it does not verify for another, and ids at two leaders differ."""
    device, leader, other = (SigningKey(bytes([i]) * 32) for i in range(3))
    enrolment = make_enrolment(device, leader.verify_key, "token", bytes(16), 1_000)
    signature = from_base64(enrolment.signature)
    device.verify_key.verify(signature, enrolment.signed_digest(leader.verify_key))
    with pytest.raises(SignatureInvalid):
        device.verify_key.verify(signature, enrolment.signed_digest(other.verify_key))
    assert device_id(leader.verify_key, device.verify_key) != device_id(other.verify_key, device.verify_key)


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_problem_survives_the_wire(code: str) -> None:
    """A problem's body leads back to its row of the table, with a 4xx or 5xx status."""
    body = ProblemError(code, "what, where, what next").body()
    assert problem_code(body) == code
    assert 400 <= body.status < 600


def test_bundles_are_padded_to_the_same_size_class() -> None:
    """The padded bytes are a multiple of 16 KiB and parse back."""
    bundle = Bundle(
        site="shop.example",
        bundle_version=1,
        published_at_ms=1,
        personas=None,
        intent=None,
        transitions=None,
        segments=(),
        modules=(),
        rules=(),
        provenance=(),
    )
    data = bundle.padded()
    assert len(data) % 16_384 == 0
    assert parse_bundle(data) == bundle
