"""Two people, a guest and a private window in one real browser: each their own, and of the others nothing is left."""

import base64
import contextlib
import os

import pytest

from client_agent.gateway.application import GatewaySettings
from client_agent.gateway.hosts import UpstreamHere
from simulations.demo.processes import free_port
from tests.system.accessible import faults, tab_until
from tests.system.conftest import ARGUMENTS, CHROMIUM
from tests.system.house import house, say_who

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
PICTURES = os.environ.get("HEARTHSIDE_PICTURES", "")
"""A folder for pictures of the pages, to look at; none are taken without it."""
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PRIVATE = "private-5f1c"
"""Stands in every address that the private window visits."""


@pytest.fixture(scope="module")
def playwright():
    module = pytest.importorskip("playwright.sync_api")
    with module.sync_playwright() as driver:
        yield driver


@pytest.fixture
def profile(playwright, tmp_path):
    """A browser with a profile folder on the disk, as people have it, and its private windows: (windows, folder)."""
    folder, port = tmp_path / "profile", free_port()
    arguments = [*ARGUMENTS, f"--remote-debugging-port={port}"]
    windows = playwright.chromium.launch_persistent_context(folder, executable_path=CHROMIUM, args=arguments)
    remote = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
    yield windows, remote, folder
    remote.close()
    windows.close()


@contextlib.contextmanager
def private_window(remote):
    """A window whose cookies and storage are kept apart and in memory, and go with it."""
    window = remote.new_context()
    try:
        yield window
    finally:
        window.close()


@pytest.fixture
def home(tmp_path):
    with house(tmp_path / "agent", ("anna", "ben")) as built:
        built.keeper.set_pin("ben", "2468")
        built.keeper.add("tim", "child")
        yield built


def picture(page, name):
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def allow_all(page):
    page.get_by_role("button", name="Yes to all").click()
    page.wait_for_url("**/?done=granted*")


def browse(page, home, *paths):
    for path in paths:
        page.goto(home.settings.origin + path)
        page.wait_for_timeout(700)
    page.goto(home.settings.origin + "/cart")
    page.wait_for_timeout(900)


def paths_of(home, name):
    return {event.path for event in home.household.visitor(name).events()}


def rows(home):
    """Everything that the agent keeps about anybody."""
    database = home.store._database
    tables = [name for (name,) in database.fetch("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    return {name: database.fetch(f"SELECT * FROM {name}") for name in tables}


def test_two_people_in_one_browser_have_two_profiles(profile, home):
    """Anna allows and browses; Ben, after his PIN, finds nothing of hers, and what he does is his alone."""
    windows, _, _ = profile
    page = windows.new_page()
    page.goto(home.settings.origin + "/")
    page.get_by_text("See what it does, and choose").click()
    page.get_by_role("heading", name="Who is here?").wait_for()
    picture(page, "who-is-here")
    say_who(page, home.settings.page_origin, "anna")
    allow_all(page)
    page.get_by_role("link", name="Back to").first.click()
    page.wait_for_url(home.settings.origin + "/")
    browse(page, home, "/c/sneakers", "/p/sneakers-6")
    assert {"/c/sneakers", "/p/sneakers-6"} <= paths_of(home, "anna")
    hers = len(home.household.visitor("anna").events())

    card = "2469"
    page.goto(f"{home.settings.page_origin}/people?lang=en")
    picture(page, "here-as-anna")
    ben = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="ben", exact=True))
    ben.get_by_label("PIN").fill(card)
    ben.get_by_role("button", name="This is me").click()
    page.get_by_role("alert").wait_for()
    picture(page, "wrong-pin")
    assert page.get_by_text("In this browser you are anna").is_visible(), "a wrong PIN changes nobody"
    say_who(page, home.settings.page_origin, "ben", "2468")
    assert "sneakers-6" not in page.content()
    assert page.get_by_role("button", pressed=True).count() == 0
    page.goto(home.settings.origin + "/")
    page.get_by_text("See what it does, and choose").wait_for()
    page.goto(home.settings.page_origin + "/")
    allow_all(page)
    browse(page, home, "/c/kitchen")
    assert "/c/kitchen" in paths_of(home, "ben")
    assert not {"/c/sneakers", "/p/sneakers-6"} & paths_of(home, "ben")
    assert len(home.household.visitor("anna").events()) == hers


