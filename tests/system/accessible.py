"""Checks of accessibility in a real browser, from what it computed: names, roles, headings, contrast, focus order.

They cover what our pages are made of; the axe-core suite is run over the same pages beside them.
"""

from pathlib import Path

CHECKS = Path(__file__).with_suffix(".js").read_text()

FOCUS = """() => {
  const node = document.activeElement;
  if (!node || node === document.body) return null;
  const style = getComputedStyle(node), box = node.getBoundingClientRect();
  return {
    id: node.id, name: node.getAttribute('aria-label') || node.textContent.trim().replace(/\\s+/g, ' '),
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    top: box.top + scrollY, tag: node.tagName,
  };
}"""


def faults(page):
    """What a page gets wrong, one line each; an empty list is a pass."""
    found = page.evaluate(CHECKS)
    assert found["lowest"] < 21, "the check found text to compare"
    return found["faults"]


def tab_until(page, name, presses=80):
    """Press Tab until the element of this name has the focus; every stop on the way, each with a visible ring."""
    stops = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUS)
        if stop is None:
            continue
        assert stop["ring"], f"no visible focus on {stop['tag']} {stop['name'][:60]}"
        stops.append(stop)
        if stop["name"] == name:
            return stops
    raise AssertionError(f"{name!r} cannot be reached with Tab; stops: {[stop['name'][:40] for stop in stops]}")
