"""A leader, a helper, an officer and devices in one process: real applications, stores, seals and signatures."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from aggregator.clock import Clock
from aggregator.helper.app import create_app as create_helper
from aggregator.key_files import create_key
from aggregator.leader.app import create_app as create_leader
from aggregator.settings import HelperSettings, LeaderSettings
from aggregator.storage.database import Database
from aggregator.storage.tokens import create_token
from aggregator.storage.vault import ROUND_KEY
from consent.choices import decline, grant
from consent.ledger import open_ledger, record
from consent.notices import notice
from consent.purposes import registry_hash
from consent.receipts import sign_receipt
from consent.state import ConsentState, Parties
from models.wire.enrolment import device_id, make_enrolment
from models.wire.frames import REPORTS_MEDIA_TYPE, SEALS_MEDIA_TYPE, ReportFrame
from models.wire.message import from_base64, to_base64
from models.wire.problems import PROBLEM_MEDIA_TYPE, Problem, problem_code
from models.wire.rounds import (
    CHECKPOINT_TYPE,
    OPENING_TYPE,
    Checkpoint,
    Opening,
    OpeningRequest,
    SealedWithdrawal,
    Work,
    model_hash,
    sum_context,
)
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import SealPublicKey, SigningKey, digest, sign_document, verify_document
from privacy.crypto.requests import sign_request
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import Report, SumContext, encode, make_report
from tests.frames import encode_batch, encode_seals

SITE = "shop"
LEADER_URL, HELPER_URL = "http://leader.test", "http://helper.test"
_EMPTY: dict[str, bytes] = {}
"""Each service's store as its migrations leave it."""


class Line(httpx.AsyncBaseTransport):
    """The leader's line to the helper, which a test may cut, or cut after the helper has answered."""

    def __init__(self) -> None:
        self.inner = None
        self.cut = False
        self.lose_answers_to = ""
        self.calls: list[str] = []
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request.url.path)
        if self.cut or self.inner is None:
            raise httpx.ConnectError("the helper is down")
        self.bodies.append(request.content if hasattr(request, "_content") else b"")
        response = await self.inner.handle_async_request(request)
        if self.lose_answers_to and self.lose_answers_to in request.url.path:
            raise httpx.ReadError("the line broke")
        return response


class Turnable:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Device:
    """A device that speaks the protocol, without an agent around it."""

    key: SigningKey
    name: bytes
    consent: ConsentState
    token: bytes = b""


