"""Canaries in every input: none of them comes back in an answer, a metric or a line of the log."""

from __future__ import annotations

import base64
import json

import pytest

from models.wire.frames import REPORTS_MEDIA_TYPE, SEALS_MEDIA_TYPE, ReportFrame
from models.wire.message import to_base64
from privacy.crypto import SigningKey
from tests.frames import encode_batch

from .besieged import Besieged
from .world import vectors

CANARY = "canary7f3b9d51"
SECRET = CANARY.encode() * 3
FORMS = (
    CANARY,
    SECRET.hex()[:20],
    base64.b64encode(SECRET).decode()[:16],
    base64.urlsafe_b64encode(SECRET).decode()[:16],
)
"""The canary as text, hex and base64, cut short so that a shortened quotation is found too."""
TOKEN = f"hearthside-operator-{CANARY}-{'x' * 20}"
SIGNATURE = base64.b64encode((SECRET * 2)[:64]).decode()


@pytest.fixture(scope="module")
def besieged(tmp_path_factory):
    with Besieged(tmp_path_factory.mktemp("secrets")) as both:
        yield both


def carriers() -> dict[str, str]:
    """Headers that carry what nobody else may read."""
    return {
        "authorization": f"Bearer {TOKEN}",
        "cookie": f"session={CANARY}",
        "signature": f"sig1=:{SIGNATURE}:",
        "signature-input": f'sig1=("@method");created=1;nonce="{CANARY}";keyid="{CANARY}";alg="ed25519";tag="{CANARY}"',
        "content-digest": f"sha-256=:{base64.b64encode(SECRET[:32]).decode()}:",
        "x-request-id": CANARY,
        "x-forwarded-for": CANARY,
        "referer": f"https://{CANARY}.example",
        "user-agent": CANARY,
    }


def bodies() -> dict[str, list[tuple[str, object]]]:
    """For each service, requests with a canary in every field."""
    enrolment = {"device_key": (SECRET * 2)[:32].hex(), "token": TOKEN, "nonce": (SECRET * 2)[:16].hex(), "at_ms": 1}
    jws = ".".join(base64.urlsafe_b64encode(SECRET).decode().rstrip("=") for _ in range(3))
    receipt = {"device_id": (SECRET * 2)[:16].hex(), "receipt": jws}
    notice = {"study_hash": (SECRET * 2)[:32].hex(), "round": 1, "seal": to_base64(SECRET), "token": SECRET[:32].hex()}
    anything = dict.fromkeys((CANARY, "study_id", "title", "plan", "purpose", "version", "kind"), CANARY)
    anything["query"] = {"question": CANARY, "features": {CANARY: CANARY}}
    return {
        "leader": [
            ("/v1/enrolments", {"enrolments": [{**enrolment, "signature": SIGNATURE}]}),
            ("/v1/enrolments", {"enrolments": [{**enrolment, "signature": CANARY, CANARY: CANARY}]}),
            ("/v1/receipts", {"receipts": [receipt]}),
            ("/v1/receipts", {"receipts": [{**receipt, "receipt": CANARY}]}),
            ("/v1/studies", anything),
            ("/v1/studies/check", anything),
            ("/v1/bundles", anything),
            (f"/v1/studies/{CANARY}/start", {}),
            (f"/v1/studies/a?format={CANARY}", {}),
        ],
        "helper": [
            ("/v1/proposals", anything),
            ("/v1/rounds", {**anything, "checkpoint": jws}),
            ("/v1/decisions", {"jws": jws}),
            ("/v1/decisions", {"jws": CANARY}),
            ("/v1/withdrawals", notice),
            ("/v1/withdrawals", {**notice, "token": CANARY}),
            (f"/v1/{CANARY}", anything),
        ],
    }


def clean(text: str) -> None:
    for form in FORMS:
        assert form not in text, text[:2_000]


def named_by_the_sender(path: str, text: str) -> str:
    """The answer without the one thing that it may repeat: the name of what was asked for, to whoever asked."""
    return text.replace(CANARY, "") if CANARY in path else text


def test_no_canary_comes_back(besieged):
    """Tokens, keys, signatures, bodies, headers and cookies, wrong in every way: nobody repeats them."""
    for role, requests in bodies().items():
        for path, body in requests:
            for headers in (carriers(), {"authorization": f"Bearer {besieged.bearer}"}):
                content = {**headers, "content-type": "application/json"}
                for method in ("POST", "GET"):
                    answer = besieged.ask(role, method, path, content=json.dumps(body), headers=content)
                    assert answer.status_code < 500
                    shown = answer.text + json.dumps(dict(answer.headers))
                    clean(named_by_the_sender(path, shown))
            if role == "helper":
                clean(named_by_the_sender(path, besieged.as_leader(path.split("?")[0], json.dumps(body).encode()).text))
    assert_silence(besieged)


def test_no_canary_of_a_frame_comes_back(besieged):
    """Seals, masked vectors and signatures that are no such thing; one report that is accepted, key and token known."""
    device, study = besieged.devices[0], besieged.study
    vector = vectors(1)[0]
    seed, token = (SECRET * 2)[:32], (SECRET * 3)[1:33]
    report = besieged.world.report(device, study, besieged.opening, vector, seed=seed, withdrawal_token=token)
    for body in (SECRET, b"HSR\x01\x00\x01" + SECRET, encode_batch([ReportFrame(device.name, 1, report)])):
        answer = besieged.ask(
            "leader", "POST", "/v1/reports", content=body, headers={"content-type": REPORTS_MEDIA_TYPE}
        )
        clean(answer.text)
    assert answer.json()["results"] == ["accepted"]
    share = f"/v1/rounds/{study.study_hash().hex()}/1/share"
    clean(besieged.as_leader(share, b"HSS\x01\x00\x00\x00\x01\x00\x2a" + SECRET, SEALS_MEDIA_TYPE).text)
    assert_silence(besieged)


def test_keys_and_tokens_that_are_in_force_are_nowhere(besieged):
    """The services' own secrets: private keys and tokens that work stand in no answer, metric or line."""
    world = besieged.world
    seeds = [key.seed() for key in (world.leader_key, world.helper_key, world.officer) if isinstance(key, SigningKey)]
    assert len(seeds) == 3
    everything = besieged.log.getvalue() + "".join(
        besieged.ask(role, "GET", path).text
        for role in ("leader", "helper")
        for path in ("/metrics", "/v1/identity", "/openapi.json", "/ready", "/v1/proposals", "/v1/work", "/docs")
    )
    for form in [
        besieged.bearer,
        *(seed.hex() for seed in seeds),
        *(base64.b64encode(seed).decode() for seed in seeds),
    ]:
        assert form not in everything


def assert_silence(besieged: Besieged) -> None:
    for role in ("leader", "helper"):
        clean(besieged.ask(role, "GET", "/metrics").text)
    lines = besieged.log.getvalue()
    assert '"service": "leader"' in lines, "the log is the one that is looked at"
    clean(lines)
    for device in besieged.devices:
        assert device.name.hex() not in lines, "no line names a device"
