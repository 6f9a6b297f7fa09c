"""The right of access on the page: the rows of "everything" speak the language of the page."""

import pytest

from client_agent.overview import rule_words
from client_agent.pages.access import table, tables
from client_agent.pages.texts import TEXTS
from client_agent.pages.texts_withheld import REASONS_DE
from client_agent.rights import Column, Export, Section, gather
from client_agent.store import OUTCOMES
from consent import LANGUAGES, PERSONA, PURPOSES, RULES
from tests.client_agent.world import populate


def export_of(section, names, rows):
    columns = tuple(Column(name, "") for name in names)
    return Export("me", 0, (Section(section, "", columns, lambda: iter(rows)),))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_became_of_a_report_is_said_in_words(outcome, language):
    """In those of the page's own list of releases; the code word for programs is not shown beside them."""
    export = export_of("contributions", ("round", "outcome", "outcome_text"), [(7, outcome, OUTCOMES[outcome])])
    (shown,) = table(export, "contributions", 1, language).rows
    said = TEXTS[language].page[f"outcome_{outcome}"]
    assert [cell.text for cell in shown] == ["7", said]
    assert said != OUTCOMES[outcome]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rule", RULES)
def test_a_use_and_its_rule_are_said_in_words(rule, language):
    """The title of the use and the reason for its state, whatever the reason."""
    persona = PURPOSES.find(PERSONA)
    row = (PERSONA, persona.text("en").title, RULES[rule])
    (shown,) = table(export_of("purposes", ("purpose", "title", "rule"), [row]), "purposes", 1, language).rows
    assert [cell.text for cell in shown][1:] == [
        PURPOSES.find(PERSONA).text(language).title,
        rule_words(rule, language),
    ]


def test_no_sentence_of_the_export_is_left_in_english_on_the_german_page(world, store):
    """From a real store: titles of uses, rules, and what waits to be delivered."""
    populate(world, store, 1, purposes=(PERSONA,))
    export = gather(store, world.pins, "person-0", world.clock)
    shown = {name: one for name in ("purposes", "waiting") if (one := table(export, name, 1, "de"))}
    assert [len(one.rows) for one in shown.values()] == [len(PURPOSES), 2]
    cells = {cell.text for one in shown.values() for row in one.rows for cell in row}
    sections = {section.name: section for section in export.sections}
    english = {row[0] for row in sections["waiting"].rows()}
    english |= {sentence for row in sections["purposes"].rows() for sentence in (row[2], row[4])}
    assert cells & english == set()
    assert {table.name for table in tables(export, "de")} == set(sections)


def test_why_something_is_left_out_is_said_in_the_language_of_the_page(world, store):
    """Each reason of a real export, in English as the export has it and in German in other words."""
    populate(world, store, 1)
    export = gather(store, world.pins, "person-0", world.clock)
    given = [row for section in export.sections if section.name == "withheld" for row in section.rows()]
    assert len(given) > 20
    said = {language: table(export, "withheld", 1, language).rows for language in LANGUAGES}
    assert [row[2].text for row in said["en"]] == [reason for _, _, reason in given]
    for german, (name, column, reason) in zip(said["de"], given, strict=True):
        assert [cell.text for cell in german[:2]] == [name, column or ""]
        assert german[2].text not in {"", reason}, (name, column)
    assert set(REASONS_DE) == {(name, column) for name, column, _ in given}, "none is of the past"