@dataclass
class World:
    """Both services with clients for them."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    line: Line = field(default_factory=Line)
    leader_options: dict = field(default_factory=dict)
    helper_options: dict = field(default_factory=dict)
    leader_secret: bytes = bytes(31) + b"\1"
    helper_secret: bytes = bytes(31) + b"\2"

    def __post_init__(self) -> None:
        for name in ("leader", "helper"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        make = lambda name: create_key(self.folder / name / "service.key")  # noqa: E731 - one word for three calls
        self.leader_key, self.helper_key = make("leader"), make("helper")
        self.officer = SigningKey.generate()

    def leader_settings(self) -> LeaderSettings:
        return LeaderSettings.read(
            self.folder / "leader",
            site=SITE,
            hosts=("leader.test",),
            helper_url=HELPER_URL,
            helper_key=self.helper_key.verify_key.raw.hex(),
            officers=(self.officer.verify_key.raw.hex(),),
            **{
                "budget_epsilon": 8.0,
                "log_level": "error",
                "helper_retry_seconds": 0.1,
                "decision_poll_seconds": 0.1,
                **self.leader_options,
            },
        )

    def helper_settings(self) -> HelperSettings:
        return HelperSettings.read(
            self.folder / "helper",
            site=SITE,
            hosts=("helper.test",),
            leader_key=self.leader_key.verify_key.raw.hex(),
            officers=(self.officer.verify_key.raw.hex(),),
            **{"budget_epsilon": 8.0, "log_level": "error", **self.helper_options},
        )

    async def _lay_out(self, settings: HelperSettings | LeaderSettings, schema: str) -> None:
        """Put an empty store of the newest schema where a service starts for the first time.

        A copy of what the service would make: the migrations cost more than many a test, and have tests of their own.
        """
        path = self.folder / schema / "store.sqlite3"
        if settings.url() != f"sqlite+aiosqlite:///{path}" or path.exists():
            return
        if schema not in _EMPTY:
            database = Database(settings.url())
            await database.open(schema)
            await database.close()
            _EMPTY[schema] = path.read_bytes()
        path.write_bytes(_EMPTY[schema])

    @asynccontextmanager
    async def helper_up(self):
        await self._lay_out(self.helper_settings(), "helper")
        app = create_helper(self.helper_settings(), clock=self.clock, entropy=lambda _: self.helper_secret)
        async with app.router.lifespan_context(app):
            self.helper_app = app
            self.line.inner = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=self.line.inner, base_url=HELPER_URL) as client:
                self.helper = client
                yield app
        self.line.inner = None

    @asynccontextmanager
    async def leader_up(self):
        await self._lay_out(self.leader_settings(), "leader")
        app = create_leader(
            self.leader_settings(), helper_transport=self.line, clock=self.clock, entropy=lambda _: self.leader_secret
        )
        async with app.router.lifespan_context(app):
            self.leader_app = app
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LEADER_URL) as client:
                self.leader = client
                yield app

    @asynccontextmanager
    async def up(self):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.helper_up())
            await stack.enter_async_context(self.leader_up())
            yield self

    # Tokens, enrolment, consent

    async def token(self, scope: str, uses: int | None = None, seconds: float = 3_600) -> str:
        now_ms = self.clock.now_ms()
        desk = self.leader_app.state.desk
        return await desk.database.change(
            lambda change: create_token(change.connection, scope, now_ms, now_ms + int(seconds * 1_000), uses=uses)
        )

    async def bearer(self, scope: str) -> dict[str, str]:
        return {"authorization": f"Bearer {await self.token(scope)}"}

    async def devices(self, count: int, purposes: tuple[str, ...] = ("measurement",)) -> list[Device]:
        """Enrol devices and grant purposes."""
        token, leader = await self.token("enrol"), self.leader_key.verify_key
        devices = []
        for _ in range(count):
            key = SigningKey.generate()
            parties = Parties(key.verify_key, leader, SITE, "p")
            devices.append(Device(key, device_id(leader, key.verify_key), open_ledger(parties)))
        enrolments = [
            make_enrolment(device.key, leader, token, os.urandom(16), self.clock.now_ms()).document()
            for device in devices
        ]
        response = await self.leader.post("/v1/enrolments", json={"enrolments": enrolments})
        assert [item["device_id"] for item in response.json()["results"]] == [device.name.hex() for device in devices]
        if purposes:
            results = await self.receipts([(device, self.grant(device, purposes)) for device in devices])
            assert all(item["countersignature"] for item in results), results
        return devices

    def grant(self, device: Device, purposes: tuple[str, ...]) -> str:
        receipt = grant(device.consent, purposes, notice=notice(SITE, "en"), issued_at=self.clock.now_seconds())
        return self._signed(device, receipt)

    def withdrawal(self, device: Device, purposes: tuple[str, ...]) -> str:
        receipt = decline(device.consent, purposes, notice=notice(SITE, "en"), issued_at=self.clock.now_seconds())
        return self._signed(device, receipt)

    def _signed(self, device: Device, receipt) -> str:
        jws = sign_receipt(device.key, receipt)
        device.consent, _ = record(device.consent, jws, self.clock.now_seconds())
        return jws

    async def receipts(self, items: list[tuple[Device, str]]) -> list[dict]:
        body = {"receipts": [{"device_id": device.name.hex(), "receipt": jws} for device, jws in items]}
        response = await self.leader.post("/v1/receipts", json=body)
        assert response.status_code == 200, response.text
        return response.json()["results"]

    async def consenting(self, purpose: str) -> int:
        """How many devices the leader counts for a purpose."""
        desk = self.leader_app.state.desk
        async with desk.database.reading() as connection:
            return await desk.register.consenting(connection, purpose, desk.clock.now_seconds())

    async def standing(self, device: Device) -> ConsentState | None:
        """What stands of a device at the leader."""
        desk = self.leader_app.state.desk
        async with desk.database.reading() as connection:
            return (await desk.register.find(connection, [device.name]))[device.name].consent

    # Studies

    def study(self, name: str = "moves", **changes) -> Study:
        now_ms = self.clock.now_ms()
        plan = {
            "dimension": 9,
            "clip_norm": 1.0,
            "sensitivity": 2**16,
            "noise_multiplier": 2.0,
            "sampling_rate": 1.0,
            "minimum_cohort": 5,
            "maximum_cohort": 1_000,
            **changes.pop("plan", {}),
        }
        document = {
            "study_id": name,
            "title": "Which page follows which",
            "summary": "Counts of moves between three kinds of page.",
            "site": SITE,
            "kind": "measure",
            "purpose": "measurement",
            "query": {"question": "transitions", "categories": ["home", "shop", "cart"]},
            "plan": plan,
            "rounds": 1,
            "window_seconds": 30.0,
            "delta": 1e-6,
            "epsilon_cap": 8.0,
            "policy_hash": registry_hash().hex(),
            "leader_key": self.leader_key.verify_key.raw.hex(),
            "helper_key": self.helper_key.verify_key.raw.hex(),
            "created_at_ms": now_ms,
            "expires_at_ms": now_ms + 86_400_000,
            **changes,
        }
        return Study.model_validate(document)

    def decision(self, study: Study, verdict: str = "approve", key: SigningKey | None = None) -> str:
        decision = Decision(
            study_id=study.study_id,
            study_hash=study.study_hash().hex(),
            decision=verdict,
            reason="looked at",
            decided_at_ms=self.clock.now_ms(),
        )
        return sign_document(key or self.officer, APPROVAL_TYPE, decision.document())

    async def propose(self, study: Study) -> httpx.Response:
        return await self.leader.post("/v1/studies", json=study.document(), headers=await self.bearer("analyst"))

    async def decide(self, study: Study, verdict: str = "approve") -> httpx.Response:
        return await self.helper.post("/v1/decisions", json={"jws": self.decision(study, verdict)})

    async def start(self, study: Study) -> httpx.Response:
        path = f"/v1/studies/{study.study_id}/start"
        return await self.leader.post(path, headers=await self.bearer("analyst"))

    async def run(self, study: Study) -> None:
        """Propose, approve, start."""
        assert (await self.propose(study)).status_code == 201
        assert (await self.decide(study)).status_code == 201
        response = await self.start(study)
        assert response.status_code == 202, response.text

    async def work(self, round_number: int = 1, seconds: float = 10.0) -> tuple[Work, Opening]:
        """Poll until a round is open."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            work = Work.model_validate_json((await self.leader.get("/v1/work")).content)
            for item in work.rounds:
                keys = (self.helper_key.verify_key,)
                opening = Opening.model_validate(verify_document(item.opening, OPENING_TYPE, keys))
                if opening.round == round_number:
                    return work, opening
            await asyncio.sleep(0.01)
        raise AssertionError(f"round {round_number} did not open")

    async def until(self, study: Study, *states: str, seconds: float = 20.0) -> dict:
        """Poll until the study is in one of the states."""
        deadline = time.monotonic() + seconds
        account: dict = {}
        while time.monotonic() < deadline:
            account = (await self.leader.get(f"/v1/studies/{study.study_id}")).json()
            if account["state"] in states:
                return account
            await asyncio.sleep(0.02)
        raise AssertionError(f"expected one of {states}, got {account}")

    async def until_rounds(self, study: Study, state: str, seconds: float = 20.0) -> dict:
        """Poll until every round of the study is in a state."""
        deadline = time.monotonic() + seconds
        account: dict = {}
        while time.monotonic() < deadline:
            account = (await self.leader.get(f"/v1/studies/{study.study_id}")).json()
            if all(item["state"] == state for item in account["rounds"]):
                return account
            await asyncio.sleep(0.02)
        raise AssertionError(f"expected rounds that are {state}, got {account}")

    # Reports

    def report(self, device: Device, study: Study, opening: Opening, vector: np.ndarray, **changes) -> Report:
        params = study.plan.parameters()
        device.token = os.urandom(32)
        options = {
            "seed": os.urandom(32),
            "withdrawal_token": device.token,
            "expires_at": opening.closes_at_ms // 1_000 + 3_600,
            "signer": device.key,
            **changes,
        }
        context = sum_context(study, opening.round, bytes.fromhex(opening.model_hash))
        round_key = SealPublicKey(from_base64(opening.round_key))
        return make_report(encode(vector, params), params, context, round_key, **options)

    def copy_of(self, report: Report, thief: Device, context: SumContext) -> Report:
        """Another device's seal and vector under a device's own signature."""
        statement = digest(
            "secure-sum/report",
            context.digest,
            hashlib.sha256(report.masked).digest(),
            hashlib.sha256(report.seal).digest(),
        )
        return Report(report.context, report.seal, report.masked, thief.key.sign(statement))

    async def send(self, *items: tuple[Device, Report], epoch: int | None = None) -> list[str]:
        frames = [
            ReportFrame(device.name, device.consent.epoch if epoch is None else epoch, report)
            for device, report in items
        ]
        headers = {"content-type": REPORTS_MEDIA_TYPE}
        response = await self.leader.post("/v1/reports", content=encode_batch(frames), headers=headers)
        assert response.status_code == 200, response.text
        return response.json()["results"]

    # A lying leader

    async def as_leader(self, path: str, body: bytes, media_type: str = "application/json") -> httpx.Response:
        """A request to the helper under the leader's signature."""
        headers = sign_request(
            self.leader_key,
            "POST",
            path,
            body,
            self.clock.now_seconds(),
            os.urandom(16),
            audience=self.helper_key.verify_key.fingerprint,
        )
        return await self.helper.post(path, content=body, headers={**headers, "content-type": media_type})

    async def approved(self, study: Study) -> None:
        """Propose and approve a study at the helper, without a leader."""
        assert (await self.as_leader("/v1/proposals", study.canonical())).status_code == 202
        assert (await self.decide(study)).status_code == 201

    async def open_round(self, study: Study, number: int = 1, model: bytes = b"", **changes) -> httpx.Response:
        """Ask the helper for an opening."""
        checkpoint = Checkpoint(size=1, root="11" * 32, at_ms=self.clock.now_ms())
        request = {
            "study_hash": study.study_hash().hex(),
            "round": number,
            "model_hash": model_hash(model).hex(),
            "window_seconds": study.window_seconds,
            "checkpoint": sign_document(self.leader_key, CHECKPOINT_TYPE, checkpoint.document()),
            **changes,
        }
        return await self.as_leader("/v1/rounds", OpeningRequest.model_validate(request).canonical())

    async def opening(self, study: Study, number: int = 1) -> Opening:
        """An opening that the helper signed."""
        response = await self.open_round(study, number)
        assert response.status_code == 200, response.text
        return Opening.model_validate(
            verify_document(response.json()["opening"], OPENING_TYPE, (self.helper_key.verify_key,))
        )

    async def share(self, study: Study, seals: list[bytes], number: int = 1, *, ordered: bool = True) -> httpx.Response:
        """Hand in a batch."""
        batch = sorted(seals, key=lambda seal: hashlib.sha256(seal).digest()) if ordered else seals
        path = f"/v1/rounds/{study.study_hash().hex()}/{number}/share"
        return await self.as_leader(path, encode_seals(batch), SEALS_MEDIA_TYPE)

    async def take_back(self, study: Study, report: Report, token: bytes, number: int = 1) -> httpx.Response:
        """A device's own notice to the helper."""
        notice = SealedWithdrawal(
            study_hash=study.study_hash().hex(), round=number, seal=to_base64(report.seal), token=token.hex()
        )
        return await self.helper.post("/v1/withdrawals", json=notice.document())

    def files(self, service: str = "helper") -> bytes:
        """Everything that a service has on the disk."""
        return b"".join(path.read_bytes() for path in sorted((self.folder / service).rglob("*")) if path.is_file())

    def wrapping(self, service: str = "helper") -> list[bytes]:
        """A service's wrapping keys."""
        return [path.read_bytes() for path in (self.folder / service / "wrapping").iterdir()]

    def back_up(self) -> dict[Path, bytes]:
        """The helper's store with the wrapping keys that are there: more than a back-up should have."""
        folder = self.folder / "helper"
        return {path: path.read_bytes() for name in ("store.sqlite3*", "wrapping/*") for path in folder.glob(name)}

    def restore(self, backup: dict[Path, bytes]) -> None:
        """Put a back-up in the place of the helper's store and wrapping keys."""
        for path in self.back_up():
            path.unlink()
        for path, content in backup.items():
            path.write_bytes(content)

    def turnable(self) -> Turnable:
        """A wall clock that the test moves, for services that start from now on."""
        wall = Turnable()
        self.clock = Clock(wall=wall)
        return wall

    async def round_key(self, study: Study, number: int = 1) -> bytes:
        """The private key of a round under way, from the helper's store and its wrapping key."""
        office = self.helper_app.state.office
        async with office.database.reading() as connection:
            known = await office.store.round(connection, study.study_hash(), number)
        context = sum_context(study, number, known.model_hash).digest
        return office.vault.unwrap(known.wrapping, ROUND_KEY, context, known.wrapped_key)

    def lone_devices(self, count: int) -> list[Device]:
        """Devices that no leader knows; the helper does not care."""
        keys = [SigningKey.generate() for _ in range(count)]
        leader = self.leader_key.verify_key
        return [
            Device(key, device_id(leader, key.verify_key), open_ledger(Parties(key.verify_key, leader, SITE, "p")))
            for key in keys
        ]


