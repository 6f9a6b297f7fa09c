"""The filters of a contract: their terms, prices, exact sums, quotas, and what is carried from one to another."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting import (
    ZCDP,
    BudgetExhausted,
    Charge,
    ChargeInvalid,
    Contract,
    ContractInvalid,
    Costs,
    EventUnsuited,
    LedgerState,
    LocalEvent,
    QuotaExhausted,
    QuotaInvalid,
    Quotas,
    ResponseEvent,
    SumEvent,
    Times,
    TreeEvent,
    can_pay,
    charge,
    forfeit,
    lifetime_epsilon,
    open_ledger,
    price,
    rdp,
    read_terms,
    reopen,
    replay,
    spent,
    spent_epsilon,
    spent_shares,
)
from privacy.accounting.units import GRID_BITS, costs_of, down, nats, scaled, units_of, up

START = Times(1_800_000_000, 5_000.0)
EVENT = SumEvent(4.0, 1.0)
ONE = Contract(2.0, 1e-6, 9)
SEVERAL = Contract(2.0, 1e-6, (8, 9, 12))
CONCENTRATED = Contract(2.0, 1e-6, ZCDP)
FILTERS = [ONE, SEVERAL, CONCENTRATED]
PLAN = SumEvent(1.0, 0.01, 100)


def at(seconds: int) -> Times:
    """Both clocks, that many seconds after the start."""
    return Times(START.signed_seconds + seconds, START.monotonic_seconds + seconds)


def item(round_: int, costs: Costs, purpose: str = "intent") -> Charge:
    """A charge of these costs."""
    return Charge("study", round_, purpose, EVENT, costs, "", 0)


def share(contract: Contract, part: float) -> Costs:
    """That part of every cap."""
    return tuple(part * cap for cap in contract.caps)


def charged(contract: Contract, *parts: float, purpose: str = "intent") -> LedgerState:
    """A ledger that was charged these parts of its caps."""
    state = open_ledger(contract, "d")
    for part in parts:
        state, _ = charge(state, item(state.length, share(contract, part), purpose), START)
    return state


class TestTerms:
    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_terms_are_read_back(self, contract):
        """A contract comes back from its bytes; cut or longer bytes are no contract."""
        assert read_terms(contract.terms()) == contract
        for other in (contract.terms()[:-1], contract.terms() + b"\x00", b""):
            with pytest.raises(ContractInvalid):
                read_terms(other)

    def test_every_term_is_bound_by_the_genesis(self):
        """Another filter is another ledger, also where the orders begin alike."""
        contracts = [*FILTERS, Contract(2.0, 1e-6, (8, 9)), Contract(2.0, 1e-6, 9, 7), Contract(2.0, 2e-6, 9)]
        assert len({open_ledger(contract, "d").head for contract in contracts}) == len(contracts)

    def test_one_order_has_one_spelling(self):
        """A tuple of one is that order, in the genesis too."""
        assert Contract(2.0, 1e-6, (9,)) == ONE
        assert Contract(2.0, 1e-6, (9,)).terms() == ONE.terms()

    @pytest.mark.parametrize(
        "order", [(), (9, 8), (9, 9), (8, 9.0), (1, 9), (9, 2_000), tuple(range(20, 60)), "rdp", None, True, (True, 9)]
    )
    def test_orders_that_are_none_are_refused(self, order):
        """Empty, unsorted, doubled, fractional, out of range, too many, or a word that names no filter."""
        with pytest.raises(ContractInvalid, match="order"):
            Contract(4.0, 1e-6, order)

    def test_an_order_that_could_never_pay_is_refused(self):
        """It would cost the others their share of delta and give nothing; the message says which."""
        with pytest.raises(ContractInvalid, match="order 3 leaves nothing to spend"):
            Contract(2.0, 1e-6, (3, 9))

    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_a_cap_is_the_largest_spend_within_epsilon(self, contract):
        """At the cap the figure is epsilon; a hair above all caps it is more."""
        assert 2.0 - 1e-9 < contract.epsilon_of(contract.caps) <= 2.0
        assert contract.epsilon_of(share(contract, 1 + 1e-9)) > 2.0
        assert contract.epsilon_of((0.0,) * len(contract.caps)) == 0.0

    def test_the_figures_of_the_design(self):
        """The declared plan costs 1.513 at order 9 and 1.773 by eight orders that share delta."""
        eight = Contract(2.0, 1e-6, (8, 9, 10, 11, 12, 14, 16, 20))
        assert round(ONE.epsilon_of(price(PLAN, ONE)), 3) == 1.513
        assert round(eight.epsilon_of(price(PLAN, eight)), 3) == 1.773

    def test_another_delta_is_another_figure(self):
        """A study's own delta gives the figure that a contract of that delta would give."""
        for contract in FILTERS:
            other = replace(contract, delta=1e-5, epsilon=3.0)
            assert contract.epsilon_of(contract.caps, 1e-5) == other.epsilon_of(contract.caps)

    @pytest.mark.parametrize("rho", [1e-4, 0.01, 0.125, 1.0, 20.0])
    def test_zcdp_converts_by_the_best_order(self, rho):
        """The figure is the library's least over a far finer grid of orders, to a thousandth part."""
        orders = [1 + 10 ** (step / 200) for step in range(-400, 1_000)]
        finest, _ = compute_epsilon(orders, [order * rho for order in orders], 1e-6)
        assert finest * (1 - 1e-5) <= CONCENTRATED.epsilon_of((rho,)) <= finest * 1.001

    def test_zcdp_pays_for_more_than_one_order(self):
        """For unsampled rounds the best order is at most as good as the best conversion."""
        rounds = {c.order: c.caps[0] / price(EVENT, c)[0] for c in (ONE, Contract(2.0, 1e-6, 14), CONCENTRATED)}
        assert rounds[ZCDP] >= max(rounds.values())


