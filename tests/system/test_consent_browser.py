"""The consent page in a real browser: no is as easy as yes, by mouse, by keyboard, without script, in two languages."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from client_agent.history import Recorded
from client_agent.store.contributions import Contribution
from consent import PURPOSES, Registry, grant, notice, record, sign_receipt, verify_receipt, verify_record
from consent.signals import parse_well_known_gpc
from tests.client_agent.gateway.people import DEVICE, SITE
from tests.system.accessible import FOCUS, faults, tab_until
from tests.system.browsing import (
    EVERYTHING,
    UNFOLD,
    assert_accessible,
    axe_findings,
    household,
    now_ms,
    person,
    viewing,
)
from tests.system.house import house, say_who

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ROW = 120
"""Height of a row of the page, px: within one the focus may go from left to right."""
LOOK = """(node) => { const s = getComputedStyle(node); return [node.offsetWidth, node.offsetHeight, s.color,
    s.backgroundColor, s.borderColor, s.borderWidth, s.opacity, s.font, s.boxShadow, node.className].join(); }"""
TOP = "(node) => node.offsetTop"
PICTURES = os.environ.get("HEARTHSIDE_PICTURES", "")
"""A folder: ``HEARTHSIDE_PICTURES=docs/images pytest -k picture tests/system`` writes the documentation's pictures."""
PICTURE_BYTES = 150_000
TITLE = PURPOSES.find("persona").text("en").title


def granted_before_a_change(visitor, purpose="persona"):
    """A yes to another version of one purpose than the one declared now."""
    former = Registry(replace(p, version=p.version + 1) if p.id == purpose else p for p in PURPOSES)
    now = now_ms() // 1_000
    shown = notice(SITE, "en", former)
    jws = sign_receipt(DEVICE, grant(visitor.state, {purpose}, notice=shown, issued_at=now, registry=former))
    visitor.state, _ = record(visitor.state, jws, now, former)
    return visitor


def taken_back():
    """Somebody who allowed everything and took it back: one report unsent, one kept out, one too late, one long ago."""
    visitor = person("sale")
    visitor.choose((), EVERYTHING, notice(SITE, "en"))
    visitor.erase_events()
    now = now_ms() // 1_000
    purposes = tuple(sorted(EVERYTHING))
    visitor.recorded = [
        Recorded(now - 60, "withdrawal", purposes, "en", "confirmed", now - 59),
        Recorded(now - 3_600, "gpc", (), None, "home", None),
        Recorded(now - 90_000, "grant", purposes, "de", "confirmed", now - 89_999),
    ]
    known = [("kept_out", 4, "jws"), ("possible", 3, None), ("standing", 1, None)]
    visitor.contributed = [
        Contribution("kinds", "Typical visitors", "persona", b"s" * 32, number, b"r" * 32, now_ms(), said, None, jws)
        for said, number, jws in known
    ]
    unsent = Contribution("buy", "Intent to buy", "intent", b"t" * 32, 9, b"q" * 32, None, "unsent", None, None)
    visitor.contributed.append(unsent)
    return visitor


STATES = {
    "fresh": (person, {}),
    "granted": (lambda: person("sale"), {}),
    "declined": (taken_back, {}),
    "gpc": (lambda: person("sale"), {"extra_http_headers": {"Sec-GPC": "1"}}),
    "changed": (lambda: granted_before_a_change(person()), {}),
}


@pytest.mark.parametrize("state", STATES)
def test_the_page_is_accessible_in_every_state(chromium, state):
    """No finding of axe-core or of our own, in English and German, light and dark, at 1,280 and at 320 px."""
    visitor, options = STATES[state]
    with household(visitor()) as (home,):
        for language, looks in (("en", [(1280, "light"), (320, "dark")]), ("de", [(320, "light"), (1280, "dark")])):
            assert_accessible(chromium, f"{home.page}/?lang={language}", home, looks, **options)


@pytest.mark.parametrize("path", ["/people", "/everything", "/everything?table=events", "/erase-everything"])
def test_the_pages_around_it_are_accessible(chromium, path):
    """Who is here, everything the agent knows, and the question before everything is erased."""
    with household(person("sale")) as (home,):
        for language in ("en", "de"):
            address = f"{home.page}{path}{'&' if '?' in path else '?'}lang={language}"
            assert_accessible(chromium, address, home, [(1280, "light"), (320, "dark")])


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("language", ["en", "de"])
def test_yes_and_no_weigh_the_same(chromium, width, language):
    """Before any answer both buttons of each pair are equal in every measure, in one row, and one Tab apart."""
    with household(person()) as (home,):
        for scheme in ("light", "dark"):
            with viewing(chromium, f"{home.page}/?lang={language}", home, width=width, scheme=scheme) as page:
                pairs = [pair.get_by_role("button").all() for pair in page.locator("form[action='/consent']").all()]
                assert len(pairs) == len(PURPOSES) + 1
                for yes, no in pairs:
                    assert yes.evaluate(LOOK) == no.evaluate(LOOK)
                    assert yes.evaluate(TOP) == no.evaluate(TOP)
                    yes.focus()
                    page.keyboard.press("Tab")
                    assert no.evaluate("(node) => node === document.activeElement")


