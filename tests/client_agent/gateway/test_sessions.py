"""Which person is at which browser: nobody until they say so, and the site can neither read nor plant it."""

import base64
import json
import secrets
import socket
from dataclasses import replace

import anyio
import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from client_agent.consenting import ConsentKeeper
from client_agent.errors import PersonRefused
from client_agent.gateway import seals
from client_agent.gateway import sessions as limits
from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.gateway.cookies import cookie_name, plants_ours, presented, set_cookie, without_ours
from client_agent.gateway.hosts import UpstreamHere, is_of_this_machine
from client_agent.gateway.sessions import Sessions
from client_agent.household import StoredHousehold
from client_agent.people import PeopleKeeper
from client_agent.serving import Addresses
from consent import PURPOSES, notice
from models.events import Event
from tests.client_agent.gateway.people import NOW_MS, SITE, MemoryHousehold, MemoryVisitor, demo_bundle, known
from tests.client_agent.world import populate

ORIGIN, PAGE = "http://127.0.0.1:8300", "http://localhost:8301"
SETTINGS = GatewaySettings("http://shop.internal:80", ORIGIN, PAGE)
OURS, OWN = cookie_name(ORIGIN, "site"), cookie_name(PAGE, "page")
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def streamed():
    """A body that has not been read yet, as from a network."""
    yield b"shop"


@pytest.fixture
def keeper(world, store):
    return PeopleKeeper(store, world.pins, world.clock, secrets.token_bytes)


class Clock:
    def __init__(self):
        self.ms = NOW_MS

    def __call__(self):
        return self.ms


class Home:
    """Anna and Ben with a profile each, Tim who is a child, and Eva who has no profile yet."""

    def __init__(self, pins=None):
        self.clock = Clock()
        self.anna, self.ben = (MemoryVisitor(demo_bundle(), self.clock) for _ in range(2))
        people = {"anna": self.anna, "ben": self.ben, "tim": None, "eva": None}
        self.household = MemoryHousehold(people, {"tim"}, pins, self.clock)
        self.sessions = Sessions(self.household, secrets.token_bytes)
        self.seen = []
        self.answer_headers = []

    def consenting(self):
        for visitor in (self.anna, self.ben):
            visitor.choose({purpose.id for purpose in PURPOSES}, (), notice(SITE, "en"))
        return self

    def upstream(self, request):
        self.seen.append(request)
        return httpx.Response(200, headers=self.answer_headers, content=streamed())


class Browser:
    """One browser profile: two origins, two jars, and links that send what browsers send."""

    def __init__(self, home):
        def client(app, origin):
            transport = httpx.ASGITransport(app=app)
            return httpx.AsyncClient(transport=transport, base_url=origin, headers={"sec-fetch-site": "same-origin"})

        self.home = home
        self.site = client(gateway_app(home.sessions, SETTINGS, httpx.MockTransport(home.upstream)), ORIGIN)
        self.page = client(page_app(home.sessions, SETTINGS), PAGE)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.site.aclose()
        await self.page.aclose()

    async def choose(self, name, **fields):
        return await self.page.post("/people/choose", data={"name": name, **fields}, headers={"origin": PAGE})

    async def follow(self, answer, **changes):
        headers = {"referer": f"{PAGE}/", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"} | changes
        sent = {name: value for name, value in headers.items() if value is not None}
        return await self.site.get(answer.headers["location"], headers=sent)

    async def say(self, name, **fields):
        """Say who is here, and be led past the site's door."""
        return await self.follow(await self.choose(name, **fields))

    async def notice(self, former=""):
        headers = {"x-hearthside-token": former} if former else {}
        return (await self.site.get("/.hearthside/notice", headers=headers)).json()

    async def send(self, told, *events, path="events"):
        headers = {"origin": ORIGIN, "x-hearthside-token": told["token"]}
        body = json.dumps(events) if path == "events" else json.dumps({"slots": ["hero"]})
        headers |= {"content-type": "application/json"}
        return await self.site.post(f"/.hearthside/{path}", content=body, headers=headers)


def event(number):
    return {
        "version": 1,
        "event_id": f"e{number}",
        "kind": "dwell",
        "at_ms": NOW_MS - 60_000,
        "site": SITE,
        "category": "sale",
        "dwell_seconds": 20.0,
    }


# Unknown: a guest, a private window, another browser


async def test_a_browser_of_nobody_is_told_nothing_and_leaves_nothing():
    """It is asked, and that is all: no cookie, no row, no event, no decision, and the site is served as ever."""
    home = Home().consenting()
    async with Browser(home) as web:
        answer = await web.site.get("/.hearthside/notice", headers={"sec-gpc": "1"})
        told = answer.json()
        assert (told["collect"], told["personalise"], told["ask"], told["token"]) == ([], False, True, "")
        assert (told["opt_out"], told["same"], told["key"], told["sealed"]) == (False, False, "", "")
        for forged in ("", "t" * 43):
            refused = await web.send(told | {"token": forged}, event(1))
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:hearthside:problem:no-consent")
            assert (await web.send(told | {"token": forged}, path="decide")).status_code == 403
        assert (await web.site.get("/c/sale")).text == "shop"
        assert not any("set-cookie" in each.headers for each in (answer, refused))
    assert not home.anna.stored | home.ben.stored
    assert home.household.browsers.rows == {}


async def test_just_looking_around_stores_nothing_on_either_side():
    """The choice of a guest sets no cookie and makes no row; it leads back to the site."""
    home = Home()
    async with Browser(home) as web:
        answer = await web.page.post("/people/choose", data={"guest": "yes"}, headers={"origin": PAGE})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ORIGIN}/")
        assert "set-cookie" not in answer.headers
    assert home.household.browsers.rows == {}


