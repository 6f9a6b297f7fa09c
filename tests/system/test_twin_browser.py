"""The page's script in a real browser: the twin of every page, and a tab that hears of a withdrawal made elsewhere."""

import json
import time

import pytest

from consent import notice
from simulations.demo.shop.catalogue import DEPARTMENTS, products
from tests.client_agent.gateway.people import SITE
from tests.system.browsing import EVERYTHING, at_home, household, person, viewing

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
PATHS = ["/", "/cart", "/c/nowhere", *(f"/c/{name}" for name in DEPARTMENTS), *(f"/p/{name}" for name in products())]
OURS = "[data-hs-notice], [data-hs-choices], [data-hs-plain]"
"""What the script may fill in on a page of any version: the question, and the two links."""
BODY = f"""(html) => {{
    const page = html ? new DOMParser().parseFromString(html, 'text/html') : document.cloneNode(true);
    for (const place of page.querySelectorAll('{OURS}')) place.remove();
    return [page.body.outerHTML, [...page.querySelectorAll('[data-hs-slot]')].map((slot) => slot.innerHTML)];
}}"""
SEEN = "document.querySelector('[data-hs-plain] :is(a, button)') !== null"
KEPT = """() => new Promise(async (done) => {
    const held = JSON.stringify(sessionStorage);
    if (!(await indexedDB.databases()).length) return done([held, null]);
    const request = indexedDB.open('hearthside');
    request.onsuccess = () => {
        const rows = request.result.transaction('sealed').objectStore('sealed').getAll();
        rows.onsuccess = () => { request.result.close(); done([held, rows.result.length]); };
    };
})"""
OF_AN_OLDER_SCRIPT = """() => new Promise((done) => {
    const request = indexedDB.open('hearthside', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('events', { keyPath: 'event_id' });
    request.onsuccess = () => {
        const write = request.result.transaction('events', 'readwrite');
        const seen = { kind: 'page_view', at_ms: Date.now() - 5000, site: 'x', path: '/old' };
        write.objectStore('events').put({ version: 1, event_id: 'of-an-older-script', ...seen });
        write.oncomplete = () => { request.result.close(); done(); };
    };
})"""


def twin(page):
    return page.locator("[data-hs-plain]")


def is_ready(page):
    twin(page).locator("a, button").first.wait_for()


def listen(page):
    """Every request of a page from now on."""
    asked = []

    def note(request):
        asked.append(request)

    page.on("request", note)
    return asked


def handed_over(requests):
    """Events in requests that left the page, beacons among them."""
    bodies = [request.post_data for request in requests if request.url.partition("?")[0].endswith("/events")]
    return [event for body in bodies if body for event in json.loads(body)]


@pytest.mark.parametrize("consents", [True, False])
def test_the_twin_of_every_page_is_the_page_that_the_site_serves(chromium, consents):
    """Byte for byte in the slots, and the same body around them, with and without consent; nothing is collected."""
    with household(person("sneakers") if consents else person()) as (home,):
        before = len(home.visitor.events())
        with viewing(chromium, home.page + "/", home) as page:
            straight = {path: page.request.get(home.settings.upstream + path).text() for path in PATHS}
        context = chromium.new_context()
        context.add_cookies(list(home.cookies))
        page = context.new_page()
        asked = listen(page)
        for path in PATHS if consents else [*PATHS[:3], *PATHS[3::7]]:
            page.goto("about:blank")
            page.goto(f"{home.site}{path}#hearthside-plain")
            is_ready(page)
            assert page.evaluate(BODY, "") == page.evaluate(BODY, straight[path]), path
            assert "without personalisation" in twin(page).inner_text()
        page.wait_for_timeout(700)
        assert handed_over(asked) == []
        assert [request.url for request in asked if "/decide" in request.url] == []
        assert len(home.visitor.events()) == before
        assert page.evaluate("sessionStorage.length + localStorage.length") == 0
        context.close()


