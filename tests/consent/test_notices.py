"""The notice and the table of what leaves."""

import json
from dataclasses import asdict

import pytest

from consent import LANGUAGES, PURPOSES, notice, notice_hashes, what_leaves
from consent.explanations import EXPLANATIONS
from consent.notices import MODES
from consent.registry import RECIPIENTS_OF, RECORDS_OF
from consent.wording import WORDING
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


def shape(value):
    """A value without its words: keys, lengths and the names that both languages share."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shape(part) for part in value]
    return type(value).__name__


def words(value, place=""):
    """Every text of a value with its place."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from words(part, f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from words(part, f"{place}.{index}")
    elif isinstance(value, str):
        yield place, value


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gpc", [False, True])
def test_both_languages_show_the_same_notice(mode, gpc):
    """Whoever reads German is told as much as whoever reads English, in every mode, with and without the signal."""
    english, german = (notice(SITE, language, mode=mode, gpc=gpc).document() for language in LANGUAGES)
    assert shape(english) == shape(german)
    assert [p["id"] for p in english["purposes"]] == [p["id"] for p in german["purposes"]]
    for one, other in zip(english["paragraphs"], german["paragraphs"], strict=True):
        assert one != other


@pytest.mark.parametrize("told", [WORDING, EXPLANATIONS], ids=["wording", "explanations"])
def test_both_languages_explain_the_same_things(told):
    """Same parts in the same order, none empty, the same figures to fill in, and no sentence left in English."""
    english, german = (asdict(told[language]) for language in LANGUAGES)
    assert shape(english) == shape(german)
    for (place, one), (_, other) in zip(words(english), words(german), strict=True):
        assert one.strip(), place
        assert other.strip(), place
        assert sorted(part for part in one.split() if "{" in part and "receipts" in part) == sorted(
            part for part in other.split() if "{" in part and "receipts" in part
        ), place
        assert one != other or " " not in one, f"{place} is the same in both languages: {one}"


def test_every_recipient_record_and_right_has_words():
    """What the registry can name, a person can read."""
    for language in LANGUAGES:
        told = EXPLANATIONS[language]
        assert set(dict(told.recipients)) == {each for form in RECIPIENTS_OF.values() for each in form}
        assert set(dict(told.records)) == {each for form in RECORDS_OF.values() for each in form}
        assert {right.id for right in told.rights} == {
            "withdraw",
            "access",
            "portability",
            "erasure",
            "objection",
            "rectification",
            "restriction",
        }


def test_the_explanations_say_what_is_not_protected():
    """That the page sees what it shows, and that both servers together could read, is said where rights are."""
    for language in LANGUAGES:
        viewers = {sight.viewer for sight in EXPLANATIONS[language].sights}
        assert {"page", "both", "network"} <= viewers
        assert {mode for mode, _ in EXPLANATIONS[language].boxes} == set(MODES) - {"device"}