async def test_without_saying_who_they_are_nobody_reads_anything():
    """The start page asks; everything else of the agent's own origin answers that somebody has to say who they are."""
    home = Home().consenting()
    home.anna.append_events([Event("x", "dwell", NOW_MS, SITE, path="/secret-path", dwell_seconds=1.0)])
    async with Browser(home) as web:
        asked = await web.page.get("/")
        assert "Who is here?" in asked.text
        assert "secret-path" not in asked.text
        assert "set-cookie" not in asked.headers
        for path in ("/export.json", "/export.zip", "/everything", "/consent-record.json", "/nothing"):
            assert (await web.page.get(path)).status_code == 401, path
        for path in ("/consent", "/erase", "/erase-everything"):
            body = {"purpose": "all", "choice": "grant", "sure": "yes", "person": ""}
            assert (await web.page.post(path, data=body, headers={"origin": PAGE})).status_code == 401, path
    assert len(home.anna.events()) == 1


# Saying who is here


async def test_a_person_says_who_they_are_and_is_known_on_both_origins():
    """One form leads past the site's door and back; from then on the door collects for them, and for nobody else."""
    home = Home().consenting()
    async with Browser(home) as web:
        entered = await web.say("anna")
        assert (entered.status_code, entered.headers["location"]) == (303, f"{PAGE}/")
        told = await web.notice()
        assert told["collect"]
        assert (await web.send(told, event(1))).json()["accepted"] == 1
        assert "What you allow" in (await web.page.get("/")).text
    assert [list(home.anna.stored), list(home.ben.stored)] == [["e1"], []]


async def test_the_cookies_are_as_narrow_as_they_can_be():
    """HttpOnly, of one host, of the door's path, a session's unless asked; under https with the prefixes."""
    home = Home()
    async with Browser(home) as web:
        own = await web.choose("anna")
        entered = await web.follow(own)
    for header, narrow in (
        (own.headers["set-cookie"], ["Path=/", "SameSite=Lax"]),
        (entered.headers["set-cookie"], ["Path=/.hearthside", "SameSite=Strict"]),
    ):
        attributes = header.split("; ")[1:]
        assert set(attributes) == {"HttpOnly", *narrow}, "no Domain, and no Max-Age: it ends with the browser's session"
    assert own.headers["set-cookie"].startswith("hearthside-page-8301=")
    assert set_cookie("https://shop.home", "site", "v", lasting=True).split("; ") == [
        "__Secure-hearthside=v",
        "Path=/.hearthside",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
        "Max-Age=15552000",
    ]
    assert set_cookie("https://me.home", "page", "v", lasting=False).startswith("__Host-hearthside-page=v; Path=/;")


async def test_the_store_has_digests_only():
    """What lies in the rows opens no door."""
    home = Home()
    page, site = known(home.sessions, "anna")
    (row,) = home.household.browsers.rows.values()
    assert page not in repr(row)
    assert row.page.hex() not in repr(row)
    for value in (row.page, row.site):
        text = value.hex()
        assert home.sessions.at_site([text]).subject == "unknown"
        assert home.sessions.at_page([text]).subject == "unknown"
    assert home.sessions.at_site([page]).subject == "unknown", "one origin's token is none of the other's"
    assert home.sessions.at_page([site]).subject == "unknown"


async def test_a_child_gets_the_notice_of_an_adult_who_said_no():
    """Every answer of the door is the same to the letter; nothing is collected or chosen, and nobody is asked."""
    home = Home()
    home.ben.choose((), {purpose.id for purpose in PURPOSES}, notice(SITE, "en"))
    told, said = {}, {}
    for name in ("tim", "ben", "eva", "a guest"):
        async with Browser(home) as web:
            if name != "a guest":
                await web.say(name)
            told[name], said[name] = await web.notice(), []
            for gpc in ("0", "1"):
                web.site.headers["sec-gpc"] = gpc
                for token in ("", "A" * 59, "-"):
                    for path in ("events", "decide"):
                        answer = await web.send({"token": token}, event(1), path=path)
                        said[name].append((answer.status_code, answer.text, answer.headers))
            own = await web.page.get("/")
            assert ("Nothing is collected about you" in own.text) == (name == "tim")
    assert told["tim"] == told["ben"] == told["eva"]
    assert told["a guest"] == told["ben"] | {"ask": True}, "who is unknown is asked"
    assert said["tim"] == said["ben"] == said["eva"] == said["a guest"]
    assert {status for status, _, _ in said["tim"]} == {403}
    assert not home.ben.stored