class TestPrice:
    def test_divergences_are_those_of_each_order(self):
        """One figure for each order, the accountant's own."""
        for event in (EVENT, PLAN, LocalEvent(2.0, 0.5, 3), ResponseEvent(0.5, 4), TreeEvent(3.0, 16)):
            assert price(event, SEVERAL) == tuple(rdp(event, order) for order in (8, 9, 12))

    def test_zcdp_prices_the_gaussian(self):
        """Rho is count / (2 z^2), the library's divergence over its order, for sums and for whole trees."""
        assert price(SumEvent(4.0, 1.0, 3), CONCENTRATED) == (3 / 32,)
        assert price(LocalEvent(2.0), CONCENTRATED) == (1 / 8,)
        tree = TreeEvent(3.0, 16, 2)
        for order in (2, 5, 64):
            assert price(tree, CONCENTRATED)[0] * order == pytest.approx(rdp(tree, order))

    @pytest.mark.parametrize("event", [SumEvent(4.0, 0.999), LocalEvent(4.0, 0.5), ResponseEvent(0.5, 4)])
    def test_zcdp_refuses_what_it_cannot_price(self, event):
        """A sampled release, or one that is not Gaussian, is a typed refusal, never a wrong figure."""
        with pytest.raises(EventUnsuited, match="without sampling"):
            price(event, CONCENTRATED)


