"""The worker's loop: what the network can see of it does not depend on a coin, and no answer can hold it up."""

import json
import os
import sys

import numpy as np
import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.errors import AnswerFailed
from client_agent.federation.answering import Job, compute
from client_agent.federation.app import build_answering_app, participant_context, round_message
from client_agent.federation.child import COMMAND, AnswerProcess
from client_agent.federation.federation import Federation
from client_agent.federation.worker import Worker, run
from models.events import FeatureSpec
from models.learning.steps import first_parameters, net_of
from models.queries.answers import named_features, to_model_bytes
from models.wire.studies import LocalStudyPlan, TrainQuery
from privacy.mechanisms import RandomStream
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import CONTRACT, SITE, START_MS, World, federate, make_store, populate

EVERYONE = {"sampling_rate": 1.0, "noise_multiplier": 8.0}
BY_COIN = {"sampling_rate": 0.5, "noise_multiplier": 8.0}
VECTOR = np.array([0.5, 0.25, 0.0, 0.5])
_COIN_BYTES = 8
_SLEEP = "\nimport time; time.sleep(600)"
NORMAL = (*COMMAND, "--priority", "normal")
"""The child as it is, but for its priority: a busy machine would let a test wait for long."""


class Ready:
    """Computes at once, in this process, and remembers for whom."""

    def __init__(self, trace=None, vector=VECTOR):
        self.trace, self.vector, self.ended = trace if trace is not None else [], vector, []

    def submit(self, reservation):
        self.trace.append(("computed", reservation.slot_ms))

    def take(self, *_):
        if isinstance(self.vector, Exception):
            raise self.vector
        return self.vector

    def forget(self, _key, participant_id):
        self.trace.append(("forgotten", participant_id))

    def end(self, key):
        self.ended.append(key)

    def close(self):
        pass


def worker_of(federation, computing, clock, poll_seconds=1.0):
    app = build_answering_app(federation, computing.take)

    def answer(reservation):
        return app(round_message(reservation.found, 1), participant_context(reservation.participant.participant_id))

    return Worker(federation, computing, answer, clock, poll_seconds)


def through_the_window(worker, clock, seconds=10.5, step_seconds=0.25):
    for _ in range(int(seconds / step_seconds)):
        clock.advance(step_seconds)
        worker.step()


def traced(folder, heads, vector=VECTOR):
    """One round of three people, with every coin heads or every coin tails: what happened, in order, and the sum."""
    world, trace = World(), []
    store = make_store(folder)
    populate(world, store, 3)
    stream = RandomStream(b"r" * 32)

    def entropy(count):
        if count == _COIN_BYTES:
            trace.append(("coin", world.clock.ms))
            return (b"\0" if heads else b"\xff") * count
        return stream.bytes(count)

    leader, helper = world.connections()
    federation = Federation(store, leader, helper, world.pins, world.clock, entropy, CONTRACT)
    work, post, commit = leader.work, leader.post_reports, store._database.before_commit
    leader.work = lambda: (trace.append(("poll", world.clock.ms)), work())[1]
    leader.post_reports = lambda frames, standing: (
        trace.append(("send", world.clock.ms, *map(len, frames))),
        post(frames, standing),
    )[1]
    store._database.before_commit = lambda: (trace.append(("commit", world.clock.ms)), commit())[1]
    item = world.open_round(world.study(plan=BY_COIN))
    computing = Ready(trace, vector)
    worker = worker_of(federation, computing, world.clock)
    worker.step()
    through_the_window(worker, world.clock, 12)
    idle_seconds = world.clock.monotonic_seconds() - worker.busy_at_seconds
    total, reports = world.total(item)
    store.close()
    return trace, idle_seconds, total / item.study.plan.parameters().scale, reports


