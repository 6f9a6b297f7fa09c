"""The coverage that the leader shows beside a result, held against the simulated truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.wire.studies import CoverageQuery, Study
from simulations.demo.outcome import BandOutcome, CoverageOutcome

ALL_BANDS = "all together"


def covered(shown: Mapping[str, Any], study: Study | None, counted: Mapping[str, list[list[int]]]) -> CoverageOutcome:
    """Put the truth beside what was released.

    Args:
        shown: ``coverage`` of a study's results, as the leader answers.
        study: the coverage study that it comes from; None where there is none.
        counted: by digest of a coverage study, what the simulated devices counted (``FleetReport.counted``).
    """
    if shown["status"] != "estimated" or study is None:
        return CoverageOutcome(shown["status"], shown.get("reason", ""), shown["unknown"])
    bands = [*shown["bands"], *([{**shown["overall"], "visits": ALL_BANDS}] if shown["overall"] else [])]
    truths = _truths(study, shown["purpose"], counted)
    return CoverageOutcome(
        status=shown["status"],
        figure=shown["figure"],
        study=shown["study_id"],
        epsilon=shown["epsilon"],
        unknown=shown["unknown"],
        under_represented=tuple(shown["under_represented"]),
        not_granted_at_most=shown["not_granted_at_most"],
        bands=[
            BandOutcome(band["visits"], truth, band["share"], band["low"], band["high"])
            for band, truth in zip(bands, truths, strict=True)
        ],
    )


def _truths(study: Study, purpose: str, counted: Mapping[str, list[list[int]]]) -> list[float]:
    """By band and then over all, the share among the simulated devices that counted themselves."""
    assert isinstance(study.query, CoverageQuery), "the leader named a coverage study"
    table = np.asarray(counted[study.study_hash().hex()], dtype=np.float64)
    if purpose not in study.query.purposes:  # measurement itself: the make-up of those counted
        return [float(share) for share in table[:, 0] / table[:, 0].sum()]
    granted = table[:, 1 + study.query.purposes.index(purpose)]
    whole = np.append(table[:, 0], table[:, 0].sum())
    return [float(share) for share in np.append(granted, granted.sum()) / np.maximum(whole, 1)]
