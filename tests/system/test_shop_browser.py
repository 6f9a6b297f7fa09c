"""A visit in a real browser: no consent, consent on the agent's page, sneakers, and the module that follows."""

import json

import pytest

from tests.system.house import house, say_who

pytestmark = pytest.mark.browser


@pytest.fixture
def home(tmp_path):
    with house(tmp_path / "agent") as built:
        yield built


def hero(page):
    return page.locator("[data-hs-slot=hero]")


def allow_all(page, home):
    say_who(page, home.settings.page_origin)
    page.get_by_role("button", name="Yes to all").click()
    page.wait_for_url("**/?done=granted*")


def visit_sneakers(page, home):
    for path in ("/c/sneakers", "/p/sneakers-6", "/p/sneakers-9"):
        page.goto(home.settings.origin + path)
        page.wait_for_timeout(400)
    page.goto(home.settings.origin + "/c/sneakers")
    page.wait_for_timeout(300)


def test_without_consent_nothing_is_stored_anywhere(chromium, home):
    """The shop shows its default, asks once, and neither the agent nor the browser keeps anything."""
    page = chromium.new_page()
    page.goto(home.settings.origin + "/")
    page.get_by_text("See what it does, and choose").wait_for()
    page.get_by_role("link", name="Sneakers", exact=True).click()
    page.goto(home.settings.origin + "/")
    assert hero(page).get_attribute("data-hs-module") is None
    assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
    assert page.evaluate("document.cookie + localStorage.length + sessionStorage.length") == "00"
    assert list(home.visitor.events()) == []
    page.close()


def test_a_sneaker_lover_sees_the_sneaker_module(chromium, home):
    """Consent on the agent's page, a look at sneakers, and the home page's hero is the one for sneaker lovers."""
    page = chromium.new_page()
    console = []
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    allow_all(page, home)
    visit_sneakers(page, home)
    page.goto(home.settings.origin + "/")
    page.locator("[data-hs-module]").wait_for()
    assert hero(page).get_attribute("data-hs-module") == "hero-sneakers"
    assert hero(page).get_by_role("link", name="See the sneakers").is_visible()
    kinds = {event.kind for event in home.visitor.events()}
    assert {"page_view", "dwell", "scroll"} <= kinds
    page.goto(home.settings.page_origin)
    assert page.get_by_text("sneaker lover", exact=True).first.is_visible()
    assert console == []
    page.close()


def test_the_pages_script_cannot_read_the_persona(chromium, home):
    """No answer that a script on the shop's origin can get holds it, and the agent's own page is out of its reach."""
    page = chromium.new_page()
    allow_all(page, home)
    visit_sneakers(page, home)
    page.goto(home.settings.origin + "/")
    page.locator("[data-hs-module]").wait_for()
    seen = page.evaluate(
        """async () => {
            const notice = await (await fetch('/.hearthside/notice')).json();
            const headers = {'Content-Type': 'application/json', 'X-Hearthside-Token': notice.token};
            const body = JSON.stringify({slots: ['hero', 'persona', 'intent', '__proto__']});
            const decided = await (await fetch('/.hearthside/decide', {method: 'POST', headers, body})).text();
            return JSON.stringify(notice) + decided + document.documentElement.outerHTML;
        }"""
    )
    for word in ("sneaker lover", "bargain hunter", "persona.label", "intent_score", "ready-to-buy"):
        assert word not in seen.lower()
    for path in ("/", "/export.json"):
        outcome = page.evaluate(
            "(url) => fetch(url).then((a) => a.text()).catch((e) => 'blocked: ' + e.name)",
            home.settings.page_origin + path,
        )
        assert outcome.startswith("blocked")
    page.close()


def test_a_withdrawal_works_at_once(chromium, home):
    """After a no, stored events are gone, the shop shows its default and collects nothing more."""
    page = chromium.new_page()
    allow_all(page, home)
    visit_sneakers(page, home)
    page.goto(home.settings.page_origin)
    page.get_by_role("button", name="No to all").click()
    page.wait_for_url("**/?done=declined*")
    assert list(home.visitor.events()) == []
    page.goto(home.settings.origin + "/")
    page.wait_for_timeout(500)
    assert hero(page).get_attribute("data-hs-module") is None
    assert list(home.visitor.events()) == []
    page.close()


def test_a_purchase_is_heard_and_the_cart_works(chromium, home):
    """Cart and purchase events come from declarative attributes alone, once each."""
    page = chromium.new_page()
    allow_all(page, home)
    page.goto(home.settings.origin + "/p/gifts-6")
    page.get_by_role("button", name="Add to cart").click()
    page.get_by_role("button", name="Check out").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    page.wait_for_timeout(300)
    page.goto(home.settings.origin + "/")
    page.wait_for_timeout(600)
    events = [event for event in home.visitor.events() if event.kind in {"add_to_cart", "purchase"}]
    assert [(event.kind, event.product) for event in events] == [("add_to_cart", "gifts-6"), ("purchase", "gifts-6")]
    page.close()


def test_a_slow_or_dead_agent_leaves_the_default_content(chromium, home):
    """With decisions that take a second the shop is as it was, and its own parts work."""
    page = chromium.new_page()
    allow_all(page, home)
    visit_sneakers(page, home)
    page.route("**/.hearthside/decide", lambda route: (page.wait_for_timeout(1_000), route.abort())[1])
    page.goto(home.settings.origin + "/")
    page.wait_for_timeout(1_500)
    assert hero(page).get_attribute("data-hs-module") is None
    assert hero(page).get_by_text("Good things, made to be kept.").is_visible()
    page.goto(home.settings.upstream + "/")
    assert hero(page).get_by_text("Good things, made to be kept.").is_visible()
    page.close()


def test_everything_can_be_taken_along(chromium, home):
    """The export holds the receipts and the events, and no word of null reports."""
    page = chromium.new_page()
    allow_all(page, home)
    visit_sneakers(page, home)
    page.goto(home.settings.page_origin)
    with page.expect_download() as download:
        page.get_by_role("link", name="One file (JSON)").click()
    document = json.loads(download.value.path().read_text())
    assert len(document["receipts"]) == 1
    assert {row["name"]: row["value"] for row in document["decisions"]}["persona"] == "sneaker lover"
    assert len(document["events"]) == len(home.visitor.events())
    assert "null_reports" not in json.dumps(document)
    page.close()
