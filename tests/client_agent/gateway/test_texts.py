"""The words of the agent's pages: every language has them all, and writes numbers and moments its own way."""

import re
from importlib import resources
from string import Formatter

import pytest

from client_agent.export_columns import COLUMNS, SECTIONS
from client_agent.pages.languages import NAMES, general, moment, negotiate, number, percent, size
from client_agent.pages.texts import TEXTS
from client_agent.pages.texts_tables import column_label, table_about, table_title
from client_agent.store.contributions import OUTCOMES
from consent import RULES
from consent.registry import LANGUAGES
from models.events.limits import KINDS

TEMPLATES = "".join(file.read_text() for file in resources.files("client_agent.pages").joinpath("templates").iterdir())


def fields(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_language_has_the_same_words():
    """The same keys, none of them empty, and the same places to fill in."""
    assert set(TEXTS) == set(NAMES) == set(LANGUAGES)
    for part in ("page", "rules", "events"):
        english, german = (getattr(TEXTS[language], part) for language in LANGUAGES)
        assert set(english) == set(german)
        for key in english:
            assert english[key].strip()
            assert german[key].strip()
            assert fields(english[key]) == fields(german[key]), key


def test_no_word_is_the_same_in_both_languages_by_oversight():
    """Only names and international words are equal."""
    english, german = TEXTS["en"].page, TEXTS["de"].page
    assert {key for key in english if english[key] == german[key]} == {"bytes", "gpc_title", "persona"}


def test_rules_events_and_outcomes_each_have_their_words():
    """What the policy, the vocabulary and the store can say, the page can say in plain words."""
    for texts in TEXTS.values():
        assert set(texts.rules) == set(RULES)
        assert set(texts.events) == set(KINDS)
        assert {key.removeprefix("outcome_") for key in texts.page if key.startswith("outcome_")} == set(OUTCOMES)


def test_every_word_is_used_and_no_word_of_a_template_is_missing():
    """A key that no template reads is gone; one that a template reads is there."""
    named = set(re.findall(r"\bt\.([a-z_]+)", TEMPLATES)) | set(re.findall(r"limit_[a-z]+|saved_[a-z]+", TEMPLATES))
    composed = ("outcome_", "kind_", "sign_", "state_", "kept_")
    in_code = {"all_uses", "factor_any", "left_each", "true", "false"}
    keys = {key for key in TEXTS["en"].page if not key.startswith(composed)}
    assert keys - in_code <= named
    assert {name for name in named if not name.startswith(composed)} <= set(TEXTS["en"].page)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_and_column_of_the_export_has_a_name(language):
    """Nothing that the agent holds is shown under a name for programs alone."""
    for section, columns in COLUMNS.items():
        assert table_title(section, language) != section
        assert table_about(section, language)
        for column in columns:
            if not (column.endswith("_ms") and column.removesuffix("_ms") in columns):
                assert column_label(column, language) != column, (section, column)
    assert set(COLUMNS) == set(SECTIONS)


@pytest.mark.parametrize(
    ("asked", "header", "language"),
    [
        (None, "", "en"),
        ("de", "en", "de"),
        ("xx", "de-AT,en;q=0.5", "de"),
        (None, "en-GB,en;q=0.9,de;q=0.8", "en"),
        (None, "fr,de;q=0.3,en;q=0.2", "de"),
        (None, "de;q=0,en;q=0.1", "en"),
        (None, "*", "en"),
        (None, "de;q=nan", "en"),
        (None, "de;q=7, ,;;q=,en;q=abc", "en"),
        (None, "x" * 100_000 + ",de", "de"),
        ("<script>", "\u0000", "en"),
    ],
)
def test_the_language_is_what_is_asked_then_what_the_browser_prefers_then_english(asked, header, language):
    """Weights count, what cannot be read is skipped, and no header is an error."""
    assert negotiate(asked, header) == language


def test_numbers_and_moments_are_written_as_the_language_does():
    """Grouping, decimal sign, percent, size and date."""
    assert (number(1_234.5, "en", 1), number(1_234.5, "de", 1)) == ("1,234.5", "1.234,5")
    assert (percent(0.273, "en"), percent(0.273, "de")) == ("27%", "27\xa0%")
    assert (general(1e-6, "en"), general(0.25, "de")) == ("1e-06", "0,25")
    assert (size(9_999, "en"), size(9_999, "de")) == ("9,999 bytes", "9.999 Byte")
    assert (size(12_345_678, "en"), size(12_345_678, "de")) == ("12.3 MB", "12,3 MB")
    assert moment(1_772_366_400_000, "en") == "1 Mar 2026, 12:00 UTC"
    assert moment(1_772_366_400_000, "de") == "1. März 2026, 12:00 UTC"
