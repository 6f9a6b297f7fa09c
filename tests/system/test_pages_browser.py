"""The helper's console and the demo shop in a real browser: what they say, and whom they shut out."""

import contextlib

import pytest

from aggregator.helper.app import create_app
from aggregator.helper.console import decision_view
from aggregator.helper.decisions import decide, propose
from aggregator.helper.openings import open_round
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, OpeningRequest, model_hash
from privacy.crypto import sign_document
from tests.aggregator.world import World
from tests.system.accessible import faults
from tests.system.browsing import assert_accessible, axe_findings, household, person, viewing
from tests.system.house import free_socket, serve

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


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


def test_an_officer_sees_what_waits_what_it_costs_and_how_to_sign(chromium, console):
    """A proposed study says in words what it asks, names both epsilons, and gives the command; there is no button."""
    address, world = console
    with viewing(chromium, address) as page:
        card = page.get_by_role("article", name="Moves, proposed")
        for words in ("waiting for you", "ε 4.355 at δ 1e-06", "Per person and device, zero-out", "local ε: none"):
            assert card.get_by_text(words).first.is_visible(), words
        assert "how often its visits went from each of 3 kinds of page" in card.inner_text()
        assert "whose owner allowed “Count how the site is used”" in card.inner_text()
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
    assert any("color-contrast" in finding for finding in axe_findings(page)), "axe-core is at work"
    for rule in ("link to nowhere", "no label", "without words", "without a caption", "contrast 2.32", "focus order"):
        assert rule in found, rule
    page.close()


def test_the_console_is_accessible(chromium, console):
    """On a phone and on a desk, in light and dark."""
    assert_accessible(chromium, console[0])


def test_two_personas_see_two_shops(chromium):
    """The same page shows each its own module, a link to their choices, and without an agent its default."""
    with household(person("sneakers"), person("sale")) as (first, second):
        seen = []
        for home in (first, second):
            with viewing(chromium, home.site + "/", home) as page:
                page.locator("[data-hs-module]").wait_for()
                seen.append(page.locator("[data-hs-slot=hero]").get_attribute("data-hs-module"))
                link = page.get_by_role("link", name="Your data and choices")
                assert link.get_attribute("href") == home.page + "/"
        assert seen == ["hero-sneakers", "hero-sale"]
        context = chromium.new_context()
        page = context.new_page()
        page.goto(first.settings.upstream + "/")
        assert page.get_by_role("heading", name="Good things, made to be kept.").is_visible()
        assert not page.get_by_text("Your data and choices").is_visible()
        assert not page.locator("[data-hs-plain]").is_visible()
        context.close()


@pytest.mark.parametrize("path", ["/", "/c/sale", "/p/sale-6", "/cart", "/#hearthside-plain"])
def test_the_shop_is_accessible(chromium, path):
    """With the persona's module in place and as the twin, on a phone and on a desk, in light and dark."""
    with household(person("sale")) as (home,):
        assert_accessible(chromium, home.site + path, home)
