"""What is checked of a study before anyone is asked to approve it."""

import pytest
from pydantic import ValidationError

from models.learning.steps import check_study
from models.wire.problems import ProblemError
from models.wire.studies import LocalStudyPlan, Study, SumPlan
from simulations.demo.plans import Parties, coverage, intent, measurement

PARTIES = Parties("00" * 32, "11" * 32, 1_780_000_000_000)


def study_with(*, delta=1e-5, plan=None, **local) -> Study:
    """The demo's training study with local noise and some constants changed, whatever their ranges say."""
    study = intent().build(PARTIES)
    local = study.query.local.model_copy(update={"noise_multiplier": 1.0, **local})
    query = study.query.model_copy(update={"local": local})
    return study.model_copy(update={"query": query, "delta": delta, "plan": study.plan.model_copy(update=plan or {})})


def test_the_demos_studies_pass_with_and_without_local_noise():
    """What is shipped can be priced."""
    for study in (
        coverage().build(PARTIES),
        measurement().build(PARTIES),
        intent().build(PARTIES),
        study_with(),
        study_with(epsilon_cap=8.0),
    ):
        check_study(study)


@pytest.mark.parametrize(
    ("study", "word"),
    [
        (study_with(noise_multiplier=1e-7), "noise_multiplier"),
        (study_with(epsilon_cap=1e-3), "epsilon_cap"),
        (study_with(delta=1e-300, epsilon_cap=0.5), "epsilon_cap"),
        (study_with(plan={"sampling_rate": 1e-10}), "sampling_rate"),
    ],
    ids=["local noise", "local cap", "local cap at delta", "sampling rate"],
)
def test_a_study_that_no_device_can_price_is_refused_with_what_was_expected(study, word):
    """Approved, it would be priced on every device, where nothing can be done about it any more."""
    with pytest.raises(ProblemError) as refused:
        check_study(study)
    assert refused.value.code == "invalid-study"
    assert "expected" in str(refused.value) or "enforce" in str(refused.value)
    assert word in str(refused.value)


def test_the_wires_ranges_are_those_of_the_events():
    """What no event can hold is no message either; local noise 0 is one, and means none."""
    study = study_with()
    for kind, body in ((SumPlan, {**study.plan.document(), "sampling_rate": 1e-10}),
                       (LocalStudyPlan, {**study.query.local.document(), "noise_multiplier": 1e-7}),
                       (LocalStudyPlan, {**study.query.local.document(), "epsilon_cap": 1e6})):  # fmt: skip
        with pytest.raises(ValidationError):
            kind.model_validate(body)
    assert LocalStudyPlan.model_validate({**study.query.local.document(), "noise_multiplier": 0}).noise_multiplier == 0
