"""An older agent and a newer leader: nulls for what it cannot do, all else as before, and a status that says so."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.connection import LeaderConnection
from client_agent.federation.shortfalls import UNREAD, UPDATE, shortfalls
from client_agent.keys import FileKeyring
from models.queries.summaries import summarise
from models.wire.future import FutureStudy, read_work
from models.wire.rounds import RoundWork, Work

from .world import federate, populate


class NewerLeader:
    """What a leader of a later version puts into its work: each round changed by hand, the rest as it is."""

    def __init__(self, world, change) -> None:
        self._world, self._change = world, change

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/work":
            return self._world._leader(request)
        work = self._world.work.model_dump(mode="json", serialize_as_any=True)
        return httpx.Response(200, content=json.dumps(self._change(work)).encode())


def future(study, **changes) -> FutureStudy:
    """A study of the next version, as its leader would propose it."""
    document = {**study.document(), "version": 2, "kind": "compare", "query": {"question": "funnel", "steps": 3}}
    return FutureStudy.model_validate({**document, **changes})


def test_a_study_of_a_newer_form_keeps_its_digest(world):
    """What is not known here is carried along: digest, approval and the log's proof are over the same bytes."""
    study = future(world.study(), weights={"late": [0.5, 1], "note": "new in version 2"})
    again = FutureStudy.model_validate_json(study.canonical())
    assert again.canonical() == study.canonical()
    assert b'"weights":{"late":[0.5,1],"note":"new in version 2"}' in study.canonical()
    assert again.study_hash() == study.study_hash() != world.study().study_hash()


@pytest.mark.parametrize("extra", [{}, {"strata": ["a", "b"]}], ids=["another question", "another field, too"])
def test_an_unknown_question_gets_nulls_and_costs_nothing(world, store, extra):
    """The agent reports like everybody: same size, same time, verified all the same; its budget stays whole."""
    populate(world, store, 3)
    study = future(world.study(plan={"sampling_rate": 1.0}), **extra)
    item = world.open_round(study)
    federation = federate(world, store)
    (found,) = federation.open_rounds()
    assert not found.supported
    reservations = federation.reserve_all(found)
    assert [item.payment for item in reservations] == ["unsupported"] * 3
    assert not any(item.may_be_real for item in reservations)
    federation.finalise(found, reservations)
    world.clock.advance(9)
    assert federation.send_due().accepted == 3
    total, count = world.total(item)
    assert (total.tolist(), count) == ([0, 0, 0, 0], 3)
    assert all(member.budget.contract.length == 0 for member in federation.roster)
    assert shortfalls(store) == {"pages": ["study/2:funnel"]}