@pytest.mark.parametrize("vector", [VECTOR, None, AnswerFailed("broken")], ids=["answer", "nothing", "failed"])
def test_polls_commits_and_sends_are_the_same_for_heads_and_tails(tmp_path, vector):
    """With one and the same randomness but the coin, the worker does the same at the same times, to the last call."""
    heads, heads_idle, summed, reports = traced(tmp_path / "heads", True, vector)
    tails, tails_idle, nulls, _ = traced(tmp_path / "tails", False, vector)
    assert heads == tails
    assert heads_idle == tails_idle
    assert reports == 3
    assert not nulls.any()
    assert summed.any() == isinstance(vector, np.ndarray)


def test_the_coin_falls_at_the_slot_after_everybody_was_answered(tmp_path):
    """No coin before the answer of every paid reservation was asked for, and none before its own send slot."""
    trace, *_ = traced(tmp_path / "agent", True)
    kinds = [kind for kind, *_ in trace]
    assert kinds.count("computed") == kinds.count("coin") == 3
    assert max(i for i, kind in enumerate(kinds) if kind == "computed") < kinds.index("coin")
    slots = [rest[0] for kind, *rest in trace if kind == "computed"]
    coins = [rest[0] for kind, *rest in trace if kind == "coin"]
    assert slots == sorted(set(slots))
    assert all(slot_ms <= coin_ms < slot_ms + 250 for slot_ms, coin_ms in zip(slots, coins, strict=True))


def test_the_worker_takes_part_by_itself(world, store):
    """Poll, null, answer, coin and fix at the slot, send: the sum is that of all devices."""
    populate(world, store, 5)
    federation = federate(world, store)
    item = world.open_round(world.study(plan=EVERYONE))
    computing = Ready()
    worker = worker_of(federation, computing, world.clock)
    worker.step()
    through_the_window(worker, world.clock)
    worker.close()
    total, reports = world.total(item)
    assert reports == 5
    assert total / item.study.plan.parameters().scale == pytest.approx(5 * VECTOR, abs=1e-3)
    assert len(computing.ended) == 1


def test_an_unpaid_reservation_is_not_computed_and_sends_its_null(world, store):
    """Over budget there is no coin; the report looks and is sent like any other."""
    populate(world, store, 2)
    federation = federate(world, store)
    item = world.open_round(world.study(plan={"sampling_rate": 1.0, "noise_multiplier": 1.0}))
    computing = Ready()
    worker = worker_of(federation, computing, world.clock)
    worker.step()
    through_the_window(worker, world.clock)
    assert computing.trace == []
    total, reports = world.total(item)
    assert reports == 2
    assert not total.any()


def test_a_withdrawal_before_the_slot_leaves_nothing_to_flip_for(world, store):
    """Who withdraws while an answer is computed sends nothing."""
    ids = populate(world, store, 3)
    federation = federate(world, store)
    item = world.open_round(world.study(plan=EVERYONE))
    worker = worker_of(federation, Ready(), world.clock)
    worker.step()
    ConsentKeeper(store, world.pins, world.clock).withdraw(ids[0])
    through_the_window(worker, world.clock)
    total, reports = world.total(item)
    assert reports == 2
    assert total / item.study.plan.parameters().scale == pytest.approx(2 * VECTOR, abs=1e-3)


def test_an_app_that_breaks_costs_its_answer_and_not_the_worker(world, store):
    """Whatever the app raises, the null goes out and the loop goes on."""
    populate(world, store, 2)
    federation = federate(world, store)
    item = world.open_round(world.study(plan=EVERYONE))

    def broken(_):
        raise RuntimeError("broken")

    worker = Worker(federation, Ready(), broken, world.clock, 1.0)
    worker.step()
    through_the_window(worker, world.clock)
    total, reports = world.total(item)
    assert reports == 2
    assert not total.any()
    assert federation.statistics()["measurement"]["failed_answers"] == 2


