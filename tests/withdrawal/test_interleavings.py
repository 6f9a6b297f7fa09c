"""A withdrawal at every possible moment, against leaders that ignore it: thousands of seeded interleavings."""

import random
from functools import partial

import pytest

from client_agent import streaming
from client_agent.confirmations import read_withdrawn
from models.wire.enrolment import REMOVAL_TYPE, Removal
from privacy.crypto import verify_document
from tests.withdrawal.lines import Killed, Points
from tests.withdrawal.stage import HONEST, LEADERS, Stage
from tests.withdrawal.wires import Stall

FEW, MANY, ROUNDS_OF_A_STAGE = 100, 10_000, 50
_EXPECTED_POINTS = 70
_REPLAYED = 12
_STALLS = (0.3, 1.5, 4.0)
"""For how long a leader does not read, in seconds."""


def interleave(stage: Stage, number: int, seed: int) -> str:
    """One round under one seed. Returns what the leader was."""
    draw = random.Random(seed)
    behaviour = draw.choice(LEADERS)
    stalls = [Stall(draw.randrange(3), draw.choice(_STALLS)) if draw.random() < 0.4 else None for _ in range(6)]
    stage.begin(number, seed, behaviour, stalls)
    leaving = draw.sample(stage.people, draw.choice((1, 1, 2)))
    for who in leaving:
        _plan_withdrawal(stage.points, stage, who, draw)
    for _ in range(draw.randrange(4)):
        seconds = draw.choice((0.2, 1.5, 4.0))
        stage.points.add(_anywhere(draw), f"{seconds} s pass", partial(stage.clock.advance, seconds))
    if draw.random() < 0.3:
        stage.points.add(_anywhere(draw), "the worker dies", _die)
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


def _plan_withdrawal(points: Points, stage: Stage, who: str, draw: random.Random) -> None:
    """A withdrawal somewhere, once; what delivers it, at that point or soon after; and sometimes a new yes."""
    at = _anywhere(draw)
    points.add(at, f"{stage.people.index(who)} withdraws", partial(stage.withdraw, who))
    for act in draw.sample([stage.tell_helper, stage.deliver], draw.randrange(3)):
        points.add(at + draw.randrange(3), act.__name__, act)
    if draw.random() < 0.2:
        points.add(at + draw.randrange(1, 4), f"{stage.people.index(who)} grants", partial(stage.grant, who))


def _anywhere(draw: random.Random) -> int:
    return draw.randrange(1, _EXPECTED_POINTS)


def _die() -> None:
    raise Killed


def finish(stage: Stage, leaving: list[str], draw: random.Random) -> None:
    """The window is over: whoever has not withdrawn does it now, too late or not, and everybody hears of everything."""
    stage.points.plan.clear()
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
    for slice_ in (*now.handed, *now.arrived):
        for name in slice_.report_ids & stage.taken_back.keys():
            assert slice_.order < stage.taken_back[name], "a withdrawal is the last thing that happens to a report"
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
        word = Removal.model_validate(verify_document(item.removal, REMOVAL_TYPE, (stage.leader.verify_key,)))
        assert item.report_id.hex() in {removed.report_id for removed in word.reports}


def play(folder, seeds, logs=None) -> dict[str, int]:
    """Interleave round after round on one stage after another.

    Args:
        folder: for the stages.
        seeds: of the rounds.
        logs: takes each round's log of points.

    Returns:
        How often there was which leader, how often the round was over early for the agent (``over``), and in how many
        rounds a request was cut while the leader did not read (``cut``).
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
                    error.add_note(
                        f"seed {seed}, leader {stage.now.behaviour}; play(folder, range({part[0]}, {seed + 1}))"
                    )
                    error.add_note("\n".join(map(str, stage.points.log)))
                    raise
                leaders[behaviour] = leaders.get(behaviour, 0) + 1
                leaders["over"] = leaders.get("over", 0) + (stage.now.early or stage.overslept())
                leaders["cut"] = leaders.get("cut", 0) + stage.now.cut
                if logs is not None:
                    logs.append(stage.points.log)
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
    assert leaders.pop("cut") > FEW / 50, "a leader that does not read has to be met by withdrawals"
    assert set(leaders) == set(LEADERS)


@pytest.mark.usefixtures("small_slices")
def test_a_seed_decides_a_run(tmp_path):
    """What failed once fails again: the same points at the same times, and the same happenings there."""
    logs: list[list] = [[], []]
    for index, log in enumerate(logs):
        play(tmp_path / str(index), range(_REPLAYED), log)
    assert logs[0] == logs[1]
    assert len({str(log) for log in logs[0]}) == _REPLAYED


@pytest.mark.soak
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("small_slices")
def test_ten_thousand_interleavings(tmp_path):
    """The full count."""
    leaders = play(tmp_path, range(1_000_000, 1_000_000 + MANY))
    assert leaders.pop("over") < MANY / 2
    assert leaders.pop("cut") > MANY / 50
    assert sum(leaders.values()) == MANY
