"""The Flower ClientApp with its mods: only masked reports come out, and never an error."""

import dataclasses

import numpy as np
import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.errors import RoundRefused
from client_agent.federation.app import build_client_app, participant_context, round_message
from client_agent.federation.budgets import inspect
from client_agent.federation.mods import ANSWER, REPORT
from client_agent.federation.prices import price_round
from models.events import FeatureSpec
from models.learning.steps import first_parameters, net_of
from models.queries.answers import named_features, to_model_bytes
from models.queries.errors import NothingToReport
from models.wire.frames import decode_batch, join_reports
from models.wire.studies import LocalStudyPlan, TrainQuery
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import federate, populate

EVERYONE = {"sampling_rate": 1.0, "noise_multiplier": 8.0}


@dataclasses.dataclass
class Pages:
    """A device that went from page a to page b, some number of times."""

    moves: object = 3

    def transitions(self, categories):
        if isinstance(self.moves, Exception):
            raise self.moves
        counts = np.zeros((len(categories), len(categories)), dtype=np.float64)
        counts[0, 1] = self.moves
        return counts

    def dwell_seconds(self):
        return ()

    def rows(self, features):
        generator = np.random.default_rng(1)
        rows = generator.random((6, len(features.names)))
        return rows, np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


def ask(federation, found, participant_id, data):
    app = build_client_app(federation, lambda _: data)
    return app(round_message(found, 1), participant_context(participant_id))


def frame_of(reply) -> bytes:
    assert set(reply.content) == {REPORT}, "nothing but the masked report may come out"
    return reply.content[REPORT]["frame"]


def start(world, store, people=1, study=None, model=b"", **options):
    ids = populate(world, store, people, purposes=("measurement", "intent"))
    federation = federate(world, store, **options)
    item = world.open_round(study or world.study(plan=EVERYONE), model=model)
    return ids, federation, item, only_round(federation)


def test_a_query_comes_out_masked_and_sums_right(world, store):
    """The reply holds the very bytes that are sent; opened with all others they give the plain sum."""
    ids, federation, item, found = start(world, store, people=4)
    frames = [frame_of(ask(federation, found, who, Pages())) for who in ids]
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 4
    assert all(frame in world.bodies[-1] for frame in frames)
    total, _ = world.total(item)
    scale = found.parameters.scale
    assert total / scale == pytest.approx([0, 4, 0, 0], abs=1e-3)


def test_without_consent_the_reply_is_empty(world, store):
    """No consent: nothing to send, nothing charged, the app is not asked."""
    (who,), federation, _, found = start(world, store)
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    reply = ask(federation, found, who, Pages(RuntimeError("asked all the same")))
    assert not list(reply.content)
    assert federation.roster[who].budget.contract.length == 0


def test_tails_are_answered_with_the_null_and_without_asking(world, store):
    """On tails the app is never called, and the reply has the same form and size."""
    ids, federation, item, found = start(
        world, store, people=16, study=world.study(plan={"sampling_rate": 0.5, "noise_multiplier": 8.0})
    )
    asked = []
    app = build_client_app(federation, lambda who: asked.append(who) or Pages())
    frames = [frame_of(app(round_message(found, 1), participant_context(who))) for who in ids]
    assert 0 < len(asked) < 16
    assert len({len(frame) for frame in frames}) == 1
    world.clock.advance(9.5)
    federation.send_due()
    assert world.total(item)[0][1] / found.parameters.scale == pytest.approx(len(asked), abs=1e-3)


@pytest.mark.parametrize(
    "moves",
    [NothingToReport("none"), RuntimeError("broken"), float("nan"), MemoryError()],
    ids=["no-data", "error", "nan", "memory"],
)
def test_whatever_fails_on_the_device_the_reply_is_a_null(world, store, moves):
    """No data, a bug, NaN: the reply is a masked null, never an error."""
    (who, other), federation, item, found = start(world, store, people=2)
    reply = ask(federation, found, who, Pages(moves))
    ask(federation, found, other, Pages(moves))
    assert not reply.has_error()
    (frame,) = decode_batch(join_reports([frame_of(reply)]))
    assert len(frame.report.masked) == found.parameters.packed_bytes
    world.clock.advance(9.5)
    federation.send_due()
    assert not world.total(item)[0].any()


def test_asking_twice_gives_the_same_bytes(world, store):
    """A repeated message redraws neither coin nor seed."""
    (who,), federation, _, found = start(world, store)
    assert frame_of(ask(federation, found, who, Pages(1))) == frame_of(ask(federation, found, who, Pages(2)))
    assert federation.roster[who].budget.contract.length == 1


def test_a_round_that_was_not_admitted_gets_nothing(world, store):
    """A message that names a round which this agent did not verify is answered empty."""
    (who,), federation, _, found = start(world, store)
    other = dataclasses.replace(found, study_hash=b"x" * 32)
    assert not list(ask(federation, other, who, Pages()).content)
    assert not list(ask(federation, found, "nobody", Pages()).content)