@pytest.mark.parametrize("forced", ["none", "active"])
def test_a_given_yes_and_a_given_no_are_marked_alike(chromium, forced):
    """The pressed button stands out by the same measure whichever it is, with forced colours too."""
    visitor = person()
    visitor.choose({"persona"}, (), notice(SITE, "en"))
    visitor.choose((), {"intent"}, notice(SITE, "en"))
    with household(visitor) as (home,), viewing(chromium, home.page + "/?lang=en", home, forced_colors=forced) as page:
        looks = {name: page.locator(f"#{name}").evaluate(LOOK) for name in (f"{p}-{c}" for p, c in ANSWERED)}
        assert looks["persona-grant"] == looks["intent-decline"]
        assert looks["persona-decline"] == looks["intent-grant"]
        assert looks["persona-grant"] != looks["persona-decline"]


ANSWERED = list(itertools.product(("persona", "intent"), ("grant", "decline")))


def test_nothing_is_chosen_beforehand(chromium):
    """No button is pressed, no box is ticked, nothing is selected, and there is no script that could change that."""
    with household(person()) as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        assert page.locator("[aria-pressed=true], :checked, [selected], [autofocus]").count() == 0
        assert page.locator("[aria-pressed=false]").count() == 2 * len(PURPOSES)
        assert page.locator("script").count() == 0


def test_the_keyboard_alone_grants_and_takes_back_in_as_many_keys(chromium):
    """Two keys from one answer to the other, both ways; the focus stays on what was pressed, and its answer is said."""
    visitor = person()
    with household(visitor) as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        stops = tab_until(page, f"Yes to: {TITLE}")
        assert stops[0]["name"] == "Skip to content"
        tops = [stop["top"] for stop in stops[1:]]
        assert all(later > earlier - ROW for earlier, later in itertools.pairwise(tops)), "the order is visual"
        page.keyboard.press("Enter")
        for button, answer, step, held in (
            ("persona-grant", "yes", "Tab", True),
            ("persona-decline", "no", "Shift+Tab", False),
            ("persona-grant", "yes", "Tab", True),
        ):
            page.wait_for_url(f"**#{button}")
            assert page.evaluate(FOCUS)["id"] == button, "the focus is where it was"
            assert (visitor.consent().grant_of("persona") is not None) is held
            assert page.evaluate(FOCUS)["ring"], "the focus can be seen"
            said = page.get_by_role("status")
            assert said.inner_text() == f"Saved: your answer is {answer}."
            assert page.locator(f"#{button}").get_attribute("aria-describedby") == said.get_attribute("id")
            assert page.title().startswith(f"Saved: your answer is {answer}.")
            page.keyboard.press(step)
            page.keyboard.press("Enter")


@pytest.mark.parametrize(("yes", "no"), [("Yes to all", "No to all"), (f"Yes to: {TITLE}", f"No to: {TITLE}")])
def test_taking_back_takes_as_many_clicks_as_granting_and_no_script(chromium, yes, no):
    """One click each, in a browser without JavaScript; each is a receipt in the language that was shown."""
    visitor = person()
    scriptless = {"java_script_enabled": False}
    with household(visitor) as (home,), viewing(chromium, home.page + "/?lang=en", home, **scriptless) as page:
        for name, done, count in ((yes, "granted", 1), (no, "declined", 2)):
            page.get_by_role("button", name=name, exact=True).click()
            page.wait_for_url(f"**/?done={done}*")
            assert bool(visitor.consent().granted) is (done == "granted")
            assert len(visitor.receipts()) == count


def test_the_accessibility_tree_names_every_answer(chromium):
    """A screen reader hears for each purpose two toggle buttons with its title, and which one is pressed."""
    visitor = person()
    visitor.choose({"persona"}, (), notice(SITE, "en"))
    with household(visitor) as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        tree = page.locator("#choices").aria_snapshot()
        for purpose in PURPOSES:
            title = purpose.text("en").title
            assert f'button "Yes to: {title}"' in tree
            assert f'button "No to: {title}"' in tree
            assert page.get_by_role("heading", name=title).count() == 1
        assert f'button "Yes to: {TITLE}" [pressed]' in tree
        assert tree.count("[pressed]") == 1


