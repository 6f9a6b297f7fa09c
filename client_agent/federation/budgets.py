"""The budgets of everyone behind this agent: replayed from the store at a start, checked against the mirror."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from client_agent.clocks import Clock, boot_id
from client_agent.store import CONTRACT, AgentStore, LedgerRow
from privacy.accounting import (
    NO_QUOTAS,
    AccountingError,
    Contract,
    Elapsed,
    LedgerState,
    Quotas,
    Times,
    forfeit,
    lifetime_epsilon,
    open_ledger,
    read_terms,
    reopen,
    replay,
    spent_epsilon,
    spent_shares,
)

_log = logging.getLogger(__name__)

LEDGER_LOST = "ledger lost"
"""Purpose of the row that spends what is left when the ledger is not the one that the mirror remembers."""
_LOST, _TERMS, _ELAPSED, _SIGNED = "ledger-lost", "contract", "elapsed", "signed-seconds"
_MOVED = "owner hidden"
_LOCAL, _QUOTAS = "local-contracts", "quotas"


@dataclass(slots=True)
class Budget:
    """One person's budget on this device, for all sites and leaders.

    Attributes:
        owner: the person's pseudonym in this store's ledgers.
        contract: the ledger of everything released about the device.
        local: by study, the ledgers of the local layer.
    """

    owner: str
    contract: LedgerState
    local: dict[str, LedgerState] = field(default_factory=dict)


class Budgets:
    """All budgets, in memory; every change is a row that the caller stores in its transaction.

    Args:
        store: the agent's store.
        contract: what holds from now on; another one than before carries the spend over.
        clock: the machine's clocks.
        quotas: what each purpose may take of it from now on; none unless given.

    Raises:
        ContractInvalid: the contract's order is higher than the stored one.
    """

    def __init__(self, store: AgentStore, contract: Contract, clock: Clock, quotas: Quotas = NO_QUOTAS) -> None:
        self.contract = contract
        self.quotas = quotas
        self._store = store
        self._clock = clock
        self._budgets: dict[str, Budget] = {}
        self._forgotten: set[str] = set()
        with store.transaction():
            self._lost = self._loss()
            self._stored, self._heads = store.ledgers.rows(), store.ledgers.heads()
            moved = store.ledgers.hide_owners() or {}
            self._load(moved)
            self._move_local(moved)
        store.facts.put(_TERMS, contract.terms())
        store.facts.put(_QUOTAS, json.dumps(dict(quotas.shares)).encode())

    def of(self, person: str) -> Budget:
        """A person's budget; an empty one, or a spent one after a loss, for somebody new."""
        owner = self._store.ledgers.owner_of(person)
        if owner not in self._budgets:
            with self._store.transaction():
                bodies = self._bodies(owner, CONTRACT)
                self._budgets[owner] = Budget(owner, self._replayed(owner, CONTRACT, self.contract, bodies))
        return self._budgets[owner]

    def forget(self, owner: str) -> None:
        """Read an owner's ledgers again when they are next asked for: an erasure rewrote them in another process."""
        self._budgets.pop(owner, None)
        self._forgotten.add(owner)

    def local(self, budget: Budget, study: str, contract: Contract) -> LedgerState:
        """The ledger of the local layer for one study, replayed on first use."""
        if study not in budget.local:
            with self._store.transaction():
                bodies = self._bodies(budget.owner, study)
                budget.local[study] = self._replayed(budget.owner, study, contract, bodies)
                self._remember_local(study, contract)
        return budget.local[study]

    def read_times(self, signed_seconds: int = 0) -> Times:
        """Both clocks now, kept so that neither runs backwards over a restart. Part of the caller's transaction."""
        stored = self._store.facts.get(_ELAPSED)
        reading, boot = self._clock.monotonic_seconds(), boot_id()
        elapsed = Elapsed(**json.loads(stored)) if stored else Elapsed(0.0, boot, reading)
        elapsed = elapsed.advance(boot, reading)
        signed = max(signed_seconds, int(self._store.facts.get(_SIGNED) or b"0"))
        self._store.facts.put(_ELAPSED, json.dumps(asdict(elapsed)).encode())
        self._store.facts.put(_SIGNED, str(signed).encode())
        return Times(signed, elapsed.total_seconds)

    def exhaust(self, people: Iterable[str], reason: str) -> None:
        """Spend everything that people have left, durably: a device whose past cannot be known."""
        with self._store.transaction():
            times = self.read_times()
            budgets = [self.of(person) for person in people]
            spent = [(budget, *forfeit(budget.contract, times, reason)) for budget in budgets]
            self._store.ledgers.append(LedgerRow(budget.owner, CONTRACT, row) for budget, _, row in spent)
        for budget, state, _ in spent:
            budget.contract = state

    def forget_rounds(self, person: str) -> None:
        """Erase what a person's ledgers say about studies and rounds, and keep the spend: one carried row in each."""
        budget = self.of(person)
        with self._store.transaction():
            budget.contract = self._carried(budget.contract, self.contract, (budget.owner, CONTRACT), "erased")
            for study, contract in _local_contracts(self._store).items():
                if self._store.ledgers.head_of(budget.owner, study) is not None:
                    state = self.local(budget, study, contract)
                    budget.local[study] = self._carried(state, contract, (budget.owner, study), "erased")

    def _remember_local(self, study: str, contract: Contract) -> None:
        """Keep the terms of a study's local layer, so that ``inspect`` can read its ledgers without the study."""
        known = _local_contracts(self._store)
        if known.get(study) != contract:
            packed = {name: terms.terms().hex() for name, terms in {**known, study: contract}.items()}
            self._store.facts.put(_LOCAL, json.dumps(packed).encode())

    def _carried(self, old: LedgerState, contract: Contract, ledger: tuple[str, str], reason: str) -> LedgerState:
        """Put one row with the spend in the place of a ledger's rows. Part of the caller's transaction."""
        state, rows = reopen(old, contract, ledger[0], self.read_times(), reason)
        self._store.ledgers.replace(*ledger, rows)
        return state

    def _move_local(self, moved: Mapping[str, str]) -> None:
        """Carry the local layers' spend over to the pseudonyms.

        Where a study's terms are unknown the rows go along as they are: they do not verify for another owner, so that
        all that the study may cost counts as spent.
        """
        known = _local_contracts(self._store)
        for name, study in [key for key in self._ledgers() if key[0] in moved and key[1] != CONTRACT]:
            bodies, owner = self._stored.pop((name, study), []), moved[name]
            self._forgotten.add(owner)
            if study not in known:
                self._store.ledgers.rename(name, study, owner)
                continue
            self._carried(self._replayed(name, study, known[study], bodies), known[study], (owner, study), _MOVED)
            self._store.ledgers.replace(name, study, ())

    def _ledgers(self) -> list[tuple[str, str]]:
        return sorted(self._stored.keys() | self._heads.keys())

    def _load(self, moved: Mapping[str, str]) -> None:
        stored_terms = self._store.facts.get(_TERMS)
        before = read_terms(stored_terms) if stored_terms else self.contract
        for owner, _ in [key for key in self._ledgers() if key[1] == CONTRACT]:
            state = self._replayed(owner, CONTRACT, before, self._stored.pop((owner, CONTRACT), []))
            if owner in moved or before.terms() != self.contract.terms():
                self._store.reports.bar_rounds()  # a ledger that is reopened forgets which rounds it paid for
                reason = _MOVED if owner in moved else "contract changed"
                state = self._carried(state, self.contract, (moved.get(owner, owner), CONTRACT), reason)
            if owner in moved:
                self._store.ledgers.replace(owner, CONTRACT, ())
            self._budgets[moved.get(owner, owner)] = Budget(moved.get(owner, owner), state)

    def _bodies(self, owner: str, name: str) -> list[bytes]:
        """A ledger's rows as read at the start, or as they stand where that reading was overtaken."""
        if owner not in self._forgotten:
            return self._stored.pop((owner, name), [])
        head = self._store.ledgers.head_of(owner, name)
        if head is not None:
            self._heads[owner, name] = head
        return self._store.ledgers.rows_of(owner, name)

    def _replayed(self, owner: str, name: str, contract: Contract, bodies: list[bytes]) -> LedgerState:
        try:
            state = replay(contract, owner, bodies, self._heads.pop((owner, name), None))
        except AccountingError as error:
            _log.error("the ledger of %s is damaged and counts as spent: %s", name[:12] or "the contract", error)
            # What a damaged ledger had spent is unknown: everything is.
            state, row = forfeit(open_ledger(contract, owner), self.read_times(), LEDGER_LOST)
            self._store.ledgers.replace(owner, name, (row,))
            return state
        return self._guarded(owner, name, state)

    def _guarded(self, owner: str, name: str, state: LedgerState) -> LedgerState:
        """After a loss every ledger starts spent, those of people who come later too."""
        if not self._lost or any(item.purpose == LEDGER_LOST for item in state.active):
            return state
        state, row = forfeit(state, self.read_times(), LEDGER_LOST)
        self._store.ledgers.append([LedgerRow(owner, name, row)])
        return state

    def _loss(self) -> bool:
        if not self._store.ledgers.intact():
            times = self.read_times()
            self._store.facts.put(_LOST, json.dumps(asdict(times)).encode())
            self._store.ledgers.announce()
            return True
        noted = self._store.facts.get(_LOST)
        if noted and self.read_times().past(Times(**json.loads(noted)), self.contract.window_seconds):
            self._store.facts.remove(_LOST)
            return False
        return noted is not None