def train_study(world, noise: float, cap: float | None = None):
    features = named_features(FeatureSpec("session", ("a", "b")))
    local = LocalStudyPlan(
        noise_multiplier=noise, clip_norm=1.0, steps=2, maximum_rows=6, denominator=6.0, learning_rate=0.5,
        epsilon_cap=cap,
    )  # fmt: skip
    query = TrainQuery(features=features, local=local)
    plan = EVERYONE | {"dimension": net_of(query).size}
    study = world.study(study_id="buy", kind="train", purpose="intent", query=query, plan=plan)
    return study, to_model_bytes(first_parameters(query))


def test_training_runs_on_the_device_and_comes_out_masked(world, store):
    """A training round: Opacus on the device's rows, and only the masked update leaves."""
    study, model = train_study(world, noise=0.0)
    ids, federation, item, found = start(world, store, people=2, study=study, model=model)
    for who in ids:
        assert ANSWER not in ask(federation, found, who, Pages()).content
    world.clock.advance(9.5)
    federation.send_due()
    total, _ = world.total(item)
    assert 0 < np.linalg.norm(total / found.parameters.scale) <= 2.0
    assert all(member.budget.local == {} for member in federation.roster)


def test_local_noise_is_charged_to_a_filter_of_its_own(world, store):
    """Heads and tails alike pay the local layer, per study; the study's cap ends it, in nulls."""
    study, model = train_study(world, noise=2.0, cap=8.0)
    ids = populate(world, store, 4, purposes=("intent",))
    federation = federate(world, store)
    payments = []
    for number in range(1, 6):
        world.open_round(study, number, model)
        found = only_round(federation)
        reserved = federation.reserve_all(found)
        payments.append({reservation.payment for reservation in reserved})
        federation.finalise(found, reserved)
        world.clock.advance(11)
    assert payments[0] == {"paid"}
    assert payments[-1] == {"over_local_budget"}
    paid = sum(payment == {"paid"} for payment in payments)
    name = study.study_hash().hex()
    assert [federation.roster[who].budget.local[name].length for who in ids] == [paid] * 4
    assert [federation.roster[who].budget.contract.length for who in ids] == [paid] * 4
    # The person's own page reads the figure without the study at hand.
    assert 0 < inspect(store, "person-0", world.clock).local_epsilon <= 8.0
    assert inspect(store, "somebody else", world.clock).local_epsilon is None
    assert inspect(store, "person-0", world.clock).local_delta == study.delta
    # After a restart the filter is where it was.
    again = federate(world, store)
    world.open_round(study, 6, model)
    assert {r.payment for r in again.reserve_all(only_round(again))} == {"over_local_budget"}


def test_the_local_figures_of_several_studies_add_up(world, store):
    """Studies train on the same rows: epsilons and deltas add, and each study's own figure stands beside the sum."""
    populate(world, store, 1, purposes=("intent",))
    federation = federate(world, store)
    first, model = train_study(world, noise=2.0)
    second = first.model_copy(update={"study_id": "buy-again", "delta": 2e-6})
    for study in (first, second):
        world.open_round(study, model=model)
        federation.finalise(found := only_round(federation), federation.reserve_all(found))
        world.clock.advance(11)
    spend = inspect(store, "person-0", world.clock)
    assert set(spend.local) == {first.study_hash().hex(), second.study_hash().hex()}
    assert min(spend.local.values()) > 1
    assert spend.local_epsilon == pytest.approx(sum(spend.local.values()))
    assert spend.local_delta == pytest.approx(first.delta + second.delta)


def test_a_study_that_cannot_be_priced_is_refused_and_silences_nobody_else(world, store):
    """Whatever the services accepted: the device refuses that round before any charge or coin, and answers the rest."""
    study, model = train_study(world, noise=2.0, cap=1e-3)
    populate(world, store, 2, purposes=("measurement", "intent"))
    federation = federate(world, store)
    world.publish(world.open_round(study, model=model), other := world.open_round(world.study(plan=EVERYONE)))
    found = only_round(federation)
    assert found.study.study_id == other.study.study_id
    assert federation.refused == {study.study_hash(): "parameters"}
    assert len(federation.reserve_all(found)) == 2


@pytest.mark.parametrize(
    ("plan", "local"),
    [({"sampling_rate": 1e-10}, {}), ({}, {"noise_multiplier": 1e-7}), ({}, {"epsilon_cap": 1e-3})],
    ids=["sampling rate", "local noise", "local cap"],
)
def test_constants_that_no_event_holds_refuse_the_round(world, store, plan, local):
    """Pricing raises a refusal of the round, whatever a message let through, and never ends the worker."""
    study, model = train_study(world, noise=2.0)
    _, federation, _, found = start(world, store, study=study, model=model)
    query = study.query.model_copy(update={"local": study.query.local.model_copy(update=local)})
    changed = study.model_copy(update={"query": query, "plan": study.plan.model_copy(update=plan)})
    with pytest.raises(RoundRefused, match=r"expected|enforce") as refused:
        price_round(dataclasses.replace(found, study=changed), federation.budgets.contract)
    assert refused.value.code == "parameters"
