"""Whatever happens to a device and its store: nothing is contributed that the person's latest choice forbids.

The machine plays choices, clocks, signals, crashes, copies of the store put back with and without the keyring,
erasures, and lost, late and repeated deliveries on a real store and a leader that checks what it gets. Beside it stands
a model that knows none of that: what was said last about each purpose, and when.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.erasing import erase_person
from client_agent.errors import StoreUnreadable
from client_agent.store import STORE_FILE
from consent import INTENT, MEASUREMENT, NO_SIGNALS, Signals, decide
from models.wire.enrolment import ReceiptRequest, SubmittedReceipt
from models.wire.problems import ProblemError
from tests.client_agent.world import World, make_store, populate

DAY = 86_400
STEP = 600  # to which the latest time is written down
ASKED = (INTENT, MEASUREMENT)
CHOICES = st.sampled_from([ASKED, ASKED[:1], ASKED[1:]])
NAME = "person-0"


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Said:
    """What the person said last about one purpose."""

    yes: bool = False
    at: int = 0
    latest: int = 0
    """The latest time that the device looked at a clock since."""
    knowing: bool = False
    """The notice told of Global Privacy Control."""
    signal_since: bool = False


@dataclass
class Backup:
    """A copy of the agent's folder, and how many signals had been seen."""

    folder: Path
    signals: int