def test_polls_and_steps_stand_on_a_fixed_grid(world, store):
    """Steps that take a third of a second delay a poll by no more than that, however many polls there were before."""
    federation, polled = federate(world, store), []
    federation.open_rounds = lambda: polled.append(world.clock.monotonic_seconds()) or []
    send = federation.send_due
    federation.send_due = lambda now_ms: (world.clock.advance(0.33), send(now_ms))[1]
    worker = worker_of(federation, Ready(), world.clock)
    begun = world.clock.monotonic_seconds()
    run(worker, world.clock, idle_seconds=40.0, sleep=world.clock.advance)
    late = [seconds - begun - number for number, seconds in enumerate(polled)]
    assert len(polled) == 40
    assert all(-1e-6 < each < 0.36 for each in late)


# The child


def visits(count):
    """Raw events of some visits, each of two pages, every third with a purchase, as the store keeps them."""
    texts = []
    for visit in range(count):
        at_ms = START_MS - 86_400_000 + visit * 7_200_000
        kinds = [("page_view", {"category": "a"}), ("page_view", {"category": "b"})]
        kinds += [("purchase", {"price": 10.0})] if visit % 3 == 0 else []
        for step, (kind, more) in enumerate(kinds):
            name, when_ms = f"e{visit}-{step}", at_ms + step * 10_000
            texts.append({"version": 1, "event_id": name, "kind": kind, "at_ms": when_ms, "site": SITE, **more})
    return [json.dumps(text) for text in texts]


def train_study(world, noise=0.0):
    local = LocalStudyPlan(
        noise_multiplier=noise, clip_norm=1.0, steps=2, maximum_rows=6, denominator=6.0, learning_rate=0.5
    )
    query = TrainQuery(features=named_features(FeatureSpec("session", ("a", "b"))), local=local)
    plan = EVERYONE | {"dimension": net_of(query).size}
    study = world.study(study_id="buy", kind="train", purpose="intent", query=query, plan=plan, window_seconds=600.0)
    return study, to_model_bytes(first_parameters(query))


def reserved_for(world, store, study, model=b"", people=1):
    populate(world, store, people, purposes=("measurement", "intent"))
    federation = federate(world, store)
    item = world.open_round(study, model=model)
    return federation, item, federation.reserve_all(only_round(federation))


def wait_for(computing, seconds=90):
    """Until no job is under way; a bound, not a measure."""
    for job in list(computing._jobs.values()):
        job.exception(timeout=seconds)


def test_the_child_trains_from_raw_events_and_the_vector_is_the_one_of_this_process(world, store):
    """Events and model go in over a pipe and the update comes back; torch is loaded there."""
    study, model = train_study(world)
    _, _, (reservation,) = reserved_for(world, store, study, model)
    computing = AnswerProcess(lambda _: visits(6), lambda: START_MS, NORMAL)
    computing.submit(reservation)
    wait_for(computing)
    vector = computing.take(reservation.found, reservation.participant.participant_id)
    body = compute(Job(study.query, study.plan.dimension, model, START_MS, visits(6)))
    assert np.linalg.norm(vector) > 0.01
    np.testing.assert_array_equal(vector, np.frombuffer(body, dtype="<f8", offset=1))
    computing.close()


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_an_answer_is_of_one_size_whatever_the_device_has(world, noise):
    """A vector, nothing to say and an error are of one length; with local noise, no events are noise, not nothing."""
    study, model = train_study(world, noise)
    jobs = [Job(study.query, study.plan.dimension, model, START_MS, events) for events in (visits(6), [], ["not JSON"])]
    trained, empty, broken = (compute(job) for job in jobs)
    assert len(trained) == len(empty) == len(broken) == 1 + 8 * study.plan.dimension
    assert (trained[:1], empty[:1], broken[:1]) == (b"v", b"v" if noise else b"n", b"f")
    assert np.count_nonzero(np.frombuffer(empty, "<f8", offset=1)) == (study.plan.dimension if noise else 0)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this system has no such priority")
def test_the_child_gives_way_to_everything_else(world, store):
    """It runs at idle priority, so that a poll or a send slot never waits for it."""
    _, _, (reservation,) = reserved_for(world, store, world.study(plan=EVERYONE))
    computing = AnswerProcess(lambda _: [], lambda: START_MS)
    computing.submit(reservation)
    wait_for(computing)
    assert os.sched_getscheduler(computing.pid) == os.SCHED_IDLE
    assert os.getpriority(os.PRIO_PROCESS, computing.pid) == 19
    computing.close()