def test_what_was_queued_for_one_person_never_lands_in_the_next_ones_profile(profile, home):
    """The door is away while Anna browses; Ben is at the browser when it is back: her queue is dropped, not his."""
    windows, _, _ = profile
    page = windows.new_page()
    for name, pin in (("ben", "2468"), ("anna", "")):
        say_who(page, home.settings.page_origin, name, pin)
        allow_all(page)
    windows.route("**/.hearthside/events*", lambda route: route.abort())
    page.goto(home.settings.origin + "/c/sneakers")
    page.wait_for_timeout(900)
    assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 1, "it waits in the browser"
    other = windows.new_page()
    say_who(other, home.settings.page_origin, "ben", "2468")
    windows.unroute("**/.hearthside/events*")
    page.bring_to_front()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(900)
    browse(other, home, "/c/kitchen")
    assert "/c/kitchen" in paths_of(home, "ben")
    assert "/c/sneakers" not in paths_of(home, "ben") | paths_of(home, "anna")


def test_a_private_window_leaves_nothing(profile, home, tmp_path, capfd):
    """After a visit nothing of it is in the agent's store, folder or output, nor in the browser's profile."""
    windows, remote, folder = profile
    page = windows.new_page()
    say_who(page, home.settings.page_origin, "anna")
    allow_all(page)
    page.goto(home.settings.origin + "/")
    page.wait_for_timeout(900)
    page.goto("about:blank")
    page.wait_for_timeout(300)
    before, cookies = rows(home), windows.cookies()
    with private_window(remote) as window:
        hidden = window.new_page()
        for path in (f"/c/sale?{PRIVATE}", f"/p/sale-6?{PRIVATE}", f"/?{PRIVATE}"):
            hidden.goto(home.settings.origin + path)
            hidden.wait_for_timeout(600)
        assert hidden.locator("[data-hs-module]").count() == 0
        hidden.get_by_text("See what it does, and choose").wait_for()
        hidden.get_by_text("See what it does, and choose").click()
        hidden.get_by_role("heading", name="Who is here?").wait_for()
        hidden.get_by_role("button", name="Just look around").click()
        hidden.wait_for_url(home.settings.origin + "/")
        assert window.cookies() == []
        stored = "indexedDB.databases().then((all) => all.length + localStorage.length + sessionStorage.length)"
        assert hidden.evaluate(stored) == 0
    assert rows(home) == before
    assert windows.cookies() == cookies
    captured = capfd.readouterr()
    assert PRIVATE not in captured.out + captured.err
    windows.close()
    for place in (folder, tmp_path / "agent"):
        for path in place.rglob("*"):
            if path.is_file():
                assert PRIVATE.encode() not in path.read_bytes(), path.name


def test_who_says_who_they_are_in_a_private_window_leaves_nothing_in_the_browser(profile, home):
    """What they do counts as theirs, as the page says; the cookies go with the window, the next one is nobody's."""
    _, remote, _ = profile
    with private_window(remote) as window:
        page = window.new_page()
        say_who(page, home.settings.page_origin, "anna")
        allow_all(page)
        browse(page, home, "/c/sale")
        assert {cookie["expires"] for cookie in window.cookies()} == {-1}, "session cookies"
    assert "/c/sale" in paths_of(home, "anna")
    with private_window(remote) as window:
        page = window.new_page()
        page.goto(home.settings.page_origin)
        page.get_by_role("heading", name="Who is here?").wait_for()
        browse(page, home, "/c/gifts")
    assert "/c/gifts" not in paths_of(home, "anna")


def test_a_child_is_not_asked_and_has_no_profile(profile, home):
    """The shop is as it is for everybody, with no question; the agent's page says that nothing is collected."""
    windows, _, _ = profile
    page = windows.new_page()
    before = rows(home)["events"]
    say_who(page, home.settings.page_origin, "tim")
    assert page.get_by_text("Nothing is collected about you").is_visible()
    picture(page, "child")
    browse(page, home, "/c/sneakers", "/")
    page.goto(home.settings.origin + "/")
    page.wait_for_timeout(500)
    assert not page.get_by_text("See what it does, and choose").is_visible()
    assert page.locator("[data-hs-module]").count() == 0
    assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
    assert rows(home)["events"] == before