def test_one_click_leads_to_the_twin_and_one_back_and_the_wish_is_kept_only_if_asked(chromium):
    """The module goes and comes without a reload; the next page is personal again unless the person asked otherwise."""
    with household(person("sneakers")) as (home,), viewing(chromium, home.site + "/", home) as page:
        hero = page.locator("[data-hs-slot=hero]")
        page.locator("[data-hs-module]").wait_for()
        twin(page).get_by_role("link", name="This page without personalisation").click()
        assert hero.get_attribute("data-hs-module") is None
        assert page.evaluate("document.activeElement.textContent") == "Show my version", "the focus stays at the link"
        twin(page).get_by_role("button", name="Show my version").click()
        page.locator("[data-hs-module]").wait_for()
        assert page.url == home.site + "/"
        twin(page).get_by_role("link").click()
        page.get_by_role("link", name="Sneakers", exact=True).click()
        page.goto(home.site + "/")
        page.locator("[data-hs-module]").wait_for()
        twin(page).get_by_role("link").click()
        twin(page).get_by_role("button", name="Keep it like this while I look around").click()
        page.get_by_role("link", name="Sneakers", exact=True).click()
        is_ready(page)
        page.goto(home.site + "/")
        is_ready(page)
        assert hero.get_attribute("data-hs-module") is None
        assert "It stays like this in this tab." in twin(page).get_by_role("status").inner_text()
        twin(page).get_by_role("button", name="Show my version").click()
        page.locator("[data-hs-module]").wait_for()
        assert page.evaluate("sessionStorage.getItem('hearthside-plain')") is None


def test_nobody_is_told_of_the_choice(chromium):
    """No address, header or body of any request names the twin, and the site gets the same requests either way."""
    with household(person("sneakers")) as (home,):
        seen = {}
        for fragment in ("", "#hearthside-plain"):
            context = chromium.new_context()
            context.add_cookies(list(home.cookies))
            page = context.new_page()
            asked = listen(page)
            page.goto(home.site + "/c/sneakers" + fragment)
            is_ready(page)
            if fragment:
                twin(page).get_by_role("button", name="Keep it like this").click()
            page.get_by_role("link", name="Kitchen", exact=True).click()
            page.wait_for_timeout(600)
            for request in asked:
                said = request.url.partition("#")[0] + json.dumps(request.all_headers()) + (request.post_data or "")
                assert "plain" not in said
            seen[fragment] = [r.url.partition("#")[0] for r in asked if "/.hearthside/" not in r.url]
            context.close()
        assert seen[""] == seen["#hearthside-plain"]


@pytest.mark.parametrize("way", ["event", "look", "close"])
def test_an_open_tab_stops_within_a_second_of_a_withdrawal_elsewhere(chromium, way):
    """A click, a look back at the tab, or its end: after the no nothing is handed over, and nothing stays queued."""
    visitor = person("sneakers")
    with household(visitor) as (home,), viewing(chromium, home.site + "/c/sneakers", home) as page:
        page.wait_for_timeout(1_200)
        assert any(event.path == "/c/sneakers" for event in visitor.events()), "the tab collects"
        visitor.choose((), EVERYTHING, notice(SITE, "en"))
        visitor.erase_events()
        asked = listen(page)
        if way == "event":
            page.locator("[data-hs-click=nav]").first.evaluate(
                "(link) => { link.addEventListener('click', (e) => e.preventDefault()); link.click(); }"
            )
        elif way == "look":
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        else:
            page.goto("about:blank")
        page.wait_for_timeout(1_000)
        assert handed_over(asked) == []
        if way == "close":
            page.goto(home.site + "/cart")
            is_ready(page)
            page.wait_for_timeout(300)
        assert page.evaluate(KEPT) == ["{}", None], "no store is left in this browser"
        assert list(visitor.events()) == []


def test_a_withdrawal_puts_the_sites_own_content_back(chromium):
    """What was chosen under the consent that ended goes from the page that is open."""
    visitor = person("sneakers")
    with household(visitor) as (home,), viewing(chromium, home.site + "/", home) as page:
        page.locator("[data-hs-module]").wait_for()
        visitor.choose((), EVERYTHING, notice(SITE, "en"))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.locator("[data-hs-slot=hero]:not([data-hs-module])").wait_for()
        assert page.get_by_text("Good things, made to be kept.").is_visible()


def leave_behind(page, home, path):
    """A tab that is closed while the door is away: what it saw waits in the browser, sealed."""
    page.route("**/.hearthside/events*", lambda route: route.abort())
    page.goto(home.site + path)
    page.wait_for_timeout(900)
    assert page.evaluate(KEPT)[1] >= 1, "the events wait"
    page.evaluate("navigator.sendBeacon = () => false")  # it would reach the agent past the route
    page.goto(home.site + "/static/shop.css")
    page.unroute("**/.hearthside/events*")


def test_what_a_closed_tab_left_is_delivered_by_the_next_page(chromium):
    """Under the same consent, with the time spent on it; as it lies there, for the page cannot read it."""
    visitor = person("sneakers")
    with household(visitor) as (home,), viewing(chromium, home.site + "/static/shop.css", home) as page:
        asked = listen(page)
        leave_behind(page, home, "/p/kitchen-2")
        page.goto(home.site + "/")
        page.wait_for_timeout(1_200)
        left = [event for event in visitor.events() if event.path == "/p/kitchen-2"]
        assert {event.kind for event in left} >= {"page_view", "dwell"}
        assert [row for row in handed_over(asked) if "sealed" in row]
        assert page.evaluate(KEPT) == ["{}", 0]


