"""The people of a household: children have nothing, adults their own, and a PIN is tried slowly."""

import dataclasses
import os

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol
from client_agent.errors import NotEnrolled, PersonRefused, PinRefused
from client_agent.federation.contribution import may_contribute
from client_agent.gateway.sessions import Sessions
from client_agent.household import StoredHousehold
from client_agent.keys import FileKeyring
from client_agent.people import FREE_ATTEMPTS, LONGEST_WAIT_SECONDS, PeopleKeeper, PinVerifier, wait_seconds
from client_agent.store import BrowserRecord, ParticipantRecord
from consent import NO_SIGNALS, decide, notice
from models.events import Event
from tests.client_agent.gateway.people import known
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.world import SITE, START_MS, federate, make_store, populate

EVERYONE = {"sampling_rate": 1.0}


@pytest.fixture
def other(store):
    """The same store as another process has it: the command line beside the gateway or the worker."""
    opened = make_store(store._database.path.parent)
    yield opened
    opened.close()


@pytest.fixture
def keeper(world, store):
    return PeopleKeeper(store, world.pins, world.clock, os.urandom)


@pytest.fixture
def quick(monkeypatch):
    """A digest that costs nothing, where many PINs are tried."""
    monkeypatch.setattr("client_agent.people._scrypt", lambda salt: Scrypt(salt=salt, length=32, n=2, r=1, p=1))


def household(world, store, only=()):
    return StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None, only)


def looked(number, at_ms=START_MS):
    return Event(f"e{number}", "page_view", at_ms, SITE, category="sale")


def browser_of(person, number=1):
    return BrowserRecord(bytes([number]) * 32, None, person, False, START_MS, START_MS, START_MS, bytes(32))


# The PIN


def test_a_pin_is_kept_as_a_salted_digest_and_never_shown(keeper):
    """Neither the store nor a printed record has the PIN; the same PIN gives another digest for somebody else."""
    anna, ben = keeper.add("anna", "adult", "2468"), keeper.add("ben", "adult", "2468")
    assert anna.pin_digest != ben.pin_digest
    assert "2468" not in repr(anna)
    assert anna.pin_digest.hex() not in repr(anna)
    assert anna.pin_digest.hex() not in repr(PinVerifier(anna.pin_salt, anna.pin_digest))
    keeper.check_pin("anna", "2468")
    with pytest.raises(PinRefused):
        keeper.check_pin("anna", "2469")


def test_a_digest_agrees_with_the_published_vector_of_scrypt_and_costs_what_it_says():
    """The parameters are the documented ones: hashlib, which calls another implementation, gets the same digest."""
    import hashlib

    salt = bytes(range(16))
    expected = hashlib.scrypt(b"2468", salt=salt, n=2**15, r=8, p=3, maxmem=2**27, dklen=32)
    assert PinVerifier.seal("2468", salt).digest == expected


@pytest.mark.parametrize("pin", ["", "123", "1" * 65])
def test_a_pin_has_a_length(keeper, pin):
    """Too short and too long are refused when it is set, and never match when it is tried."""
    with pytest.raises(PersonRefused, match="4 to 64"):
        keeper.add("anna", "adult", pin)
    sealed = PinVerifier.seal("2468", b"s" * 16)
    assert sealed.verify("2468")
    assert not sealed.verify(pin)


def test_wrong_pins_are_answered_more_and_more_slowly(world, keeper, quick):  # noqa: ARG001 - a fixture
    """After five, each further one waits, twice as long each time; in a wait even the right one is not looked at."""
    keeper.add("anna", "adult", "2468")
    for number in range(FREE_ATTEMPTS):
        with pytest.raises(PinRefused) as refused:
            keeper.check_pin("anna", "0000")
        assert refused.value.wait_seconds == wait_seconds(number + 1)
    with pytest.raises(PinRefused, match="30 s"):
        keeper.check_pin("anna", "2468")
    world.clock.advance(31)
    with pytest.raises(PinRefused):
        keeper.check_pin("anna", "0000")
    world.clock.advance(31)
    with pytest.raises(PinRefused, match="29 s"):
        keeper.check_pin("anna", "2468")
    world.clock.advance(30)
    keeper.check_pin("anna", "2468")
    keeper.check_pin("anna", "2468")  # and the count is over


