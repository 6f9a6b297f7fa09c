"""The ledger: charge once, never above the cap, two clocks, a chain that shows tampering."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privacy.accounting import (
    AlreadyCharged,
    BudgetExhausted,
    CarriedEvent,
    Charge,
    ChargeInvalid,
    Contract,
    ContractInvalid,
    Elapsed,
    LedgerCorrupt,
    LedgerState,
    LocalEvent,
    ResponseEvent,
    Row,
    SumEvent,
    Times,
    TreeEvent,
    can_pay,
    charge,
    forfeit,
    is_charged,
    lifetime_epsilon,
    open_ledger,
    price,
    reopen,
    replay,
    spent,
    spent_epsilon,
    suggest_order,
)
from privacy.accounting.units import costs_of

WINDOW = 30 * 86_400
CONTRACT = Contract(1.0, 1e-6, 30)
(CAP,) = CONTRACT.caps
EVENT = SumEvent(8.0, 1.0)
START = Times(1_800_000_000, 5_000.0)


def at(seconds: float, *, signed: float | None = None) -> Times:
    """Both clocks that many seconds after the start, unless the signed one says otherwise."""
    moved = seconds if signed is None else signed
    return Times(START.signed_seconds + int(moved), START.monotonic_seconds + seconds)


def item(round_: int, cost: float = 0.05, *, study: str = "study", purpose: str = "intent") -> Charge:
    """A charge of that cost."""
    return Charge(study, round_, purpose, EVENT, (cost,), "approval", 3)


def spend(state: LedgerState, *costs: float, times: Times = START) -> tuple[LedgerState, list[Row]]:
    """Charge rounds one after the other at one moment."""
    rows = []
    for cost in costs:
        state, row = charge(state, item(state.length, cost), times)
        rows.append(row)
    return state, rows


def bodies(rows: Iterable[Row]) -> list[bytes]:
    """What is stored."""
    return [row.body() for row in rows]


def full(times: Times = START) -> LedgerState:
    """A ledger whose whole budget was charged at once."""
    return spend(open_ledger(CONTRACT, "device"), CAP, times=times)[0]


class TestContract:
    def test_the_cap_is_the_largest_spend_within_epsilon(self):
        """The cap converts to at most epsilon, and a hair more to more than epsilon."""
        assert CONTRACT.epsilon_of((CAP,)) <= 1.0
        assert CONTRACT.epsilon_of((CAP * (1 + 1e-12),)) > 1.0
        assert CONTRACT.epsilon_of((0.0,)) == 0.0
        assert CONTRACT.epsilon_of((math.inf,)) == math.inf

    @settings(max_examples=80, deadline=None)
    @given(st.floats(0.05, 45), st.floats(1e-15, 0.1), st.integers(2, 1024))
    def test_no_rounding_lifts_the_cap_above_epsilon(self, epsilon, delta, order):
        """Whatever the terms, spending the whole cap converts to at most epsilon, or there is no contract."""
        try:
            contract = Contract(epsilon, delta, order)
        except ContractInvalid:
            return
        assert contract.caps[0] > 0
        assert contract.epsilon_of(contract.caps) <= epsilon

    @pytest.mark.parametrize(
        "terms",
        [
            (0.0, 1e-6, 30),
            (math.nan, 1e-6, 30),
            (math.inf, 1e-6, 30),
            (1.0, 0.0, 30),
            (1.0, 1.0, 30),
            (1.0, 1e-6, 1),
            (1.0, 1e-6, 2.0),
            (1.0, 1e-6, True),
            (1.0, 1e-6, 30, 0),
            (1.0, 1e-6, 30, 1.5),
            (1.0, 1e-6, 3),
        ],
    )
    def test_terms_that_no_filter_enforces_are_refused(self, terms):
        """Bad figures, and an order at which delta alone costs more than epsilon."""
        with pytest.raises(ContractInvalid):
            Contract(*terms)

    def test_no_order_for_a_hopeless_target(self):
        """Where no order leaves anything to spend, none is suggested."""
        with pytest.raises(ContractInvalid):
            suggest_order(1e-9, 1e-15)


class TestCharge:
    def test_charges_add_up_to_the_contract_and_not_beyond(self):
        """The filter pays until the cap, exactly, then refuses and stays as it was."""
        state, _ = spend(open_ledger(CONTRACT, "device"), CAP / 2, CAP / 2)
        assert spent_epsilon(state, START) == pytest.approx(1.0, abs=1e-9)
        assert not can_pay(state, (1e-9,), START)
        with pytest.raises(BudgetExhausted) as refusal:
            charge(state, item(2, 0.01), START)
        assert refusal.value.left[0] < 1e-12
        assert state.length == 2

    def test_a_round_is_charged_once(self):
        """The same (study, round) is refused, also when the first charge has long expired; others are not."""
        state, _ = charge(open_ledger(CONTRACT, "device"), item(7), START)
        later = at(3 * WINDOW)
        with pytest.raises(AlreadyCharged):
            charge(state, item(7), later)
        state, _ = charge(state, item(6), later)
        state, _ = charge(state, item(7, study="other"), later)
        assert [is_charged(state, "study", r) for r in (5, 6, 7, 8)] == [False, True, True, False]

    @pytest.mark.parametrize("cost", [-1e-9, math.nan])
    def test_a_charge_never_pays_back(self, cost):
        """Negative and undefined costs are no charges, and no state can pay them."""
        with pytest.raises(ChargeInvalid):
            item(0, cost)
        assert not can_pay(open_ledger(CONTRACT, "device"), (cost,), START)

    def test_an_unbounded_cost_is_refused(self):
        """A release without privacy is never affordable."""
        with pytest.raises(BudgetExhausted):
            charge(open_ledger(CONTRACT, "device"), item(0, math.inf), START)

    def test_spend_by_purpose(self):
        """What one purpose spent is known inside the one filter."""
        state, _ = charge(open_ledger(CONTRACT, "device"), item(0, 0.02, purpose="intent"), START)
        state, _ = charge(state, item(1, 0.03, purpose="persona"), START)
        assert spent(state, START, "persona") == (0.03,)
        assert spent(state, START) == pytest.approx((0.05,))

    def test_a_real_plan_runs_to_its_end_and_no_further(self):
        """The declared plan of 100 rounds fits a contract of 1.513 at order 9; round 101 does not."""
        contract, event = Contract(1.513, 1e-6, 9), SumEvent(1.0, 0.01)
        state, cost = open_ledger(contract, "device"), price(event, contract)
        for round_ in range(100):
            state, _ = charge(state, Charge("intent", round_, "intent", event, cost, "", 0), START)
        assert round(spent_epsilon(state, START), 3) == 1.513
        assert not can_pay(state, cost, START)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_no_adaptive_sequence_exceeds_the_contract(self, data):
        """An adversary that sees every answer and chooses each cost from what is left never passes epsilon."""
        state = open_ledger(CONTRACT, "device")
        for round_ in range(data.draw(st.integers(1, 25))):
            left = CAP - spent(state, START)[0]
            cost = data.draw(
                st.one_of(
                    st.floats(0, CAP),
                    st.sampled_from([left, left / 3, math.nextafter(left, 1.0), 1e-17]).map(
                        lambda value: max(0.0, value)
                    ),
                )
            )
            payable = can_pay(state, (cost,), START)
            try:
                state, _ = charge(state, item(round_, cost), START)
                assert payable
            except BudgetExhausted:
                assert not payable
            assert spent_epsilon(state, START) <= CONTRACT.epsilon

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(0, 40), max_size=40))
    def test_charged_rounds_are_a_set(self, rounds):
        """In whatever order rounds come, exactly those charged are remembered, as sorted disjoint runs."""
        state = open_ledger(CONTRACT, "device")
        for round_ in rounds:
            try:
                state, _ = charge(state, item(round_, 0.0), START)
            except AlreadyCharged:
                assert round_ in rounds
        assert {r for r in range(45) if is_charged(state, "study", r)} == set(rounds)
        bounds = state.charged.get("study", ())
        assert len(bounds) % 2 == 0
        assert list(bounds) == sorted(set(bounds))


class TestWindow:
    def test_a_charge_expires_when_both_clocks_are_past_it(self):
        """At the window's end the budget is back, one second earlier it is not; the odometer stays."""
        state = full()
        assert not can_pay(state, (0.01,), at(WINDOW - 1))
        assert can_pay(state, (CAP,), at(WINDOW))
        assert spent_epsilon(state, at(WINDOW)) == 0.0
        state, _ = charge(state, item(9, 0.01), at(WINDOW))
        assert len(state.active) == 1
        assert costs_of(state.lifetime) == pytest.approx((CAP + 0.01,))
        assert lifetime_epsilon(state) > CONTRACT.epsilon

    @pytest.mark.parametrize(
        "now",
        [at(10, signed=5 * WINDOW), at(5 * WINDOW, signed=10), at(0, signed=-86_400), Times(0, 0.0)],
        ids=["signed forward", "monotonic forward", "signed back", "both at zero"],
    )
    def test_one_clock_alone_frees_nothing(self, now):
        """Turning one clock forward, or any clock back, leaves the budget spent."""
        assert not can_pay(full(), (0.01,), now)

    def test_charging_with_a_clock_turned_back_gains_nothing(self):
        """A charge made while both clocks stand back is stamped with what was seen before."""
        state, _ = spend(open_ledger(CONTRACT, "device"), 0.001)
        state, _ = charge(state, item(1, CAP - 0.01), Times(0, 0.0))
        assert state.active[-1].times == START
        assert not can_pay(state, (0.05,), at(WINDOW - 1))
        assert can_pay(state, (0.05,), at(WINDOW))

    def test_a_stamp_is_the_latest_of_each_clock(self):
        """Readings that run apart are stamped clock by clock, and stamps never run backwards."""
        state, _ = charge(open_ledger(CONTRACT, "device"), item(0, 0.01), at(10, signed=500))
        state, _ = charge(state, item(1, 0.01), at(90, signed=20))
        assert state.active[-1].times == at(90, signed=500)

    def test_clocks_turned_forward_one_after_the_other_gain_nothing(self):
        """A charge under a forward signed clock, then a forward monotonic one, frees nothing that was spent before."""
        state, _ = spend(open_ledger(CONTRACT, "device"), CAP - 0.01)
        state, _ = charge(state, item(1, 0.001), at(60, signed=2 * WINDOW))
        assert not can_pay(state, (0.05,), at(2 * WINDOW, signed=120))

    @settings(max_examples=120, deadline=None)
    @given(
        st.booleans(),
        st.lists(
            st.tuples(
                st.integers(0, 40),
                st.integers(0, 400),
                st.floats(0, 1).map(lambda share: share * CAP),
            ),
            max_size=25,
        ),
    )
    def test_one_honest_clock_bounds_every_true_window(self, honest_is_signed, steps):
        """Whatever the other clock says, charges inside any true window sum to at most the cap."""
        contract = replace(CONTRACT, window_seconds=100)
        state, now, paid = open_ledger(contract, "device"), 0, []
        for round_, (passed, lie, cost) in enumerate(steps):
            now += passed
            times = Times(now, float(lie)) if honest_is_signed else Times(lie, float(now))
            try:
                state, _ = charge(state, item(round_, cost), times)
            except BudgetExhausted:
                continue
            paid.append((now, cost))
            inside = math.fsum(c for when, c in paid if now - when < 100)
            assert inside <= contract.caps[0] * (1 + 1e-15)

    @pytest.mark.parametrize(
        "bad", [(-1, 0.0), (1.5, 0.0), (0, math.nan), (0, math.inf), (0, -1.0), (2**60, 0.0), (True, 0.0)]
    )
    def test_times_outside_their_range_are_refused(self, bad):
        """NaN, infinite, negative and absurd readings never reach a comparison."""
        with pytest.raises(ChargeInvalid):
            Times(*bad)