def test_the_cookies_stay_where_they_belong(profile, home):
    """Really: no script sees them, the site's requests carry none, and neither host is sent the other's."""
    windows, _, _ = profile
    page = windows.new_page()
    say_who(page, home.settings.page_origin, "anna", lasting=True)
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.all_headers().get("cookie", ""))))
    page.goto(home.settings.origin + "/c/sale")
    page.wait_for_timeout(500)
    to_site = {cookie for url, cookie in sent if "/.hearthside/" not in url}
    to_door = {cookie for url, cookie in sent if url.endswith("/notice?lang=en")}
    assert to_site == {""}, "past the proxy the site sees none"
    assert all("hearthside-" in cookie and "page" not in cookie for cookie in to_door)
    assert to_door
    assert page.evaluate("document.cookie") == ""
    named = {cookie["name"].rsplit("-", 1)[0]: cookie for cookie in windows.cookies()}
    assert {name: (c["domain"], c["path"], c["sameSite"], c["httpOnly"]) for name, c in named.items()} == {
        "hearthside": ("127.0.0.1", "/.hearthside", "Strict", True),
        "hearthside-page": ("localhost", "/", "Lax", True),
    }
    assert all(cookie["expires"] > 0 for cookie in named.values()), "it was asked to be remembered"
    planted = f"{named['hearthside']['name']}=v; path=/.hearthside/notice"
    page.evaluate("(cookie) => { document.cookie = cookie; }", planted)
    told = page.evaluate("fetch('/.hearthside/notice').then((a) => a.json())")
    assert told["token"] == "", "a site's script can only make the browser unknown"


def test_a_site_whose_server_is_here_gets_the_cookies_and_is_refused_unless_asked_for(profile, home):
    """What the settings refuse is real: under a name of ours, on its own port, the site's server is sent both cookies.

    So the gateway does not start with such a site, and where that is asked for the person's page says it.
    """
    windows, _, _ = profile
    page = windows.new_page()
    say_who(page, home.settings.page_origin, "anna")
    assert page.get_by_text("The site’s own server runs on the same machine").is_visible()
    port = home.settings.upstream.rsplit(":", 1)[1]
    page.goto(home.settings.origin + "/")
    with page.expect_request(f"http://localhost:{port}/") as asked:
        page.evaluate("(url) => { location.href = url; }", f"http://localhost:{port}/")
    page.wait_for_url(f"http://localhost:{port}/")
    assert "hearthside-page-" in asked.value.all_headers().get("cookie", "")
    with page.expect_request(f"http://127.0.0.1:{port}/.hearthside/own") as asked:
        page.goto(f"http://127.0.0.1:{port}/.hearthside/own")
    assert "hearthside-" in asked.value.all_headers().get("cookie", "")
    hosts = home.settings.upstream, home.settings.origin, home.settings.page_origin
    with pytest.raises(UpstreamHere):
        GatewaySettings(*hosts)


CANARY = "canary9d41ec"
"""Stands in events only: neither in an address nor in a page's title, which a browser keeps in its own history."""
TRACK = """(name) => import('/.hearthside/collector.js').then((collector) => collector.track('click', { name }))"""
IN_CLEAR = """(text) => new Promise((done) => {
    sessionStorage.setItem('clear', text);
    const request = indexedDB.open('clear', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('rows').put({ text }, 1);
    request.onsuccess = () => { request.result.close(); done(); };
})"""


def in_base64(text):
    """What each text that has this one in it has in it, written in base64: one of three, by where it stands."""
    coded = [base64.urlsafe_b64encode(bytes(skip) + text.encode()).decode() for skip in range(3)]
    return [each[4 * (skip > 0) : -4] for skip, each in enumerate(coded)]


