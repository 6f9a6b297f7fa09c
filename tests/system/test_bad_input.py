"""Bad input against the real services: a clear problem, nothing lost, no budget spent, and the next attempt works.

Here the whole house stands in one process, a round is open with all but one report in, and after each bad message the
ledgers of devices, leader and helper are as long as before; in the end the round is released with every report, one
charge each. The parts have tests of their own, which are not repeated here:

========================  ===========================================================================================
bad input                 tests of the part
========================  ===========================================================================================
malformed, oversized      aggregator/test_reports.py, aggregator/test_share.py (bodies), models/wire/test_frames.py,
                          aggregator/test_cli.py and client_agent/test_agent.py (command lines)
replayed                  aggregator/test_reports.py (reports, enrolments), aggregator/test_share.py (requests),
                          client_agent/test_federation.py (an old round's work)
stale                     aggregator/test_reports.py (enrolments), aggregator/test_share.py (requests, policy),
                          client_agent/test_trust.py (rounds), client_agent/test_distribution.py (bundles)
unsigned, wrongly signed  aggregator/test_reports.py, aggregator/test_share.py, aggregator/test_studies.py (decisions),
                          client_agent/test_trust.py (what a device believes)
unknown study             here
closed round              aggregator/test_reports.py, client_agent/test_federation.py (the device drops it)
bundle, one byte flipped  client_agent/test_distribution.py (every file on the path), and here through the real leader
corrupt store             aggregator/test_storage.py, client_agent/test_store.py, client_agent/test_agent.py (its
                          command line), and here by the services' command line
dead helper               aggregator/test_exchange.py, aggregator/test_cli.py, and here with a fleet waiting; killed
                          processes in system/test_kills.py
========================  ===========================================================================================
"""

import datetime as dt
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from aggregator.key_files import load_key
from client_agent.distribution import BundleSource
from models.wire.enrolment import make_enrolment
from models.wire.frames import REPORTS_MEDIA_TYPE, SEALS_MEDIA_TYPE, join_reports
from models.wire.problems import PROBLEM_MEDIA_TYPE, PROBLEM_TYPES, Problem, ProblemError, problem_code
from models.wire.studies import APPROVAL_TYPE, Decision
from privacy.crypto import SigningKey, sign_document
from privacy.crypto.requests import sign_request
from simulations.demo.content import SEGMENTS, modules
from simulations.demo.plans import intent, measurement, personas
from tests.frames import encode_seals
from tests.system.in_process import town

ROOT = Path(__file__).parents[2]
PEOPLE = 6
JSON = {"content-type": "application/json"}
FRAMES = {"content-type": REPORTS_MEDIA_TYPE}
UNKNOWN = "ab" * 32


