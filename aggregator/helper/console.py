"""The officer's console: what is asked, what it costs, what was decided. It shows; a decision is signed elsewhere."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

from aggregator.helper.office import Office
from aggregator.storage.helper import Record
from models.wire.studies import Decision, Study, TrainQuery

FOLDER = Path(__file__).parent
_PAGES = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class ProposalView:
    """One proposal as an officer reads it.

    ``plan_epsilon`` is the filter's figure for the whole study (device level, zero-out, the study's delta);
    ``local`` says what holds if leader and helper collude.
    """

    study: Study
    study_hash: str
    state: str
    proposed: str
    plan_epsilon: float
    local: str
    decisions: tuple[tuple[str, str, str], ...]
    rounds: tuple[tuple[int, str, int | None], ...]


async def page(office: Office) -> str:
    """The console's one page."""
    proposals = await proposal_views(office)
    contract = office.budget.state.contract
    return _PAGES.get_template("console.html").render(
        site=office.settings.site,
        fingerprint=office.key.verify_key.fingerprint,
        leader=office.leader_key.fingerprint,
        officers=[key.fingerprint for key in office.officers],
        contract=contract,
        window_days=contract.window_seconds / 86_400,
        spent=office.budget.spent_epsilon(),
        lifetime=office.budget.lifetime_epsilon(),
        proposals=proposals,
    )


async def proposal_views(office: Office) -> list[ProposalView]:
    """Every proposal, newest first."""
    async with office.database.reading() as connection:
        found = [
            (
                proposal,
                await office.store.decisions(connection, proposal.study_hash),
                await office.store.rounds(connection, proposal.study_hash),
            )
            for proposal in await office.store.proposals(connection)
        ]
    return await asyncio.to_thread(lambda: [_view(office, *item) for item in found])


def _view(office: Office, proposal: Record, decisions: list[Record], rounds: list[Record]) -> ProposalView:
    study = Study.model_validate_json(proposal.body)
    return ProposalView(
        study=study,
        study_hash=proposal.study_hash.hex(),
        state=proposal.state,
        proposed=_instant(proposal.proposed_at_ms),
        plan_epsilon=office.budget.plan_epsilon(study),
        local=_local(study),
        decisions=tuple((row.decision, _instant(row.recorded_at_ms), _reason(row.jws)) for row in decisions),
        rounds=tuple((row.number, row.state, row.opened) for row in rounds),
    )


def _local(study: Study) -> str:
    if not isinstance(study.query, TrainQuery):
        return "none: a measurement is in clear to leader and helper together"
    noise = study.query.local.noise_multiplier
    return (
        f"local noise multiplier {noise:g} on each training row" if noise else "none: rows are clipped, without noise"
    )


def _reason(jws: str) -> str:
    import base64

    body = jws.split(".")[1]
    return Decision.model_validate_json(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).reason


def _instant(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1_000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
