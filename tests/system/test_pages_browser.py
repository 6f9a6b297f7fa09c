"""The three pages a person sees, in a real browser: what they say, what the keyboard can do, and whom they shut out."""

import contextlib
import itertools
import os
import time
from pathlib import Path

import pytest

from aggregator.helper.app import create_app
from aggregator.helper.console import decision_view
from aggregator.helper.decisions import decide, propose
from aggregator.helper.openings import open_round
from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.gateway.ports import Budget, Sent
from consent import PURPOSES, notice
from models.events import Event
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, OpeningRequest, model_hash
from privacy.crypto import sign_document
from simulations.demo.shop.application import shop_app
from tests.aggregator.world import World
from tests.client_agent.gateway.people import SITE, MemoryVisitor, demo_bundle
from tests.system.accessible import faults, tab_until
from tests.system.house import free_socket, serve
from tests.system.test_shop_browser import ARGUMENTS, CHROMIUM

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
AXE = os.environ.get("HEARTHSIDE_AXE", "")
"""Path of axe-core's ``axe.min.js``, to run it too; the project does not carry it."""
VIOLATIONS = "axe.run(document).then((all) => all.violations.map((one) => `${one.id}: ${one.nodes[0].html}`))"
ROW = 120
"""Height of a row of the page, px: within one the focus may go from left to right."""
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def viewing(chromium, address, width=1280, scheme="light"):
    """A fresh browser profile on one page; an error of script or policy fails the test."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert said == []


def assert_accessible(chromium, address):
    """No fault in any look, folded in and folded out; axe agrees where its script is at hand."""
    for width, scheme in LOOKS:
        with viewing(chromium, address, width, scheme) as page:
            assert faults(page) == [], (width, scheme)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert faults(page) == [], (width, scheme, "unfolded")
            if AXE:
                page.evaluate(Path(AXE).read_text())
                found = page.evaluate(
                    "axe.run(document).then((all) => all.violations.map((one) => one.id + one.nodes[0].html))"
                )
                assert found == [], (width, scheme, "axe")


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    """The real helper with one study that waits, one approved with an open round, and one refused."""
    world, listener = World(tmp_path_factory.mktemp("office")), free_socket()
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    app = create_app(world.helper_settings().model_copy(update={"hosts": (host,)}), clock=world.clock)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def furnished(running):
        async with inner(running):
            await furnish(world, running.state.office)
            yield

    app.router.lifespan_context = furnished
    with serve(listener, app):
        yield f"http://{host}/", world


async def furnish(world, office):
    waits, approved, refused = (world.study(name, title=title) for name, title in STUDIES.items())
    for study in (waits, approved, refused):
        await propose(office, study)
    await decide(office, world.decision(approved, "approve"))
    await decide(office, world.decision(refused, "refuse"))
    checkpoint = Checkpoint(size=1, root="11" * 32, at_ms=world.clock.now_ms())
    await open_round(
        office,
        OpeningRequest(
            study_hash=approved.study_hash().hex(),
            round=1,
            model_hash=model_hash(b"").hex(),
            window_seconds=approved.window_seconds,
            checkpoint=sign_document(world.leader_key, CHECKPOINT_TYPE, checkpoint.document()),
        ),
    )


FAULTY = """<h1>One</h1><h3 id=a>Three</h3><p id=a style="color: #aaa; background: #fff">pale</p><button></button>
<a href="#gone">away</a><input><svg></svg><table><tr><td>x</td></tr></table><a href="/" tabindex=3>first</a>"""
STUDIES = {"moves-new": "Moves, proposed", "moves-yes": "Moves, approved", "moves-no": "Moves, refused"}


def now_ms():
    return time.time_ns() // 1_000_000


def person(*loves):
    """A visitor who allowed everything and looked at one kind of thing, or somebody new."""
    visitor = MemoryVisitor(demo_bundle(), now_ms)
    if loves:
        visitor.choose({purpose.id for purpose in PURPOSES}, (), notice(SITE, "en"))
        looks = [
            Event(f"{category}{i}", "dwell", now_ms() - 60_000 + i, SITE, category=category, dwell_seconds=30.0)
            for category in loves
            for i in range(4)
        ]
        visitor.append_events(looks)
        visitor.sent_rows = [Sent("persona", 5, 8_505), Sent("intent", 3, 4_302)]
        visitor.spent = Budget(0.75, 2.0, 1e-5, 30.0, 1.25, local_epsilon=11.5)
    return visitor


@contextlib.contextmanager
def household(*visitors, **settings):
    """A shop, and for each visitor a gateway and an own page; yields their settings."""
    with contextlib.ExitStack() as running:
        shop, built = free_socket(), []
        running.enter_context(serve(shop, shop_app()))
        for visitor in visitors:
            listeners = free_socket(), free_socket()
            site, page = (f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
            found = GatewaySettings(f"http://127.0.0.1:{shop.getsockname()[1]}", site, page, **settings)
            running.enter_context(serve(listeners[0], gateway_app(visitor, found)))
            running.enter_context(serve(listeners[1], page_app(visitor, found)))
            built.append(found)
        yield built


def test_an_officer_sees_what_waits_what_it_costs_and_how_to_sign(chromium, console):
    """A proposed study says in words what it asks, names both epsilons, and gives the command; there is no button."""
    address, world = console
    with viewing(chromium, address) as page:
        card = page.get_by_role("article", name="Moves, proposed")
        for words in ("waiting for you", "ε 4.355 at δ 1e-06", "Per person and device, zero-out", "local ε: none"):
            assert card.get_by_text(words).first.is_visible(), words
        assert "how often its visits went from each of 3 kinds of page" in card.inner_text()
        assert "Devices whose person allowed “Count how the site is used”" in card.inner_text()
        command = card.get_by_role("region", name="Command that approves Moves, proposed").inner_text()
        assert "study approve moves-new" in command
        assert f"--helper {address.rstrip('/')}" in command
        assert page.locator("form, button, input, script").count() == 0
        assert world.officer.verify_key.fingerprint in page.get_by_role("region", name="Keys").inner_text()


def test_an_officer_sees_who_decided_why_and_what_was_answered(chromium, console):
    """A decision stands with reason, time, the fingerprint whose signature was verified, and the document itself."""
    address, world = console
    with viewing(chromium, address) as page:
        yes = page.get_by_role("region", name="Decided").get_by_role("article", name="Moves, approved")
        assert "Approved: “looked at”" in yes.inner_text()
        assert f"signature verified, officer {world.officer.verify_key.fingerprint}" in yes.inner_text()
        yes.get_by_text("The signed decision").click()
        assert yes.get_by_role("region", name="Signed decision").inner_text().count(".") == 2
        yes.get_by_text("Rounds, one by one").click()
        assert yes.get_by_role("row", name="1 open none yet").is_visible()
        yes.get_by_text("Stop this study").click()
        assert "study stop moves-yes" in yes.get_by_role("region", name="Command that stops").inner_text()
        assert "Refused: “looked at”" in page.get_by_role("article", name="Moves, refused").inner_text()


def test_a_decision_of_a_key_that_no_longer_counts_is_called_that(console):
    """The page verifies each decision anew; after an officer has left, it names nobody for their signature."""
    _, world = console
    row = type("Row", (), {"jws": world.decision(world.study()), "decision": "approve", "recorded_at_ms": 0})
    assert decision_view(row, (world.officer.verify_key,)).officer == world.officer.verify_key.fingerprint
    assert decision_view(row, (world.leader_key.verify_key,)).officer == ""


def test_the_check_of_accessibility_finds_what_is_planted(chromium):
    """A page with a fault of each kind is called out for each, so that silence means something."""
    page = chromium.new_page()
    page.set_content(FAULTY)
    found = " ".join(faults(page))
    for rule in ("lang:", "title:", "viewport", "landmark: expected one main", "heading skips", "id twice", "no name"):
        assert rule in found, rule
    for rule in ("link to nowhere", "no label", "without words", "without a caption", "contrast 2.32", "focus order"):
        assert rule in found, rule
    page.close()


def test_the_console_is_accessible(chromium, console):
    """On a phone and on a desk, in light and dark."""
    assert_accessible(chromium, console[0])


def test_the_keyboard_alone_grants_and_withdraws(chromium):
    """Tab and Enter reach a purpose's yes and its no; the answer is said where it was given, and focus stays near."""
    visitor = person()
    with household(visitor) as (settings,), viewing(chromium, settings.page_origin) as page:
        title = PURPOSES.find("persona").text("en").title
        stops = tab_until(page, f"Yes to: {title}")
        assert stops[0]["name"] == "Skip to content"
        tops = [stop["top"] for stop in stops[1:]]
        assert all(later > earlier - ROW for earlier, later in itertools.pairwise(tops)), "the order is visual"
        assert page.get_by_role("button", pressed=True).count() == 0
        page.keyboard.press("Enter")
        page.wait_for_url("**/?done=granted*")
        assert visitor.consent().grant_of("persona") is not None
        assert page.locator("#purpose-persona").get_by_role("status").inner_text() == "Saved: your answer is yes."
        assert len(tab_until(page, f"No to: {title}")) <= 3, "the next Tab goes on from the purpose"
        page.keyboard.press("Enter")
        page.wait_for_url("**/?done=declined*")
        assert visitor.consent().grant_of("persona") is None
        assert page.get_by_role("button", name=f"No to: {title}", pressed=True).is_visible()


