"""One study's figures, from what the fleet knows before and after it: two studies may share a purpose."""

from __future__ import annotations

from models.wire.studies import Study
from privacy.accounting import Contract
from simulations.demo.outcome import CoverageOutcome, Quality, StudyOutcome
from simulations.fleet.fleet import FleetReport


def study_outcome(
    study: Study,
    rounds: int,
    contract: Contract,
    before: FleetReport | None,
    after: FleetReport,
    quality: Quality,
    seconds: float,
    coverage: CoverageOutcome | None = None,
) -> StudyOutcome:
    """What a study cost and sent, and how good it is.

    Args:
        study: the finished study.
        rounds: released rounds.
        contract: in whose currency devices were charged.
        before: the fleet before it; None where nothing was before.
        after: the fleet after it.
        quality: of its release.
        seconds: it took.
        coverage: which share of the devices granted its purpose.
    """
    purpose, nothing = study.purpose, (0.0,) * len(contract.caps)

    def grown(name: str) -> int:
        then = 0 if before is None else before.tallies.get(purpose, {}).get(name, 0)
        return after.tallies.get(purpose, {}).get(name, 0) - then

    then = nothing if before is None else before.charged.get(purpose, nothing)
    charged = zip(after.charged.get(purpose, nothing), then, strict=True)
    return StudyOutcome(
        name=study.study_id,
        kind=study.kind,
        purpose=purpose,
        rounds=rounds,
        epsilon_user=contract.epsilon_of(tuple(now - past for now, past in charged)),
        epsilon_local=after.local_epsilon.get(study.study_hash().hex()),
        delta=study.delta,
        reports=grown("sent_reports"),
        null_reports=grown("null_reports"),
        bytes_per_device=grown("sent_bytes") * rounds / max(grown("sent_reports"), 1),
        seconds=seconds,
        quality=quality,
        coverage=coverage,
    )