def test_a_restart_and_a_clock_turned_back_do_not_end_a_wait(world, keeper, other, quick):  # noqa: ARG001 - a fixture
    """The count is on the disk; turning the clock back makes the wait longer, not shorter."""
    keeper.add("anna", "adult", "2468")
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(PinRefused):
            keeper.check_pin("anna", "0000")
    world.clock.ms -= 86_400_000
    with pytest.raises(PinRefused) as refused:
        PeopleKeeper(other, world.pins, world.clock, os.urandom).check_pin("anna", "2468")
    assert refused.value.wait_seconds >= 30


@given(failures=st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_a_wait_never_shrinks_and_never_exceeds_an_hour(failures):
    """More failures never wait less; nobody is locked out for more than an hour at a time."""
    assert wait_seconds(failures) <= wait_seconds(failures + 1) <= LONGEST_WAIT_SECONDS


def test_an_attempt_is_counted_before_it_is_looked_at(keeper, store, monkeypatch):
    """A crash in the middle of a try, or many tries at once, still count."""
    keeper.add("anna", "adult", "2468")
    monkeypatch.setattr(PinVerifier, "verify", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        keeper.check_pin("anna", "2468")
    assert store.people.get("anna").failures == 1


def test_a_pin_that_was_changed_while_it_was_tried_lets_nobody_in(keeper, monkeypatch):
    """Who knew the old PIN is not let in by it once the new one stands."""
    keeper.add("anna", "adult", "2468")
    verify = PinVerifier.verify

    def changed_meanwhile(self, pin):
        monkeypatch.undo()
        keeper.set_pin("anna", "1357")
        return verify(self, pin)

    monkeypatch.setattr(PinVerifier, "verify", changed_meanwhile)
    with pytest.raises(PinRefused, match="changed"):
        keeper.check_pin("anna", "2468")


# Who is here


def test_who_was_enrolled_before_is_an_adult_without_a_pin(world, store):
    """Nobody has to be listed anew: a store from before knows its people."""
    populate(world, store, 2, purposes=())
    assert [(p.name, p.kind, p.has_pin) for p in store.people.all()] == [
        ("person-0", "adult", False),
        ("person-1", "adult", False),
    ]


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "a\x00b"])
def test_an_unusable_name_is_refused(keeper, name):
    """Empty, too long, or with characters that no screen shows."""
    with pytest.raises(PersonRefused, match="printable"):
        keeper.add(name, "adult")


def test_a_name_is_taken_once(world, store, keeper):
    """Also by somebody who was only ever enrolled."""
    populate(world, store, 1, purposes=())
    keeper.add(" anna ", "adult")
    for name in ("anna", "person-0"):
        with pytest.raises(PersonRefused, match="here already"):
            keeper.add(name, "child")


def test_each_person_has_a_profile_and_a_consent_of_their_own(world, store):
    """What one grants and collects is nowhere in the other's."""
    populate(world, store, 2, purposes=())
    home = household(world, store)
    anna, ben = home.visitor("person-0"), home.visitor("person-1")
    anna.choose({"persona"}, (), notice(SITE, "en"))
    anna.append_events([looked(1)])
    assert anna.consent().grant_of("persona")
    assert ben.consent().grant_of("persona") is None
    assert list(ben.events()) == []
    assert ben.receipts() == []
    assert home.visitor("person-0") is anna


def test_a_gateway_may_be_for_some_people_only(world, store):
    """Others cannot be chosen there, and a name that nobody has is an error at the start."""
    populate(world, store, 2, purposes=())
    home = household(world, store, ["person-1"])
    assert [member.name for member in home.members()] == ["person-1"]
    assert home.member("person-0") is None
    assert home.visitor("person-0") is None
    with pytest.raises(NotEnrolled, match="nobody"):
        household(world, store, ["nobody"])


# Children


def test_a_child_is_never_enrolled(world, store, keeper):
    """No participant, no key: neither through the command nor past it; a batch with a child enrols nobody."""
    keeper.add("tim", "child")
    leader, _ = world.connections()
    with pytest.raises(PersonRefused, match="never enrolled"):
        enrol(
            store, leader, world.pins, ["anna", "tim"], token="token", clock=world.clock, entropy=os.urandom
        )  # fmt: skip
    assert store.participants.all() == []
    assert world.bodies == []
    assert household(world, store).visitor("tim") is None
    with pytest.raises(PersonRefused, match="no PIN"):
        keeper.add("lea", "child", "2468")