def test_yes_and_no_weigh_the_same_on_the_screen(chromium):
    """Before any answer each pair has the same size, colours and font."""
    look = """(node) => { const s = getComputedStyle(node), b = node.getBoundingClientRect();
        return [b.width, b.height, s.color, s.backgroundColor, s.borderColor, s.font].join(' '); }"""
    with household(person()) as (settings,), viewing(chromium, settings.page_origin, 390) as page:
        pairs = page.locator("form.pair").all()
        drawn = [[button.evaluate(look) for button in pair.get_by_role("button").all()] for pair in pairs]
        assert len(drawn) == len(PURPOSES) + 1
        assert [pair for pair in drawn if len(set(pair)) != 1] == []


def test_the_visitors_page_says_what_left_and_both_figures(chromium):
    """Each use has a row, those for which nothing left too; the two epsilons say what they are about."""
    with household(person("sale")) as (settings,), viewing(chromium, settings.page_origin) as page:
        left = page.get_by_role("region", name="What left this device")
        assert left.get_by_role("row", name="Find typical kinds of visitors 5 1,701 8,505").is_visible()
        assert left.get_by_role("row", name="Fit this site to you, on your device nothing ever leaves").is_visible()
        assert left.locator("tbody tr").count() == len(PURPOSES)
        budget = page.get_by_role("region", name="Privacy budget").inner_text()
        for words in (
            "ε 0.750 of 2",
            "Per person and device, within any 30 days, zero-out",
            "local ε 11.5",
            "Per training row",
        ):
            assert words in budget, words
        assert "site-edge" not in page.locator("body").inner_text().lower()


