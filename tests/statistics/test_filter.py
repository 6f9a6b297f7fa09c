"""The filters against adversaries: random ones by an independent accountant, optimal ones by exact enumeration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

from privacy.accounting import (
    BudgetExhausted,
    Charge,
    Contract,
    Costs,
    LedgerState,
    SumEvent,
    Times,
    can_pay,
    charge,
    open_ledger,
    price,
)

WINDOW = 100
START = Times(1_800_000_000, 5_000.0)
ANY_EVENT = SumEvent(1.0, 1.0)


ORDERS = (*(1 + 2 ** (step / 16) for step in range(-48, 120)), *range(3, 40))


@cache
def divergences(noise: float, rate: float) -> np.ndarray:
    """Divergences of one release at all orders, by the library alone."""
    accountant = RdpAccountant(ORDERS, NeighboringRelation.REPLACE_SPECIAL)
    gaussian = GaussianDpEvent(noise)
    accountant.compose(gaussian if rate == 1 else PoissonSampledDpEvent(rate, gaussian))
    return np.asarray(accountant.rdp)


class TestRandomAdversaries:
    """Random sequences of sampled and unsampled rounds; what was admitted is priced by dp-accounting alone."""

    CONTRACTS = (
        Contract(1.0, 1e-6, 30, WINDOW),
        Contract(4.0, 1e-6, 7, WINDOW),
        Contract(2.0, 1e-6, (8, 9, 12, 20), WINDOW),
        Contract(6.0, 1e-5, (3, 5, 9), WINDOW),
        Contract(2.0, 1e-6, "zcdp", WINDOW),
        Contract(8.0, 1e-5, "zcdp", WINDOW),
    )
    KINDS = tuple(itertools.product((1.0, 2.0, 4.0, 8.0, 16.0), (0.05, 0.3, 1.0)))
    COUNTS = (1, 1, 1, 2, 5)

    def admitted(self, contract: Contract, chance: random.Random) -> list[tuple[int, SumEvent]]:
        """One adversary: asks by whim, and for what just fits as soon as it was refused; returns when and what."""
        state, now, refused, paid = open_ledger(contract, "d"), 0, False, []
        for round_ in range(chance.randrange(4, 18)):
            noise, rate = chance.choice(self.KINDS)
            if contract.order == "zcdp":
                rate = 1.0
            if refused:
                noise = min(16.0, noise * chance.choice((1, 2, 4)))
            event = SumEvent(noise, rate, chance.choice(self.COUNTS))
            now += chance.choice((0, 0, 1, 20, 60))
            times = Times(START.signed_seconds + now, START.monotonic_seconds + now)
            try:
                state, _ = charge(state, Charge("s", round_, "p", event, price(event, contract), "", 0), times)
            except BudgetExhausted:
                refused = True
                continue
            paid.append((now, event))
        return paid

    def fullest_window(self, paid: list[tuple[int, SumEvent]]) -> np.ndarray:
        """The divergences inside that true window which spends most, by its best order."""
        windows = []
        for last, (end, _) in enumerate(paid):
            inside = [event for when, event in paid[: last + 1] if end - when < WINDOW]
            windows.append(sum(e.count * divergences(e.noise_multiplier, e.sampling_rate) for e in inside))
        orders = np.array(ORDERS)
        return max(windows, key=lambda rdp: float(np.min(rdp - np.log(1e-6 * orders) / (orders - 1))))

    def run(self, sequences: int, seed: int) -> None:
        chance, spent_most = random.Random(seed), 0.0
        for number in range(sequences):
            contract = self.CONTRACTS[number % len(self.CONTRACTS)]
            paid = self.admitted(contract, chance)
            if paid:
                total = self.fullest_window(paid)
                epsilon, _ = compute_epsilon(ORDERS, total, contract.delta)
                assert epsilon <= contract.epsilon * (1 + 1e-9), (number, contract, paid)
                spent_most = max(spent_most, epsilon / contract.epsilon)
        assert spent_most > 0.98, "the adversaries hardly used their budgets: nothing was tested"

    def test_no_random_adaptive_sequence_exceeds_the_contract(self):
        """20,000 sequences over all three filters, expiry included: the library's figure is at most the contract's."""
        self.run(20_000, 11)

    @pytest.mark.soak
    @pytest.mark.timeout(7_200)
    def test_no_random_adaptive_sequence_of_a_million_exceeds_the_contract(self):
        """The same, a million times."""
        self.run(1_000_000, 12)

    def test_a_filter_without_its_cap_would_be_caught(self, monkeypatch):
        """With caps a tenth too high the very same check fails: it can."""
        loose = Contract(1.0, 1e-6, 30, WINDOW)
        object.__setattr__(loose, "caps", (1.1 * loose.caps[0],))
        monkeypatch.setattr("privacy.accounting.book.cap_units", lambda contract: (int(contract.caps[0] * 2**128),))
        monkeypatch.setattr(self, "CONTRACTS", (loose,), raising=False)
        with pytest.raises(AssertionError, match="SumEvent"):
            self.run(3_000, 11)


@dataclass(frozen=True)
class Mechanism:
    """One bit: 1 with this probability where the device took part, and with that one where its record is null."""

    real: float
    null: float

    def outcomes(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(probability, privacy loss) of 1 and of 0."""
        one = (self.real, math.log(self.real / self.null))
        return one, (1 - self.real, math.log((1 - self.real) / (1 - self.null)))

    def flipped(self) -> Mechanism:
        """The other direction of the neighbouring relation."""
        return Mechanism(self.null, self.real)

    def divergence(self, order: float) -> float:
        """Renyi divergence, the larger of both directions, nats."""
        return max(self._one_way(order), self.flipped()._one_way(order))

    def _one_way(self, order: float) -> float:
        return math.log(sum(p * math.exp((order - 1) * loss) for p, loss in self.outcomes())) / (order - 1)

    def costs(self, contract: Contract) -> Costs:
        """What it costs: divergences, or rho = (largest loss)^2 / 2 (Bun and Steinke 2016, proposition 1.4)."""
        if contract.order == "zcdp":
            return (max(abs(loss) for _, loss in self.outcomes()) ** 2 / 2,)
        return tuple(self.divergence(order) for order in contract.orders)


