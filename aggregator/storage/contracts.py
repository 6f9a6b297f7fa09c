"""Which contract a service may start with: never more than its first one, or than two officers have signed since.

What is allowed is remembered in the store, so that settings alone never raise it. Raises lie as files in the folder
``budgets`` beside the settings, each with the proof that it stands in the leader's log; they are taken in by number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import SettingsInvalid
from aggregator.storage.database import Change
from aggregator.storage.ledger import LedgerStore, known_contract
from models.wire.budgets import BudgetRaise, BudgetState, BudgetTerms, LoggedRaise, check_logged, read_raise
from models.wire.problems import ProblemError
from privacy.accounting import Contract
from privacy.crypto import VerifyKey

if TYPE_CHECKING:
    from aggregator.settings import ServiceSettings

RAISES_FOLDER: Final = "budgets"
_FACT: Final = "budget"


@dataclass(frozen=True)
class Parties:
    """Whose budget it is, and who may raise it.

    Attributes:
        service: leader or helper.
        key: the service's public key.
        leader_key: signs the log.
        officers: two of them raise.
    """

    service: Literal["leader", "helper"]
    key: VerifyKey
    leader_key: VerifyKey
    officers: tuple[VerifyKey, ...]


def terms_of(settings: ServiceSettings) -> BudgetTerms:
    """What the settings ask for."""
    return BudgetTerms(
        epsilon=settings.budget_epsilon,
        delta=settings.budget_delta,
        window_seconds=settings.budget_window_seconds,
        quotas=dict(settings.quotas().shares),
        study_epsilon_cap=settings.study_epsilon_cap,
    )


async def contract_in_force(
    change: Change, store: LedgerStore, settings: ServiceSettings, parties: Parties
) -> Contract:
    """The contract to enforce, after every raise that has come; run at the start, before the ledger is loaded.

    The filter's order stays that of the ledger where the settings name none: what was spent is counted at it.

    Raises:
        SettingsInvalid: the settings ask for more than is allowed, or a raise does not verify; the line says what next.
    """
    asked, number, allowed = terms_of(settings), 0, None
    known = await known_contract(store, change.connection)
    stored = await store.fact(change.connection, _FACT)
    if stored is not None:
        number, allowed = _read(stored)
    elif known is not None:  # a store from before contracts were signed: its own is the first
        allowed = asked.model_copy(
            update={"epsilon": known.epsilon, "delta": known.delta, "window_seconds": known.window_seconds}
        )
    number, allowed = _take_in(settings, parties, number, allowed or asked)
    if more := asked.beyond(allowed):
        raise SettingsInvalid(
            f"{'; '.join(more)}: a raise needs two officers; go back to what was allowed, or have them sign one with "
            "'hearthside-aggregator officer raise', 'countersign' and 'install'"
        )
    await store.set_fact(change.connection, _FACT, json.dumps([number, allowed.document()]).encode())
    return settings.contract(keep_order=None if known is None else known.order)


async def budget_state(
    connection: AsyncConnection, store: LedgerStore, settings: ServiceSettings, parties: Parties
) -> BudgetState:
    """What the service says of its budget."""
    stored = await store.fact(connection, _FACT)
    assert stored is not None, "it is written before the service answers"
    number, allowed = _read(stored)
    return BudgetState(
        site=settings.site,
        service=parties.service,
        service_key=parties.key.raw.hex(),
        number=number,
        allowed=allowed,
        in_force=terms_of(settings),
    )


def raise_file(folder: Path, number: int) -> Path:
    """Where the raise of a number lies."""
    return folder / RAISES_FOLDER / f"{number:04d}.json"


def _read(stored: bytes) -> tuple[int, BudgetTerms]:
    number, terms = json.loads(stored)
    return int(number), BudgetTerms.model_validate(terms)


def _take_in(settings: ServiceSettings, parties: Parties, number: int, allowed: BudgetTerms) -> tuple[int, BudgetTerms]:
    while (path := raise_file(settings.directory, number + 1)).exists():
        found = _verified(path, parties)
        expected = (settings.site, parties.service, parties.key.raw.hex(), number + 1, allowed)
        if (found.site, found.service, found.service_key, found.number, found.before) != expected:
            raise SettingsInvalid(
                f"{path}: expected raise {number + 1} of this {parties.service} from epsilon {allowed.epsilon:g}; "
                "the document is about another service, number or contract"
            )
        number, allowed = found.number, found.after
    return number, allowed


def _verified(path: Path, parties: Parties) -> BudgetRaise:
    try:
        logged = LoggedRaise.model_validate_json(path.read_bytes())
        check_logged(logged, parties.leader_key)
        return read_raise(logged.signed, parties.officers)
    except ValidationError:
        raise SettingsInvalid(f"{path}: expected a signed raise; use 'hearthside-aggregator officer install'") from None
    except ProblemError as error:
        raise SettingsInvalid(f"{path}: {error.detail}") from None
