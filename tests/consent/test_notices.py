"""The notice and the table of what leaves."""

import json

import pytest

from consent import LANGUAGES, PURPOSES, notice, notice_hashes, purposes_page, what_leaves
from tests.conftest import ROOT
from tests.consent.scenes import SITE, next_version


@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_weigh_the_same(language):
    """Both are one press, equally prominent, and no switch is on in advance."""
    shown = notice(SITE, language)
    weights = {choice.id: choice.weight for choice in shown.choices}
    assert weights["accept_all"] == weights["decline_all"] == weights["save_selection"]
    assert not any(line.selected for line in shown.purposes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notice_shows_every_purpose_in_words_of_the_registry(language):
    """Nothing is asked for that is not shown, and each line says what leaves."""
    shown = notice(SITE, language)
    assert [line.id for line in shown.purposes] == [p.id for p in PURPOSES]
    assert [line.leaves for line in shown.purposes] == [p.text(language).leaves for p in PURPOSES]


def test_the_hash_names_exactly_what_was_shown():
    """Language, site, mode, the signal and each version make another notice."""
    shown = [
        notice(SITE, "en"),
        notice(SITE, "de"),
        notice("https://other.example", "en"),
        notice(SITE, "en", mode="site_edge"),
        notice(SITE, "en", gpc=True),
        notice(SITE, "en", next_version(PURPOSES, "intent")),
    ]
    assert len({n.hash for n in shown}) == len(shown)
    assert notice(SITE, "en").hash in notice_hashes(SITE, "en")
    assert len(notice_hashes(SITE, "en")) == 6


def test_the_notice_says_when_the_signal_is_on_and_when_the_site_runs_the_box():
    """Who overrides Global Privacy Control, or trusts the site's box, was told so."""
    plain, told = notice(SITE, "en"), notice(SITE, "en", mode="site_edge", gpc=True)
    assert not any("Global Privacy Control" in p for p in plain.paragraphs)
    assert any("Global Privacy Control" in p for p in told.paragraphs)
    assert any("trust the site" in p for p in told.paragraphs)


def test_the_notice_is_json_that_a_page_can_draw():
    """Its document survives JSON unchanged."""
    document = notice(SITE, "de").document()
    assert json.loads(json.dumps(document)) == document


def test_only_personalisation_leaves_nothing():
    """The table of what leaves says the form of each purpose, from the same registry."""
    forms = {row.purpose: row.form for row in what_leaves("en")}
    assert {purpose for purpose, form in forms.items() if form == "nothing"} == {"personalisation"}
    assert set(forms.values()) == {"nothing", "masked_sum"}


def test_the_committed_page_of_purposes_is_the_generated_one():
    """A drift between registry and documents fails here; write ``purposes_page()`` to the file to renew it."""
    assert (ROOT / "docs" / "consent-purposes.md").read_text(encoding="utf-8") == purposes_page()
