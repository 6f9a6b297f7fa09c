"""The generated documents in a real browser: readable, reachable, and silent."""

import dataclasses

import pytest
from axe_playwright_python.sync_playwright import Axe

from consent.documents import example_facts, generate, read_facts
from tests.system.accessible import faults

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
FACTS = read_facts(example_facts())
PAGES = [name for name in generate(FACTS) if name.endswith(".html")]
LOOKS = [(1280, "light"), (390, "dark")]


@pytest.fixture
def folder(tmp_path):
    """The documents of a site that runs the box itself: every part of the pages is there."""
    made = generate(dataclasses.replace(FACTS, mode="site_edge"))
    for name in PAGES:
        (tmp_path / name).write_text(made[name], encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_a_document_is_accessible_and_asks_for_nothing(chromium, folder, name, width, scheme):
    """No fault on a wide or a narrow screen, light or dark, no sideways scrolling, and not one request of its own."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    address = (folder / name).as_uri()
    page.goto(address)
    assert faults(page) == []
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert asked == [address]
    context.close()
