"""A small world for the agent's tests: real keys, a real log, real sealing keys, a leader that checks what it gets."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

import httpx
import numpy as np
from pydantic import TypeAdapter

from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import Pins, enrol
from client_agent.federation.contribution import Slots
from client_agent.federation.federation import Federation
from client_agent.keys import FileKeyring
from client_agent.store import AgentStore, open_store
from consent import Accepted, Parties, accept, open_ledger, registry_hash, verify_receipt
from models.wire.enrolment import (
    EnrolmentRequest,
    EnrolmentResponse,
    EnrolmentResult,
    ReceiptRequest,
    ReceiptResponse,
    ReceiptResult,
    ServiceIdentity,
    device_id,
)
from models.wire.frames import ReportResponse, decode_batch
from models.wire.message import from_base64, to_base64
from models.wire.problems import ProblemError
from models.wire.rounds import (
    CHECKPOINT_TYPE,
    OPENING_TYPE,
    WITHDRAWN_TYPE,
    Checkpoint,
    Inclusion,
    Opening,
    RoundWork,
    SealedWithdrawal,
    WithdrawalAnswer,
    WithdrawalNotice,
    Withdrawn,
    Work,
    model_hash,
    study_entry,
    sum_context,
)
from models.wire.studies import APPROVAL_TYPE, Decision, Study, SumPlan, TransitionsQuery
from privacy.accounting import Contract
from privacy.crypto import SealPrivateKey, SigningKey, VerifyKey, sign_document
from privacy.crypto.merkle import MerkleTree
from privacy.crypto.tiles import Tile, read_tile
from privacy.mechanisms import RandomStream
from privacy.secure_sum import HelperSum, LeaderSum, Report, unpack, verify_report
from privacy.secure_sum.reports import SealedPayload, seal_info

START_MS = 1_700_000_000_000
SITE = "shop.example"
CONTRACT = Contract(epsilon=4.0, delta=1e-6, order=7)


class TurnableClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.ms = START_MS
        self.running_seconds = 1_000.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_seconds(self) -> float:
        return self.running_seconds

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1_000)
        self.running_seconds += seconds


@dataclass
class World:
    """Leader, helper and officer, with what the leader and helper received."""

    clock: TurnableClock = field(default_factory=TurnableClock)
    leader: SigningKey = field(default_factory=SigningKey.generate)
    helper: SigningKey = field(default_factory=SigningKey.generate)
    officer: SigningKey = field(default_factory=SigningKey.generate)

    def __post_init__(self) -> None:
        self.log = MerkleTree([b"first entry", b"second entry"])
        self.work = Work(rounds=(), stopped=(), checkpoint=None, bundle_version=0)
        self.models: dict[str, bytes] = {}
        self.devices: dict[bytes, VerifyKey] = {}
        self.states: dict[bytes, object] = {}
        self.reports: dict[tuple[bytes, bytes], Report] = {}
        self.epochs: set[int] = set()
        self.bodies: list[bytes] = []
        self.tiles: list[Tile] = []
        """Tiles of the log that were asked for."""
        self.withdrawals: list[WithdrawalNotice] = []
        self.sealed = 0
        """Withdrawals that came with their seal."""
        self.deaf_rounds: set[int] = set()
        """Rounds whose withdrawals this helper does not understand."""
        self.round_keys: dict[bytes, SealPrivateKey] = {}
        self.rounds: dict[bytes, tuple] = {}
        self.decisions: dict[str, str] = {}
        self.down = False
        self.helper_down = False
        self.questions: list[str] = []
        self.work_requests = 0
        self.not_modified = 0

    @property
    def pins(self) -> Pins:
        return Pins(self.leader.verify_key, self.helper.verify_key, (self.officer.verify_key,), SITE)

    def study(self, **changes) -> Study:
        plan = {
            "dimension": 4, "clip_norm": 1.0, "sensitivity": 4096, "noise_multiplier": 4.0,
            "sampling_rate": 0.5, "minimum_cohort": 2, "maximum_cohort": 20_000,
        } | changes.pop("plan", {})  # fmt: skip
        fields = {
            "study_id": "pages", "title": "t", "summary": "s", "site": SITE, "kind": "measure",
            "purpose": "measurement", "query": TransitionsQuery(categories=("a", "b")), "plan": SumPlan(**plan),
            "rounds": 50, "window_seconds": 10.0, "delta": 1e-6, "epsilon_cap": 1_000.0,
            "policy_hash": registry_hash().hex(), "leader_key": self.leader.verify_key.raw.hex(),
            "helper_key": self.helper.verify_key.raw.hex(), "created_at_ms": START_MS,
            "expires_at_ms": START_MS + 10**9,
        } | changes  # fmt: skip
        return Study(**fields)

    def open_round(
        self,
        study: Study,
        number: int = 1,
        model: bytes = b"",
        *,
        decision="approve",
        by=None,
        opener=None,
        parameters=True,
    ) -> RoundWork:
        """Put a round into the work, the way leader, officer and helper would."""
        if study.study_hash() not in self.rounds:
            self.rounds[study.study_hash()] = (self.log.append(study_entry(study)),)
        index = self.rounds[study.study_hash()][0]
        now, key = self.clock.now_ms(), SealPrivateKey.generate()
        approval = Decision(
            study_id=study.study_id, study_hash=study.study_hash().hex(), decision=decision, reason="ok",
            decided_at_ms=now,
        )  # fmt: skip
        opening = Opening(
            study_id=study.study_id, study_hash=study.study_hash().hex(), round=number,
            model_hash=model_hash(model).hex(), round_key=to_base64(key.public.raw), opens_at_ms=now,
            closes_at_ms=now + int(study.window_seconds * 1_000), issued_at_ms=now,
            checkpoint=Checkpoint(size=len(self.log), root=self.log.root().hex(), at_ms=now),
        )  # fmt: skip
        context = sum_context(study, number, model_hash(model))
        self.round_keys[context.digest] = key
        self.rounds[context.digest] = (study.plan.parameters() if parameters else None, context)
        self.models[model_hash(model).hex()] = model
        item = RoundWork(
            study=study,
            approval=sign_document(by or self.officer, APPROVAL_TYPE, approval.document()),
            opening=sign_document(opener or self.helper, OPENING_TYPE, opening.document()),
            inclusion=Inclusion(index=index, path=tuple(n.hex() for n in self.log.inclusion_proof(index))),
        )
        self.publish(item)
        return item

    def publish(self, *items: RoundWork, stopped=()) -> None:
        self.work = Work(rounds=items, stopped=stopped, checkpoint=self.checkpoint(), bundle_version=0)

    def stop(self, study: Study, by: SigningKey | None = None) -> str:
        """An officer's signed stop, which the helper gives to whoever asks."""
        decision = Decision(
            study_id=study.study_id, study_hash=study.study_hash().hex(), decision="stop", reason="no",
            decided_at_ms=self.clock.now_ms(),
        )  # fmt: skip
        jws = sign_document(by or self.officer, APPROVAL_TYPE, decision.document())
        self.decisions[decision.study_hash] = jws
        return jws

    def checkpoint(self) -> str:
        statement = Checkpoint(size=len(self.log), root=self.log.root().hex(), at_ms=self.clock.now_ms())
        return sign_document(self.leader, CHECKPOINT_TYPE, statement.document())

    def total(self, item: RoundWork) -> tuple[np.ndarray, int]:
        """Noise-free sum of the round's reports, by really opening every seal: (sum, reports)."""
        opening = Opening.model_validate(_payload(item.opening, self.helper.verify_key))
        context = sum_context(item.study, opening.round, bytes.fromhex(opening.model_hash))
        params = item.study.plan.parameters()
        mine = [report for (digest, _), report in self.reports.items() if digest == context.digest]
        leading = LeaderSum(params)
        helping = HelperSum(
            params, context, self.round_keys[context.digest], now=self.clock.now_ms() // 1_000, withdrawn={}
        )
        for report in sorted(mine, key=lambda report: report.report_id):
            leading.add(report.masked)
            helping.add(report.seal)
        assert not helping.failed
        half = 1 << (params.modulus_bits - 1)
        words = (leading.total.astype(object) - helping.total.astype(object)) % (1 << params.modulus_bits)
        return np.array([int(w) - 2 * half if w >= half else int(w) for w in words]), len(mine)

    def leader_transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._leader)

    def helper_transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._helper)

    def connections(self) -> tuple[LeaderConnection, HelperConnection]:
        return (
            LeaderConnection("http://leader.test", self.leader_transport()),
            HelperConnection("http://helper.test", self.helper_transport()),
        )

    def _leader(self, request: httpx.Request) -> httpx.Response:  # noqa: PLR0911 - one return a route
        if self.down:
            raise httpx.ConnectError("down")
        path = request.url.path
        self.bodies.append(request.content)
        if path == "/v1/identity":
            return _json(self._identity("leader", self.leader))
        if path == "/v1/enrolments":
            return _json(self._enrol(EnrolmentRequest.model_validate_json(request.content)))
        if path == "/v1/receipts":
            return _json(self._receipts(ReceiptRequest.model_validate_json(request.content)))
        if path == "/v1/work":
            return self._work(request)
        if path.startswith("/v1/log/tiles/"):
            level, index = map(int, path.split("/")[-2:])
            self.tiles.append(Tile(level, index, int(request.url.params["width"])))
            try:
                return httpx.Response(200, content=read_tile(self.log, self.tiles[-1]))
            except ValueError:
                return _problem(ProblemError("not-found"))
        if path.startswith("/v1/models/"):
            return httpx.Response(200, content=self.models[path.rsplit("/", 1)[1]])
        if path == "/v1/reports":
            return _json(ReportResponse(results=tuple(self._take(frame) for frame in decode_batch(request.content))))
        return _problem(ProblemError("not-found"))

    def _work(self, request: httpx.Request) -> httpx.Response:
        self.work_requests += 1
        body = self.work.model_dump_json(serialize_as_any=True).encode()  # a newer leader's study, too
        etag = f'"{hash(body)}"'
        if request.headers.get("if-none-match") == etag:
            self.not_modified += 1
            return httpx.Response(304, headers={"etag": etag})
        return httpx.Response(200, content=body, headers={"etag": etag})

    def _helper(self, request: httpx.Request) -> httpx.Response:
        if self.helper_down:
            raise httpx.ConnectError("down")
        if request.url.path.startswith("/v1/decisions/"):
            self.questions.append(request.url.path.rsplit("/", 1)[1])
            known = self.decisions.get(self.questions[-1])
            return _problem(ProblemError("not-found")) if known is None else httpx.Response(200, json={"jws": known})
        if request.url.path == "/v1/identity":
            return _json(self._identity("helper", self.helper, (self.officer.verify_key.raw.hex(),)))
        if request.url.path == "/v1/withdrawals":
            return self._withdraw(request.content)
        return _problem(ProblemError("not-found"))

    def _withdraw(self, body: bytes) -> httpx.Response:
        """As the helper: the seal must open under its round's key and commit to the token; the old form needs none."""
        notice = TypeAdapter(SealedWithdrawal | WithdrawalNotice).validate_json(body)
        confirmation = None
        if isinstance(notice, SealedWithdrawal):
            if notice.round in self.deaf_rounds:
                return _problem(ProblemError("malformed"))
            seal, token = from_base64(notice.seal), bytes.fromhex(notice.token)
            contexts = (self.rounds[name][1] for name in self.round_keys)
            context = next(c for c in contexts if (c.study_hash.hex(), c.round) == (notice.study_hash, notice.round))
            payload = SealedPayload.parse(self.round_keys[context.digest].open(seal, seal_info(context)))
            if payload.withdrawal_hash != hashlib.sha256(token).digest():
                return _problem(ProblemError("report-invalid"))
            word = Withdrawn(
                study_hash=notice.study_hash, round=notice.round, report_id=hashlib.sha256(seal).hexdigest(),
                outcome="kept", at_ms=self.clock.now_ms(),
            )  # fmt: skip
            confirmation = sign_document(self.helper, WITHDRAWN_TYPE, word.document())
            notice = WithdrawalNotice(report_id=word.report_id, token=notice.token)
            self.sealed += 1
        self.withdrawals.append(notice)
        return _json(WithdrawalAnswer(status="kept", confirmation=confirmation))

    def _identity(self, role, key, officers=()) -> ServiceIdentity:
        fingerprint = key.verify_key.fingerprint
        return ServiceIdentity(
            role=role, key=key.verify_key.raw.hex(), fingerprint=fingerprint, site=SITE, officers=officers
        )

    def _enrol(self, request: EnrolmentRequest) -> EnrolmentResponse:
        results = []
        for item in request.enrolments:
            key = VerifyKey(bytes.fromhex(item.device_key))
            if item.token != "token":
                results.append(EnrolmentResult(problem=ProblemError("forbidden").body()))
                continue
            name = device_id(self.leader.verify_key, key)
            self.devices[name] = key
            results.append(EnrolmentResult(device_id=name.hex()))
        return EnrolmentResponse(results=tuple(results))

    def _receipts(self, request: ReceiptRequest) -> ReceiptResponse:
        results = []
        for item in request.receipts:
            name = bytes.fromhex(item.device_id)
            key = self.devices[name]
            person = verify_receipt(item.receipt, key).person
            state = self.states.get(name) or open_ledger(Parties(key, self.leader.verify_key, SITE, person))
            outcome = accept(state, item.receipt, self.leader, self.clock.now_ms() // 1_000)
            if isinstance(outcome, Accepted):
                self.states[name] = outcome.state
                results.append(ReceiptResult(countersignature=outcome.countersignature))
            else:
                results.append(
                    ReceiptResult(
                        problem=ProblemError("receipt-refused", outcome.reason).body(), last_epoch=outcome.last_epoch
                    )
                )
        return ReceiptResponse(results=tuple(results))

    def _take(self, frame) -> str:
        if frame.report.context not in self.rounds:
            return "round-closed"
        params, context = self.rounds[frame.report.context]
        verify_report(frame.report, params, context, self.devices[frame.device_id])
        unpack(frame.report.masked, params.dimension, params.modulus_bits)
        known = self.reports.setdefault((frame.report.context, frame.device_id), frame.report)
        self.epochs.add(frame.consent_epoch)
        return "accepted" if known == frame.report else "report-conflict"


def make_store(folder) -> AgentStore:
    folder.mkdir(exist_ok=True)
    return open_store(folder, FileKeyring(folder))


def populate(world: World, store: AgentStore, count: int, purposes=("measurement",)) -> list[str]:
    """Enrol people and have them grant purposes; returns their participant ids."""
    leader, _ = world.connections()
    records = enrol(
        store, leader, world.pins, [f"person-{i}" for i in range(count)], token="token", clock=world.clock,
        entropy=os.urandom,
    )  # fmt: skip
    keeper = ConsentKeeper(store, world.pins, world.clock)
    if purposes:
        keeper.grant_many({record.participant_id: purposes for record in records})
        Courier(store, world.pins, world.clock).deliver(leader)
    return [record.participant_id for record in records]


def federate(world: World, store: AgentStore, *, contract=CONTRACT, seed=b"e", slots=None, **options) -> Federation:
    leader, helper = world.connections()
    entropy = RandomStream(seed * 32).bytes
    return Federation(
        store, leader, helper, world.pins, world.clock, entropy, contract, slots=slots or Slots(0.2, 0.9), **options
    )


def _payload(jws: str, key: VerifyKey) -> dict:
    from privacy.crypto import verify_document

    return verify_document(jws, OPENING_TYPE, (key,))


def _json(message) -> httpx.Response:
    return httpx.Response(200, content=message.model_dump_json().encode())


def _problem(error: ProblemError) -> httpx.Response:
    status = int(error.problem_type.status)
    return httpx.Response(status, content=error.body().model_dump_json().encode())