def holds(folder, *texts):
    """Which texts some file of a browser's profile holds, as a database there would write them, or in base64."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    spellings = {
        text: [way.encode(coding) for way in (text, *in_base64(text)) for coding in ("utf-8", "utf-16-le")]
        for text in texts
    }
    return {text for text, ways in spellings.items() if any(way in each for way in ways for each in files)}


def test_what_waits_in_a_browser_is_sealed(playwright, home, tmp_path):
    """Queued, parting, delivered, closed: the profile's files hold no event and no key at any time.

    What the browser keeps by itself (its history has addresses and titles) is not the agent's.
    """
    folder, keys, held = tmp_path / "browser", [], set()

    def note(answer):
        if "/.hearthside/notice" in answer.url and answer.ok:
            keys.append(answer.json()["key"])

    def opened():
        return playwright.chromium.launch_persistent_context(folder, executable_path=CHROMIUM, args=ARGUMENTS)

    windows = opened()
    page = windows.new_page()
    page.on("response", note)
    say_who(page, home.settings.page_origin, "anna", lasting=True)
    allow_all(page)
    windows.route("**/.hearthside/events*", lambda route: route.abort())
    page.goto(home.settings.origin + "/c/sneakers")
    page.wait_for_timeout(700)
    page.evaluate(TRACK, CANARY)
    page.wait_for_timeout(900)
    held |= holds(folder, CANARY, *filter(None, keys))
    page.evaluate("navigator.sendBeacon = () => false")
    page.evaluate("(name) => { document.body.dataset.hsProduct = name; }", CANARY)  # stands in what is noted at the end
    page.goto(home.settings.origin + "/static/shop.css")
    parting = page.evaluate("sessionStorage.getItem('hearthside-queue')")
    assert parting, "the time spent waits for the next page"
    assert not any(way in parting for way in (CANARY, *in_base64(CANARY)))
    page.wait_for_timeout(300)
    held |= holds(folder, CANARY, *filter(None, keys))
    windows.close()
    held |= holds(folder, CANARY, *filter(None, keys))
    assert list(home.household.visitor("anna").events()) == []

    windows = opened()
    page = windows.new_page()
    page.on("response", note)
    page.goto(home.settings.origin + "/")
    page.wait_for_timeout(1_500)
    events = home.household.visitor("anna").events()
    assert CANARY in {event.name for event in events}, "the next page delivers what waited"
    held |= holds(folder, CANARY, *filter(None, keys))
    assert any(keys)
    page.evaluate(IN_CLEAR, "in-clear-7b20")
    page.evaluate("sessionStorage.setItem('coded', btoa('x: in-base64-3e11 and more'))")
    page.wait_for_timeout(300)
    windows.close()
    held |= holds(folder, CANARY, *filter(None, keys))
    assert held == set()
    assert len(holds(folder, "in-clear-7b20", "in-base64-3e11")) == 2, "positive control: in clear they are found"


@pytest.mark.parametrize("why", ["erased", "erased what was collected", "left", "new PIN"])
def test_an_erasure_reaches_what_waits_in_a_browser(profile, home, why):
    """The key of what a closed tab left goes with the browser's row: the same person's next page gets nothing of it."""
    windows, _, _ = profile
    page = windows.new_page()
    say_who(page, home.settings.page_origin, "anna")
    allow_all(page)
    windows.route("**/.hearthside/events*", lambda route: route.abort())
    page.goto(home.settings.origin + "/p/sneakers-6")
    page.wait_for_timeout(900)
    page.evaluate("navigator.sendBeacon = () => false")
    page.goto(home.settings.page_origin + "/?lang=en")
    if why == "erased what was collected":
        home.household.visitor("anna").erase_events()
    elif why == "left":
        home.household.browsers.end([row.page for row in home.household.browsers.of("anna")])
    elif why == "new PIN":
        home.keeper.set_pin("anna", "1357")
    else:
        home.household.visitor("anna").erase_everything()
        assert home.household.browsers.of("anna") == []
    windows.unroute("**/.hearthside/events*")
    if why == "erased":
        assert home.household.visitor("anna") is None
        page.goto(home.settings.origin + "/c/sale")
        page.wait_for_timeout(900)
        assert page.evaluate("indexedDB.databases().then((all) => all.length + sessionStorage.length)") == 0
        return
    if why != "erased what was collected":
        say_who(page, home.settings.page_origin, "anna", "1357" if why == "new PIN" else "")
    page.goto(home.settings.origin + "/c/sale")
    page.wait_for_timeout(1_200)
    assert "/c/sale" in paths_of(home, "anna")
    assert "/p/sneakers-6" not in paths_of(home, "anna")


def test_the_page_is_accessible_in_both_languages(profile, home):
    """No fault on a phone and on a desk, in light and dark; every button has a name of its own and the same look."""
    _, remote, _ = profile
    for width, scheme in LOOKS:
        for language in ("en", "de"):
            window = remote.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page = window.new_page()
            page.goto(f"{home.settings.page_origin}/people?lang={language}")
            assert faults(page) == [], (width, scheme, language)
            picture(page, f"people-{language}-{width}-{scheme}")
            window.close()


def test_guest_and_person_weigh_the_same_and_the_keyboard_reaches_both(profile, home):
    """The buttons are drawn alike; Tab and Enter choose; nothing is ticked in advance."""
    windows, _, _ = profile
    page = windows.new_page()
    page.goto(f"{home.settings.page_origin}/people?lang=en")
    look = """(node) => { const s = getComputedStyle(node), b = node.getBoundingClientRect();
        return [b.height, s.color, s.backgroundColor, s.borderColor, s.font].join(' '); }"""
    buttons = page.locator(".people button").all()
    assert len(buttons) == 4
    assert len({button.evaluate(look) for button in buttons}) == 1
    assert page.locator("input:checked").count() == 0
    names = [button.evaluate("(node) => node.textContent") for button in buttons]
    assert names == ["This is me: anna", "This is me: ben", "This is me: tim", "Just look around"]
    tab_until(page, "This is me: anna")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{home.settings.page_origin}/?lang=en")
    assert page.get_by_role("button", name="Yes to all").is_visible()