def pay(state: LedgerState, mechanism: Mechanism) -> LedgerState | None:
    """The ledger after a mechanism, None if the filter refuses it."""
    costs = mechanism.costs(state.contract)
    if not can_pay(state, costs, START):
        return None
    return charge(state, Charge("s", state.length, "p", ANY_EVENT, costs, "", 0), START)[0]


def worst_case(contract: Contract, menu: tuple[Mechanism, ...]) -> float:
    """The exact hockey-stick divergence at the contract's epsilon of the best adversary that asks from a menu.

    The adversary sees every bit and picks the next mechanism, or stops; the ledger admits or refuses. The value of a
    position is a function of how often each mechanism gave 1 and 0, found by recursion; no sampling.
    """

    @cache
    def ledger(counts: tuple[int, ...]) -> LedgerState | None:
        if not any(counts):
            return open_ledger(contract, "d")
        last = max(at for at, count in enumerate(counts) if count)
        before = ledger(tuple(count - (at == last) for at, count in enumerate(counts)))
        return None if before is None else pay(before, menu[last])

    @cache
    def value(ones: tuple[int, ...], zeros: tuple[int, ...]) -> float:
        loss = sum(ones[at] * item.outcomes()[0][1] + zeros[at] * item.outcomes()[1][1] for at, item in enumerate(menu))
        best = max(0.0, -math.expm1(contract.epsilon - loss))
        for at, item in enumerate(menu):
            more = tuple(o + z + (which == at) for which, (o, z) in enumerate(zip(ones, zeros, strict=True)))
            if ledger(more) is None:
                continue
            step = tuple(int(which == at) for which in range(len(menu)))
            up = value(tuple(map(sum, zip(ones, step, strict=True))), zeros)
            down = value(ones, tuple(map(sum, zip(zeros, step, strict=True))))
            best = max(best, item.real * up + (1 - item.real) * down)
        return best

    nothing = (0,) * len(menu)
    return value(nothing, nothing)


def coin(bias: float) -> Mechanism:
    """Randomised response whose loss is +-bias."""
    return Mechanism(1 / (1 + math.exp(-bias)), 1 / (1 + math.exp(bias)))


def jump(probability: float, loss: float) -> Mechanism:
    """Rarely, much is lost: the shape that a Renyi bound is tight for."""
    return Mechanism(probability, probability * math.exp(-loss))