async def test_nothing_in_a_notice_can_be_compared():
    """Two notices of one person have no text in common but what everybody's have: no name, no number."""
    home = Home().consenting()
    told = {}
    async with Browser(home) as first, Browser(home) as second:
        await first.say("anna")
        await second.say("ben")
        for place in range(4):
            told["anna", place], told["ben", place] = await first.notice(), await second.notice()
    for field in ("token", "key", "sealed"):
        assert len({each[field] for each in told.values()}) == len(told), field
        assert len({len(each[field]) for each in told.values()}) == 1, field
        pieces = [each[field][place : place + 8] for each in told.values() for place in range(len(each[field]) - 7)]
        assert len(set(pieces)) == len(pieces), f"{field}: not even a part of it comes again"
    rest = [{k: v for k, v in each.items() if k not in {"token", "key", "sealed"}} for each in told.values()]
    assert all(each == rest[0] for each in rest)


async def test_a_pass_says_whether_all_is_as_it_was_and_only_for_a_while():
    """Same person, browser and consent: yes. Another of them, a forged one, or half an hour later: no."""
    home = Home().consenting()
    async with Browser(home) as web, Browser(home) as elsewhere:
        await web.say("anna")
        await elsewhere.say("anna")
        told = await web.notice()
        assert (told["same"], (await web.notice(told["token"]))["same"]) == (False, True)
        assert not (await elsewhere.notice(told["token"]))["same"], "another browser of the same person"
        for forged in (told["token"][:-1], told["token"][::-1], "A" * 59, told["sealed"], "="):
            assert not (await web.notice(forged))["same"]
        home.clock.ms += seals.FORMER_MS
        assert (await web.notice(told["token"]))["same"]
        home.clock.ms += 1
        assert not (await web.notice(told["token"]))["same"]
        fresh = await web.notice()
        home.anna.choose((), {"persona"}, notice(SITE, "en"))
        assert not (await web.notice(fresh["token"]))["same"], "another consent"
        fresh = await web.notice()
        await web.say("ben")
        assert not (await web.notice(fresh["token"]))["same"], "another person"


async def test_a_pass_opens_the_door_for_a_minute():
    """After it the script is to ask for another one, whichever way the clock was set; nothing is stored meanwhile."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna")
        told = await web.notice()
        for step in (seals.PASS_MS + 1, -2 * (seals.PASS_MS + 1)):
            home.clock.ms += step
            late = await web.send(told, event(1))
            assert (late.status_code, late.json()["type"]) == (401, "urn:hearthside:problem:unauthenticated")
        home.clock.ms += 1
        assert (await web.send(told, event(2))).status_code == 202
    assert list(home.anna.stored) == ["e2"]


# What a closed tab left


def row_of(told, *events, late=False):
    """A row as the page's script seals it: under the key of its notice, or added to that key's stream."""
    key, nonce = (base64.urlsafe_b64decode(told["key"] + "="), secrets.token_bytes(12))
    text = json.dumps(events).encode()
    stream = AESGCM(key).encrypt(nonce, bytes(8_192), None)
    data = bytes(a ^ b for a, b in zip(text, stream, strict=False)) if late else AESGCM(key).encrypt(nonce, text, None)
    named = {name: base64.urlsafe_b64encode(value).decode().rstrip("=") for name, value in (("iv", nonce), ("d", data))}
    return {"iv": named["iv"], "sealed": told["sealed"], "late" if late else "data": named["d"]}


@pytest.mark.parametrize("late", [False, True])
async def test_what_a_closed_tab_left_is_opened_for_the_same_person_under_the_same_consent(late):
    """The next page hands it over as it is, for a week; twice is once."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna")
        row = row_of(await web.notice(), event(1), event(2), late=late)
        assert "dwell" not in json.dumps(row)
        for _ in range(2):
            taken = await web.send(await web.notice(), row, event(3))
            assert (taken.status_code, taken.json()) == (202, {"accepted": 1, "rejected": {}})
        assert sorted(home.anna.stored) == ["e1", "e2", "e3"]
        week_old = row_of(await web.notice(), event(4), late=late)
        home.clock.ms += limits.OTHERS_IDLE_MS - 1
        assert (await web.send(await web.notice(), row_of(await web.notice(), event(5)), week_old)).status_code == 202
    assert "e4" in home.anna.stored


