"""The visitor's page: everything about the person, on an origin of its own, with forms that only it can send."""

import io
import json
import zipfile
from dataclasses import replace

import pytest

from client_agent.gateway.ports import Budget, Sent
from client_agent.profiles import stored_events
from client_agent.visitor import StoredVisitor
from consent import INTENT, POLICY_UPDATED, PURPOSES, Registry, grant, notice, record, sign_receipt, verify_receipt
from consent.signals import parse_well_known_gpc
from models.events import Event
from tests.client_agent.gateway.people import (
    DEVICE,
    NOW_MS,
    PAGE_ORIGIN,
    SITE,
    MemoryVisitor,
    demo_bundle,
    hidden_fields,
    page_browser,
)
from tests.client_agent.world import populate
from tests.consent.scenes import next_version

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def choose(web, purpose, choice, origin=PAGE_ORIGIN, **fields):
    headers = {"origin": origin} if origin else {}
    data = {**await hidden_fields(web), "purpose": purpose, "choice": choice, **fields}
    return await web.post("/consent", data=data, headers=headers)


def looked_at(category, count=4):
    return [
        Event(f"{category}{i}", "dwell", NOW_MS - 60_000 + i, SITE, category=category, dwell_seconds=30.0)
        for i in range(count)
    ]


async def test_everything_is_off_until_it_is_allowed_and_off_again_at_once():
    """One press grants one purpose or all; one press takes it back; each is a signed receipt."""
    visitor = MemoryVisitor(demo_bundle())
    async with page_browser(visitor) as web:
        assert "0 of 7" in (await web.get("/")).text
        await choose(web, "persona", "grant")
        assert {grant.purpose for grant in visitor.state.granted} == {"persona"}
        assert f"{len(PURPOSES)} of 7" in (await choose(web, "all", "grant")).text
        await choose(web, "persona", "decline")
        assert visitor.state.grant_of("persona") is None
        assert visitor.state.grant_of("intent") is not None
        assert "0 of 7" in (await choose(web, "all", "decline")).text
    assert len(visitor.receipts()) == 4


async def test_yes_and_no_are_drawn_alike():
    """Before a choice both buttons of a purpose have the same element, class and size."""
    async with page_browser(MemoryVisitor()) as web:
        text = (await web.get("/")).text
    assert text.count('name="choice" value="grant"') == text.count('name="choice" value="decline"') == len(PURPOSES) + 1
    assert "checked" not in text
    assert "<button class" not in text


async def test_a_no_on_the_page_deletes_what_no_other_use_reads(world, store):
    """It goes with the choice, in the real store, not with something that the page does after it."""
    (who,) = populate(world, store, 1, purposes=("persona", "next_action"))
    visitor = StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: None)
    at_ms = world.clock.now_ms() - 1_000
    kinds = {"view": Event("view", "page_view", at_ms, SITE), "dwell": Event("dwell", "dwell", at_ms, SITE)}
    visitor.append_events(list(kinds.values()))
    async with page_browser(visitor) as web:
        await choose(web, "persona", "decline")
        assert [event.event_id for event in visitor.events()] == ["view"]  # of which next_action still reads this one
        await choose(web, "all", "decline")
    assert not visitor.events()
    assert stored_events(store, who, world.clock.now_ms()) == []


async def test_the_page_says_what_the_device_concludes_and_why():
    """Persona, score, segments, the rule that held, the facts it read, and what would be shown without it."""
    visitor = MemoryVisitor(demo_bundle())
    visitor.sent_rows = [Sent("persona", 12, 48_200)]
    visitor.spent = Budget(0.75, 2.0, 1e-5, 30.0, 1.25)
    async with page_browser(visitor) as web:
        await choose(web, "all", "grant")
        visitor.append_events(looked_at("sale"))
        text = (await web.get("/")).text
    for words in ("bargain hunter", "27%", "New here", "persona.label", "default content", "48,200", "0.750", "1.250"):
        assert words in text, words


