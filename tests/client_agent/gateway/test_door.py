"""The door under /.hearthside/: consent before anything, exact origins, and nothing personal in any answer."""

import json

import httpx
import pytest

from client_agent.gateway.application import GatewaySettings, gateway_app
from consent import PURPOSES, notice
from simulations.demo.shop.application import shop_app
from tests.client_agent.gateway.people import NOW_MS, SITE, MemoryVisitor, at_home, demo_bundle

ORIGIN, PAGE = "http://127.0.0.1:8100", "http://127.0.0.1:8101"
SETTINGS = GatewaySettings("http://shop.internal:80", ORIGIN, PAGE)
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def browser(visitor, upstream=None):
    """The browser of somebody who said who they are."""
    sessions, _, site, _ = at_home(visitor)
    app = gateway_app(sessions, SETTINGS, upstream or httpx.ASGITransport(app=shop_app()))
    cookies = httpx.Cookies()
    cookies.set("hearthside-8100", site, "127.0.0.1", "/.hearthside")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN, cookies=cookies)


def consenting(granted=None):
    visitor = MemoryVisitor(demo_bundle())
    visitor.choose(granted or {purpose.id for purpose in PURPOSES}, (), notice(SITE, "en"))
    return visitor


GOOD = {
    "origin": ORIGIN,
    "x-hearthside-token": at_home(consenting())[3],
    "content-type": "application/json",
    "sec-fetch-site": "same-origin",
}


async def streamed():
    """A body that has not been read yet, as from a network."""
    yield b"ok"


def event(number=0, **fields):
    return {
        "version": 1,
        "event_id": f"e{number}",
        "kind": "dwell",
        "at_ms": NOW_MS - 60_000 + number,
        "site": "elsewhere.example",
        "category": "sneakers",
        "dwell_seconds": 20.0,
    } | fields


def body(*events):
    return json.dumps(events)


async def test_nothing_is_stored_before_consent():
    """Without a grant events are refused, decisions are empty, and the notice says that nothing may be collected."""
    visitor = MemoryVisitor(demo_bundle())
    async with browser(visitor) as web:
        notice_body = (await web.get("/.hearthside/notice")).json()
        assert (notice_body["collect"], notice_body["personalise"], notice_body["ask"]) == ([], False, True)
        answer = await web.post("/.hearthside/events", content=body(event()), headers=GOOD)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:hearthside:problem:no-consent")
        shown = await web.post("/.hearthside/decide", json={"slots": ["hero"]}, headers=GOOD)
        assert (shown.status_code, shown.json()) == (403, answer.json())
    assert not visitor.stored
    assert visitor.state.length == 0


async def test_with_consent_events_are_kept_under_the_gateways_own_site():
    """A page cannot write into another site's profile: the site's name is the gateway's."""
    visitor = consenting()
    async with browser(visitor) as web:
        answer = await web.post("/.hearthside/events", content=body(event(1), event(2)), headers=GOOD)
    assert answer.json() == {"accepted": 2, "rejected": {}}
    assert {stored.site for stored in visitor.events()} == {SITE}


async def test_bad_events_are_counted_by_reason_and_the_rest_is_kept():
    """Unknown fields, future times, kinds that no purpose declares and non-objects are refused one by one."""
    visitor = consenting()
    rows = [
        event(1),
        event(2, extra=1),
        event(3, at_ms=NOW_MS + 10**7),
        event(4, kind="search"),
        "x",
        event(5, dwell_seconds=-1),
    ]
    async with browser(visitor) as web:
        answer = await web.post("/.hearthside/events", content=body(*rows), headers=GOOD)
    expected = {"unknown_field": 1, "out_of_range": 2, "no_consent": 1, "not_an_object": 1}
    assert answer.json() == {"accepted": 1, "rejected": expected}


