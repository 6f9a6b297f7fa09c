"""Putting a round up for devices and taking it down: in memory alone, and safe to repeat; the store says which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aggregator.leader.open_rounds import OpenRound
from aggregator.leader.work import PublishedRound
from aggregator.storage.leader import Record
from models.wire.rounds import OPENING_TYPE, Opening, sum_context
from models.wire.studies import Study
from privacy.crypto import verify_document

if TYPE_CHECKING:
    from aggregator.leader.desk import Desk


def put_up(desk: Desk, row: Record) -> None:
    """Take reports for an open round and offer it to devices; ``row`` is of ``LeaderStore.open_rounds``."""
    if desk.open_rounds.find(row.context) is not None:
        return
    study = Study.model_validate_json(row.body)
    opening = Opening.model_validate(verify_document(row.opening, OPENING_TYPE, (desk.settings.helper_verify_key(),)))
    item = OpenRound(
        round_id=row.round_id,
        study=study,
        number=row.number,
        context=sum_context(study, row.number, row.model_hash),
        params=study.plan.parameters(),
        closes_at_ms=row.closes_at_ms,
        reported=row.reported,
    )
    inclusion = desk.ledger_log.inclusion(row.log_index, opening.checkpoint.size)
    desk.open_rounds.add(item)
    desk.board.put_up(row.context, PublishedRound(study, row.decision, row.opening, inclusion))
    desk.metrics.open_rounds.inc()


def take_down(desk: Desk, context: bytes) -> None:
    """Take no more reports for a round and offer it to no device."""
    if desk.open_rounds.find(context) is not None:
        desk.metrics.open_rounds.dec()
    desk.open_rounds.close(context)
    desk.board.take_down(context)