async def sealed(world: World, study: Study, count: int = 8) -> list[bytes]:
    """Seals of a round that the helper has opened."""
    await world.approved(study)
    opening = await world.opening(study)
    return [
        world.report(device, study, opening, vector).seal
        for device, vector in zip(world.lone_devices(count), vectors(count), strict=True)
    ]


def noise(secret: bytes, server: str, batch: bytes, study: Study) -> np.ndarray:
    """The noise that a server derives from its stored secret."""
    params = study.plan.parameters()
    return discrete_gaussian(
        params.noise_sigma, params.dimension, RandomStream(digest(f"{server}-noise", secret, batch))
    )


def code(response: httpx.Response) -> str:
    """The problem code of a response; it must be one."""
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE, response.text
    problem = Problem.model_validate_json(response.content)
    assert response.status_code == problem.status
    return problem_code(problem)


def in_world(**options):
    """Run an async test inside a world in a temporary folder; the test starts the services itself."""

    def wrap(function):
        def test(tmp_path):
            asyncio.run(function(World(tmp_path, **options)))

        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        return test

    return wrap


def vectors(count: int, dimension: int = 9, seed: int = 7) -> np.ndarray:
    """Unit vectors, seeded."""
    points = np.random.default_rng(seed).standard_normal((count, dimension))
    return points / np.linalg.norm(points, axis=1, keepdims=True)