@pytest.mark.parametrize("why", ["withdrawn", "chosen anew", "another person", "left", "new PIN", "too old", "renewed"])
async def test_what_a_closed_tab_left_opens_for_nobody_else(why):
    """A no, another consent or person, a browser that ended: the answer is the same, and nothing of it is stored."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna", lasting="yes")
        row = row_of(await web.notice(), event(1))
        accepted = (await web.send(await web.notice(), row)).json()
        home.anna.stored.clear()
        everything, (browser,) = {purpose.id for purpose in PURPOSES}, home.household.browsers.rows.values()
        if why in {"withdrawn", "chosen anew"}:
            home.anna.choose((), everything if why == "withdrawn" else {"persona"}, notice(SITE, "en"))
        if why == "withdrawn":
            assert (await web.send({"token": "A" * 59}, row)).status_code == 403
            home.anna.choose(everything, (), notice(SITE, "en"))
        elif why == "another person":
            await web.say("ben")
        elif why in {"left", "new PIN"}:
            home.household.browsers.end([browser.page])  # as People.forget does
            await web.say("anna")
        elif why == "too old":
            home.clock.ms += seals.QUEUED_MS
        elif why == "renewed":
            home.household.browsers.put(replace(browser, secret=b"n" * 32))
        answer = await web.send(await web.notice(), row)
        assert (answer.status_code, answer.json()) == (202, accepted), "whether it opened is not the page's to know"
    assert not home.anna.stored | home.ben.stored


@given(row=st.dictionaries(st.sampled_from(["sealed", "iv", "data", "late"]), st.text(max_size=40) | st.integers()))
@settings(max_examples=100, deadline=None)
def test_no_row_brings_the_door_down(row):
    """Whatever a script sends as a row opens, or does not; nothing is raised."""
    if seals.is_row(row):
        assert seals.open_row(row, b"s" * 32, 0, NOW_MS) == []


def test_a_row_of_anything_else_holds_no_events():
    """Sealed properly but no list, no JSON, or too deep: nothing comes out."""
    key, sealed = seals.issue_key(b"s" * 32, 1, NOW_MS, secrets.token_bytes)
    good = row_of({"key": key, "sealed": sealed}, 1, 2)
    assert seals.open_row(good, b"s" * 32, 1, NOW_MS) == [1, 2]
    raw = base64.urlsafe_b64decode(key + "=")
    for text in (b"{}", b"[", b"[" * 20_000, b"\xff"):
        data = base64.urlsafe_b64encode(AESGCM(raw).encrypt(b"n" * 12, text, None)).decode()
        assert seals.open_row(good | {"iv": "bm5ubm5ubm5ubm5u", "data": data}, b"s" * 32, 1, NOW_MS) == []


async def test_an_adult_without_a_profile_is_told_so_and_nothing_is_collected():
    """Until they are enrolled there is nothing to choose on; what is kept of their name is theirs to see."""
    home = Home()
    async with Browser(home) as web:
        await web.say("eva")
        told = await web.notice()
        assert (told["collect"], told["ask"]) == ([], False)
        assert "You have no profile yet" in (await web.page.get("/")).text
        assert (await web.page.get("/consent-record.json")).status_code == 401
        assert (await web.page.get("/export.json")).status_code == 200


@pytest.mark.parametrize("lang", ["en", "de"])
async def test_the_page_and_the_notice_speak_the_browsers_language(lang):
    """By the browser's preference, or as asked for."""
    home = Home()
    title = {"en": "Who is here?", "de": "Wer ist hier?"}[lang]
    async with Browser(home) as web:
        header = {"accept-language": f"fr, {lang};q=0.8"}
        assert title in (await web.page.get("/people", headers=header)).text
        assert title in (await web.page.get(f"/people?lang={lang}")).text
        told = (await web.site.get("/.hearthside/notice", headers=header)).json()
    assert told["title"] == notice(SITE, lang).title


# One person at a time


async def test_somebody_else_at_the_same_browser_ends_the_former_at_once():
    """Anna's open tab sends under Ben's cookie what she did: it is refused, and lands in nobody's profile."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna")
        hers = await web.notice()
        former = web.site.cookies.get(OURS)
        on_the_way = await web.choose("ben")
        assert (await web.notice())["token"] == "", "before the site's door knows Ben, it knows nobody"
        await web.follow(on_the_way)
        his = await web.notice()
        late = await web.send(hers, event(1))
        assert (late.status_code, late.json()["type"]) == (403, "urn:hearthside:problem:forbidden")
        assert (await web.send(his, event(3))).status_code == 202
        web.site.cookies.clear()
        web.site.cookies.set(OURS, former, "127.0.0.1", "/.hearthside")
        assert (await web.send(hers, event(4))).status_code == 403, "the former cookie is nobody's"
    assert [list(home.anna.stored), list(home.ben.stored)] == [[], ["e3"]]


async def test_a_switch_in_the_middle_of_sending_puts_nothing_into_the_next_ones_profile():
    """Events in flight while somebody else says who they are are the former's or refused, never the next one's."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna")
        hers, answers = await web.notice(), []

        async def one(number):
            answers.append((await web.send(hers, event(number))).status_code)

        async with anyio.create_task_group() as together:
            for number in range(24):
                together.start_soon(one, number)
                if number == 8:
                    together.start_soon(web.say, "ben")
        await web.say("ben")
        await one(24)
    assert answers[-1] == 403
    assert set(answers) <= {202, 403}
    assert (len(home.anna.stored), len(home.ben.stored)) == (answers.count(202), 0)


async def test_events_of_before_a_change_of_consent_are_refused():
    """A pass is of one consent; what was queued under another is not taken."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna")
        before = await web.notice()
        home.anna.choose((), {"persona"}, notice(SITE, "en"))
        assert (await web.send(before, event(1))).status_code == 403
    assert not home.anna.stored


async def test_a_form_of_the_former_persons_page_is_not_the_next_ones_answer():
    """Anna's page stands open in a tab, Ben says that he is here: her yes is recorded for neither."""
    home = Home()
    async with Browser(home) as web:
        await web.say("anna")
        text = (await web.page.get("/")).text
        hidden = text.split('name="person" value="')[1].split('"')[0]
        await web.say("ben")
        form = {"purpose": "all", "choice": "grant", "person": hidden, "lang": "en"}
        answer = await web.page.post("/consent", data=form, headers={"origin": PAGE})
        assert (answer.status_code, answer.headers["location"]) == (303, "/people?said=stale")
        assert "somebody else’s" in (await web.page.get("/people?said=stale")).text
    assert (home.anna.state.length, home.ben.state.length) == (0, 0)