async def test_the_page_shows_the_sum_of_the_local_figures_and_each_study():
    """What holds if both services collude adds up over the studies; the page says so, with its unit and delta."""
    visitor = MemoryVisitor(demo_bundle())
    local = {"local_epsilon": 17.5, "local_delta": 2e-5, "local_studies": (("1a2b3c4d", 12.0), ("5e6f7a8b", 5.5))}
    visitor.spent = Budget(0.75, 2.0, 1e-5, 30.0, 1.25, **local)
    async with page_browser(visitor) as web:
        text = (await web.get("/")).text
    for words in (
        "local ε 17.5",
        "Per training row, zero-out, δ 2e-05",
        "1a2b3c4d: 12.0, 5e6f7a8b: 5.5",
        "the sum has none",
    ):
        assert words in text, words


async def test_without_consent_to_personalisation_nothing_is_concluded():
    """Stored events of another purpose are not read to choose content."""
    visitor = MemoryVisitor(demo_bundle())
    async with page_browser(visitor) as web:
        await choose(web, "persona", "grant")
        visitor.append_events(looked_at("sale"))
        assert "bargain hunter" not in (await web.get("/")).text


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8100", "http://evil.example", "null", None])
@pytest.mark.parametrize("path", ["/consent", "/erase"])
async def test_forms_of_other_origins_change_nothing(origin, path):
    """The shop's origin, any other, an opaque one and none at all are refused."""
    visitor = MemoryVisitor()
    visitor.append_events(looked_at("sale"))
    async with page_browser(visitor) as web:
        headers = {"origin": origin} if origin else {}
        answer = await web.post(path, data={"purpose": "all", "choice": "grant"}, headers=headers)
    assert answer.status_code == 403
    assert (visitor.state.length, len(visitor.events())) == (0, 4)


@pytest.mark.parametrize(("purpose", "choice"), [("spying", "grant"), ("persona", "maybe"), ("", "grant")])
async def test_a_malformed_choice_is_refused(purpose, choice):
    """Undeclared purposes and choices get a problem and no receipt."""
    visitor = MemoryVisitor()
    async with page_browser(visitor) as web:
        assert (await choose(web, purpose, choice)).status_code == 400
    assert not visitor.receipts()


async def test_the_page_loads_nothing_from_elsewhere_and_cannot_be_framed():
    """A strict policy, no script, no other host, no caching, and no origin that may read it."""
    async with page_browser(MemoryVisitor(demo_bundle())) as web:
        answer = await web.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<script" not in answer.text
    assert "https://" not in answer.text
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_hostile_event_text_is_shown_as_text():
    """A page cannot write markup into the visitor's page."""
    visitor = MemoryVisitor()
    visitor.append_events([Event("e", "page_view", NOW_MS, SITE, path="/<script>x</script>", category="<img src=x>")])
    async with page_browser(visitor) as web:
        text = (await web.get("/")).text
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;img src=x&gt;" in text


async def test_everything_can_be_taken_along_as_one_file_or_as_tables():
    """Both downloads hold every row, name themselves after the site, and are never kept by a cache."""
    visitor = MemoryVisitor(demo_bundle())
    async with page_browser(visitor) as web:
        visitor.append_events(looked_at("sneakers"))
        one, tables = await web.get("/export.json"), await web.get("/export.zip")
    assert len(json.loads(one.content)["events"]) == 4
    with zipfile.ZipFile(io.BytesIO(tables.content)) as archive:
        assert archive.read("events.csv").decode("utf-8-sig").count("dwell") == 4
    for answer, suffix in ((one, "json"), (tables, "zip")):
        assert answer.headers["content-disposition"] == f'attachment; filename="hearthside-{SITE}.{suffix}"'
        assert answer.headers["cache-control"] == "no-store"


async def test_the_page_says_that_it_honours_the_signal_since_the_policys_date():
    """The specification's document, with and without a person behind the browser."""
    async with page_browser(MemoryVisitor()) as web:
        assert parse_well_known_gpc((await web.get("/.well-known/gpc.json")).text).updated == POLICY_UPDATED


async def test_other_hosts_are_refused():
    """DNS rebinding finds nobody at home."""
    async with page_browser(MemoryVisitor()) as web:
        assert (await web.get("/", headers={"host": "rebound.example:8101"})).status_code == 421


async def test_a_log_that_does_not_hold_is_told_of():
    """The page says that no report leaves, in both languages, and says nothing of it while the log holds."""
    visitor = MemoryVisitor()
    told = {"en": "No report leaves this device at the moment", "de": "Zurzeit verlässt kein Bericht dieses Gerät"}
    async with page_browser(visitor) as web:
        for visitor.log_held in (True, False):
            for language, words in told.items():
                page = (await web.get("/", headers={"accept-language": language})).text
                assert (words in page) != visitor.log_held