def test_the_language_is_the_persons_and_the_receipt_says_which(chromium):
    """Accept-Language decides, a visible switch overrides; words, numbers and the receipt follow."""
    visitor = person("sale")
    with household(visitor) as (home,), viewing(chromium, home.page + "/", home, locale="de-AT") as page:
        assert page.evaluate("document.documentElement.lang") == "de"
        text = page.locator("main").inner_text()
        for words in ("Was Sie erlauben", "ε 0,750 von 2", "8.505", "Ihre Rechte", "27\xa0%"):
            assert words in text, words
        page.get_by_role("button", name="Nein zu: " + PURPOSES.find("persona").text("de").title).click()
        page.wait_for_url("**/?done=declined*")
        assert page.get_by_role("status").inner_text() == "Gespeichert: Ihre Antwort ist Nein."
        assert verify_receipt(visitor.receipts()[-1], DEVICE.verify_key).language == "de"
        page.get_by_role("link", name="English").click()
        page.wait_for_url("**/?lang=en")
        assert page.evaluate("document.documentElement.lang") == "en"
        page.get_by_role("button", name=f"Yes to: {TITLE}").click()
        page.wait_for_url("**/?done=granted*")
        assert verify_receipt(visitor.receipts()[-1], DEVICE.verify_key).language == "en"


def test_a_purpose_that_changed_is_asked_again_and_marked_so(chromium):
    """An old yes presses nothing: the purpose is off, says why, and the page says at its top that an answer is due."""
    visitor = granted_before_a_change(person())
    with household(visitor) as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        assert page.locator("[aria-pressed=true]").count() == 0
        text = page.locator("#purpose-persona").inner_text()
        assert "changed since your answer" in text
        assert "has changed since you said yes" in text
        assert page.get_by_text("Please answer again.").first.is_visible()


def test_a_grant_that_is_too_old_is_asked_again(chromium):
    """A year later no button is pressed and the page says that the answer is too old."""
    visitor = person("sale")
    visitor._now_ms = lambda: now_ms() + 400 * 86_400_000
    visitor.prepared = None
    with household(person()) as (home,):
        home.sessions.household.visitors["me"] = visitor
        with viewing(chromium, home.page + "/?lang=en", home) as page:
            assert page.locator("[aria-pressed=true]").count() == 0
            assert page.locator("#choices").get_by_text("your answer is too old").count() >= len(PURPOSES)


def test_global_privacy_control_and_its_applications_are_shown(chromium):
    """The page names the signal and each time it was applied; what this origin declares about it is well-formed."""
    signal = {"extra_http_headers": {"Sec-GPC": "1"}}
    with household(taken_back()) as (home,), viewing(chromium, home.page + "/?lang=en", home, **signal) as page:
        assert page.get_by_text("Global Privacy Control is on.").first.is_visible()
        assert "It was applied to your choices on" in page.locator("#choices").inner_text()
        answer = page.request.get(home.page + "/.well-known/gpc.json")
        assert parse_well_known_gpc(answer.text()).honours


def test_after_a_withdrawal_the_page_says_what_is_undone_and_what_cannot_be(chromium):
    """Deleted here, signed by the operator and by the privacy office, and the sums that may hold a report."""
    with household(taken_back()) as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        back = page.get_by_role("region", name="What you took back")
        text = back.inner_text()
        for words in (
            "you took back: all uses",
            "Reports deleted before they left: 1",
            "Has signed on",
            "is in no sum: 1 of 2",
            "Not answered yet: 1 of 2",
        ):
            assert words in text, words
        rows = back.locator("tbody tr").all_inner_texts()
        assert len(rows) == 2, "the one that is kept out and the one that never left are not among them"
        assert "perhaps too late" in rows[0]
        assert "while you allowed it" in rows[1]
        assert back.get_by_role("link", name="Privacy budget").get_attribute("href") == "#budget"


def test_the_page_fits_a_small_screen_and_large_letters(chromium):
    """At 320 px, and with letters twice as large on 640 px, nothing scrolls sideways and nothing is cut off."""
    with household(taken_back()) as (home,):
        for width, size in ((320, "100%"), (640, "200%")):
            with viewing(chromium, home.page + "/?lang=de", home, width=width) as page:
                page.evaluate(f"document.documentElement.style.fontSize = '{size}'")
                page.evaluate(UNFOLD)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, size)
                wide = "[...document.querySelectorAll('button')].filter((b) => b.scrollWidth > b.clientWidth).length"
                assert page.evaluate(wide) == 0, (width, size)