@pytest.mark.parametrize("why", ["chosen anew", "withdrawn", "an older script"])
def test_what_a_closed_tab_left_is_not_delivered_under_another_consent(chromium, why):
    """Rows of another consent are the agent's to open, and it does not; an older script's go unread; none stays."""
    visitor = person("sneakers")
    with household(visitor) as (home,), viewing(chromium, home.site + "/static/shop.css", home) as page:
        if why == "an older script":
            page.evaluate(OF_AN_OLDER_SCRIPT)
        else:
            leave_behind(page, home, "/p/kitchen-2")
        if why == "chosen anew":
            visitor.choose((), {"persona"}, notice(SITE, "en"))
        if why == "withdrawn":
            visitor.choose((), EVERYTHING, notice(SITE, "en"))
            page.goto(home.site + "/")
            is_ready(page)
            page.wait_for_timeout(300)
            assert page.evaluate(KEPT) == ["{}", None], "no store is left in this browser"
        visitor.choose(EVERYTHING, (), notice(SITE, "en"))
        asked = listen(page)
        page.goto(home.site + "/")
        page.wait_for_timeout(1_200)
        assert "/" in {event.path for event in visitor.events()}
        assert {"/p/kitchen-2", "/old"}.isdisjoint({event.path for event in visitor.events()})
        assert "of-an-older-script" not in {event.get("event_id") for event in handed_over(asked)}
        assert page.evaluate(KEPT)[1] == 0


def test_what_one_person_left_is_not_delivered_as_anothers(chromium):
    """The agent was away when the first person's events were queued; under the second person they do not open."""
    first, second = person("sneakers"), person("sale")
    with household(first) as (home,), viewing(chromium, home.site + "/static/shop.css", home) as page:
        home.sessions.household.visitors["second"] = second
        leave_behind(page, home, "/p/sneakers-6")
        page.context.clear_cookies()
        page.context.add_cookies(list(at_home(home.sessions, home.settings, "second")))
        page.goto(home.site + "/c/sale")
        page.wait_for_timeout(1_000)
        assert {event.path for event in second.events() if event.path} == {"/c/sale"}
        assert all(event.path is None for event in first.events())
        assert page.evaluate(KEPT)[1] == 0


def test_without_webcrypto_nothing_is_kept_in_the_browser(chromium):
    """As on plain http off loopback: events are handed over from memory, and no store is made."""
    visitor = person("sneakers")
    with household(visitor) as (home,), viewing(chromium, home.site + "/static/shop.css", home) as page:
        page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
        page.goto(home.site + "/c/sale")
        page.wait_for_timeout(1_200)
        assert "/c/sale" in {event.path for event in visitor.events()}
        assert page.evaluate("(async () => [(await indexedDB.databases()).length, sessionStorage.length])()") == [0, 0]


def test_time_on_a_page_is_not_lost_when_it_ends(chromium):
    """What happens while a page goes away is handed over by the next page of the tab, which asks first."""
    visitor = person("sneakers")
    with household(visitor) as (home,), viewing(chromium, home.site + "/c/sneakers", home) as page:
        page.wait_for_timeout(1_200)
        page.goto(home.site + "/c/sale")
        deadline = time.monotonic() + 5
        while not any(e.kind == "dwell" and e.path == "/c/sneakers" for e in visitor.events()):
            assert time.monotonic() < deadline
            page.wait_for_timeout(50)


def test_the_question_is_put_in_the_pages_language(chromium):
    """A German page asks in German; it offers no yes and no no, but the way to the page where both weigh the same."""
    with household(person()) as (home,), viewing(chromium, home.site + "/static/shop.css", home) as page:
        german = page.request.get(home.settings.upstream + "/").text().replace('lang="en"', 'lang="de"', 1)
        page.route(home.site + "/", lambda route: route.fulfill(body=german, content_type="text/html"))
        page.goto(home.site + "/")
        banner = page.locator("[data-hs-notice]")
        banner.get_by_role("link", name="Ansehen, was das bewirkt, und entscheiden").wait_for()
        assert banner.get_attribute("lang") == "de"
        assert "Ihre Entscheidungen auf" in banner.inner_text()
        assert banner.get_by_role("button").count() == 0
        assert twin(page).get_by_role("link", name="Diese Seite ohne Personalisierung").is_visible()