async def test_global_privacy_control_is_named_and_a_choice_made_under_it_counts():
    """The page says that the signal is on; allowing something then is a choice despite it."""
    visitor = MemoryVisitor()
    async with page_browser(visitor) as web:
        assert "Global Privacy Control is on" in (await web.get("/", headers={"sec-gpc": "1"})).text
        headers = {"origin": PAGE_ORIGIN, "sec-gpc": "1"}
        fields = {"purpose": "persona", "choice": "grant", **await hidden_fields(web, headers)}
        await web.post("/consent", data=fields, headers=headers)
    assert visitor.state.grant_of("persona").despite_gpc


async def gpc_seen_elsewhere(visitor, web):
    """The signal came with another browser of the same person, after this page was opened."""
    del web
    visitor.observe_gpc()
    return {}


async def another_registry(visitor, web):
    """The page was opened under a registry in which a purpose said something else."""
    del visitor, web
    return {"notice": notice(SITE, "en", next_version(PURPOSES, INTENT)).hash.hex()}


async def another_language(visitor, web):
    """The notice was shown in German, and the form says that it was shown in English."""
    del visitor
    return {"notice": (await hidden_fields(web, lang="de"))["notice"]}


async def no_notice(visitor, web):
    """The form does not say what was shown."""
    del visitor, web
    return {"notice": ""}


CHANGES = [gpc_seen_elsewhere, another_registry, another_language, no_notice]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_yes_to_a_notice_that_is_not_due_any_more_shows_the_page_again(change):
    """Nothing is signed; the page says so in its title and beside the notice, and a yes on it counts."""
    visitor = MemoryVisitor()
    async with page_browser(visitor) as web:
        before = await hidden_fields(web)
        before |= await change(visitor, web)
        length = visitor.state.length
        answer = await choose(web, "persona", "grant", **before)
        assert (visitor.state.length, visitor.receipts()) == (length, [])
        assert answer.url.params["done"] == "changed"
        assert answer.text.count("this notice has changed since you opened it, please look again") == 2
        await choose(web, "persona", "grant")
    assert visitor.state.grant_of("persona") is not None


async def test_the_line_about_a_changed_notice_is_said_in_german_too():
    """The page that comes again is in the language of the page before."""
    async with page_browser(MemoryVisitor()) as web:
        answer = await choose(web, "persona", "grant", lang="de", notice="")
    assert "Dieser Hinweis hat sich geändert, seit Sie ihn geöffnet haben" in answer.text


@pytest.mark.parametrize("asked", ["persona", "all"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_no_is_taken_whatever_notice_was_shown(change, asked):
    """Taking consent back waits for nothing: it is signed at once, with the notice that is due."""
    visitor = MemoryVisitor()
    async with page_browser(visitor) as web:
        await choose(web, "all", "grant")
        before = await hidden_fields(web)
        before |= await change(visitor, web)
        answer = await choose(web, asked, "decline", **before)
        assert answer.url.params["done"] == "declined"
    assert visitor.state.grant_of("persona") is None
    due = notice(SITE, "en", gpc=visitor.state.gpc_seen)
    assert verify_receipt(visitor.jws[-1], DEVICE.verify_key).notice_hash == due.hash


@pytest.mark.parametrize("asked", ["former", "all"])
async def test_a_no_takes_back_what_is_no_longer_declared(asked):
    """A purpose that left the registry after it was granted is withdrawn by its own form, and with everything else."""
    visitor = MemoryVisitor()
    former = Registry([*PURPOSES, replace(next(iter(PURPOSES)), id="former")])
    now = NOW_MS // 1_000
    granted = grant(visitor.state, ["former"], notice=notice(SITE, "en", former), issued_at=now, registry=former)
    visitor.state, _ = record(visitor.state, sign_receipt(DEVICE, granted), now, former)
    assert visitor.state.grant_of("former") is not None
    async with page_browser(visitor) as web:
        assert (await choose(web, "former", "grant")).status_code == 400
        await choose(web, asked, "decline")
    assert visitor.state.grant_of("former") is None