def test_site_edge_mode_is_named_where_it_applies(chromium):
    """A gateway run by the site says on its page that the visitor has to trust that box."""
    with household(person(), mode="site_edge") as (settings,), viewing(chromium, settings.page_origin) as page:
        text = page.locator("main").inner_text()
        assert "Site-edge mode." in text
        assert "you have to trust the site with that box" in text
        assert "The site cannot read this page" not in text


def test_the_visitors_page_is_accessible(chromium):
    """With and without anything on it, on a phone and on a desk, in light and dark."""
    with household(person("sale"), person()) as (full, empty):
        assert_accessible(chromium, full.page_origin)
        assert_accessible(chromium, empty.page_origin)


def test_two_personas_see_two_shops(chromium):
    """The same page shows each its own module, a link to their choices, and without an agent its default."""
    with household(person("sneakers"), person("sale")) as (first, second):
        seen = []
        for settings in (first, second):
            with viewing(chromium, settings.origin + "/") as page:
                page.locator("[data-hs-module]").wait_for()
                seen.append(page.locator("[data-hs-slot=hero]").get_attribute("data-hs-module"))
                link = page.get_by_role("link", name="Your data and choices")
                assert link.get_attribute("href") == settings.page_origin + "/"
        assert seen == ["hero-sneakers", "hero-sale"]
        context = chromium.new_context()
        page = context.new_page()
        page.goto(first.upstream + "/")
        assert page.get_by_role("heading", name="Good things, made to be kept.").is_visible()
        assert not page.get_by_text("Your data and choices").is_visible()
        context.close()


@pytest.mark.parametrize("path", ["/", "/c/sale", "/p/sale-6", "/cart"])
def test_the_shop_is_accessible(chromium, path):
    """With the persona's module in place, on a phone and on a desk, in light and dark."""
    with household(person("sale")) as (settings,):
        assert_accessible(chromium, settings.origin + path)
