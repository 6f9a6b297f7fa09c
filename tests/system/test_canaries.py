"""Raw events stay at home: canaries planted in all of them are in no byte that a service received, stored or logged."""

import base64

import pytest

from simulations.demo.plans import intent, measurement, personas
from simulations.demo.tap import count_hits, spellings
from tests.system.in_process import town

CANARY = "hearthside-canary-5f1c"
PEOPLE = 12


def hits(place, log: str, tmp_path) -> dict[str, int]:
    """Canaries by where they were found."""
    logged = tmp_path / "logged.txt"
    logged.write_text(log)
    needles = spellings(CANARY)
    return {
        "received": count_hits(place.tapped.received(), needles),
        "stored": count_hits(place.tapped.stored(), needles),
        "logged": count_hits([logged], needles),
    }


def test_no_canary_reaches_a_service(tmp_path, capfd):
    """A measurement, personas and training on canary-laden events: nothing is received, stored or logged."""
    drafts = measurement(), personas([0.125] * 8, rounds=1), intent(rounds=1)
    with town(tmp_path, PEOPLE, canary=lambda index: f"{CANARY}-{index}") as place:
        for record in place.fleet.store.participants.all():
            events = place.fleet.store.events_of(record.participant_id)
            assert events, "everybody has raw events"
            assert all(CANARY in body for _, body in events), "and each of them carries the canary"
        for draft in drafts:
            account = place.run(place.study(draft, sampling_rate=1.0))
            assert [item["opened"] for item in account["rounds"]] == [PEOPLE]
        tallies = place.fleet.report().tallies
        assert all(row["null_reports"] == 0 for row in tallies.values()), "every report was made from those events"
        log = capfd.readouterr().err
        assert log.count('"released"') == len(drafts), "the services' log was captured"
        assert hits(place, log, tmp_path) == {"received": 0, "stored": 0, "logged": 0}


LEAKS = {
    "in the path": lambda client: client.get(f"/v1/studies/{CANARY}-3"),
    "percent-encoded in the query": lambda client: client.get(
        "/v1/work?page=" + "".join(f"%{c:02x}" for c in CANARY.encode())
    ),
    "in a header": lambda client: client.get("/v1/work", headers={"referer": f"http://shop.example/{CANARY}"}),
    "base64 in a refused body": lambda client: client.post(
        "/v1/receipts", json={"receipts": [base64.b64encode(f"title: {CANARY}-3".encode()).decode()]}
    ),
    "hex in a refused frame": lambda client: client.post("/v1/reports", content=CANARY.encode().hex()),
    "UTF-16 in a refused frame": lambda client: client.post("/v1/reports", content=CANARY.encode("utf-16-le")),
}


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    with town(tmp_path_factory.mktemp("leaky"), 1, events=False) as built:
        yield built


@pytest.mark.parametrize("role", ["leader", "helper"])
@pytest.mark.parametrize("leak", LEAKS)
def test_a_leaky_request_is_found(leaky, role, leak):
    """Positive control: one careless request, in each spelling, and the search finds it, accepted or not."""
    before = count_hits(leaky.tapped.received(), spellings(CANARY))
    LEAKS[leak](leaky.tapped.client(role))
    assert count_hits(leaky.tapped.received(), spellings(CANARY)) > before


def test_a_leak_into_stores_and_logs_is_found(tmp_path, capfd):
    """Positive control: a study that is named like the canary is found in what was received, stored and logged."""
    with town(tmp_path, 5) as place:
        place.run(place.study(measurement(), study_id=CANARY))
        found = hits(place, capfd.readouterr().err, tmp_path)
    assert min(found.values()) > 0, found