class TestElapsed:
    def test_the_count_survives_a_reboot(self):
        """A reboot neither sets the count back nor counts what cannot be known."""
        clock = (
            Elapsed(0.0, "boot-1", 1_000.0).advance("boot-1", 1_500.0).advance("boot-2", 3.0).advance("boot-2", 10.0)
        )
        assert clock.total_seconds == 507.0

    def test_a_swinging_clock_counts_once(self):
        """Back and forth within one boot counts the highest reading only."""
        clock = Elapsed(0.0, "boot-1", 0.0)
        counts = []
        for reading in (100.0, 0.0, 100.0, 50.0, 110.0):
            clock = clock.advance("boot-1", reading)
            counts.append(clock.total_seconds)
        assert counts == [100.0, 100.0, 100.0, 100.0, 110.0]

    def test_an_undefined_reading_is_refused(self):
        """NaN is no reading."""
        with pytest.raises(ChargeInvalid):
            Elapsed(0.0, "boot", 0.0).advance("boot", math.nan)


class TestRows:
    events = st.one_of(
        st.builds(SumEvent, st.floats(0.1, 100), st.floats(0.001, 1), st.integers(1, 2**53)),
        st.builds(LocalEvent, st.floats(0.1, 100), st.floats(0.001, 1), st.integers(1, 2**53)),
        st.builds(ResponseEvent, st.floats(0.01, 1), st.integers(2, 2**20), st.integers(1, 2**53)),
        st.builds(TreeEvent, st.floats(0.1, 100), st.integers(1, 2**20), st.integers(1, 2**53)),
    )

    @settings(max_examples=60, deadline=None)
    @given(
        events,
        st.text(min_size=1, max_size=40).filter(lambda text: text != "(carried)"),
        st.text(max_size=40),
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**52),
        st.floats(0, 2**52),
        st.lists(st.floats(0, 1e300), min_size=1, max_size=9).map(tuple),
    )
    def test_a_body_is_one_to_one(self, event, study, purpose, round_, signed, monotonic, costs):
        """A row comes back from its body, and the body from the row."""
        entry = Charge(study, round_, purpose, event, costs, "approval", 9)
        row = Row.follow(4, b"\x07" * 32, entry, Times(signed, monotonic))
        assert Row.parse(row.body()) == row

    def test_a_body_has_one_length(self):
        """Cut or with anything added, it is no row."""
        _, (row,) = spend(open_ledger(CONTRACT, "device"), 0.1)
        for other in (row.body()[:-1], row.body() + b"\x00", b""):
            with pytest.raises(ChargeInvalid):
                Row.parse(other)

    def test_carried_spend_has_rows_too(self):
        """The third kind of event is encoded as well."""
        row = Row.follow(0, b"\x00" * 32, Charge("(carried)", 0, "erasure", CarriedEvent((2.5,)), (0.1,), "", 0), START)
        assert Row.parse(row.body()) == row

    def test_every_byte_counts(self):
        """Flipping any one byte of a body, or cutting or adding one, gives another digest or no row at all."""
        _, (row,) = spend(open_ledger(CONTRACT, "device"), 0.1)
        body = row.body()
        broken = [body[:i] + bytes([body[i] ^ 1]) + body[i + 1 :] for i in range(len(body))]
        for other in (*broken, body[:-1], body + b"\x00", b""):
            try:
                assert Row.parse(other).digest != row.digest
            except ChargeInvalid:
                continue

    @pytest.mark.parametrize("text", ["x" * 1025, "\ud800"])
    def test_texts_that_cannot_be_stored_are_refused(self, text):
        """Too long or not UTF-8: the charge fails before anything changes."""
        with pytest.raises(ChargeInvalid):
            charge(open_ledger(CONTRACT, "device"), item(0, purpose=text), START)

    @pytest.mark.parametrize(
        "changes", [{"round": -1}, {"round": 1.0}, {"consent_epoch": 2**63}, {"study": ""}, {"study": "(carried)"}]
    )
    def test_charges_outside_their_range_are_refused(self, changes):
        """Rounds and epochs are integers from 0, and a study cannot pass as carried spend."""
        with pytest.raises(ChargeInvalid):
            replace(item(0), **changes)


