"""A device counts itself: what it granted at its reservation, by how often it came, for heads and tails alike."""

import dataclasses

import numpy as np
import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.federation.answering import Job, compute
from client_agent.federation.app import build_client_app, participant_context, round_message
from client_agent.federation.child import AnswerProcess
from client_agent.federation.contribution import Reservation, granted_of
from client_agent.profiles import EventData, read_events
from consent import Signals
from models.queries import coverage
from models.queries.answers import coverage_question
from models.wire.studies import CoverageQuery, TransitionsQuery
from tests.client_agent.test_federation import only_round
from tests.client_agent.test_worker import NORMAL, through_the_window, visits, wait_for, worker_of
from tests.client_agent.world import START_MS, federate, populate

QUERY = CoverageQuery(purposes=("persona", "intent", "churn"), visit_edges=(2, 4))
QUESTION = coverage_question(QUERY)
NOW = START_MS // 1_000


def coverage_study(world, rate=1.0):
    """The question in a study that the contract pays for."""
    plan = {"dimension": QUESTION.dimension, "clip_norm": 2.2, "noise_multiplier": 8.0, "sampling_rate": rate}
    return world.study(study_id="coverage", query=QUERY, plan=plan)


def counted(world, item):
    """The exact table that the helper's opened seals add up to: one row a band, grants then the count."""
    total, reports = world.total(item)
    params = item.study.plan.parameters()
    tally = coverage.decode(QUESTION, total.astype(np.int64), params, sampling_rate=1.0)
    return np.column_stack([tally.granted, tally.counts]).round(6).tolist(), reports


def test_everybody_is_counted_with_what_they_granted(world, store):
    """A whole round through the child: with measurement alone, with one purpose more, with all of them."""
    keeper = ConsentKeeper(store, world.pins, world.clock)
    alone, one, everything = populate(world, store, 3)
    keeper.grant_many({one: ("intent",), everything: QUERY.purposes})
    federation = federate(world, store)
    item = world.open_round(coverage_study(world))
    events = {alone: visits(1), one: visits(3), everything: visits(9)}
    computing = AnswerProcess(lambda who: events[who], lambda: START_MS, NORMAL)
    worker = worker_of(federation, computing, world.clock)
    worker.step()
    wait_for(computing)
    through_the_window(worker, world.clock)
    worker.close()
    assert counted(world, item) == ([[0, 0, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]], 3)


def test_the_app_of_this_process_counts_the_same(world, store):
    """The in-process ClientApp is handed the reservation's purposes too."""
    people = populate(world, store, 2, purposes=("measurement", "churn"))
    federation = federate(world, store)
    item = world.open_round(coverage_study(world))
    found = only_round(federation)
    federation.flip_all(federation.reserve_all(found))
    app = build_client_app(federation, lambda _: EventData(read_events(visits(5)), START_MS))
    for who in people:
        app(round_message(found, 1), participant_context(who))
    world.clock.advance(9.9)
    federation.send_due()
    assert counted(world, item) == ([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2]], 2)


def test_the_choice_at_the_reservation_counts(world, store):
    """What changes between reservation and slot changes nothing: heads and tails would otherwise differ in it."""
    (who,) = populate(world, store, 1, purposes=("measurement", "persona"))
    federation = federate(world, store)
    world.open_round(coverage_study(world, rate=0.5))
    (reservation,) = federation.reserve_all(only_round(federation))
    assert reservation.granted == ("persona",)
    ConsentKeeper(store, world.pins, world.clock).decline_many({who: ("persona",)})
    federation.roster.refresh()
    assert federation.reservation(reservation.found.key, who).granted == ("persona",)


def test_a_gate_decides_what_counts_as_granted(world, store):
    """A grant that expired, or that a signal overrules, is none; purposes that nobody asked about are not told."""
    (who,) = populate(world, store, 1, purposes=("measurement", "persona", "experiments"))
    federation = federate(world, store)
    federation.roster.refresh()
    member = federation.roster[who]
    assert granted_of(member, QUERY, NOW) == ("persona",)
    assert granted_of(member, QUERY, NOW, Signals(gpc=True)) == ()
    expires = member.consent.grant_of("persona").expires_at
    assert granted_of(member, QUERY, expires) == ()


def test_another_question_learns_nothing_of_what_was_granted(world, store):
    """The child that computes page flows is told of no purpose."""
    (who,) = populate(world, store, 1, purposes=("measurement", "persona"))
    federation = federate(world, store)
    world.open_round(world.study(plan={"sampling_rate": 1.0, "noise_multiplier": 8.0}))
    (reservation,) = federation.reserve_all(only_round(federation))
    assert reservation.granted == ()
    assert granted_of(federation.roster[who], TransitionsQuery(categories=("a", "b")), NOW) == ()


def test_without_measurement_nothing_is_sent_and_nothing_counted(world, store):
    """Whoever refused measurement is unknown to coverage, whatever else was granted."""
    populate(world, store, 1, purposes=QUERY.purposes)
    federation = federate(world, store)
    world.open_round(coverage_study(world))
    assert federation.reserve_all(only_round(federation)) == []


@pytest.mark.parametrize("granted", [(), ("persona",), QUERY.purposes])
def test_the_answer_is_of_one_size_and_norm(granted):
    """No events at all is an answer too: a device in the first band."""
    job = Job(QUERY, QUESTION.dimension, b"", START_MS, [], granted)
    body = compute(Job.decode(job.encode()))
    vector = np.frombuffer(body, dtype="<f8", offset=1)
    assert (body[:1], len(body)) == (b"v", job.answer_bytes)
    assert np.linalg.norm(vector) == pytest.approx(QUESTION.clip_norm)
    assert vector[:3].tolist() == [1.0 if purpose in granted else -1.0 for purpose in QUERY.purposes]


def test_what_was_granted_is_in_no_text_of_a_reservation_or_a_job():
    """Representations end up in logs."""
    assert "granted" in {field.name for field in dataclasses.fields(Reservation) if not field.repr}
    assert "granted" not in repr(Job(QUERY, QUESTION.dimension, b"", START_MS, [], ("persona",)))
