"""The officer's console: what is asked, what it costs, what was decided. It shows; a decision is signed elsewhere."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aggregator.helper.office import Office
from aggregator.helper.wording import local_layer
from aggregator.storage.helper import Record
from aggregator.studies import StudyState
from models.queries.summaries import PlainSummary, summarise
from models.wire.limits import WAY_ALLOWANCE_SECONDS
from models.wire.studies import APPROVAL_TYPE, Decision, Study, TrainQuery
from privacy.accounting import DAY_SECONDS, LocalEvent, epsilon
from privacy.crypto import SignatureInvalid, VerifyKey, verify_document

FOLDER = Path(__file__).parent
ADDRESS: Final = "THIS-HELPERS-ADDRESS"
"""Stands in a command where the helper does not know under which name it is reached."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_WORDLESS_EPSILON: Final = 12.0
"""Above it the factor e^epsilon says nothing that a person could use."""
_PAGES = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class DecisionView:
    """An officer's signed decision.

    Attributes:
        verdict: ``approve``, ``refuse`` or ``stop``.
        reason: as signed.
        decided: when the officer says to have signed it.
        officer: fingerprint of the key whose signature verified just now; empty where no accepted key fits any more.
        jws: the signed document itself.
    """

    verdict: str
    reason: str
    decided: str
    officer: str
    jws: str


@dataclass(frozen=True)
class RoundView:
    """A round as the helper knows it. ``opened`` counts the seals that it opened; None before its one answer."""

    number: int
    state: str
    opened: int | None
    opened_at: str
    answered_at: str


@dataclass(frozen=True)
class ProposalView:
    """One proposal as an officer reads it.

    Attributes:
        study: what was proposed.
        study_hash: its digest, hex: what an officer signs.
        state: as the helper keeps it.
        expired: it may not be run any more.
        proposed: when it came.
        expires: until when it may run.
        plan_epsilon: the filter's figure for the whole study (device level, zero-out, the study's delta).
        epsilon_after: what the window's spend would be with all of it (device level, zero-out, the contract's delta).
        local_epsilon: what holds if leader and helper collude (per training row, zero-out, the study's delta, all
            rounds); None where there is no such layer.
        local: that layer in words.
        words: what is asked, in words; ``german`` likewise.
        decisions: oldest first.
        rounds: in order.
    """

    study: Study
    study_hash: str
    state: str
    expired: bool
    proposed: str
    expires: str
    plan_epsilon: float
    epsilon_after: float
    local_epsilon: float | None
    local: str
    words: PlainSummary
    german: PlainSummary
    decisions: tuple[DecisionView, ...]
    rounds: tuple[RoundView, ...]

    @property
    def waiting(self) -> bool:
        """An officer is asked to decide."""
        return self.state == StudyState.PROPOSED and not self.expired

    @property
    def answered(self) -> tuple[RoundView, ...]:
        """The rounds that this helper has answered: what the study has cost so far."""
        return tuple(item for item in self.rounds if item.opened is not None)


async def page(office: Office) -> str:
    """The console's one page."""
    proposals = await proposal_views(office)
    contract = office.budget.state.contract
    return _PAGES.get_template("console.html").render(
        site=office.settings.site,
        fingerprint=office.key.verify_key.fingerprint,
        leader=office.leader_key.fingerprint,
        officers=[key.fingerprint for key in office.officers],
        address=_address(office.settings.hosts),
        contract=contract,
        window_days=max(0, contract.window_seconds - WAY_ALLOWANCE_SECONDS) / DAY_SECONDS,
        counted_days=contract.window_seconds / DAY_SECONDS,
        spent=office.budget.spent_epsilon(),
        factor=_factor,
        lifetime=office.budget.lifetime_epsilon(),
        waiting=[item for item in proposals if item.waiting],
        others=[item for item in proposals if not item.waiting],
        now=_instant(office.clock.now_ms()),
    )


async def proposal_views(office: Office) -> list[ProposalView]:
    """Every proposal, newest first."""
    async with office.database.reading() as connection:
        await office.store.ledger.catch_up(connection, office.budget)
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
    cost = office.budget.plan_epsilon(study)
    return ProposalView(
        study=study,
        study_hash=proposal.study_hash.hex(),
        state=proposal.state,
        expired=study.expires_at_ms <= office.clock.now_ms(),
        proposed=_instant(proposal.proposed_at_ms),
        expires=_instant(study.expires_at_ms),
        plan_epsilon=cost,
        epsilon_after=office.budget.epsilon_after(study),
        local_epsilon=_local_epsilon(study),
        local=local_layer(study),
        words=summarise(study, "en", cost),
        german=summarise(study, "de", cost),
        decisions=tuple(decision_view(row, office.officers) for row in decisions),
        rounds=tuple(_round(row) for row in rounds),
    )


def _local_epsilon(study: Study) -> float | None:
    if not isinstance(study.query, TrainQuery) or not study.query.local.noise_multiplier:
        return None
    local = study.query.local
    return _declared_local(local.noise_multiplier, local.steps * study.rounds, study.delta)


@lru_cache(maxsize=256)
def _declared_local(noise_multiplier: float, steps: int, delta: float) -> float:
    return epsilon([LocalEvent(noise_multiplier, 1.0, steps)], delta, "rdp")


def decision_view(row: Record, officers: tuple[VerifyKey, ...]) -> DecisionView:
    """A stored decision, verified again: the page names the officer whose signature it has just checked."""
    for key in officers:
        try:
            signed = Decision.model_validate(verify_document(row.jws, APPROVAL_TYPE, (key,)))
        except SignatureInvalid:
            continue
        return DecisionView(signed.decision, signed.reason, _instant(signed.decided_at_ms), key.fingerprint, row.jws)
    return DecisionView(row.decision, "", _instant(row.recorded_at_ms), "", row.jws)


def _round(row: Record) -> RoundView:
    answered_at = _instant(row.marked_at_ms) if row.marked_at_ms else ""
    return RoundView(row.number, row.state, row.opened, _instant(row.opened_at_ms), answered_at)


def _instant(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1_000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _factor(figure: float) -> str:
    """e^epsilon, in words: the factor by which a conclusion may become more likely."""
    return f"{math.exp(figure):.3g}" if figure <= _WORDLESS_EPSILON else "practically any number of"


def _address(hosts: tuple[str, ...]) -> str:
    if not hosts:
        return ADDRESS
    return ("http://" if hosts[0].startswith(_LOOPBACK) else "https://") + hosts[0]
