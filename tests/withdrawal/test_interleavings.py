"""A withdrawal at every possible moment, against leaders that ignore it: thousands of seeded interleavings."""

import random

import pytest

from client_agent import streaming
from client_agent.confirmations import read_withdrawn
from models.wire.enrolment import REMOVAL_TYPE
from privacy.crypto import verify_document
from tests.withdrawal.lines import Killed
from tests.withdrawal.stage import HONEST, LEADERS, Stage

FEW, MANY, ROUNDS_OF_A_STAGE = 100, 10_000, 50
_EXPECTED_POINTS = 70
_LATEST_MS = 1_000


def interleave(stage: Stage, number: int, seed: int) -> str:
    """One round under one seed. Returns what the leader was."""
    draw = random.Random(seed)
    behaviour = draw.choice(LEADERS)
    stage.begin(number, behaviour)
    leaving = draw.sample(stage.people, draw.choice((1, 1, 2)))
    for who in leaving:
        at = draw.randrange(1, _EXPECTED_POINTS)
        acts = stage.points.plan.setdefault(at, [])
        acts.append(lambda who=who: stage.withdraw(who))
        for act in draw.sample([stage.tell_helper, stage.deliver], draw.randrange(3)):
            stage.points.plan.setdefault(at + draw.randrange(3), acts).append(act)
        if draw.random() < 0.2:
            stage.points.plan.setdefault(at + draw.randrange(1, 4), []).append(lambda who=who: stage.grant(who))
    for _ in range(draw.randrange(4)):
        seconds = draw.choice((0.2, 1.5, 4.0))
        stage.points.plan.setdefault(draw.randrange(1, _EXPECTED_POINTS), []).append(
            lambda seconds=seconds: stage.clock.advance(seconds)
        )
    if draw.random() < 0.3:
        stage.points.plan.setdefault(draw.randrange(1, _EXPECTED_POINTS), []).append(_die)
    stage.helper_down = draw.random() < 0.15
    early = draw.random() < 0.3
    while stage.clock.ms < stage.ends_ms:
        stage.step_worker()
        lanes = [stage.tell_helper, stage.deliver]
        draw.shuffle(lanes)
        for act in lanes[: draw.randrange(3)] if stage.withdrawn else ():
            act()
        if early and draw.random() < 0.05:
            stage.hand_in()
        stage.idle()
        stage.clock.advance(draw.choice((0.2, 0.6, 1.2)))
    finish(stage, leaving, draw)
    return behaviour


def _die() -> None:
    raise Killed


def finish(stage: Stage, leaving: list[str], draw: random.Random) -> None:
    """The window is over: whoever has not withdrawn does it now, too late or not, and everybody hears of everything."""
    stage.points.plan = {}
    stage.drain()
    if draw.random() < 0.5:
        stage.hand_in()
    stage.helper_down = False
    for who in leaving:
        stage.withdraw(who)
    stage.tell_helper()
    stage.hand_in()
    ignored, stage.now.behaviour = stage.now.behaviour, HONEST
    stage.deliver()
    stage.now.behaviour = ignored
    stage.tell_helper()


def check(stage: Stage, behaviour: str) -> None:
    """The four promises, after everything has settled."""
    now = stage.now
    for slice_ in now.handed:  # nothing is handed over a second after the withdrawal, or later
        for name in slice_.report_ids & stage.taken_back.keys():
            assert slice_.at_ms <= stage.taken_back[name] + _LATEST_MS
    assert all(len(names) == 1 for names in now.sent.values()), "one report a person and round, the same bytes"
    assert stage.resident_store.reports.taken_back() == [], "the helper has heard of everything"
    for who in stage.people:
        _check_list(stage, who, honest=behaviour == HONEST)
    for who in set(stage.people) - stage.withdrawn:
        if not (now.early or stage.overslept()):  # only a round that is over keeps the others' reports back
            (name,) = now.sent[stage.devices_of[who]]
            assert name in now.reports
            assert now.counted is None or name in now.counted


def _check_list(stage: Stage, who: str, *, honest: bool) -> None:
    """What the person is told of this round is so; what was confirmed is in no sum, whatever the leader did."""
    key, counted = (stage.study_.study_hash(), stage.number), stage.now.counted or set()
    sent = stage.now.sent.get(stage.devices_of[who], set())
    told = {(c.study_hash, c.round): c for c in stage.resident_store.contributions.releases_of(who)}
    item = told.get(key)
    if item is None:
        assert not sent, "what left is in the list"
        return
    assert sent <= {item.report_id}
    assert not sent or item.sent_at_ms is not None
    if item.report_id in counted:
        assert item.outcome in ({"standing", "possible"} if honest else {"standing", "possible", "removed"})
    if item.outcome == "kept_out":
        assert read_withdrawn(item.confirmation, stage.helper.verify_key, *key, item.report_id).outcome == "kept"
    if item.outcome == "removed":
        assert verify_document(item.removal, REMOVAL_TYPE, (stage.leader.verify_key,))


def play(folder, seeds) -> dict[str, int]:
    """Interleave round after round on one stage after another.

    Returns:
        How often there was which leader, and how often the round was over early for the agent (``over``).
    """
    leaders: dict[str, int] = {}
    seeds = list(seeds)
    for start in range(0, len(seeds), ROUNDS_OF_A_STAGE):
        part = seeds[start : start + ROUNDS_OF_A_STAGE]
        stage = Stage(folder / str(start), len(part) + 1)
        with stage.up():
            for number, seed in enumerate(part, start=1):
                try:
                    behaviour = interleave(stage, number, seed)
                    check(stage, behaviour)
                except BaseException as error:
                    error.add_note(f"seed {seed}, round {number} of its stage, leader {stage.now.behaviour}")
                    raise
                leaders[behaviour] = leaders.get(behaviour, 0) + 1
                leaders["over"] = leaders.get("over", 0) + (stage.now.early or stage.overslept())
                stage.heal()
    return leaders


@pytest.fixture
def small_slices(monkeypatch):
    """A report goes over in several slices, so that a withdrawal can fall between two of one report."""
    monkeypatch.setattr(streaming, "SLICE_BYTES", 700)


@pytest.mark.usefixtures("small_slices")
def test_no_interleaving_lets_a_withdrawn_report_out(tmp_path):
    """Wherever a withdrawal falls, whatever the leader does: nothing leaves after it, and the list is true."""
    leaders = play(tmp_path, range(FEW))
    assert leaders.pop("over") < FEW / 2, "the promise to the others has to be tested too"
    assert set(leaders) == set(LEADERS)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("small_slices")
def test_ten_thousand_interleavings(tmp_path):
    """The full count."""
    leaders = play(tmp_path, range(1_000_000, 1_000_000 + MANY))
    assert leaders.pop("over") < MANY / 2
    assert sum(leaders.values()) == MANY