async def test_leaving_ends_both_origins_and_drops_the_cookies():
    """After it the browser is nobody's; a tab that is still open is refused; the dead cookie is taken away."""
    home = Home().consenting()
    async with Browser(home) as web:
        await web.say("anna")
        told = await web.notice()
        left = await web.page.post("/people/leave", headers={"origin": PAGE, "content-type": FORM})
        assert "Max-Age=0" in left.headers["set-cookie"]
        assert (await web.send(told, event(1))).status_code == 403
        after = await web.site.get("/.hearthside/notice")
        assert after.json()["ask"]
        assert after.headers["set-cookie"] == f"{OURS}=; Path=/.hearthside; HttpOnly; SameSite=Strict; Max-Age=0"
        assert OURS not in web.site.cookies
        assert (await web.page.get("/export.json")).status_code == 401
    assert home.household.browsers.rows == {}


FORM = "application/x-www-form-urlencoded"


@given(steps=st.lists(st.tuples(st.sampled_from(["anna", "ben", "tim", "leave", "enter", "stale"]), st.integers(0, 3))))
@settings(max_examples=80, deadline=None)
def test_what_a_browser_can_do_is_always_the_present_persons(steps):
    """In whatever order people come and go: old tokens open nothing, and both origins agree on who is here."""
    home = Home()
    page, site, past = [], [], []
    present = None
    for step, which in steps:
        if step in {"anna", "ben", "tim"}:
            past += [(token, present) for token in (*page, *site)] if present != step else []
            page, before = [home.sessions.begin(page, step, "", lasting=False)], present
            site = site if before == step else []
            present = step
        elif step == "leave":
            home.sessions.end(page)
            past += [(token, present) for token in (*page, *site)]
            page, site, present = [], [], None
        elif step == "enter" and page:
            past += [(token, present) for token in site]
            site = [home.sessions.redeem(home.sessions.mint(page))[0]]
        elif step == "stale" and past:
            token, _ = past[which % len(past)]
            assert home.sessions.at_site([token]).subject == "unknown"
            assert home.sessions.at_page([token]).subject == "unknown"
            assert home.sessions.mint([token]) is None
        assert getattr(home.sessions.at_page(page).member, "name", None) == present
        assert not any(home.sessions.at_site([token]).member for token, _ in past)
        if site:
            assert home.sessions.at_site(site).member.name == present


# The way from the page to the site