def test_whoever_wants_no_motion_gets_none(chromium):
    """Jumps within the page are smooth only where the person has not asked for reduced motion."""
    with household(person()) as (home,):
        for wish, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
            with viewing(chromium, home.page + "/", home, reduced_motion=wish) as page:
                assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_what_left_and_both_figures_are_said(chromium):
    """Each use has a row, those for which nothing left too; the two epsilons say what they are about."""
    with household(person("sale")) as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        left = page.get_by_role("region", name="What left this device")
        assert left.get_by_role("row", name="Find typical kinds of visitors 5 1,701 8,505").is_visible()
        assert left.get_by_role("row", name="Fit this site to you, on your device nothing ever leaves").is_visible()
        assert left.locator("tbody tr").count() == len(PURPOSES)
        budget = page.get_by_role("region", name="Privacy budget").inner_text()
        for words in ("ε 0.750 of 2", "within any 30 days, zero-out", "local ε 11.5", "Per training row"):
            assert words in budget, words
        assert "site-edge" not in page.locator("body").inner_text().lower()


def test_site_edge_mode_is_named_where_it_applies(chromium):
    """A gateway run by the site says on its page that the visitor has to trust that box."""
    with household(person(), mode="site_edge") as (home,), viewing(chromium, home.page + "/?lang=en", home) as page:
        text = page.locator("main").inner_text()
        assert "Site-edge mode." in text
        assert "you have to trust the site with that box" in text
        assert "The site cannot read this page" not in text


def test_every_right_is_one_click_away_and_works_on_the_real_store(chromium, tmp_path):
    """See everything, take it as JSON and CSV, a record that verifies elsewhere, and erasure that asks once more."""
    with house(tmp_path / "agent") as home:
        context = chromium.new_context()
        page = context.new_page()
        say_who(page, home.settings.page_origin)
        page.goto(home.settings.page_origin + "/?lang=en")
        page.get_by_role("button", name="Yes to all").click()
        page.wait_for_url("**/?done=granted*")
        rights = page.get_by_role("region", name="Your rights")
        with page.expect_download() as download:
            rights.get_by_role("link", name="One file (JSON)").click()
        assert len(json.loads(Path(download.value.path()).read_text())["receipts"]) == 1
        with page.expect_download() as download:
            rights.get_by_role("link", name="Tables (CSV)").click()
        assert Path(download.value.path()).read_bytes()[:2] == b"PK"
        with page.expect_download() as download:
            rights.get_by_role("link", name="Consent record").click()
        leader = home.visitor._pins.leader_key.fingerprint
        verified = verify_record(Path(download.value.path()).read_bytes(), leader)
        assert [proven.receipt.kind for proven in verified.receipts] == ["grant"]
        rights.get_by_role("link", name="See everything").click()
        assert page.get_by_role("heading", name="Signed receipts").is_visible()
        assert faults(page) == []
        assert axe_findings(page) == []
        page.get_by_role("link", name="Back to your page").click()
        page.get_by_role("link", name="Erase everything …").click()
        assert page.get_by_text("It cannot be undone.").is_visible()
        assert home.store.participants.of_person("me"), "asking erases nothing"
        page.get_by_role("button", name="Erase everything").click()
        page.get_by_role("heading", name="What this device kept about you is erased").wait_for()
        assert not home.store.participants.of_person("me")
        context.close()


@pytest.mark.parametrize(
    ("name", "visitor", "options"),
    [
        ("consent-en.png", person, {"width": 900, "locale": "en-GB"}),
        ("consent-de-dark.png", lambda: person("sale"), {"width": 390, "scheme": "dark", "locale": "de-DE"}),
        ("consent-withdrawn.png", taken_back, {"width": 1000}),
    ],
)
def test_a_picture_of_the_page_is_small(chromium, tmp_path, name, visitor, options):
    """The documentation's pictures are made from the page as it is, and each stays small."""
    folder = Path(PICTURES) if PICTURES else tmp_path
    with household(visitor()) as (home,), viewing(chromium, home.page + "/", home, **options) as page:
        part = page.locator("#back") if "withdrawn" in name else None
        if part:
            part.screenshot(path=folder / name)
        else:
            page.set_viewport_size({"width": options["width"], "height": 1_500 if "dark" in name else 1_000})
            page.screenshot(path=folder / name)
    assert 5_000 < (folder / name).stat().st_size < PICTURE_BYTES
