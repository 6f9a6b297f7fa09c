"""A service's budget: which filter enforces it, and what one purpose may take of it."""

import csv
import io
import json

import pytest

from aggregator.errors import SettingsInvalid
from aggregator.settings import SETTINGS_FILE, HelperSettings, LeaderSettings

from .world import code, in_world, sealed, vectors


def terms(settings):
    """What the contract of these settings promises, and by which filter."""
    contract = settings.contract()
    return contract.epsilon, contract.delta, contract.order


@pytest.mark.parametrize(
    ("written", "order"), [("9", 9), ("[8, 9, 12]", (8, 9, 12)), ("zcdp", "zcdp"), ("[9]", 9)], ids=str
)
def test_a_filter_is_chosen_in_the_environment(tmp_path, monkeypatch, written, order):
    """One order, several that share delta, or zCDP."""
    monkeypatch.setenv("HEARTHSIDE_HELPER_BUDGET_ORDER", written)
    monkeypatch.setenv("HEARTHSIDE_HELPER_BUDGET_QUOTAS", '{"intent": 0.5, "*": 0.75}')
    settings = HelperSettings.read(tmp_path)
    assert terms(settings) == (4.0, 1e-6, order)
    assert [settings.quotas().share(purpose) for purpose in ("intent", "churn")] == [0.5, 0.75]


@pytest.mark.parametrize("order", [9, [8, 9, 12], "zcdp"])
def test_a_filter_is_chosen_in_the_settings_file(tmp_path, order):
    """The same in ``settings.json``; nothing said is one order that suits epsilon and delta, and no quotas."""
    assert terms(LeaderSettings.read(tmp_path)) == (4.0, 1e-6, 7)
    assert LeaderSettings.read(tmp_path).quotas().share("intent") == 1.0
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"budget_order": order, "budget_quotas": {"intent": 0.25}}))
    settings = LeaderSettings.read(tmp_path)
    assert terms(settings) == (4.0, 1e-6, tuple(order) if isinstance(order, list) else order)
    assert settings.quotas().share("intent") == 0.25


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("budget_order", 1, "expected an integer order"),
        ("budget_order", [9, 8], "increasing"),
        ("budget_order", [2, 9], "order 2 leaves nothing to spend"),
        ("budget_order", "pld", "budget_order"),
        ("budget_quotas", {"intent": 0}, "quota"),
        ("budget_quotas", {"intent": 1.5}, "'intent'"),
        ("budget_quotas", 0.5, "budget_quotas"),
    ],
)
def test_what_cannot_be_enforced_is_a_settings_error(tmp_path, setting, value, message):
    """One line that names the setting, before anything is opened."""
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({setting: value}))
    with pytest.raises(SettingsInvalid, match=f"setting {setting}") as refusal:
        HelperSettings.read(tmp_path)
    assert message in str(refusal.value)


@in_world(helper_options={"budget_quotas": {"measurement": 0.05}})
async def test_a_purpose_over_its_quota_is_not_opened(world):
    """The helper could pay, the purpose may not take more; another purpose still may."""
    async with world.helper_up():
        query = {
            "question": "personas",
            "clusters": 2,
            "features": {"version": "profile/1", "names": ["a", "b", "c"]},
            "least_count": 0.0,
        }
        plan = {"dimension": 8, "clip_norm": 2.0}
        study, other = world.study(), world.study("other", query=query, plan=plan, purpose="persona")
        for each in (study, other):
            await world.approved(each)
        assert code(await world.open_round(study)) == "budget-exhausted"
        assert (await world.open_round(other)).status_code == 200


@in_world(leader_options={"budget_quotas": {"measurement": 0.05}})
async def test_a_purpose_over_its_quota_asks_for_nothing(world):
    """The leader's own quota stops the round before any device pays for it, and says whose it is."""
    async with world.up():
        study = world.study()
        await world.run(study)
        account = await world.until(study, "failed")
        assert "'measurement' within its quota" in account["detail"]
        assert (account["rounds"], account["charges"]) == ([], [])


@in_world(helper_options={"budget_quotas": {"measurement": 0.2}})
async def test_an_operator_alone_gives_no_quota_back(world):
    """Lowering the budget by a hair and going back opens the ledger anew twice; what a purpose took stays taken."""
    study = world.study(rounds=2)
    async with world.helper_up() as app:
        await world.share(study, await sealed(world, study))
        taken = app.state.office.budget.spent_shares()
        assert taken.keys() == {"measurement"}
    for epsilon in (7.99, 8.0):
        world.helper_options["budget_epsilon"] = epsilon
        async with world.helper_up() as app:
            assert app.state.office.budget.spent_shares() == pytest.approx(taken, rel=0.01)
            assert code(await world.open_round(study, 2)) == "budget-exhausted"


@in_world()
async def test_a_study_is_shown_after_the_filter_has_changed(world):
    """Rows of the ledger that was closed are in another currency; what a device paid is stated in the present one."""
    study = world.study(rounds=1)
    path = f"/v1/studies/{study.study_id}"
    for order in ([5, 9], 5):
        world.leader_options["budget_order"] = order
        async with world.up():
            if order == [5, 9]:
                devices = await world.devices(5)
                await world.run(study)
                _, opening = await world.work()
                reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(5), strict=True)]
                await world.send(*zip(devices, reports, strict=True))
                await world.until(study, "finished")
            account = await world.leader.get(path)
            assert account.status_code == 200
            table = await world.leader.get(f"{path}/results?format=csv")
            rows = list(csv.DictReader(io.StringIO(table.text)))
            spent = world.leader_app.state.desk.budget.spent_epsilon()
            assert account.json()["epsilon_spent"] == pytest.approx(spent)
            assert float(rows[0]["epsilon_of_rounds_opened"]) == account.json()["epsilon_spent"]


@in_world(leader_options={"budget_order": [5, 6]}, helper_options={"budget_order": "zcdp"})
async def test_services_may_run_different_filters(world):
    """A round without hidden sampling is paid under several orders here and under zCDP there, and after a restart."""
    study = world.study(rounds=2)
    async with world.up():
        devices = await world.devices(5)
        await world.run(study)
        for number in (1, 2):
            _, opening = await world.work(number)
            reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(5), strict=True)]
            await world.send(*zip(devices, reports, strict=True))
        account = await world.until(study, "finished")
        assert [len(item["costs"]) for item in account["charges"]] == [2, 2]
        leader, helper = world.leader_app.state.desk.budget, world.helper_app.state.office.budget
        assert account["epsilon_spent"] == pytest.approx(leader.spent_epsilon())
        assert helper.state.active[0].units == (2**128 // 8,), "rho of z = 2"
        assert helper.spent_epsilon() < leader.spent_epsilon(), "the best order of all, at the whole delta"
        assert helper.epsilon_after(study) > helper.spent_epsilon()
        spent = leader.spent_epsilon(), helper.spent_epsilon()
    async with world.up():
        budgets = world.leader_app.state.desk.budget, world.helper_app.state.office.budget
        assert tuple(budget.spent_epsilon() for budget in budgets) == spent


@in_world(leader_options={"budget_order": "zcdp"}, helper_options={"budget_order": "zcdp"})
async def test_zcdp_refuses_a_study_that_hides_its_sampling(world):
    """It has no price there; the analyst is told so when it is proposed, the helper refuses it too."""
    async with world.up():
        refused = await world.propose(world.study(plan={"sampling_rate": 0.5}))
        assert code(refused) == "invalid-study"
        assert "without sampling" in refused.json()["detail"]