@pytest.mark.parametrize(
    "change",
    [
        {"referer": None},
        {"referer": f"{ORIGIN}/"},
        {"referer": "http://evil.example/"},
        {"referer": f"{PAGE}.evil.example/"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-mode": "cors"},
        {"sec-fetch-mode": "no-cors"},
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-dest": "image"},
    ],
)
async def test_a_code_works_on_the_way_from_the_agents_own_page_only(change):
    """A link elsewhere, the site's own script, a frame, a picture or a typed address make no browser anybody's."""
    home = Home()
    async with Browser(home) as web:
        answer = await web.choose("anna")
        refused = await web.follow(answer, **change)
        assert refused.status_code == 403
        assert "set-cookie" not in refused.headers
        assert f'<a href="{PAGE}/people?lang=en">Open the agent’s page</a>' in refused.text
        german = await web.follow(answer, **{"accept-language": "de"}, **change)
        assert 'lang="de"' in german.text
        assert "Seite des Agenten öffnen" in german.text
        assert (await web.notice())["ask"]
        assert (await web.follow(answer)).status_code == 303, "and the code was not used up by it"


async def test_a_code_works_once_and_for_a_minute():
    """Replayed or late it makes nobody known; the person is asked to say once more."""
    home = Home()
    async with Browser(home) as web, Browser(home) as another:
        answer = await web.choose("anna")
        assert OURS in (await web.follow(answer)).headers["set-cookie"]
        replayed = await another.follow(answer)
        assert (replayed.headers["location"], "set-cookie" in replayed.headers) == (f"{PAGE}/people?said=late", False)
        answer = await web.choose("anna")
        home.clock.ms += 60_000
        assert "set-cookie" not in (await another.follow(answer)).headers
        assert (await another.notice())["ask"]
        forged = httpx.Response(303, headers={"location": "/.hearthside/enter?code=" + "A" * 43})
        assert "set-cookie" not in (await another.follow(forged)).headers


async def test_a_code_of_a_browser_that_was_left_meanwhile_does_nothing():
    """Between the code and its use the person has left: nobody comes to be known."""
    home = Home()
    page = home.sessions.begin([], "anna", "", lasting=False)
    code = home.sessions.mint([page])
    home.sessions.end([page])
    assert home.sessions.redeem(code) is None
    assert home.sessions.mint([page]) is None
    assert home.sessions.mint([]) is None


@pytest.mark.parametrize(
    ("to", "lands"),
    [
        ("/c/sale?page=2", "/c/sale?page=2"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("http://evil.example/", "/"),
        ("evil.example", "/"),
        ("@evil.example/", "/"),
        ("/.hearthside/enter?code=x", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("", "/"),
    ],
)
async def test_the_way_back_leads_to_a_page_of_the_site_and_nowhere_else(to, lands):
    """No open redirect: whatever is asked for, the browser stays on the site's origin."""
    home = Home()
    async with Browser(home) as web:
        page = home.sessions.begin([], "anna", "", lasting=False)
        query = httpx.QueryParams({"code": home.sessions.mint([page]), "to": to})
        entered = await web.follow(httpx.Response(303, headers={"location": f"/.hearthside/enter?{query}"}))
        assert entered.headers["location"] == ORIGIN + lands


async def test_only_the_agents_own_page_sends_a_browser_back_with_a_code():
    """A link of another site to the way back leads to the shop as it is, without a code."""
    home = Home()
    async with Browser(home) as web:
        await web.say("anna")
        own = await web.page.get("/back/c/sale?page=2")
        assert own.headers["referrer-policy"] == "origin"
        assert (await web.follow(own)).headers["location"] == f"{ORIGIN}/c/sale?page=2"
        foreign = await web.page.get("/back/c/sale", headers={"sec-fetch-site": "cross-site"})
        assert foreign.headers["location"] == f"{ORIGIN}/"


@pytest.mark.parametrize("origin", [ORIGIN, "http://evil.example", "null", None])
async def test_forms_of_other_origins_choose_nobody(origin):
    """The site, another one, an opaque one and none at all cannot say who is here."""
    home = Home()
    async with Browser(home) as web:
        headers = {"origin": origin} if origin else {}
        for path in ("choose", "leave"):
            answer = await web.page.post(f"/people/{path}", data={"name": "anna"}, headers=headers)
            assert answer.status_code == 403
    assert home.household.browsers.rows == {}


# What is forged, old or planted


async def test_a_forged_or_doubled_cookie_is_nobodys():
    """Random values, a digest, another's beside one's own: unknown, on both origins, and the browser drops it."""
    home = Home().consenting()
    page, site = known(home.sessions, "anna")
    _, other = known(home.sessions, "ben")
    for tokens in (["A" * 43], [""], [site, other], [site, site], ["x" * 10_000]):
        here = home.sessions.at_site(tokens)
        assert (here.subject, here.visitor, here.secret, here.clear) == ("unknown", None, b"", True)
        assert home.sessions.at_page(tokens).subject == "unknown"
    assert presented([f"{OURS}=short; {OURS}={site}"], ORIGIN, "site") == ["", site]
    assert home.sessions.at_page([page]).member.name == "anna"


async def test_a_person_who_is_gone_is_at_no_browser():
    """Removed, not for this gateway, or marked as a child: no profile answers to the old cookie."""
    home = Home().consenting()
    page, site = known(home.sessions, "anna")
    home.household.children.add("anna")
    assert (home.sessions.at_site([site]).subject, home.sessions.at_site([site]).visitor) == ("child", None)
    del home.household.visitors["anna"]
    assert home.sessions.at_site([site]).subject == "unknown"
    assert home.sessions.at_page([page]).subject == "unknown"


async def test_a_browser_is_forgotten_when_it_is_not_used():
    """Half a day, or 30 days where the person asked for it; 180 days however often it is used."""
    home = Home()
    brief, lasting = (known(home.sessions, "anna", lasting=each)[1] for each in (False, True))
    home.clock.ms += limits.OTHERS_IDLE_MS - 1
    assert home.sessions.at_site([lasting]).member
    assert home.sessions.at_site([brief]).member, "its use counts anew"
    home.clock.ms += limits.OTHERS_IDLE_MS
    assert not home.sessions.at_site([brief]).member
    for _ in range(6):
        assert home.sessions.at_site([lasting]).member
        home.clock.ms += limits.LASTING_IDLE_MS - 1
    assert not home.sessions.at_site([lasting]).member
    home.sessions.begin([], "ben", "", lasting=True)
    assert {row.person for row in home.household.browsers.rows.values()} == {"ben"}, "and its row goes"


async def test_nobody_fills_the_store_with_browsers():
    """A person has at most so many; the one unused longest goes."""
    home = Home()
    first, _ = known(home.sessions, "anna")
    for _ in range(limits.BROWSERS_MAXIMUM):
        home.clock.ms += 1
        home.sessions.begin([], "anna", "", lasting=False)
    assert len(home.household.browsers.of("anna")) == limits.BROWSERS_MAXIMUM
    assert home.sessions.at_page([first]).subject == "unknown"


# A PIN


async def test_the_page_of_somebody_with_a_pin_asks_for_it_and_asks_again():
    """Wrong: refused. Right: in. After a quarter of an hour away: the PIN again, while the site knows the browser."""
    home = Home({"anna": "2468"}).consenting()
    async with Browser(home) as web:
        wrong = await web.choose("anna", pin="0000")
        assert wrong.status_code == 403
        assert "That is not the PIN." in wrong.text
        assert "in 30 seconds" in wrong.text
        assert "set-cookie" not in wrong.headers
        assert 'value="0000"' not in wrong.text
        await web.say("anna", pin="2468")
        told = await web.notice()
        assert (await web.page.get("/export.json")).status_code == 200
        home.clock.ms += limits.PIN_IDLE_MS + 1
        assert (await web.page.get("/export.json")).status_code == 401
        assert "give your PIN again" in (await web.page.get("/")).text
        told = await web.notice(told["token"])
        assert told["same"]
        assert (await web.send(told, event(1))).status_code == 202
        await web.choose("anna", pin="2468")
        assert (await web.page.get("/export.json")).status_code == 200
        assert (await web.notice(told["token"]))["same"], "and the site's door stayed open, for open tabs too"


@pytest.mark.parametrize("change", ["new PIN", "no PIN", "removed", "a child", "nothing"])
def test_a_browser_is_not_known_past_a_change_while_the_pin_was_looked_at(world, store, keeper, change):
    """A digest takes a third of a second: who has another PIN, is gone or a child when it is done has no browser."""
    populate(world, store, 1)
    keeper.set_pin("person-0", "2468")
    household = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None)
    looked_at, sessions = household.check_pin, Sessions(household, secrets.token_bytes)

    def meanwhile(name, pin):
        checked = looked_at(name, pin)
        if change in {"new PIN", "no PIN"}:
            keeper.set_pin(name, "1357" if change == "new PIN" else None)
        elif change == "removed":
            keeper.remove(name)
        elif change == "a child":
            keeper.set_kind(name, "child")
        return checked

    household.check_pin = meanwhile
    if change == "nothing":
        assert sessions.at_page([sessions.begin([], "person-0", "2468", lasting=True)]).member.name == "person-0"
        return
    with pytest.raises(PersonRefused):
        sessions.begin([], "person-0", "2468", lasting=True)
    assert store.browsers.of("person-0") == []


def test_each_browser_has_a_secret_of_its_own_that_stays_with_it(world, store, keeper):
    """The same person again keeps it, so that open tabs go on; erasing the events takes a new one."""
    populate(world, store, 1)
    household = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None)
    sessions = Sessions(household, secrets.token_bytes)
    first = sessions.begin([], "person-0", "", lasting=True)
    again = sessions.begin([first], "person-0", "", lasting=True)
    other = sessions.begin([], "person-0", "", lasting=True)
    before = sessions.at_page([again]).secret
    assert len({sessions.at_page([token]).secret for token in (again, other)}) == 2
    assert sessions.at_page([first]).subject == "unknown"
    household.visitor("person-0").erase_events()
    after = [sessions.at_page([token]).secret for token in (again, other)]
    assert len({before, *after}) == 3
    assert {len(secret) for secret in after} == {32}
    keeper.remove("person-0")
    assert not sessions.at_page([again]).secret


@pytest.mark.parametrize("how", ["page", "command", "GPC"])
def test_a_withdrawal_takes_the_browsers_to_their_next_secret(world, store, how):
    """Whichever way it comes: what a browser holds was sealed for a yes that ended, and opens nowhere any more."""
    populate(world, store, 1)
    household = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None)
    sessions, visitor = Sessions(household, secrets.token_bytes), household.visitor("person-0")
    visitor.choose({"measurement", "persona"}, (), notice(SITE, "en"))
    assert store.remove_traces() is None
    tokens = [sessions.begin([], "person-0", "", lasting=True) for _ in range(2)]
    before = [sessions.at_page([token]) for token in tokens]
    key, sealed = seals.issue_key(before[0].secret, before[0].epoch, NOW_MS, secrets.token_bytes)
    told = {"key": key, "sealed": sealed}
    assert seals.open_row(row_of(told, 1), before[0].secret, before[0].epoch, NOW_MS) == [1]
    if how == "GPC":
        visitor.observe_gpc()
    elif how == "page":
        visitor.choose((), {"persona"}, notice(SITE, "en"))
    else:
        record = store.participants.of_person("person-0")[0]
        ConsentKeeper(store, world.pins, world.clock).withdraw(record.participant_id, ["persona"])
    after = [sessions.at_page([token]) for token in tokens]
    assert len({here.secret for here in (*before, *after)}) == 4
    for epoch in range(before[0].epoch, after[0].epoch + 1):
        assert seals.open_row(row_of(told, 1), after[0].secret, epoch, NOW_MS) == []
    assert store.traces == "pages", "the former secret is overwritten in the files"