class Siege:
    """A town in the middle of a round: everybody has charged and made a report, one report is still at home."""

    def __init__(self, place) -> None:
        self.place = place
        self.leader, self.helper = (place.tapped.client(role) for role in ("leader", "helper"))
        self.bearer = {"authorization": f"Bearer {place.tapped.house.tokens['analyst']}"}
        self.leader_key = load_key(place.tapped.house.leader_folder / "service.key")
        self.before = place.study(measurement(), study_id="before", sampling_rate=1.0)
        place.propose(self.before)
        self.closed_frame = self._reserve(self.before)[0]
        place.fleet.federation.send_due(2**50)
        place.finish(self.before)
        self.study = place.study(measurement(), study_id="siege", sampling_rate=1.0)
        place.propose(self.study)
        self.frames = self._reserve(self.study)
        assert self.post_reports(self.frames[:-1]) == ["accepted"] * (PEOPLE - 1)

    def _reserve(self, study) -> list[bytes]:
        federation = self.place.fleet.federation
        deadline = time.monotonic() + 20
        while not (found := [item for item in federation.open_rounds() if item.study == study]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        reserved = federation.reserve_all(found[0])
        federation.finalise(found[0], reserved)
        assert len(reserved) == PEOPLE
        return [reservation.stored().frame for reservation in reserved]

    def post_reports(self, frames: list[bytes]) -> list[str]:
        """One word a report."""
        response = self.leader.post("/v1/reports", content=join_reports(frames), headers=FRAMES)
        assert response.status_code == 200, response.text
        return response.json()["results"]

    def as_leader(self, path: str, body: bytes, key=None, age_seconds: int = 0, nonce: bytes = b"", media: str = ""):
        """A request to the helper under a signature of the leader's kind."""
        now, audience = int(time.time()) - age_seconds, self.place.tapped.house.pins.helper_key.fingerprint
        headers = sign_request(
            key or self.leader_key, "POST", path, body, now, nonce or os.urandom(16), audience=audience
        )
        media_type = {"content-type": media} if media else JSON
        return self.helper.post(path, content=body, headers={**headers, **media_type})

    def enrol(self, **changes) -> str:
        """The outcome of one enrolment."""
        house, key = self.place.tapped.house, SigningKey.generate()
        fields = {"token": house.tokens["enrol"], "nonce": os.urandom(16), "now_ms": time.time_ns() // 10**6, **changes}
        request = make_enrolment(
            fields.get("key", key), house.pins.leader_key, fields["token"], fields["nonce"], fields["now_ms"]
        )
        response = self.leader.post("/v1/enrolments", json={"enrolments": [request.document()]})
        (result,) = response.json()["results"]
        return problem_code(Problem.model_validate(result["problem"])) if result["problem"] else "enrolled"

    def ledgers(self) -> dict[str, int]:
        """Rows in the three kinds of ledgers."""
        house = self.place.tapped.house
        stores = {"leader": house.leader_folder, "helper": house.helper_folder}
        return {name: _rows(folder / "store.sqlite3") for name, folder in stores.items()} | {
            "devices": sum(member.budget.contract.length for member in self.place.fleet.federation.roster)
        }


def _rows(store: Path) -> int:
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM ledger_rows").fetchone()[0])
    finally:
        connection.close()


def code(response: httpx.Response) -> str:
    """The code of an RFC 9457 problem, which the response must be, whole and with the status of the table."""
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE, response.text
    problem = Problem.model_validate_json(response.content)
    found = problem_code(problem)
    assert response.status_code == problem.status == PROBLEM_TYPES[found].status
    return found


@pytest.fixture(scope="module")
def siege(tmp_path_factory):
    with town(tmp_path_factory.mktemp("siege"), PEOPLE) as place:
        yield Siege(place)


def _forged_decision(siege) -> httpx.Response:
    decision = Decision(
        study_id=siege.study.study_id,
        study_hash=siege.study.study_hash().hex(),
        decision="stop",
        reason="not the officer",
        decided_at_ms=time.time_ns() // 10**6,
    )
    return siege.helper.post(
        "/v1/decisions", json={"jws": sign_document(SigningKey.generate(), APPROVAL_TYPE, decision.document())}
    )


def _replayed_request(siege) -> httpx.Response:
    body, nonce = siege.study.canonical(), os.urandom(16)
    assert siege.as_leader("/v1/proposals", body, nonce=nonce).status_code == 202
    return siege.as_leader("/v1/proposals", body, nonce=nonce)


def _replayed_enrolment(siege) -> str:
    nonce = os.urandom(16)
    assert siege.enrol(nonce=nonce) == "enrolled"
    return siege.enrol(nonce=nonce)


def _flipped(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def _another_seal(siege) -> bytes:
    """A batch of one seal that no device made."""
    return encode_seals([hashlib.sha256(siege.frames[0]).digest() * 40])


BAD = {
    "malformed study": ("malformed", lambda s: s.leader.post("/v1/studies", content=b"{", headers=s.bearer | JSON)),
    "malformed reports": ("malformed", lambda s: s.leader.post("/v1/reports", content=b"\0" * 99, headers=FRAMES)),
    "malformed decision": ("malformed", lambda s: s.helper.post("/v1/decisions", json={"jws": 7})),
    "oversized reports": (
        "too-large",
        lambda s: s.leader.post("/v1/reports", content=b"", headers=FRAMES | {"content-length": str(2**40)}),
    ),
    "oversized share": (
        "too-large",
        lambda s: s.helper.post(
            "/v1/rounds/" + UNKNOWN + "/1/share", content=b"", headers={"content-length": str(2**40)}
        ),
    ),
    "replayed request": ("replayed", _replayed_request),
    "replayed enrolment": ("replayed", _replayed_enrolment),
    "stale request": ("stale", lambda s: s.as_leader("/v1/proposals", s.study.canonical(), age_seconds=7_200)),
    "stale enrolment": ("stale", lambda s: s.enrol(now_ms=time.time_ns() // 10**6 - 7_200_000)),
    "unsigned request": (
        "bad-signature",
        lambda s: s.helper.post("/v1/rounds", content=s.study.canonical(), headers=JSON),
    ),
    "proposal without a token": ("unauthenticated", lambda s: s.leader.post("/v1/studies", json=s.study.document())),
    "request signed by a stranger": (
        "bad-signature",
        lambda s: s.as_leader("/v1/proposals", s.study.canonical(), key=SigningKey.generate()),
    ),
    "decision signed by a stranger": ("bad-signature", _forged_decision),
    "report with a flipped signature": ("bad-signature", lambda s: s.post_reports([_flipped(s.frames[-1])])[0]),
    "report again under other bytes": ("bad-signature", lambda s: s.post_reports([_flipped(s.frames[0])])[0]),
    "unknown study, shown": ("unknown-study", lambda s: s.leader.get("/v1/studies/nothing")),
    "unknown study, its results": ("unknown-study", lambda s: s.leader.get("/v1/studies/nothing/results")),
    "unknown study, started": ("unknown-study", lambda s: s.leader.post("/v1/studies/nothing/start", headers=s.bearer)),
    "unknown study, share": (
        "unknown-round",
        lambda s: s.as_leader(f"/v1/rounds/{UNKNOWN}/1/share", _another_seal(s), media=SEALS_MEDIA_TYPE),
    ),
    "too small a batch": (
        "cohort-too-small",
        lambda s: s.as_leader(
            f"/v1/rounds/{s.study.study_hash().hex()}/1/share", _another_seal(s), media=SEALS_MEDIA_TYPE
        ),
    ),
    "report for a closed round": ("round-closed", lambda s: s.post_reports([s.closed_frame])[0]),
}


@pytest.mark.parametrize("item", BAD)
def test_bad_messages_get_their_problem_and_cost_nothing(siege, item):
    """The stated code, as a whole RFC 9457 problem or as the report's word; no ledger is longer than before."""
    expected, act = BAD[item]
    before = siege.ledgers()
    answer = act(siege)
    assert (answer if isinstance(answer, str) else code(answer)) == expected
    assert siege.ledgers() == before


def test_after_all_that_the_round_is_released_whole(siege):
    """The report that was still at home is taken, the others are taken again, and each service is charged once more."""
    before = siege.ledgers()
    assert siege.post_reports(siege.frames) == ["accepted"] * PEOPLE
    account = siege.place.finish(siege.study)
    assert [row["opened"] for row in account["rounds"]] == [PEOPLE]
    assert siege.ledgers() == {
        "leader": before["leader"] + 1,
        "helper": before["helper"] + 1,
        "devices": before["devices"],  # charged when the nulls were made, before anything was sent
    }
    assert before["devices"] == 2 * PEOPLE


def test_a_dead_helper_keeps_a_fleet_waiting_and_charges_once(tmp_path):
    """Down from the opening on, the helper gets its batch when it is back; nothing is reported or charged twice."""
    with town(tmp_path, PEOPLE) as place:
        study = place.study(measurement(), sampling_rate=1.0)
        place.propose(study)
        while not place.fleet.step(wait=False):
            time.sleep(0.01)
        place.tapped.line.down = True
        place.fleet.federation.send_due(2**50)
        meanwhile = place.study(measurement(), study_id="meanwhile")
        with pytest.raises(ProblemError) as refused:
            place.analyst.propose(meanwhile)
        assert refused.value.code == "helper-unavailable"
        time.sleep(0.5)
        assert place.analyst.status(study.study_id)["state"] == "running"
        place.tapped.line.down = False
        account = place.finish(study)
        assert [row["opened"] for row in account["rounds"]] == [PEOPLE]
        house = place.tapped.house
        assert [_rows(f / "store.sqlite3") for f in (house.leader_folder, house.helper_folder)] == [1, 1]
        assert {member.budget.contract.length for member in place.fleet.federation.roster} == {1}
        place.analyst.propose(meanwhile)


def test_a_flipped_byte_in_the_leaders_bundle_is_refused_and_the_next_fetch_works(tmp_path):
    """Served by the real leader with one byte changed, the bundle is refused by name; repaired, it is used."""
    with town(tmp_path, PEOPLE) as place:
        place.run(place.study(measurement()))
        place.run(place.study(personas([0.125] * 8, rounds=1)))
        place.run(place.study(intent(rounds=1)))
        house = place.tapped.house
        request = {
            "persona_study": "personas",
            "intent_study": "intent",
            "transitions_study": "measurement",
            "label_prefix": "dwell:",
            "segments": [segment.document() for segment in SEGMENTS],
            "modules": [module.document() for module in modules()],
            "rules": [],
        }
        operator = place.analyst.__class__(place.tapped.client("leader"), house.tokens["operator"])
        published = operator.publish(request)
        (target,) = [path for path in (house.leader_folder / "tuf" / "targets").rglob("*") if path.is_file()]
        whole = target.read_bytes()
        target.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        client, now = place.tapped.client("leader"), dt.datetime.now(dt.UTC)
        source = BundleSource(tmp_path / "tuf", house.leader_url, house.root, house.site, client)
        with pytest.raises(ProblemError) as refused:
            source.fetch(now)
        assert refused.value.code == "bundle-invalid"
        target.write_bytes(whole)
        assert source.fetch(now).bundle_version == published["bundle_version"]


def serve(role: str, folder: Path) -> subprocess.CompletedProcess:
    """Start a service by its command line; it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "aggregator.cli", role, "--dir", str(folder), "--port", "18999"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_a_corrupt_store_is_one_line_on_stderr_a_service_in_plain_words(tmp_path, role):
    """The service does not start, says why in one line, exits with 2 or 3, and leaves the file as it was."""
    with town(tmp_path, 1, events=False) as place:
        folder = place.tapped.house.leader_folder if role == "leader" else place.tapped.house.helper_folder
    store = folder / "store.sqlite3"
    damaged = b"not a database" + store.read_bytes()[14:]
    store.write_bytes(damaged)
    done = serve(role, folder)
    assert done.returncode in {2, 3}, done.stderr
    assert store.read_bytes() == damaged
    said = [line for line in done.stderr.splitlines() if not line.startswith("Hearthside ")]
    assert len(said) == 1
    assert said[0].startswith("hearthside-aggregator: ")
    assert "store" in said[0]