def test_the_child_is_started_for_tails_too(tmp_path):
    """Before any coin: with every coin tails, each paid reservation's job is submitted and answered all the same."""
    world = World()
    store = make_store(tmp_path / "agent")
    populate(world, store, 2)
    tails = lambda count: b"\xff" * count if count == _COIN_BYTES else os.urandom(count)  # noqa: E731
    leader, helper = world.connections()
    federation = Federation(store, leader, helper, world.pins, world.clock, tails, CONTRACT)
    item = world.open_round(world.study(plan=BY_COIN))
    computing = AnswerProcess(lambda _: visits(2), lambda: START_MS, NORMAL)
    worker = worker_of(federation, computing, world.clock)
    worker.step()
    assert computing.pid is not None
    assert len(computing._jobs) == 2
    wait_for(computing)
    assert all(np.any(job.result()) for job in computing._jobs.values())
    through_the_window(worker, world.clock)
    worker.close()
    total, reports = world.total(item)
    assert reports == 2
    assert not total.any()


def test_a_whole_round_through_the_child(world, store):
    """Events in, the sum of everybody's answers out."""
    populate(world, store, 3)
    federation = federate(world, store)
    item = world.open_round(world.study(plan=EVERYONE))
    computing = AnswerProcess(lambda _: visits(2), lambda: START_MS, NORMAL)
    worker = worker_of(federation, computing, world.clock)
    worker.step()
    wait_for(computing)
    through_the_window(worker, world.clock)
    worker.close()
    total, reports = world.total(item)
    assert reports == 3
    assert total / item.study.plan.parameters().scale == pytest.approx([0, 3, 0, 0], abs=1e-3)


@pytest.mark.parametrize(
    "code",
    ["", "raise SystemExit(1)", "print('x' * 64, flush=True)"],
    ids=["hangs", "crashes", "babbles"],
)
def test_a_child_that_hangs_or_crashes_leaves_nulls_and_is_replaced(world, store, code):
    """The nulls go out at their slots; after the round the child is gone, and the next one's answers count."""
    populate(world, store, 2)
    federation = federate(world, store)
    computing = AnswerProcess(lambda _: visits(2), lambda: START_MS, (sys.executable, "-c", code + _SLEEP))
    worker = worker_of(federation, computing, world.clock)
    first = world.open_round(world.study(plan=EVERYONE, study_id="first"))
    worker.step()
    child = computing._child
    through_the_window(worker, world.clock)
    total, reports = world.total(first)
    assert reports == 2
    assert not total.any()
    assert child.wait(timeout=30) is not None
    computing._command = NORMAL
    world.clock.advance(1)
    second = world.open_round(world.study(plan=EVERYONE, study_id="second"))
    through_the_window(worker, world.clock, 0.25)
    wait_for(computing)
    through_the_window(worker, world.clock)
    worker.close()
    total, reports = world.total(second)
    assert reports == 2
    assert total.any()


def test_closing_ends_the_child_whatever_it_computes(world, store):
    """The worker's exit does not wait for an answer."""
    _, _, (reservation,) = reserved_for(world, store, world.study(plan=EVERYONE))
    computing = AnswerProcess(lambda _: [], lambda: START_MS, (sys.executable, "-c", _SLEEP))
    computing.submit(reservation)
    child = computing._child
    computing.close()
    assert child.poll() is not None


def test_a_child_whose_worker_is_gone_ends(world, store):
    """Its standard input ends with the worker."""
    _, _, (reservation,) = reserved_for(world, store, world.study(plan=EVERYONE))
    computing = AnswerProcess(lambda _: [], lambda: START_MS, NORMAL)
    computing.submit(reservation)
    wait_for(computing)
    child = computing._child
    child.stdin.close()
    assert child.wait(timeout=60) == 0
    computing.close()
