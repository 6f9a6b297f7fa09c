"""A stage for withdrawals: the real agent and the real helper, a leader that does as it is told, one virtual clock.

Everything happens on one thread, in an order that a seed decides. Wherever a process may be interrupted stands a point
(``Points.reach``); a plan says what else happens there: a withdrawal in another process, a lane that delivers it, the
death of the worker, time that passes while somebody does not read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from aggregator.clock import Clock
from aggregator.helper.app import create_app
from aggregator.key_files import create_key
from aggregator.settings import HelperSettings
from client_agent import connection
from client_agent.connection import HelperConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol
from client_agent.federation.app import build_answering_app, participant_context, round_message
from client_agent.federation.contribution import Reservation, Slots
from client_agent.federation.federation import Federation
from client_agent.federation.worker import Worker
from client_agent.keys import FileKeyring
from client_agent.store import open_store
from consent import receipt_digest
from models.wire.enrolment import REMOVAL_TYPE, ReceiptRequest, ReceiptResponse, ReceiptResult, Removal, RemovedReport
from models.wire.frames import SEALS_MEDIA_TYPE, ReportFrame, ReportResponse, decode_batch, encode_report, join_reports
from models.wire.problems import ProblemError
from models.wire.rounds import ANSWER_TYPE, Answer, OpeningRequest, RoundWork, ShareAnswer, model_hash
from privacy.crypto import sign_document, verify_document
from privacy.crypto.requests import sign_request
from simulations.transport import InProcessServices
from tests.client_agent.world import CONTRACT, SITE, START_MS, World, _json, _problem
from tests.frames import encode_seals
from tests.withdrawal.lines import HelperLine, Killed, Points, Vectors, WatchedConnection
from tests.withdrawal.wires import Stall, Wire

PEOPLE = 4
WINDOW_SECONDS = 10.0
HONEST, LIAR, DEAF, HANGING, REFUSING = "honest", "liar", "deaf", "hanging", "refusing"
LEADERS = (HONEST, HONEST, LIAR, DEAF, HANGING, REFUSING)
"""What a leader does with a withdrawal: deletes the report and signs; signs and keeps it; answers 500; never answers;
refuses it. All but the first hand in whatever they ever received, be it a part of a request."""


@dataclass
class Slice:
    """One slice of a body that the agent handed over, or that the leader read.

    Attributes:
        order: its place among everything that happened.
        at_ms: when.
        report_ids: of whose reports it holds a part.
    """

    order: int
    at_ms: int
    report_ids: frozenset[bytes]


@dataclass
class Round:
    """What the leader and the network saw of one round."""

    behaviour: str = HONEST
    reports: dict[bytes, ReportFrame] = field(default_factory=dict)
    """What the leader would hand in, by report id."""
    kept_out: set[bytes] = field(default_factory=set)
    handed: list[Slice] = field(default_factory=list)
    arrived: list[Slice] = field(default_factory=list)
    sent: dict[bytes, set[bytes]] = field(default_factory=dict)
    """By device, the ids of whatever was sent for it, in whole or in part."""
    counted: set[bytes] | None = None
    """Reports in the helper's sum; None before the answer, or where there is none."""
    cut: bool = False
    """A request ended while the leader did not read."""
    answered: bool = False
    early: bool = False
    """The batch was handed in before everybody had sent."""
    drained: bool = False