class TestUnits:
    @settings(max_examples=200, deadline=None)
    @given(st.floats(0, 1e300))
    def test_costs_are_rounded_up_and_caps_down(self, figure):
        """By less than one unit; and a unit's figure in nats covers it."""
        exact = Fraction(min(figure, 2.0**64)) * 2**GRID_BITS
        assert 0 <= up(figure) - exact < 1
        if figure <= 2.0**64:
            assert 0 <= exact - down(figure) < 1
        assert up(nats(up(figure))) >= up(figure)

    def test_ordinary_figures_are_exact(self):
        """From 2^-75 nats on every double is on the grid."""
        for figure in (2.0**-75, math.nextafter(2.0**-75, 1), 1e-12, 0.1, math.pi, 999.0):
            assert up(figure) == down(figure) == Fraction(figure) * 2**GRID_BITS
            assert nats(up(figure)) == figure

    def test_nothing_is_free_and_the_unbounded_is_unaffordable(self):
        """The least double costs one unit; infinity is beyond every cap."""
        assert up(5e-324) == 1
        assert up(math.inf) > down(1e6)

    def test_shares_are_rounded_down(self):
        """In whole units, exactly."""
        assert scaled((10, 7), 0.75) == (7, 5)
        assert scaled((2**130,), 1.0) == (2**130,)

    def test_a_million_tiny_charges_do_not_drift(self):
        """Running sums are the exact sum, where doubles would have lost every charge."""
        big, tiny = 0.5, 2.0**-60
        total = units_of((big,))[0] + 1_000_000 * units_of((tiny,))[0]
        assert Fraction(total, 2**GRID_BITS) == Fraction(big) + 1_000_000 * Fraction(tiny)
        naive = big
        for _ in range(1_000):
            naive += tiny
        assert naive == big

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 0.4), st.sampled_from("ab")), max_size=30))
    def test_running_sums_are_those_of_the_rows(self, steps):
        """Whatever came and expired: sums, purposes and odometer are exact sums over the charges that count."""
        contract = Contract(2.0, 1e-6, (8, 9), window_seconds=100)
        state, now, paid, bodies = open_ledger(contract, "d"), 0, [], []
        for round_, (passed, part, purpose) in enumerate(steps):
            now += passed
            try:
                state, row = charge(state, item(round_, share(contract, part), purpose), at(now))
            except BudgetExhausted:
                continue
            paid.append((now, units_of(share(contract, part)), purpose))
            bodies.append(row.body())
        later = now + 30

        def total(purposes: str, since: int = -1) -> tuple[int, ...]:
            kept = [u for when, u, p in paid if p in purposes and when > since]
            return tuple(map(sum, zip(*kept, strict=True))) or (0, 0)

        assert spent(state, at(later)) == costs_of(total("ab", later - 100))
        assert spent(state, at(later), "a") == costs_of(total("a", later - 100))
        assert state.lifetime == total("ab")
        assert state.spent == tuple(map(sum, zip(*(active.units for active in state.active), strict=True))) or (0, 0)
        assert replay(contract, "d", bodies) == state


class TestSeveralOrders:
    def test_one_order_with_room_is_enough(self):
        """A charge is admitted while any order has room, and refused when none has."""
        caps = SEVERAL.caps
        state, _ = charge(open_ledger(SEVERAL, "d"), item(0, (caps[0], 0.0, 0.0)), START)
        state, _ = charge(state, item(1, (caps[0], caps[1], 0.0)), START)
        assert can_pay(state, (1.0, 1.0, caps[2]), START)
        assert not can_pay(state, (1.0, 1.0, math.nextafter(caps[2], math.inf)), START)
        with pytest.raises(BudgetExhausted) as refusal:
            charge(state, item(2, (0.1, 0.1, 2 * caps[2])), START)
        assert refusal.value.left == (0.0, 0.0, caps[2])
        assert spent_epsilon(state, START) == 0.0

    def test_each_order_is_converted_at_its_share_of_delta(self):
        """The figure is the least of the orders at delta/K."""
        thirds = [Contract(2.0, 1e-6 / 3, order).epsilon_of((0.2,)) for order in (8, 9, 12)]
        assert SEVERAL.epsilon_of((0.2, 0.2, 0.2)) == min(thirds)

    def test_another_currency_is_no_charge(self):
        """A cost too few or too many never reaches a comparison."""
        state = open_ledger(SEVERAL, "d")
        for costs in ((0.1,), (0.1,) * 4):
            assert not can_pay(state, costs, START)
            with pytest.raises(ChargeInvalid, match="expected 3 costs"):
                charge(state, item(0, costs), START)

    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_a_real_plan_runs_to_its_end(self, contract):
        """Rounds are paid until the figure would pass the contract, and the ledger replays."""
        state, bodies, costs = open_ledger(contract, "d"), [], price(EVENT, contract)
        while can_pay(state, costs, START):
            state, row = charge(state, item(state.length, costs), START)
            bodies.append(row.body())
        assert bodies
        assert spent_epsilon(state, START) <= 2.0 < contract.epsilon_of(tuple(c * (state.length + 1) for c in costs))
        assert replay(contract, "d", bodies, state.head) == state