def test_what_takes_nothing_back_leaves_a_browser_its_secret(world, store):
    """A yes, a no to what was never granted, a signal that a yes already knew of: nothing was sealed in vain."""
    populate(world, store, 1)
    household = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None)
    sessions, visitor = Sessions(household, secrets.token_bytes), household.visitor("person-0")
    token = sessions.begin([], "person-0", "", lasting=True)
    visitor.choose((), {"measurement"}, notice(SITE, "en"))
    before = sessions.at_page([token]).secret
    visitor.choose({"measurement"}, (), notice(SITE, "en", gpc=True))
    visitor.choose((), {"persona"}, notice(SITE, "en"))
    visitor.observe_gpc()
    assert sessions.at_page([token]).secret == before


async def test_a_name_that_nobody_has_is_refused():
    """The page says so and chooses nobody."""
    home = Home()
    async with Browser(home) as web:
        answer = await web.choose("<script>x</script>")
        assert answer.status_code == 403
        assert "<script" not in answer.text


# The site behind the gateway


async def test_the_site_sees_no_cookie_of_the_agent():
    """Its own cookies pass; ours, of whichever port and prefix, do not, and an empty header is not sent."""
    home = Home()
    async with Browser(home) as web:
        web.site.cookies.clear()
        for header, passed in (
            (f"a=1; {OURS}=x; b=2", "a=1; b=2"),
            (f"{OURS}=x", None),
            ("hearthside-page-8301=x; __Host-hearthside-page=y; __Secure-hearthside=z; c=3", "c=3"),
            ("HEARTHSIDE-9=x; hearthside_cart=4", "hearthside_cart=4"),
        ):
            await web.site.get("/c/sale", headers={"cookie": header})
            assert home.seen[-1].headers.get("cookie") == passed