class Stage(World):
    """Leader, helper, officer, and one agent in two processes: a worker, and a resident that withdraws and delivers."""

    def __init__(self, folder: Path, rounds: int) -> None:
        secrets = {name: create_key(_made(folder / name) / "service.key") for name in ("leader", "helper")}
        super().__init__(leader=secrets["leader"], helper=secrets["helper"])
        self.folder, self.points, self.now = folder, Points(self.clock), Round()
        self._random = random.Random("a stage")
        self._stalls: list[Stall | None] = []
        self._connected = 0
        self.helper_down, self.acknowledged = False, set[bytes]()
        self._batch: list[bytes] = []
        settings = HelperSettings.read(
            folder / "helper", site=SITE, hosts=("helper.test",), leader_key=self.leader.verify_key.raw.hex(),
            officers=(self.officer.verify_key.raw.hex(),), budget_epsilon=8.0, log_level="error",
        )  # fmt: skip
        clock = Clock(wall=lambda: self.clock.ms / 1_000, monotonic=lambda: self.clock.running_seconds)
        self.services = InProcessServices(lambda: {"helper": create_app(settings, clock=clock)})
        self.worker_store = open_store(folder / "agent", FileKeyring(folder / "agent"))
        self.resident_store = open_store(folder / "agent", FileKeyring(folder / "agent"))
        self.points.blocked = lambda: self.worker_store._database._inside or self.resident_store._database._inside
        self.keeper = ConsentKeeper(self.resident_store, self.pins, self.clock)
        self.courier = Courier(self.resident_store, self.pins, self.clock)
        self.study_ = self.study(
            rounds=rounds, window_seconds=WINDOW_SECONDS, epsilon_cap=8.0, expires_at_ms=START_MS + 10**10,
            plan={"noise_multiplier": 1_000.0, "minimum_cohort": 2, "sampling_rate": 0.5},
        )  # fmt: skip

    @contextmanager
    def up(self) -> Iterator[Stage]:
        with self.services:
            assert self.as_leader("/v1/proposals", self.study_.canonical()).status_code == 202
            self.open_round(self.study_)  # an opening of the test's own, for the signed approval
            approval = self.work.rounds[0].approval
            answer = self._helper_request("POST", "/v1/decisions", json={"jws": approval})
            assert answer.status_code == 201, answer.text
            self._populate()
            self.start_worker()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(connection, "watched", self.points.watched)
                yield self
        self.worker_store.close()
        self.resident_store.close()

    # The agent

    def entropy(self, count: int) -> bytes:
        """Of everything that the agent and the leader draw: the seed decides it."""
        return self._random.randbytes(count)

    def _populate(self) -> None:
        names, (leader, _) = [f"person-{i}" for i in range(PEOPLE)], World.connections(self)
        store, clock = self.resident_store, self.clock
        records = enrol(store, leader, self.pins, names, token="token", clock=clock, entropy=self.entropy)
        self.people = [record.participant_id for record in records]
        self.devices_of = {who: store.participants.get(who).device_id for who in self.people}
        self.grant(*self.people)
        self.courier.deliver(leader)

    def connections(self):
        return WatchedConnection(self), HelperConnection("http://helper.test", HelperLine(self))

    def start_worker(self) -> None:
        """A worker's process begins: nothing is left of the one before but the store."""
        leader, helper = self.connections()
        self.federation = Federation(
            self.worker_store, leader, helper, self.pins, self.clock, self.entropy, CONTRACT, slots=Slots(0.1, 0.8)
        )
        app = build_answering_app(self.federation, lambda *_: np.array([0.5, 0.25, 0.0, 0.5]))

        def answer(reservation: Reservation) -> object:
            context = participant_context(reservation.participant.participant_id)
            return app(round_message(reservation.found, 1), context)

        self.worker = Worker(self.federation, Vectors(), answer, self.clock, 0.5)
        self._set_points()

    def _set_points(self) -> None:
        for owner, name in (
            (self.worker, "_poll"), (self.worker, "_settle"), (self.federation, "_reserve"),
            (self.federation, "_store_reservations"), (self.federation, "send_due"),
            (self.worker_store.reports, "leaving"),
        ):  # fmt: skip
            inner = getattr(type(owner), name)

            def stepped(*arguments, _inner=inner, _owner=owner, _name=name, **options):
                self.points.reach(f"before {_name}")
                result = _inner(_owner, *arguments, **options)
                self.points.reach(f"after {_name}")
                return result

            setattr(owner, name, stepped)

    def step_worker(self) -> None:
        try:
            self.worker.step()
        except Killed:
            self.start_worker()

    def idle(self) -> None:
        """A moment between two steps."""
        try:
            self.points.reach("between two steps")
        except Killed:
            self.start_worker()

    def tell_helper(self) -> None:
        _, helper = self.connections()
        with _deaths():
            self.courier.tell_helper(helper)
        waiting = {taken.report_id for taken in self.resident_store.reports.taken_back()}
        self.acknowledged = {name for name in self.taken_back if name not in waiting}

    def deliver(self) -> None:
        leader, _ = self.connections()
        with _deaths():
            self.courier.deliver(leader)

    def withdraw(self, who: str) -> None:
        for taken in self.keeper.withdraw(who, ["measurement"]):
            self.taken_back[taken.report_id] = self.points.next()
        self.withdrawn.add(who)

    def grant(self, *people: str) -> None:
        self.keeper.grant_many(dict.fromkeys(people, ("measurement",)))

    # One round

    def begin(self, number: int, seed: int, behaviour: str, stalls: Sequence[Stall | None] = ()) -> None:
        """Open a round at the real helper, and show it in the leader's work.

        Args:
            number: the round's.
            seed: of all that is drawn in it.
            behaviour: what the leader does with a withdrawal.
            stalls: where it stops reading, in the first requests with reports.
        """
        self.now, self.helper_down = Round(behaviour), False
        self._random, self._stalls = random.Random(f"round {seed}"), list(stalls)
        self.taken_back: dict[bytes, int] = {}
        """Where in the order of everything the withdrawal that took a report back was durable."""
        self.acknowledged = set()
        self.withdrawn: set[str] = set()
        self.points.begin()
        request = OpeningRequest(
            study_hash=self.study_.study_hash().hex(), round=number, model_hash=model_hash(b"").hex(),
            window_seconds=WINDOW_SECONDS, checkpoint=self.checkpoint(),
        )  # fmt: skip
        answer = self.as_leader("/v1/rounds", request.canonical())
        assert answer.status_code == 200, answer.text
        kept = self.work.rounds[0] if self.work.rounds else self._shown
        self._shown = RoundWork(
            study=self.study_, approval=kept.approval, opening=answer.json()["opening"], inclusion=kept.inclusion
        )
        self.number, self.ends_ms = number, self.clock.ms + int(WINDOW_SECONDS * 1_000)
        self.publish(self._shown)

    def hand_in(self) -> None:
        """The leader closes the round and asks the helper for its half, once."""
        if self.now.answered:
            return
        self.publish()
        before = set(self.acknowledged)
        seals = {name: frame.report.seal for name, frame in self.now.reports.items()}
        path = f"/v1/rounds/{self.study_.study_hash().hex()}/{self.number}/share"
        answer = self.as_leader(path, encode_seals([seals[name] for name in sorted(seals)]), SEALS_MEDIA_TYPE)
        self.now.answered, self.now.early = True, not self.now.drained
        if answer.status_code == 200:
            share = ShareAnswer.model_validate_json(answer.content)
            word = Answer.model_validate(verify_document(share.answer, ANSWER_TYPE, (self.helper.verify_key,)))
            self.now.counted = set(seals) - {bytes.fromhex(item.report_id) for item in share.failed}
            assert word.opened == len(self.now.counted)
            assert not self.now.counted & before, "the helper had acknowledged this withdrawal"

    def overslept(self) -> bool:
        """The worker first looked, or looked again, when the window was past, or died before it had reserved anything.

        A round is known before anybody has a report of it. Whoever dies in between, and is started again when the
        window is past, has nothing to send; it may not have noticed yet that the round is over.
        """
        mine, reports = (self.study_.study_hash(), self.number), self.worker_store.reports
        died = any("the worker dies" in names for _, _, names in self.points.log)
        return mine not in {key for key, *_ in reports.open_rounds()} or (died and not reports.answered(mine))

    def drain(self) -> None:
        """The window is over: what the worker still has ready goes out."""
        self.worker._settle(self.clock.ms)
        self.federation.send_due()
        self.now.drained = True

    def heal(self) -> None:
        """Everybody consents again, the leader knows it, and the round's tokens are forgotten before the next one."""
        self.now = Round()
        self.grant(*self.withdrawn)
        self.deliver()
        self.clock.advance(3_700.0)

    # What the leader does

    def connect(self, request: httpx.Request) -> Wire:
        """A new connection for reports; every other one has TLS."""
        self._connected += 1
        stall = self._stalls.pop(0) if self._stalls else None
        return Wire(self, request, stall, secured=self._connected % 2 == 0)

    def take_reports(self, body: bytes) -> httpx.Response:
        results = []
        for frame in decode_batch(body):
            if self.now.answered:
                results.append("round-closed")
            elif frame.device_id in self.now.kept_out:
                results.append("no-consent")
            else:
                known = self.now.reports.setdefault(frame.report.report_id, frame)
                results.append("accepted" if encode_report(known) == encode_report(frame) else "report-conflict")
        return _json(ReportResponse(results=tuple(results)))

    def overhear(self, body: bytes) -> None:
        """A leader that ignores withdrawals makes what it can of half a request."""
        if self.now.behaviour != HONEST and not self.now.answered:
            for frame in self._batch:
                if frame in body:
                    (found,) = decode_batch(join_reports([frame]))
                    self.now.reports[found.report.report_id] = found

    def _receipts(self, request: ReceiptRequest) -> ReceiptResponse:
        behaviour = self.now.behaviour
        if behaviour == HANGING:
            self.clock.advance(10.0)
            raise httpx.ReadTimeout("no answer")
        if behaviour == REFUSING:
            body = ProblemError("receipt-refused", "no").body()
            return ReceiptResponse(results=tuple(ReceiptResult(problem=body) for _ in request.receipts))
        results = []
        for item, result in zip(request.receipts, super()._receipts(request).results, strict=True):
            removal = self._remove(bytes.fromhex(item.device_id), item.receipt)
            results.append(result.model_copy(update={"removal": removal}))
        return ReceiptResponse(results=tuple(results))

    def _remove(self, device: bytes, receipt: str) -> str | None:
        consents = self.states[device].grant_of("measurement") is not None
        if self.now.answered or (consents and device not in self.now.kept_out):
            return None
        mine = [name for name, frame in self.now.reports.items() if frame.device_id == device]
        if self.now.behaviour == HONEST:
            self.now.kept_out.add(device)
            for name in mine:
                del self.now.reports[name]
        removed = RemovedReport(
            study_hash=self.study_.study_hash().hex(), round=self.number, report_id=mine[0].hex() if mine else None
        )
        word = Removal(
            device_id=device.hex(), receipt=receipt_digest(receipt).hex(), reports=(removed,), at_ms=self.clock.ms
        )
        return sign_document(self.leader, REMOVAL_TYPE, word.document())

    def _leader(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/receipts" and self.now.behaviour == DEAF:
            return _problem(ProblemError("internal", "no"))
        return super()._leader(request)

    # What the network saw

    def note_batch(self, encoded: list[bytes]) -> None:
        self._batch = list(encoded)

    def note_handed(self, offset: int, piece: bytes) -> None:
        parts = self._parts(offset, piece)
        for device, name in parts:
            self.now.sent.setdefault(device, set()).add(name)
        found = frozenset(name for _, name in parts)
        self.now.handed.append(Slice(self.points.next(), self.clock.ms, found))

    def note_arrived(self, offset: int, piece: bytes, at_ms: int) -> None:
        found = frozenset(name for _, name in self._parts(offset, piece))
        self.now.arrived.append(Slice(self.points.next(), at_ms, found))

    def _parts(self, offset: int, piece: bytes) -> list[tuple[bytes, bytes]]:
        """(device, report) of whatever lies, in whole or in part, in a slice of the request."""
        start, found = len(join_reports([b""])), []
        for encoded in self._batch:
            if start < offset + len(piece) and offset < start + len(encoded):
                (frame,) = decode_batch(join_reports([encoded]))
                found.append((frame.device_id, frame.report.report_id))
            start += len(encoded)
        return found

    # The leader's line to the helper

    def as_leader(self, path: str, body: bytes, media_type: str = "application/json") -> httpx.Response:
        headers = sign_request(
            self.leader, "POST", path, body, self.clock.ms // 1_000, self.entropy(16),
            audience=self.helper.verify_key.fingerprint,
        )  # fmt: skip
        return self._helper_request("POST", path, content=body, headers={**headers, "content-type": media_type})

    def _helper_request(self, method: str, path: str, **options) -> httpx.Response:
        transport = self.services.transport("helper")
        with httpx.Client(transport=transport, base_url="http://helper.test") as client:
            return client.request(method, path, **options)


@contextmanager
def _deaths() -> Iterator[None]:
    """A lane ends early: its service does not answer, or its process dies. What waits, waits in the store."""
    with suppress(ProblemError, Killed):
        yield


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