class TestQuotas:
    QUOTAS = Quotas({"intent": 0.5, "*": 0.75})

    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_a_purpose_stops_at_its_share(self, contract):
        """Its quota is exact; others go on; the error names purpose, asked and left."""
        state = charged(contract, 0.25)
        state, _ = charge(state, item(1, share(contract, 0.25)), START, self.QUOTAS)
        assert not can_pay(state, share(contract, 1e-6), START, purpose="intent", quotas=self.QUOTAS)
        with pytest.raises(QuotaExhausted, match="'intent'") as refusal:
            charge(state, item(2, share(contract, 0.1)), START, self.QUOTAS)
        assert (refusal.value.purpose, refusal.value.asked) == ("intent", share(contract, 0.1))
        assert refusal.value.left == pytest.approx((0.0,) * len(contract.caps), abs=1e-15)
        charge(state, item(2, share(contract, 0.5), "persona"), START, self.QUOTAS)

    def test_the_contract_comes_first(self):
        """Where the filter itself is spent no quota is blamed, and no share adds to the contract."""
        state = charged(ONE, 0.6, 0.4, purpose="persona")
        with pytest.raises(BudgetExhausted) as refusal:
            charge(state, item(2, share(ONE, 0.1)), START, self.QUOTAS)
        assert not isinstance(refusal.value, QuotaExhausted)

    def test_an_expired_charge_frees_its_quota(self):
        """Quotas are of what counts, like the filter."""
        state = charged(ONE, 0.5)
        window = ONE.window_seconds
        assert not can_pay(state, share(ONE, 0.1), at(window - 1), purpose="intent", quotas=self.QUOTAS)
        assert can_pay(state, share(ONE, 0.5), at(window), purpose="intent", quotas=self.QUOTAS)

    def test_a_replay_needs_no_quotas(self):
        """Policy may change from day to day: rows that an older quota admitted still replay."""
        state, row = charge(open_ledger(ONE, "d"), item(0, share(ONE, 0.9)), START)
        assert replay(ONE, "d", [row.body()]) == state
        assert not can_pay(state, share(ONE, 0.05), START, purpose="intent", quotas=self.QUOTAS)

    def test_carried_spend_has_no_quota(self):
        """What was spent already is kept whole, whatever it says it is for."""
        state, _ = reopen(charged(ONE, 0.5, 0.5), ONE, "d", START, "intent")
        assert not can_pay(state, share(ONE, 1e-9), START)

    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_a_changed_contract_gives_no_purpose_its_quota_back(self, contract):
        """Whoever lowers epsilon a little and goes back finds each purpose as it was; an erasure keeps no purpose."""
        state, _ = charge(charged(contract, 0.4), item(1, share(contract, 0.2), "persona"), START)
        lower, rows = reopen(state, contract, "d", START, "changed", keep_purposes=True)
        assert replay(contract, "d", [row.body() for row in rows], lower.head) == lower
        assert [row.charge.purpose for row in rows] == ["intent", "persona"]
        again, rows = reopen(lower, contract, "d", at(1), "changed", keep_purposes=True)
        for purpose in ("intent", "persona", "changed"):
            assert spent(again, at(1), purpose) == spent(state, at(1), purpose)
        assert lifetime_epsilon(again) == lifetime_epsilon(state)
        assert not can_pay(again, share(contract, 0.11), at(1), purpose="intent", quotas=self.QUOTAS)
        assert can_pay(again, share(contract, 0.09), at(1), purpose="intent", quotas=self.QUOTAS)
        erased, rows = reopen(state, contract, "d", START, "erased")
        assert [row.charge.purpose for row in rows] == ["erased"]
        assert spent(erased, START) == spent(again, START)

    def test_the_odometer_outlives_what_counts(self):
        """Where no purpose counts any more one row is left, for everything ever charged."""
        now = at(ONE.window_seconds)
        state, (row,) = reopen(charged(ONE, 0.4), ONE, "d", now, "changed", keep_purposes=True)
        assert (row.charge.purpose, spent(state, now)) == ("changed", (0.0,))
        assert lifetime_epsilon(state) == lifetime_epsilon(charged(ONE, 0.4))

    def test_a_setting_can_only_lower(self):
        """The smaller share counts, for named purposes and for all others."""
        lowered = self.QUOTAS.lowered({"intent": 0.9, "persona": 0.2, "*": 0.8})
        assert [lowered.share(name) for name in ("intent", "persona", "churn")] == [0.5, 0.2, 0.75]
        assert Quotas().share("churn") == 1.0
        assert self.QUOTAS.lowered({"*": 0.1}).share("intent") == 0.1

    @pytest.mark.parametrize("bad", [0.0, -0.5, 1.01, math.nan, math.inf])
    def test_a_share_outside_its_range_is_refused(self, bad):
        """Quotas are shares of the cap."""
        with pytest.raises(QuotaInvalid, match="'intent'"):
            Quotas({"intent": bad})

    def test_shares_taken_are_told(self):
        """What each purpose has taken, as quotas count it."""
        state = charged(ONE, 0.25, 0.25)
        state, _ = charge(state, item(2, share(ONE, 0.125), "persona"), START)
        assert spent_shares(state, START) == pytest.approx({"intent": 0.5, "persona": 0.125})
        assert spent_shares(state, at(ONE.window_seconds)) == {}