@dataclass(frozen=True, slots=True)
class Spend:
    """What a person's ledger says, for the person to see: device level, zero-out.

    Attributes:
        contract: what holds.
        spent_epsilon: the filter's figure for what counts now.
        lifetime_epsilon: the odometer.
        charges: rows in the ledger.
        intact: the ledger is whole and no loss was recorded.
        quotas: by purpose, the share of the contract that it may take; ``"*"`` for every other.
        taken: by purpose, the share of the contract that it has taken.
        local_epsilon: what holds if leader and helper collude, over all studies together (per training row, zero-out,
            at ``local_delta``): the sum of ``local``, by basic composition, since several studies train on the same
            rows (Dwork and Roth 2014, theorem 3.16: epsilons add, and deltas add). No filter bounds the sum; each
            study has one of its own. None where no such layer was ever charged.
        local_delta: of that figure: the sum of the studies' deltas.
        local: by study's digest, the figure of its local layer (per training row, zero-out, the study's delta).
    """

    contract: Contract
    spent_epsilon: float
    lifetime_epsilon: float
    charges: int
    intact: bool
    quotas: dict[str, float]
    taken: dict[str, float]
    local_epsilon: float | None
    local_delta: float
    local: dict[str, float]


def inspect(store: AgentStore, person: str, clock: Clock) -> Spend | None:
    """Read a person's spend without changing anything; None before a worker ever charged on this device."""
    with store.transaction():
        owner = store.ledgers.owner_of(person)
        terms, stored = store.facts.get(_TERMS), store.facts.get(_ELAPSED)
        if terms is None or stored is None:
            return None
        contract, bodies = read_terms(terms), store.ledgers.rows_of(owner, CONTRACT)
        head, quotas = store.ledgers.head_of(owner, CONTRACT), json.loads(store.facts.get(_QUOTAS) or b"{}")
        intact = store.ledgers.intact() and store.facts.get(_LOST) is None
        signed = int(store.facts.get(_SIGNED) or b"0")
        local = _local_spend(store, owner)
    elapsed = Elapsed(**json.loads(stored)).advance(boot_id(), clock.monotonic_seconds())
    times = Times(signed, elapsed.total_seconds)
    try:
        state = replay(contract, owner, bodies, head)
    except AccountingError:
        state, intact = forfeit(open_ledger(contract, owner), times, LEDGER_LOST)[0], False
    return Spend(
        contract=contract,
        spent_epsilon=spent_epsilon(state, times),
        lifetime_epsilon=lifetime_epsilon(state),
        charges=state.length,
        intact=intact,
        quotas=quotas,
        taken=spent_shares(state, times),
        local_epsilon=math.fsum(figure for figure, _ in local.values()) if local else None,
        local_delta=math.fsum(delta for _, delta in local.values()),
        local={study: figure for study, (figure, _) in local.items()},
    )