def test_marking_somebody_as_a_child_withdraws_and_erases_everything(world, store, keeper):
    """Consent is withdrawn and the leader hears it; events, receipts, keys and browsers are gone; the other stays."""
    child, adult = populate(world, store, 2)
    store.insert_events(child, [("e1", START_MS, "{}")])
    store.browsers.put(browser_of("person-0", 1))
    store.browsers.put(browser_of("person-1", 2))
    device = store.participants.get(child).device_id
    assert keeper.set_kind("person-0", "child") is True
    assert not store.participants.has(child)
    assert store.events_of(child) == []
    assert store.consents.receipts_of(child) == []
    assert store.browsers.of("person-0") == []
    assert len(store.browsers.of("person-1")) == 1
    assert store.participants.has(adult)
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert world.states[device].granted == ()
    assert store.people.get("person-0").kind == "child"


def test_a_person_who_was_marked_in_another_process_is_out_at_once(world, store, other):
    """The gateway runs: what it still holds of the former adult takes no event more, and it hands out no profile."""
    (who,) = populate(world, store, 1)
    home = household(world, store)
    held = home.visitor("person-0")
    held.append_events([looked(1)])
    PeopleKeeper(other, world.pins, world.clock, os.urandom).set_kind("person-0", "child")
    assert held.append_events([looked(2)]) is False
    assert home.visitor("person-0") is None
    assert home.member("person-0").kind == "child"
    assert store.events_of(who) == []


def test_a_child_that_is_an_adult_again_starts_with_nothing(world, store, keeper):
    """No profile comes back, and nothing is on until they enrol and choose."""
    populate(world, store, 1)
    keeper.set_kind("person-0", "child")
    assert keeper.set_kind("person-0", "adult") is False
    assert household(world, store).visitor("person-0") is None
    leader, _ = world.connections()
    enrol(
        store, leader, world.pins, ["person-0"], token="token", clock=world.clock, entropy=os.urandom
    )  # fmt: skip
    assert household(world, store).visitor("person-0").consent().granted == ()


def test_the_worker_sends_nothing_for_a_child_marked_in_the_middle_of_a_round(world, store, other):
    """Reserved and ready to be sent, then marked as a child by another process: no report leaves, the other's does."""
    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study(plan=EVERYONE))
    take_part(world, federation, only_round(federation))
    PeopleKeeper(other, world.pins, world.clock, os.urandom).set_kind("person-0", "child")
    assert federation.send_due().accepted == 1
    assert len(world.reports) == 1


def test_the_contribute_gate_itself_refuses_a_child(world, store, other):
    """A row that says child shuts the gate by its own rule, were a profile with a grant still there."""
    (who,) = populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study(plan=EVERYONE))
    found = only_round(federation)
    assert may_contribute(federation.roster[who], found, federation.now_seconds())
    with other.transaction():  # what no command does: the profile stays
        other.people.put(dataclasses.replace(other.people.get("person-0"), kind="child"))
    assert federation.reserve_all(found) == []
    assert federation.participants(found) == []


@pytest.mark.parametrize("gate", ["collect", "use", "contribute", "accept"])
def test_every_gate_names_the_rule_that_shuts_it_for_a_child(world, store, gate):
    """Whatever stands granted, the answer for a child is no, by the rule that says so."""
    (who,) = populate(world, store, 1)
    state = ConsentKeeper(store, world.pins, world.clock).state_of(who)
    now = world.clock.now_ms() // 1_000
    assert decide(gate, "measurement", state, NO_SIGNALS, now).allowed
    for subject, rule in (("child", "child"), ("unknown", "person_unknown")):
        answer = decide(gate, "measurement", state, dataclasses.replace(NO_SIGNALS, subject=subject), now)
        assert (answer.allowed, answer.rule) == (False, rule)


# Leaving