@pytest.mark.parametrize(
    "planted",
    [
        f"{OURS}=v; Path=/.hearthside",
        f"={OURS}=v; Path=/.hearthside",
        f" = {OURS} = v",
        f"{OURS.upper()}=v",
        "hearthside-page-8301=v; Path=/",
        "__Host-hearthside-page=v; Secure; Path=/",
        "__Secure-hearthside=v; Secure",
        f"{OURS}",
    ],
)
async def test_the_site_can_plant_no_cookie_of_the_agent(planted):
    """Neither by name nor nameless, whose value would come back as a name; its other cookies are set."""
    home = Home()
    home.answer_headers = [("set-cookie", planted), ("set-cookie", "cart=1; Path=/")]
    async with Browser(home) as web:
        answer = await web.site.get("/")
    assert answer.headers.get_list("set-cookie") == ["cart=1; Path=/"]


@given(name=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="=;,"), min_size=1))
@settings(max_examples=200, deadline=None)
def test_other_cookies_pass_untouched(name):
    """Only our names are kept from the site, and from being set by it."""
    if not name.lower().replace("__host-", "").replace("__secure-", "").startswith(("hearthside", "__")):
        assert without_ours(f"{name}=v") == f"{name}=v"
        assert not plants_ours(f"{name}=v; Path=/")


async def test_the_settings_name_two_origins():
    """A page of the site must not be able to read the agent's own."""
    with pytest.raises(ValueError, match="origin of its own"):
        GatewaySettings("http://shop.internal", ORIGIN, ORIGIN)


HERE = [
    "http://127.0.0.1:8200",
    "http://127.9.9.9",
    "http://127.1:8200",
    "http://2130706433",
    "http://0x7f.0.0.1",
    "http://0.0.0.0:8200",
    "http://[::1]:8200",
    "http://[::]:8200",
    "http://[::ffff:127.0.0.1]:8200",
    "http://localhost:8200",
    "http://LOCALHOST.:8200",
    "http://shop.localhost:8200",
    "https://shop.home",
    "http://SHOP.home.:8200",
    "http://me.home:8200",
]


@pytest.mark.parametrize("upstream", HERE)
def test_a_site_whose_server_is_here_is_refused_unless_it_is_asked_for(upstream):
    """Browsers send it the agent's cookies whatever its port: loopback in any spelling, and our own host names."""
    own = ("https://shop.home", "https://me.home") if "home" in upstream.lower() else (ORIGIN, PAGE)
    with pytest.raises(UpstreamHere, match="--upstream-here"):
        GatewaySettings(upstream, *own)
    assert GatewaySettings(upstream, *own, upstream_here=True).upstream_here
    GatewaySettings("https://shop.example", *own)


def test_a_name_of_this_machine_is_refused_when_serving():
    """A name that resolves to one of this machine's addresses is here, too; one that resolves to none may be away."""
    assert Addresses("http://shop.invalid", 1, 2).settings("device").upstream == "http://shop.invalid"
    name = socket.gethostname()
    try:
        found = {row[4][0] for row in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    for host in ["localhost.localdomain" if not found else name, "127.0.0.2"]:
        if is_of_this_machine(host):
            with pytest.raises(UpstreamHere):
                Addresses(f"http://{host}:8200", 1, 2).settings("device")
            Addresses(f"http://{host}:8200", 1, 2, upstream_here=True).settings("device")
    assert is_of_this_machine("127.0.0.2")
    assert not is_of_this_machine("192.0.2.1")


@pytest.mark.parametrize(("lang", "words"), [("en", "runs on the same machine"), ("de", "läuft auf demselben Gerät")])
async def test_the_pages_say_when_the_sites_server_is_here(lang, words):
    """Both pages name it among what they do not protect from, and only then."""
    for upstream_here in (False, True):
        home = Home()
        settings = GatewaySettings("http://shop.internal", ORIGIN, PAGE, upstream_here=upstream_here)
        page, _ = known(home.sessions, "anna")
        transport = httpx.ASGITransport(app=page_app(home.sessions, settings))
        async with httpx.AsyncClient(transport=transport, base_url=PAGE, cookies={OWN: page}) as web:
            for path in ("/", "/people"):
                text = (await web.get(f"{path}?lang={lang}")).text
                assert (words in text) is upstream_here, path


async def test_the_language_that_was_chosen_goes_along():
    """German by link in an English browser: German on the person's own page, after leaving, and when it was late."""
    home = Home()
    async with Browser(home) as web:
        web.page.headers["accept-language"] = "en"
        text = (await web.page.get("/people?lang=de")).text
        form = text.split('method="post" action="')[1].split('"')[0]
        answer = await web.page.post(form, data={"name": "anna"}, headers={"origin": PAGE})
        entered = await web.follow(answer)
        assert entered.headers["location"] == f"{PAGE}/?lang=de"
        assert (await web.follow(answer)).headers["location"] == f"{PAGE}/people?said=late&lang=de"
        left = await web.page.post("/people/leave?lang=de", headers={"origin": PAGE, "content-type": FORM})
        assert left.headers["location"] == "/people?said=left&lang=de"
        odd = await web.page.post("/people/choose?lang=x%26y", data={"name": "anna"}, headers={"origin": PAGE})
        assert (await web.follow(odd)).headers["location"] == f"{PAGE}/"
