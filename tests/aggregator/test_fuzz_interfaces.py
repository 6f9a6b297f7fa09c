"""Both interfaces under requests made from their own documents, well-formed and not: no answer breaks its promise."""

from __future__ import annotations

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from models.wire.frames import REPORTS_MEDIA_TYPE, SEALS_MEDIA_TYPE

from .besieged import Besieged, require_sane

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUIET = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
FRAMES = (REPORTS_MEDIA_TYPE, SEALS_MEDIA_TYPE)
SIGNED = ("/v1/proposals", "/v1/rounds")


for name in FRAMES:
    schemathesis.openapi.media_type(name, st.binary(max_size=300))


@schemathesis.serializer(*FRAMES)
def as_it_is(context, value):
    """A frame travels as the bytes that it is; what is no bytes, as text."""
    del context
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def besieged(tmp_path_factory):
    with Besieged(tmp_path_factory.mktemp("interfaces")) as both:
        yield both


def cases(app, mode: GenerationMode):
    """Requests to any operation of an application."""
    schema = schemathesis.openapi.from_dict(app.openapi())
    found = [item.ok() for item in schema.get_all_operations()]
    assert len(found) > 10, "the document lists what there is"
    return st.sampled_from(found).flatmap(lambda operation: operation.as_strategy(generation_mode=mode))


def send(besieged: Besieged, role: str, case) -> httpx.Response:
    """Past the door: with a token that holds, or under the leader's signature."""
    kwargs = {**case.as_transport_kwargs(base_url="http://127.0.0.1"), "cookies": None}
    prepared = requests.Request(**kwargs).prepare()
    target, body = prepared.path_url, prepared.body or b""
    body = body.encode() if isinstance(body, str) else body
    media_type = prepared.headers.get("content-type", "")
    if role == "helper" and case.method == "POST" and target.startswith(SIGNED):
        return besieged.as_leader(target, body, media_type or "application/json")
    headers = {"authorization": f"Bearer {besieged.bearer}", **({"content-type": media_type} if media_type else {})}
    return besieged.ask(role, case.method, target, content=body, headers=headers)


def check(besieged: Besieged, role: str, examples: int) -> None:
    app = besieged.world.leader_app if role == "leader" else besieged.world.helper_app
    seen = set()

    @settings(QUIET, max_examples=examples)
    @given(st.one_of(cases(app, GenerationMode.POSITIVE), cases(app, GenerationMode.NEGATIVE)))
    def conforms(case):
        response = require_sane(send(besieged, role, case))
        seen.add((case.operation.label, response.status_code // 100))
        case.validate_response(response, checks=CHECKS)

    conforms()
    assert {status for _, status in seen} >= {2, 4}, "some get past the door, some do not"


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_answers_conform_to_the_document(besieged, role):
    """Generated requests to every operation: no 5xx, no time-out, and each answer is one that the document names."""
    check(besieged, role, 16)


@pytest.mark.soak
@pytest.mark.parametrize("role", ["leader", "helper"])
def test_answers_conform_to_the_document_at_length(besieged, role):
    """The same with many more."""
    check(besieged, role, 2_000)


def test_the_walls_stand_at_the_end(besieged):
    """After all that both services are ready, and hold what they held: the round is open, the devices are known."""
    for role in ("leader", "helper"):
        assert besieged.ask(role, "GET", "/ready").status_code == 200
    work = besieged.ask("leader", "GET", "/v1/work").json()
    assert [item["study"]["study_id"] for item in work["rounds"]] == [besieged.study.study_id]