def _local_spend(store: AgentStore, owner: str) -> dict[str, tuple[float, float]]:
    """By study, (epsilon, delta) of its local layer; a ledger that does not verify counts as all it could spend."""
    figures = {}
    for study, contract in _local_contracts(store).items():
        bodies = store.ledgers.rows_of(owner, study)
        try:
            head = store.ledgers.head_of(owner, study)
            if bodies or head:
                figures[study] = (lifetime_epsilon(replay(contract, owner, bodies, head)), contract.delta)
        except AccountingError:
            figures[study] = (contract.epsilon, contract.delta)
    return figures


def _local_contracts(store: AgentStore) -> dict[str, Contract]:
    """By study: the contract of its local layer on this device."""
    stored = json.loads(store.facts.get(_LOCAL) or b"{}")
    return {study: read_terms(bytes.fromhex(packed)) for study, packed in stored.items()}


def forget_rounds(store: AgentStore, person: str, clock: Clock) -> None:
    """Erase what a person's ledgers say about studies and rounds, and keep its spend. Run at an erasure."""
    terms = store.facts.get(_TERMS)
    if terms is not None:
        stored_quotas = Quotas(json.loads(store.facts.get(_QUOTAS) or b"{}"))
        Budgets(store, read_terms(terms), clock, stored_quotas).forget_rounds(person)