def test_removing_somebody_leaves_nothing_of_them(world, store, keeper):
    """Row, PIN, browsers, profile: all gone; a later person of the same name is another one."""
    (who,) = populate(world, store, 1)
    keeper.set_pin("person-0", "2468")
    store.browsers.put(browser_of("person-0"))
    assert keeper.remove("person-0") is True
    assert store.people.get("person-0") is None
    assert store.browsers.of("person-0") == []
    assert not store.participants.has(who)
    keeper.add("person-0", "adult")
    assert not store.people.get("person-0").has_pin
    with pytest.raises(PersonRefused, match="person list"):
        keeper.remove("nobody")


def test_who_erases_everything_is_at_no_browser_any_more(world, store):
    """On their own page or through the command: both origins know nobody, and a code made before does nothing."""
    populate(world, store, 2)
    home = household(world, store)
    sessions = Sessions(home, os.urandom)
    page, site = known(sessions, "person-0")
    other, _ = known(sessions, "person-1")
    code = sessions.mint([page])
    home.visitor("person-0").erase_everything()
    assert sessions.at_site([site]).subject == "unknown"
    assert sessions.at_page([page]).subject == "unknown"
    assert sessions.redeem(code) is None
    assert sessions.at_page([other]).visitor is not None
    assert [member.name for member in home.members()] == ["person-1"]


def test_a_new_pin_ends_the_browsers_of_before(world, store, keeper):
    """Whoever was let in without the PIN has to give it."""
    populate(world, store, 1, purposes=())
    store.browsers.put(browser_of("person-0"))
    keeper.set_pin("person-0", "2468")
    assert store.browsers.of("person-0") == []


def test_events_are_not_stored_under_a_consent_that_changed_meanwhile(world, store, other):
    """A withdrawal in another process between letting an event in and storing it: it is not stored."""
    (who,) = populate(world, store, 1)
    visitor = household(world, store).visitor("person-0")
    before = visitor.consent()
    assert visitor.append_events([looked(1)], under=before) is True
    ConsentKeeper(other, world.pins, world.clock).withdraw(who)
    assert visitor.append_events([looked(2)], under=before) is False
    assert store.events_of(who) == []  # the first went with the choice, the second never came


def test_everybodys_old_events_go_while_the_agent_runs(world, store):
    """The daily deletion reaches people whom no gateway serves, too, and leaves what is still kept."""
    ids = populate(world, store, 2, purposes=())
    for who in ids:
        store.insert_events(who, [("old", START_MS, "{}"), ("new", START_MS + 10_000, "{}")])
    assert store.events.erase_before(START_MS + 5_000) == 2
    assert [at for who in ids for at, _ in store.events_of(who)] == [START_MS + 10_000] * 2


# The command line


@pytest.fixture
def folder(world, tmp_path):
    """An agent whose services do not answer."""
    agent = set_up(tmp_path, world.pins, Addresses("http://127.0.0.1:9", "http://127.0.0.1:9"), FileKeyring(tmp_path))
    with agent.store.transaction():
        record = ParticipantRecord("ab" * 8, "me", SITE, world.leader.verify_key.raw, os.urandom(32), b"d" * 16)
        agent.store.participants.add([record])
    agent.store.close()
    return tmp_path


def person(folder, *arguments, typed=None):
    return CliRunner().invoke(cli.app, ["person", *arguments, "--dir", str(folder)], input=typed)


def test_the_commands_add_list_change_and_remove(folder):
    """With the leader away a person exists and enrols later; a child takes no token; the list says who is what."""
    assert "person enrol anna" in person(folder, "add", "anna", "--pin", typed="2468\n2468\n").output
    assert "never a profile" in person(folder, "add", "tim", "--child").output
    refused = person(folder, "add", "lea", "--child", "--token", "t")
    assert refused.exit_code == 2
    away = person(folder, "enrol", "anna", "--token", "t")
    assert away.exit_code == 1
    assert "leader" in away.output
    listed = person(folder, "list").output.splitlines()
    assert [line.split() for line in listed] == [
        ["anna", "adult", "no", "profile", "PIN"],
        ["me", "adult", "enrolled"],
        ["tim", "child", "no", "profile"],
    ]
    assert "withdrawn and erased" in person(folder, "set", "me", "--child").output
    assert person(folder, "set", "me", "--adult").exit_code == 0
    assert person(folder, "set", "me").exit_code == 2
    assert person(folder, "remove", "anna", "--yes").exit_code == 0
    assert '"anna"' not in person(folder, "list", "--json").output