class TestExactAdversaries:
    """Small mechanisms, all outcomes, the exact divergence."""

    @pytest.mark.parametrize("order", [3, (3, 8), "zcdp"], ids=str)
    def test_the_best_adversary_stays_within_delta(self, order):
        """Whatever is asked from random menus, and in either direction, the exact divergence is at most delta."""
        chance, most = random.Random(3), 0.0
        for _ in range(12):
            contract = Contract(chance.choice((1.0, 2.0, 3.0)), chance.choice((0.05, 0.1)), order)
            menu = tuple(
                coin(chance.uniform(0.3, 0.9)) if chance.random() < 0.6 else jump(chance.uniform(0.01, 0.1), 1.5)
                for _ in range(3)
            )
            for way in (menu, tuple(item.flipped() for item in menu)):
                exact = worst_case(contract, way)
                assert exact <= contract.delta
                most = max(most, exact / contract.delta)
        assert most > 0.05, "nothing was released: nothing was tested"

    def test_the_filter_has_no_room_for_a_looser_cap(self):
        """A mechanism of the shape that the theorem is tight for takes nearly all of delta: a cap .05 up breaks it."""
        contract = Contract(8.0, 0.01, 2)
        loss = contract.epsilon + math.log(2)
        fits = max(p for p in np.linspace(0.01, 0.03, 2_001) if pay(open_ledger(contract, "d"), jump(float(p), loss)))
        assert 0.97 * contract.delta < worst_case(contract, (jump(float(fits), loss),)) <= contract.delta
        looser = jump(float(fits) * 1.04, loss)
        assert looser.divergence(2) <= contract.caps[0] + 0.05
        (p, gained), _ = looser.outcomes()
        assert p * -math.expm1(contract.epsilon - gained) > contract.delta


Admits = Callable[[list[Mechanism]], bool]


def shared(contract: Contract) -> Admits:
    """The ledger's own filter."""

    def admits(asked: list[Mechanism]) -> bool:
        state: LedgerState | None = open_ledger(contract, "d")
        for mechanism in asked:
            state = None if state is None else pay(state, mechanism)
        return state is not None

    return admits


def either(*filters: Admits) -> Admits:
    """What looks sound and is not: filters at the full delta, of which any may say yes: an order chosen afterwards."""
    return lambda asked: any(each(asked) for each in filters)


def two_steps(contract: Contract, orders: tuple[int, ...], admits: Admits, bias: float) -> float:
    """The exact divergence of an adversary that looks at one coin before it picks the order to exhaust.

    After heads the loss is up, and a high order has most left for a jump beyond epsilon; after tails a low one has.
    """
    first, exact = coin(bias), 0.0
    for probability, loss in first.outcomes():
        best = 0.0
        for order in orders:
            reach = contract.epsilon - loss + math.log(order / (order - 1))
            p = _largest(lambda share, reach=reach: admits([first, jump(share, reach)]))
            best = max(best, p * -math.expm1(contract.epsilon - loss - reach))
        exact += probability * best
    return exact


def _largest(holds: Callable[[float], bool]) -> float:
    low, high = 0.0, 1 - 1e-9
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if middle > 0 and holds(middle) else (low, middle)
    return low


class TestSeveralOrders:
    """Why K orders share delta."""

    ORDERS = (2, 40)
    CONTRACT = Contract(8.0, 0.01, ORDERS)

    def test_an_order_chosen_afterwards_exceeds_the_contract(self):
        """Two filters at the full delta each, of which one has to have room: the exact divergence is 1.4 delta."""
        full = either(*(shared(Contract(8.0, 0.01, order)) for order in self.ORDERS))
        assert two_steps(self.CONTRACT, self.ORDERS, full, 0.05) > 1.3 * self.CONTRACT.delta

    def test_sharing_delta_keeps_it(self):
        """The very same adversary against the contract's own filter stays within delta, for any first coin."""
        for bias in (0.01, 0.05, 0.2, 1.0):
            exact = two_steps(self.CONTRACT, self.ORDERS, shared(self.CONTRACT), bias)
            assert 0.3 * self.CONTRACT.delta < exact <= self.CONTRACT.delta

    @pytest.mark.parametrize("order", ORDERS)
    def test_one_order_fixed_beforehand_keeps_it(self, order):
        """So does either order alone at the full delta."""
        contract = Contract(8.0, 0.01, order)
        exact = two_steps(contract, self.ORDERS, shared(contract), 0.05)
        assert 0.8 * contract.delta < exact <= contract.delta