class TestCarry:
    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_after_a_loss_nothing_fits(self, contract):
        """A forfeit spends every order, for a whole window from now, and its row replays."""
        state = charged(contract, 0.3)
        lost, row = forfeit(state, at(100), "lost")
        assert not can_pay(lost, share(contract, 1e-9), at(100))
        assert not can_pay(lost, share(contract, 0.31), at(contract.window_seconds + 99))
        assert can_pay(lost, contract.caps, at(contract.window_seconds + 100))
        first = charge(open_ledger(contract, "d"), item(0, share(contract, 0.3)), START)[1]
        assert replay(contract, "d", [first.body(), row.body()], lost.head) == lost

    def test_a_lost_charge_may_have_been_paid_by_any_order(self):
        """With several orders the whole cap is forfeited at each.

        The lost charge was paid by order 12 alone and cost more at order 8 than was left there. If only what was left
        at order 8 were forfeited, order 8 would have room again as soon as the charge before it expired, while the
        lost one still counts.
        """
        caps, half = SEVERAL.caps, SEVERAL.window_seconds // 2
        known, _ = charge(open_ledger(SEVERAL, "d"), item(0, (0.9 * caps[0], 0.9 * caps[1], 0.0)), START)
        lost, _ = charge(known, item(1, (caps[0], caps[1], caps[2])), at(half))
        restored, _ = forfeit(known, at(half), "restored")
        now = at(SEVERAL.window_seconds + 1)
        assert not can_pay(lost, (0.9 * caps[0], 1e-9, 1e-9), now)
        assert not can_pay(restored, (0.9 * caps[0], 1e-9, 1e-9), now)

    def test_spend_is_restated_by_the_next_higher_order(self):
        """A divergence never falls as its order rises: each new order takes the nearest old one above it."""
        old, _ = charge(open_ledger(SEVERAL, "d"), item(0, (0.1, 0.15, 0.3)), START)
        new, _ = reopen(old, Contract(4.0, 1e-6, (7, 9, 10, 12)), "d", START, "changed")
        assert spent(new, START) == (0.1, 0.15, 0.3, 0.3)
        new, _ = reopen(old, Contract(4.0, 1e-6, 9), "d", START, "changed")
        assert spent(new, START) == (0.15,)
        with pytest.raises(ContractInvalid, match="at most 12"):
            reopen(old, Contract(2.0, 1e-6, (9, 13)), "d", START, "changed")

    def test_rho_is_restated_at_any_order(self):
        """Order times rho, odometer included; back to zCDP it cannot go, for a Renyi spend may be sampled."""
        old, _ = charge(open_ledger(CONCENTRATED, "d"), item(0, (0.0625,)), START)
        new, rows = reopen(old, SEVERAL, "d", at(CONCENTRATED.window_seconds), "changed")
        assert spent(new, START) == (0.0, 0.0, 0.0)
        assert costs_of(new.lifetime) == (0.5, 0.5625, 0.75)
        assert replay(SEVERAL, "d", [row.body() for row in rows], new.head) == new
        new, _ = reopen(old, CONCENTRATED, "again", START, "erased")
        assert spent(new, START) == (0.0625,)
        with pytest.raises(ContractInvalid, match="expected an order"):
            reopen(charged(ONE, 0.1), CONCENTRATED, "d", START, "changed")

    @pytest.mark.parametrize("contract", FILTERS, ids=str)
    def test_an_erasure_keeps_spend_and_odometer(self, contract):
        """In every currency."""
        old = charged(contract, 0.3, 0.2)
        new, _ = reopen(old, contract, "again", START, "erased")
        assert spent(new, START) == spent(old, START)
        assert lifetime_epsilon(new) == lifetime_epsilon(old)