async def test_only_the_kinds_of_a_granted_purpose_are_kept():
    """Consent to personas does not cover carts."""
    visitor = consenting({"persona"})
    async with browser(visitor) as web:
        rows = body(event(1), event(2, kind="add_to_cart"))
        answer = await web.post("/.hearthside/events", content=rows, headers=GOOD)
    assert answer.json() == {"accepted": 1, "rejected": {"no_consent": 1}}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": None}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"x-hearthside-token": "wrong"}, 403),
        ({"x-hearthside-token": "A" * 59}, 403),
        ({"x-hearthside-token": b"\xe9" * 59}, 403),
        ({"x-hearthside-token": None}, 401),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": None}, 415),
        ({"host": "127.0.0.1.evil.example:8100"}, 421),
        ({"host": "[::1]:8100"}, 421),
        ({"host": "localhost:8100"}, 421),
    ],
)
@pytest.mark.parametrize("path", ["events", "decide"])
async def test_requests_that_the_sites_own_pages_did_not_make_are_refused(path, change, status):
    """Each single deviation from a page's own request is refused, and nothing is stored."""
    visitor = consenting()
    headers = {name: value for name, value in (GOOD | change).items() if value is not None}
    async with browser(visitor) as web:
        answer = await web.post(f"/.hearthside/{path}", content=body(event()), headers=headers)
    assert answer.status_code == status
    assert not visitor.stored


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[" * 100_000, b"\xff", json.dumps([{}] * 257).encode(), b"[NaN"]
)
async def test_malformed_bodies_are_refused(content):
    """Anything but an array of at most 256 gets a problem and stores nothing."""
    visitor = consenting()
    async with browser(visitor) as web:
        answer = await web.post("/.hearthside/events", content=content, headers=GOOD)
    assert answer.status_code == 400
    assert not visitor.stored


async def test_a_body_over_the_limit_is_refused():
    """A megabyte is not read."""
    async with browser(consenting()) as web:
        answer = await web.post("/.hearthside/events", content=b"[" + b" " * 1_000_000 + b"]", headers=GOOD)
    assert answer.status_code == 413


async def test_a_decision_holds_a_module_and_its_markup_and_nothing_personal():
    """The persona, its score, the segments and the reasons are in no byte of the answer."""
    visitor = consenting()
    async with browser(visitor) as web:
        await web.post("/.hearthside/events", content=body(*(event(i) for i in range(5))), headers=GOOD)
        answer = await web.post("/.hearthside/decide", json={"slots": ["hero", "other"]}, headers=GOOD)
    (slot,) = answer.json()["slots"].values()
    assert set(slot) == {"module", "arm", "html"}
    assert slot["module"] == "hero-sneakers"
    text = answer.text.lower()
    for word in ("sneaker lover", "persona", "intent", "score", "segment", "rule", "because", "evidence"):
        assert word not in text
    assert "persona" not in str(answer.headers).lower()


async def test_global_privacy_control_stops_a_grant_given_without_it():
    """Sec-GPC: 1 turns collection and personalisation off, is remembered, and a later yes overrides it."""
    visitor = consenting()
    gpc = GOOD | {"sec-gpc": "1"}
    async with browser(visitor) as web:
        assert (await web.get("/.hearthside/notice", headers={"sec-gpc": "1"})).json()["collect"] == []
        assert visitor.state.gpc_seen is False  # a GET changes nothing
        shown = await web.post("/.hearthside/decide", json={"slots": ["hero"]}, headers=gpc)
        assert shown.json() == {"slots": {}}
        assert visitor.state.gpc_seen
        refused = await web.post("/.hearthside/decide", json={"slots": ["hero"]}, headers=gpc)
        assert refused.status_code == 403, "from now on as for everybody who said no"
        answer = await web.post("/.hearthside/events", content=body(event()), headers=gpc)
        assert answer.status_code == 403
        assert visitor.state.gpc_seen
        visitor.choose({"personalisation"}, (), notice(SITE, "en", gpc=True))
        told = (await web.get("/.hearthside/notice", headers={"sec-gpc": "1"})).json()
        gpc |= {"x-hearthside-token": told["token"]}
        answer = await web.post("/.hearthside/events", content=body(event()), headers=gpc)
        assert answer.json()["accepted"] == 1


async def test_the_collector_hands_a_global_opt_out_on_where_it_may_not_collect():
    """The notice says that an opt-out is news; the collector's empty batch then records it, or studies would go on."""
    visitor = consenting()
    gpc = GOOD | {"sec-gpc": "1"}
    async with browser(visitor) as web:
        assert (await web.get("/.hearthside/notice")).json()["opt_out"] is False
        assert (await web.get("/.hearthside/notice", headers={"sec-gpc": "1"})).json()["opt_out"] is True
        assert (await web.post("/.hearthside/events", content="[]", headers=gpc)).status_code == 403
        assert visitor.state.gpc_seen
        assert (await web.get("/.hearthside/notice", headers={"sec-gpc": "1"})).json()["opt_out"] is False
        script = (await web.get("/.hearthside/collector.js")).text
    assert "notice.opt_out" in script


async def test_the_notice_is_for_the_sites_own_pages():
    """Another site cannot fetch it, and no answer allows cross-origin reading."""
    async with browser(consenting()) as web:
        assert (await web.get("/.hearthside/notice", headers={"sec-fetch-site": "cross-site"})).status_code == 403
        answer = await web.get("/.hearthside/notice")
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_collector_is_a_small_module_from_the_same_origin():
    """It is served as JavaScript, at most 12 KB gzipped, and names no other host."""
    import gzip

    async with browser(consenting()) as web:
        answer = await web.get("/.hearthside/collector.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert len(gzip.compress(answer.content)) <= 12_288
    assert b"http://" not in answer.content
    assert b"https://" not in answer.content


async def test_the_site_is_passed_through_unchanged():
    """Pages, forms, cookies and redirects work as without a gateway; nothing of the door leaks into the site."""
    async with browser(consenting()) as web:
        direct = httpx.AsyncClient(transport=httpx.ASGITransport(app=shop_app()), base_url="http://shop.internal")
        for path in ("/", "/c/sneakers", "/p/sneakers-6", "/nowhere", "/static/shop.css"):
            through, straight = await web.get(path), await direct.get(path)
            assert (through.status_code, through.content) == (straight.status_code, straight.content)
            assert through.headers["content-security-policy"] == straight.headers["content-security-policy"]
        added = await web.post("/cart/add", data={"product": "sneakers-6"})
        assert (added.status_code, added.headers["location"]) == (303, "/cart")
        assert "Remove" in (await web.get("/cart")).text
        await direct.aclose()


async def test_the_gateway_keeps_no_cookies_of_its_own():
    """A cookie that the site set for one browser never goes out with another browser's request."""
    seen = []

    def answer(request):
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "session=alice; Path=/"}, content=streamed())

    app = gateway_app(at_home(consenting())[0], SETTINGS, httpx.MockTransport(answer))
    for _ in range(2):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as web:
            assert (await web.get("/account")).headers["set-cookie"] == "session=alice; Path=/"
    assert seen == [None, None]


