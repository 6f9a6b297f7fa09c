"""A budget is raised by two officers, or not at all: documents, the log, and what a service starts with."""

import pytest

from aggregator.errors import SettingsInvalid
from aggregator.storage.contracts import raise_file
from models.wire.budgets import (
    BUDGET_TYPE,
    BudgetRaise,
    BudgetTerms,
    LoggedRaise,
    SignedRaise,
    check_logged,
    read_raise,
)
from models.wire.log import read_entry
from models.wire.message import from_base64
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey, sign_document

from .world import World, code, in_world, vectors

TERMS = BudgetTerms(epsilon=4.0, delta=1e-6, window_seconds=100, quotas={"intent": 0.5}, study_epsilon_cap=2.0)


class TwoOfficers(World):
    """A world whose privacy office has two officers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.second = SigningKey.generate()

    def _both(self, settings):
        keys = (self.officer.verify_key.raw.hex(), self.second.verify_key.raw.hex())
        return settings.model_copy(update={"officers": keys})

    def leader_settings(self):
        return self._both(super().leader_settings())

    def helper_settings(self):
        return self._both(super().helper_settings())

    async def asked(self, service: str = "helper", **changes) -> BudgetRaise:
        client = self.helper if service == "helper" else self.leader
        state = (await client.get("/v1/budget")).json()
        before = BudgetTerms.model_validate(state["allowed"])
        return BudgetRaise(
            site=state["site"],
            service=service,
            service_key=state["service_key"],
            number=state["number"] + 1,
            before=before,
            after=before.model_copy(update=changes),
            reason="a second question",
            at_ms=self.clock.now_ms(),
        )

    def signed(self, statement: BudgetRaise, *keys: SigningKey) -> SignedRaise:
        one, other = keys or (self.officer, self.second)
        first, second = (sign_document(key, BUDGET_TYPE, statement.document()) for key in (one, other))
        return SignedRaise(first=first, second=second)

    async def logged(self, statement: BudgetRaise) -> LoggedRaise:
        answer = await self.leader.post("/v1/raises", json=self.signed(statement).document())
        assert answer.status_code == 201, answer.text
        return LoggedRaise.model_validate_json(answer.content)

    def install(self, logged: LoggedRaise, service: str = "helper", number: int = 1) -> None:
        path = raise_file(self.folder / service, number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(logged.canonical())

    async def refused(self, match: str, service: str = "helper") -> None:
        with pytest.raises(SettingsInvalid, match=match):
            async with self.helper_up() if service == "helper" else self.leader_up():
                pass


def in_office(function):
    """Run an async test in a world with two officers."""
    wrapped = in_world()(function)

    def test(tmp_path):
        import asyncio

        asyncio.run(function(TwoOfficers(tmp_path)))

    test.__name__, test.__doc__, test.__module__ = wrapped.__name__, wrapped.__doc__, wrapped.__module__
    return test


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"epsilon": 4.1}, "budget_epsilon"),
        ({"delta": 2e-6}, "budget_delta"),
        ({"window_seconds": 99}, "budget_window_seconds"),
        ({"quotas": {"intent": 0.6}}, "intent"),
        ({"quotas": {}}, "intent"),
        ({"study_epsilon_cap": 2.5}, "study_epsilon_cap"),
        ({"study_epsilon_cap": None}, "study_epsilon_cap"),
    ],
)
def test_every_way_to_allow_more_is_a_raise(changes, word):
    """Each figure alone; the way back asks nobody."""
    more = TERMS.model_copy(update=changes)
    (found,) = more.beyond(TERMS)
    assert word in found
    assert TERMS.beyond(more) == []
    assert TERMS.beyond(TERMS) == []


def test_a_quota_for_everybody_else_counts_where_a_purpose_has_none():
    """Taking a purpose's own small share away is a raise, too, where the share for the others is larger."""
    shared = TERMS.model_copy(update={"quotas": {"intent": 0.2, "*": 0.4}})
    assert TERMS.model_copy(update={"quotas": {"*": 0.4}}).beyond(shared)
    assert not TERMS.model_copy(update={"quotas": {"intent": 0.2, "*": 0.3}}).beyond(shared)


@in_office
async def test_one_officer_alone_raises_nothing(world):
    """Twice the same hand, a stranger's, two different documents, or a lower budget under the name of a raise."""
    async with world.up():
        statement = await world.asked(epsilon=9.0)
        officers = world.helper_settings().officer_keys()
        larger = sign_document(world.second, BUDGET_TYPE, statement.model_copy(update={"reason": "another"}).document())
        mixed = world.signed(statement).model_copy(update={"second": larger})
        lower = world.signed(await world.asked(epsilon=1.0))
        cases = [
            (world.signed(statement, world.officer, world.officer), "bad-signature"),
            (world.signed(statement, world.officer, SigningKey.generate()), "bad-signature"),
            (world.signed(statement, world.leader_key, world.second), "bad-signature"),
            (mixed, "bad-signature"),
            (lower, "malformed"),
        ]
        for signed, expected in cases:
            with pytest.raises(ProblemError) as caught:
                read_raise(signed, officers)
            assert caught.value.code == expected
            assert code(await world.leader.post("/v1/raises", json=signed.document())) == expected
        assert (await world.leader.get("/v1/log/checkpoint")).status_code == 200
        foreign = statement.model_copy(update={"service_key": "ab" * 32})
        assert code(await world.leader.post("/v1/raises", json=world.signed(foreign).document())) == "forbidden"