class TestReplay:
    def rows(self) -> tuple[LedgerState, list[Row]]:
        """A ledger of five rows, one of them after an expiry, two with a crooked clock."""
        state, rows = spend(open_ledger(CONTRACT, "device"), 0.1, 0.2)
        for round_, times in enumerate((at(10, signed=2 * WINDOW), at(WINDOW, signed=50), at(3 * WINDOW)), start=2):
            state, row = charge(state, item(round_, 0.05), times)
            rows.append(row)
        return state, rows

    def test_stored_rows_give_the_same_state(self):
        """Replaying bodies rebuilds everything: head, window, odometer and rounds."""
        state, rows = self.rows()
        assert replay(CONTRACT, "device", bodies(rows)) == state

    @pytest.mark.parametrize("index", range(4))
    def test_tampering_is_found_where_it_happened(self, index):
        """A row whose cost was rewritten in full is named itself, though only the row after it shows the damage."""
        state, rows = self.rows()
        cheaper = Row.follow(index, rows[index].previous, replace(rows[index].charge, costs=(0.0,)), rows[index].times)
        with pytest.raises(LedgerCorrupt) as found:
            replay(CONTRACT, "device", bodies([*rows[:index], cheaper, *rows[index + 1 :]]), state.head)
        assert found.value.index == index

    def test_missing_doubled_and_foreign_rows_are_found(self):
        """A gap, a repeat, another owner's rows and another contract's rows do not replay."""
        _, rows = self.rows()
        for bad in (rows[1:], [rows[0], rows[2]], [rows[0], rows[0]]):
            with pytest.raises(LedgerCorrupt, match="expected index"):
                replay(CONTRACT, "device", bodies(bad))
        with pytest.raises(LedgerCorrupt, match="does not follow"):
            replay(CONTRACT, "someone else", bodies(rows))
        with pytest.raises(LedgerCorrupt, match="does not follow"):
            replay(replace(CONTRACT, epsilon=9.0), "device", bodies(rows))

    def test_a_cut_tail_changes_the_head(self):
        """Dropping the last row replays, but to another head than the mirror's."""
        state, rows = self.rows()
        assert replay(CONTRACT, "device", bodies(rows[:-1])).head != state.head

    def test_rows_beyond_the_cap_do_not_replay(self):
        """A well-formed chain that overspends was not made by these rules."""
        state, rows = spend(open_ledger(CONTRACT, "device"), CAP)
        rows.append(Row.follow(1, state.head, item(1, 0.01), START))
        with pytest.raises(LedgerCorrupt) as found:
            replay(CONTRACT, "device", bodies(rows))
        assert found.value.index == 1


