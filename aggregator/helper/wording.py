"""What an officer reads beside the summary that everyone reads (``models.queries.summaries``)."""

from __future__ import annotations

from models.wire.studies import Study, TrainQuery


def local_layer(study: Study) -> str:
    """What remains if leader and helper work together, apart from its epsilon."""
    query = study.query
    if not isinstance(query, TrainQuery):
        return "A question like this has no local layer: leader and helper together could read single reports."
    if not query.local.noise_multiplier:
        return "Training clips each row and adds no noise on the device: together they could read single updates."
    return (
        f"Each device trains with noise of its own (multiplier {query.local.noise_multiplier:g} on every step), which "
        "would still protect single training rows, model updates only."
    )