@in_office
async def test_two_officers_raise_a_budget_and_what_was_spent_stays_spent(world):
    """Signed twice, logged, installed: the helper starts with more, and its ledger goes on from what it holds."""
    async with world.up():
        study, devices = world.study(), await world.devices(5)
        await world.run(study)
        _, opening = await world.work()
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        await world.until(study, "finished")
        spent = world.helper_app.state.office.budget.spent_epsilon()
        statement = await world.asked(epsilon=9.0)
        logged = await world.logged(statement)
        assert (await world.logged(statement)).inclusion.index == logged.inclusion.index
        check_logged(logged, world.leader_key.verify_key)
        entries = (await world.leader.get("/v1/log/entries?count=1000")).json()["entries"]
        kind, body = read_entry(from_base64(entries[logged.inclusion.index]))
        assert (kind.name, body) == ("raise", logged.signed.canonical())
    world.helper_options["budget_epsilon"] = 9.0
    await world.refused("9 above 8: a raise needs two officers")
    world.install(logged)
    for _ in range(2):
        async with world.helper_up():
            budget = world.helper_app.state.office.budget
            assert budget.state.contract.epsilon == 9.0
            assert not budget.lost
            assert budget.spent_epsilon() == pytest.approx(spent, rel=1e-9)
            state = (await world.helper.get("/v1/budget")).json()
            assert (state["number"], state["allowed"]["epsilon"]) == (1, 9.0)
    world.helper_options["budget_epsilon"] = 5.0  # less asks nobody, and neither does the way back to what was signed
    for epsilon in (5.0, 9.0):
        world.helper_options["budget_epsilon"] = epsilon
        async with world.helper_up():
            office = world.helper_app.state.office
            assert office.budget.spent_epsilon() == pytest.approx(spent, rel=1e-6)
            async with office.database.reading() as connection:
                assert len(await office.store.ledger.bodies(connection, study.study_hash())) == 1
    world.helper_options["budget_epsilon"] = 9.5
    await world.refused("9.5 above 9")


@in_office
async def test_a_raise_that_is_not_in_the_log_or_not_for_this_service_is_not_taken_in(world):
    """A proof under another key, another service's raise, a number that does not follow, a damaged file."""
    async with world.up():
        statement = await world.asked(epsilon=9.0)
        logged = await world.logged(statement)
        for_leader = await world.logged(await world.asked("leader", epsilon=9.0))
    world.helper_options["budget_epsilon"] = 9.0
    forged = world.signed(statement.model_copy(update={"reason": "never logged"}))
    world.install(logged.model_copy(update={"signed": forged}))
    await world.refused("does not stand in the leader's log")
    world.install(for_leader)
    await world.refused("another service, number or contract")
    raise_file(world.folder / "helper", 1).write_text("{}")
    await world.refused("expected a signed raise")
    world.install(logged)
    async with world.helper_up():
        pass
    world.install(logged, number=2)
    await world.refused("another service, number or contract")


@in_office
async def test_the_leaders_own_budget_needs_two_officers_as_well(world):
    """The same documents and the same start-up check; its own log holds the raise."""
    async with world.up():
        logged = await world.logged(await world.asked("leader", epsilon=9.0))
    world.leader_options["budget_epsilon"] = 9.0
    await world.refused("two officers", "leader")
    world.install(logged, "leader")
    async with world.up():
        assert world.leader_app.state.desk.budget.state.contract.epsilon == 9.0


@in_office
async def test_a_studys_limit_above_the_installed_one_is_refused_until_it_is_raised(world):
    """The helper's cap on what one study may name: taking it off is a raise like any other."""
    world.helper_options["study_epsilon_cap"] = 4.0
    async with world.up():
        refused = await world.as_leader("/v1/proposals", world.study(epsilon_cap=8.0).canonical())
        assert code(refused) == "invalid-study"
        assert "two officers" in refused.json()["detail"]
        logged = await world.logged(await world.asked(study_epsilon_cap=8.0))
    world.helper_options["study_epsilon_cap"] = None
    await world.refused("study_epsilon_cap none above 4")
    world.helper_options["study_epsilon_cap"] = 8.0
    world.install(logged)
    async with world.helper_up():
        assert (await world.as_leader("/v1/proposals", world.study(epsilon_cap=8.0).canonical())).status_code == 202