async def test_redirects_of_the_upstream_stay_on_the_gateway():
    """An absolute redirect to the upstream is rewritten; one to elsewhere is left alone, and never followed."""

    def answer(request):
        to = {"/in": "http://shop.internal/x?y=1", "/out": "http://shop.internal.evil/x"}[request.url.path]
        return httpx.Response(302, headers={"location": to}, content=streamed())

    async with browser(consenting(), httpx.MockTransport(answer)) as web:
        assert (await web.get("/in")).headers["location"] == f"{ORIGIN}/x?y=1"
        assert (await web.get("/out")).headers["location"] == "http://shop.internal.evil/x"


async def test_the_target_is_never_taken_from_a_request():
    """Absolute paths, double slashes and encoded hosts all go to the configured upstream."""
    seen = []

    def answer(request):
        seen.append((request.url.host, request.url.raw_path))
        return httpx.Response(200, content=streamed())

    async with browser(consenting(), httpx.MockTransport(answer)) as web:
        for path in (
            "//evil.example/x",
            "/@evil.example",
            "/%2f%2fevil.example/",
            "/x?u=http://evil.example",
            "/a%2Fb%20c",
        ):
            await web.get(ORIGIN + path)
    assert {host for host, _ in seen} == {"shop.internal"}
    assert seen[-1][1] == b"/a%2Fb%20c"


async def test_a_dead_upstream_gets_a_plain_error_and_the_door_still_answers():
    """502 for the site; the agent's own paths do not depend on it."""

    def answer(request):
        raise httpx.ConnectError("refused", request=request)

    async with browser(consenting(), httpx.MockTransport(answer)) as web:
        assert (await web.get("/")).status_code == 502
        assert (await web.get("/.hearthside/notice")).status_code == 200


def test_the_page_never_shares_the_sites_origin():
    """Settings that would let a page read the visitor's page are refused."""
    with pytest.raises(ValueError, match="origin of its own"):
        GatewaySettings("http://shop.internal", ORIGIN, ORIGIN)