class TestCarry:
    def test_a_restored_back_up_is_worth_nothing(self):
        """After a forfeit the budget is spent, for a window from now, and the row replays."""
        state, rows = spend(open_ledger(CONTRACT, "device"), 0.1)
        state, row = forfeit(state, at(100), "restored back-up")
        assert not can_pay(state, (1e-9,), at(100))
        assert not can_pay(state, (CAP,), at(WINDOW + 99))
        assert can_pay(state, (CAP,), at(WINDOW + 100))
        assert replay(CONTRACT, "device", bodies([*rows, row])) == state

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.floats(0, 0.2), max_size=12))
    @example([0.062])  # what is left, rounded up, would not fit
    def test_a_forfeit_always_fits(self, costs):
        """Whatever was spent, the rest can be forfeited, rounding included."""
        state = open_ledger(CONTRACT, "device")
        for cost in costs:
            if can_pay(state, (cost,), START):
                state, _ = charge(state, item(state.length, cost), START)
        state, _ = forfeit(state, START, "test")
        assert spent(state, START) == pytest.approx((CAP,))

    def test_an_erasure_keeps_the_spend_and_the_odometer(self):
        """The new ledger starts with what counts now, and with the whole life's odometer."""
        old, _ = spend(open_ledger(CONTRACT, "device"), 0.1)
        old, _ = charge(old, item(1, 0.2), at(WINDOW))
        new, rows = reopen(old, CONTRACT, "device again", at(WINDOW + 5), "erasure")
        assert spent(new, at(WINDOW + 5)) == pytest.approx((0.2,))
        assert costs_of(new.lifetime) == pytest.approx((0.3,))
        assert replay(CONTRACT, "device again", bodies(rows)) == new

    def test_a_smaller_contract_is_full_at_once(self):
        """Old spend above the new cap fills the new ledger; a higher order cannot state it."""
        small = Contract(0.7, 1e-6, 30)
        state, _ = reopen(full(), small, "device", START, "policy")
        assert not can_pay(state, (1e-9,), START)
        with pytest.raises(ContractInvalid):
            reopen(full(), Contract(1.0, 1e-6, 31), "device", START, "policy")

    def test_a_contract_that_shrinks_and_grows_again_gains_nothing(self):
        """The whole spend is carried, above a smaller cap too: lowering epsilon for a day mints no budget."""
        small, rows = reopen(full(), Contract(0.7, 1e-6, 30), "device", START, "lowered")
        assert replay(small.contract, "device", bodies(rows)) == small
        again, _ = reopen(small, CONTRACT, "device", START, "raised")
        assert spent(again, START) == pytest.approx((CAP,))
        assert not can_pay(again, (0.01,), START)

    def test_an_erasure_with_a_clock_turned_back_gains_nothing(self):
        """The old ledger's latest readings are taken along."""
        state, _ = reopen(full(), CONTRACT, "device", Times(0, 0.0), "erasure")
        assert not can_pay(state, (0.01,), at(WINDOW - 1))

    def test_nothing_spent_nothing_carried(self):
        """A ledger without rows leaves none behind."""
        assert reopen(open_ledger(CONTRACT, "a"), CONTRACT, "b", START, "erasure") == (open_ledger(CONTRACT, "b"), ())