class ConsentMachine(RuleBasedStateMachine):
    """One person, one store, one leader."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="consent-machine-"))
        self.folder = self.root / "agent"
        self.world = World()
        self.store = make_store(self.folder)
        self.leader, _ = self.world.connections()
        (self.who,) = populate(self.world, self.store, 1, ())
        self.said = {purpose: Said() for purpose in ASKED}
        self.backups: list[Backup] = []
        self.sent: list[tuple[bytes, str]] = []
        self.signals = 0
        self.wound_back = False

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.store.close()
            shutil.rmtree(self.root)

    # What the person does

    @rule(purposes=CHOICES, header=st.booleans(), kill=st.sampled_from(["", "", "", "before", "after"]))
    def grant(self, purposes, header, kill) -> None:
        shown = self.keeper.notice(self.who, Signals(gpc=header))
        if self._choose(lambda: self.keeper.grant(self.who, purposes, shown), kill):
            said = Said(yes=True, at=self.now, latest=self.now, knowing=shown.gpc)
            self.said.update({purpose: replace(said) for purpose in purposes})
            self._opens(purposes, Signals(gpc=header))

    @rule(purposes=CHOICES, kill=st.sampled_from(["", "", "", "before", "after"]))
    def decline(self, purposes, kill) -> None:
        if self._choose(lambda: self.keeper.decline(self.who, purposes), kill):
            self.said.update({purpose: Said() for purpose in purposes})

    @rule()
    def send_signal(self) -> None:
        self.keeper.observe_gpc(self.who)
        self.signals += 1
        for said in self.said.values():
            said.signal_since = not said.knowing

    @rule(what=st.sampled_from(["restart", "restart", "erase", "wait"]), hours=st.integers(0, 30))
    def go_on(self, what, hours) -> None:
        self.store.close()
        self.store = make_store(self.folder)
        if what == "erase":
            self._erase_and_enrol_again()
        elif what == "wait":
            self.world.clock.advance(hours * 3_600)

    def _erase_and_enrol_again(self) -> None:
        erase_person(self.store, self.world.pins, NAME, self.world.clock)
        (self.who,) = populate(self.world, self.store, 1, ())
        self.said = {purpose: Said() for purpose in ASKED}
        self.wound_back = False

    # What time does

    @rule(days=st.integers(0, 200), turned=st.integers(-400, 400))
    def pass_time(self, days, turned) -> None:
        self.world.clock.advance(days * DAY)
        self.world.clock.ms = max(0, self.world.clock.ms + turned * DAY * 1_000)
        self.look()

    def look(self) -> None:
        self.store.consents.look(self.now, self.world.clock.monotonic_seconds())
        for said in self.said.values():
            said.latest = max(said.latest, self.now)

    # What becomes of processes and files

    @precondition(lambda self: len(self.backups) < 3)
    @rule()
    def back_up(self) -> None:
        self.store.close()
        copy = self.root / f"backup-{len(self.backups)}"
        shutil.copytree(self.folder, copy)
        self.backups.append(Backup(copy, self.signals))
        self.store = make_store(self.folder)

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def put_the_store_back(self, data) -> None:
        self._put_back(data.draw(st.sampled_from(self.backups)).folder, f"{STORE_FILE}*")

    @rule(purposes=CHOICES, delivered=st.booleans())
    def grant_and_take_back_and_die_and_put_the_store_back(self, purposes, delivered) -> None:
        """Killed between the commit and the keyring, started again, and then a copy of the store from before."""
        self.grant(purposes, header=False, kill="")
        self.store.close()
        copy = self.root / "before"
        shutil.copytree(self.folder, copy)
        self.store = make_store(self.folder)
        self.decline(purposes, "after")
        self.look()
        if delivered:
            self.deliver(lost=False)
        self._put_back(copy, f"{STORE_FILE}*")
        shutil.rmtree(copy)

    # Whoever puts the keyring back too winds the whole device back. What the leader has heard still binds; what nobody
    # has heard is gone, which no device can notice: then the machine does not do it.
    @precondition(lambda self: self.backups and not self.store.consents.waiting(1) and not len(self.store.outbox))
    @rule(data=st.data())
    def put_store_and_keyring_back(self, data) -> None:
        backup = data.draw(st.sampled_from(self.backups))
        if backup.signals == self.signals:
            self._put_back(backup.folder, "*")
            self.wound_back = True

    # What the network does

    @rule(lost=st.booleans())
    def deliver(self, lost) -> None:
        submit, waiting = self.leader.submit_receipts, self.store.consents.waiting(1)

        def forgetful(receipts):
            self.sent += [(bytes.fromhex(item.device_id), item.receipt) for item in receipts]
            answer = submit(receipts)
            if lost:
                raise ProblemError("leader-unavailable", "the answer is lost")
            return answer

        self.leader.submit_receipts = forgetful
        try:
            Courier(self.store, self.world.pins, self.world.clock).deliver(self.leader)
        except ProblemError:
            assert lost
        else:
            self.wound_back = self.wound_back and not waiting  # the leader's epoch tells the device
        finally:
            self.leader.submit_receipts = submit

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def arrive_again(self, data) -> None:
        device, jws = data.draw(st.sampled_from(self.sent))
        self.world._receipts(ReceiptRequest(receipts=(SubmittedReceipt(device_id=device.hex(), receipt=jws),)))

    # What has to hold

    @invariant()
    def nothing_passes_that_was_not_said_last(self) -> None:
        if not hasattr(self, "store"):
            return
        state = self.keeper.state_of(self.who)
        for purpose in ASKED:
            if not self.wound_back:
                for gate in ("collect", "use", "contribute"):
                    allowed = decide(gate, purpose, state, NO_SIGNALS, self.now).allowed
                    assert not allowed or self._may(purpose), (gate, purpose)
            assert not self._contributes(purpose) or self._may(purpose), purpose

    def _may(self, purpose: str) -> bool:
        said = self.said[purpose]
        age = max(self.now, said.latest - STEP) - said.at
        return said.yes and not said.signal_since and age < 180 * DAY

    def _contributes(self, purpose: str, signals: Signals = NO_SIGNALS) -> bool:
        """Both gates on a contribution's way: the device's, and the leader's with the epoch that the report names."""
        state = self.keeper.state_of(self.who)
        there = self.world.states.get(self.store.participants.get(self.who).device_id)
        return (
            decide("contribute", purpose, state, signals, self.now).allowed
            and there is not None
            and there.epoch == state.epoch
            and decide("accept", purpose, there, NO_SIGNALS, self.now).allowed
        )

    def _opens(self, purposes: tuple[str, ...], signals: Signals) -> None:
        """Liveness: a fresh yes opens the gates, whatever came before, as soon as the leader has heard of it."""
        state = self.keeper.state_of(self.who)
        assert all(decide("use", purpose, state, signals, self.now).allowed for purpose in purposes)
        made_here = [item for item in self.store.consents.waiting(256) if item.digest == state.receipt]
        if made_here and state.receipt in self.store.consents.made_here:
            self.deliver(lost=False)
            assert all(self._contributes(purpose, signals) for purpose in purposes)

    @property
    def keeper(self) -> ConsentKeeper:
        return ConsentKeeper(self.store, self.world.pins, self.world.clock)

    @property
    def now(self) -> int:
        return self.world.clock.now_ms() // 1_000

    def _choose(self, act, kill: str) -> bool:
        """Choose, perhaps killed before the commit or between it and the keyring; whether the choice was made."""
        database = self.store._database
        if kill:
            setattr(database, f"{kill}_commit", self._die)
        try:
            act()
        except Killed:
            self.store.close()
            self.store = make_store(self.folder)
        return kill != "before"

    def _die(self) -> None:
        raise Killed

    def _put_back(self, backup: Path, files: str) -> None:
        self.store.close()
        kept = self.root / "kept"
        shutil.copytree(self.folder, kept)
        for path in self.folder.glob(f"{STORE_FILE}*"):
            path.unlink()
        for path in backup.glob(files):
            shutil.copy(path, self.folder / path.name)
        try:
            self.store = make_store(self.folder)
        except StoreUnreadable:  # the key was replaced since, by an erasure: the copy opens for nobody
            shutil.rmtree(self.folder)
            shutil.copytree(kept, self.folder)
            self.store = make_store(self.folder)
        shutil.rmtree(kept)
        (record,) = self.store.participants.of_person(NAME)
        if record.participant_id != self.who:
            self.who, self.said = record.participant_id, {purpose: Said() for purpose in ASKED}


TestConsentMachine = ConsentMachine.TestCase
TestConsentMachine.settings = settings(max_examples=12, stateful_step_count=18, deadline=None)


class LongConsentMachine(ConsentMachine):
    """The same for longer."""


TestLongConsentMachine = pytest.mark.soak(LongConsentMachine.TestCase)
TestLongConsentMachine.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