def test_a_forged_study_of_a_newer_form_is_refused_like_any_other(world, store):
    """Not knowing a question is no reason to believe who asks it."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(future(world.study()), by=world.leader)
    assert federation.open_rounds() == []
    assert list(federation.refused.values()) == ["approval"]
    assert shortfalls(store) == {}


def test_a_round_that_cannot_be_read_does_not_hide_the_others(world, store):
    """The plan of the sum has another form: no null of the right size can be made. The round beside it is answered."""
    populate(world, store, 2)
    federation = federate(world, store)
    good = world.open_round(world.study(study_id="good"))
    strange = world.open_round(world.study(study_id="strange"))
    world.publish(good, strange)

    def change(work):
        work["rounds"][1]["study"]["plan"] = {"version": 2, "buckets": 8}
        return {**work, "hint": "a field of a later version"}

    listen_to(world, federation, change)
    (found,) = federation.open_rounds()
    assert found.study.study_id == "good"
    assert len(federation.reserve_all(found)) == 2
    assert shortfalls(store) == {UNREAD: ["a form of work that cannot be read"]}


def listen_to(world, federation, change):
    """Show this agent work that somebody has changed on its way."""
    federation.leader = federation._rounds._leader = LeaderConnection(
        "http://leader.test", NewerLeader(world, change).transport()
    )


def _around(work):
    work["rounds"][0]["hint"] = {"how": 1}


def _beside(work):
    work["rounds"][0]["hint"] = 2**60


def _spelt(work):
    work["rounds"][0]["study"]["version"] = "1"


@pytest.mark.parametrize("change", [_around, _beside, _spelt])
def test_nothing_unsigned_turns_a_known_study_into_nulls(world, store, change):
    """A field that is unknown around the study, or another spelling of it: the study is known and is answered."""
    populate(world, store, 3)
    world.open_round(world.study(plan={"sampling_rate": 1.0}))
    federation = federate(world, store)
    listen_to(world, federation, lambda work: (change(work), work)[1])
    (found,) = federation.open_rounds()
    assert found.supported
    assert found.study == world.work.rounds[0].study
    assert [item.payment for item in federation.reserve_all(found)] == ["paid"] * 3
    assert shortfalls(store) == {}


@pytest.mark.parametrize("where", [[], ["query"], ["plan"]], ids=["study", "query", "plan"])
def test_an_unknown_field_inside_the_signed_study_is_another_study(world, store, where):
    """Its digest is not the one that was approved: refused, nothing reserved; the honest round is answered."""
    populate(world, store, 3)
    item = world.open_round(world.study(plan={"sampling_rate": 1.0}))
    federation = federate(world, store)
    honest = federation.leader

    def change(work):
        part = work["rounds"][0]["study"]
        for name in where:
            part = part[name]
        part["hint"] = 1
        return work

    listen_to(world, federation, change)
    assert federation.open_rounds() == []
    federation.leader = federation._rounds._leader = honest
    (found,) = federation.open_rounds()
    assert found.study_hash == item.study.study_hash()
    assert [item.payment for item in federation.reserve_all(found)] == ["paid"] * 3


@pytest.mark.parametrize("number", [2**60, "\ud800"], ids=["large", "surrogate"])
@pytest.mark.parametrize("place", ["unknown", "known"])
def test_a_study_without_a_digest_does_not_hide_the_others(world, store, number, place):
    """It has no canonical form, so nobody approved it: passed over and counted, the round beside it answered."""
    populate(world, store, 2)
    federation = federate(world, store)
    good = world.open_round(world.study(study_id="good"))
    strange = world.open_round(world.study(study_id="strange"))
    world.publish(good, strange)

    def change(work):
        study = work["rounds"][1]["study"]
        if place == "unknown":
            study["hint"] = number
        else:
            study["plan"]["minimum_cohort"] = number
        return work

    listen_to(world, federation, change)
    (found,) = federation.open_rounds()
    assert found.study.study_id == "good"
    assert len(federation.reserve_all(found)) == 2
    assert shortfalls(store) == {UNREAD: ["a form of work that cannot be read"]}


def test_work_of_this_version_is_read_strictly(world):
    """A known form stays a known form, and what is no work at all is an error."""
    world.open_round(world.study())
    work, unread = read_work(world.work.model_dump_json().encode())
    assert isinstance(work, Work)
    assert type(work.rounds[0]) is RoundWork
    assert unread == 0
    for body in (b"", b"[]", b"{}", b'{"rounds": 3}', b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            read_work(body)


def test_the_status_names_what_is_unsupported(world, store):
    """Whoever looks after the device reads which study it is, and that an update is what helps."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study(needs=("telepathy/1",)))
    assert len(federation.open_rounds()) == 1
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    done = CliRunner().invoke(cli.app, ["status", "--json", "--dir", str(folder), "--person", "person-0"])
    assert json.loads(done.stdout)["unsupported"] == {"pages": f"{UPDATE} (it lacks telepathy/1)"}


def test_the_device_says_what_a_study_asks_in_the_officers_words(world, store):
    """Of every study that was shown and verified, in both languages; a forged one is not described."""
    populate(world, store, 1)
    federation = federate(world, store)
    study = world.study()
    asked, forged = world.open_round(study), world.open_round(world.study(study_id="forged"), by=world.leader)
    world.publish(asked, forged)
    assert len(federation.open_rounds()) == 1
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    for language in ("en", "de"):
        done = CliRunner().invoke(cli.app, ["studies", "--json", "--dir", str(folder), "--language", language])
        assert json.loads(done.stdout) == {"pages": f"t. {summarise(study, language).text()}"}