class TestOldRows:
    """A ledger as version 1 wrote it: one order, one cost a row."""

    CONTRACT = Contract(1.0, 1e-6, 30, 1_000)
    KNOWN = json.loads(Path(__file__).with_name("ledger_version_1.json").read_text())
    HEAD = bytes.fromhex(KNOWN["head"])

    def bodies(self) -> list[bytes]:
        """Three rows: a sum, a local step, a forfeit."""
        return [bytes.fromhex(body) for body in self.KNOWN["bodies"]]

    def test_an_old_ledger_replays(self):
        """Same genesis, same digests, same sums."""
        state = replay(self.CONTRACT, "device", self.bodies(), self.HEAD)
        assert state.head == self.HEAD
        assert costs_of(state.lifetime)[0] == pytest.approx(self.KNOWN["lifetime"])
        assert spent_epsilon(state, START) == pytest.approx(1.0)
        assert not can_pay(state, (1e-9,), START)

    def test_an_old_carried_row_replays(self):
        """Its lifetime figure stood in another place."""
        rows = [bytes.fromhex(body) for body in self.KNOWN["reopened"]]
        state = replay(self.CONTRACT, "again", rows, bytes.fromhex(self.KNOWN["reopened_head"]))
        assert costs_of(state.lifetime)[0] == pytest.approx(self.KNOWN["lifetime"])

    def test_an_old_ledger_goes_on(self):
        """New rows of version 2 follow old ones in one chain."""
        old = self.bodies()
        state = replay(self.CONTRACT, "device", old)
        state, row = charge(state, item(7, (0.01,)), at(2_000))
        assert row.body()[0] == 2
        assert replay(self.CONTRACT, "device", [*old, row.body()], state.head) == state
        lower, _ = reopen(state, Contract(1.0, 1e-6, (25, 30), 1_000), "device", at(2_000), "changed")
        assert spent(lower, at(2_000)) == (0.01, 0.01)
