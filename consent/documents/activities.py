"""The record of processing activities (GDPR Art. 30): the operator's, and the privacy office's where it is a processor.

One activity a purpose, one for what stays on the device, and one for the proof of consent. The same entries become
Markdown for people and CSV for the register that the operator keeps.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from consent.device_records import BROWSER_RECORDS, DEVICE_RECORDS
from consent.documents.activity_words import ACTIVITY_WORDS, ActivityWords
from consent.documents.facts import Facts
from consent.documents.pages import Block, Heading, Page, Paragraph, Table
from consent.documents.words import NOTICE_WORDS, data_of, recipients_of, references, server_records
from consent.purposes import PURPOSES
from consent.registry import Language, Purpose, Registry
from consent.wording import WORDING

_BYTE_ORDER_MARK: Final = "\ufeff"
"""Spreadsheet programs read letters beyond ASCII wrongly without it."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One processing activity.

    Attributes:
        title: its name.
        entries: one for each letter of the article, in its order.
    """

    title: str
    entries: tuple[str, ...]


def activities(facts: Facts, language: Language, registry: Registry = PURPOSES) -> tuple[Activity, ...]:
    """The operator's activities: letters (a) to (g) of Art. 30(1)."""
    words = ACTIVITY_WORDS[language]
    uses = (_of_purpose(purpose, facts, language) for purpose in registry)
    return (*uses, _on_the_device(facts, language), _of_proof(facts, words))


def office_activities(facts: Facts, language: Language, registry: Registry = PURPOSES) -> tuple[Activity, ...]:
    """The privacy office's activities as a processor: letters (a) to (d) of Art. 30(2)."""
    words = ACTIVITY_WORDS[language]
    return tuple(
        Activity(
            purpose.text(language).title,
            (
                _join((_office(facts, words), *_parties(facts, words))),
                _join((*words.office_work, _leaving(purpose, language))),
                _transfers(facts, words),
                _join(words.office_measures),
            ),
        )
        for purpose in registry
        if "helper" in purpose.recipients
    )


def record_page(facts: Facts, language: Language, registry: Registry = PURPOSES) -> Page:
    """The operator's record as a page."""
    words = ACTIVITY_WORDS[language]
    listed = activities(facts, language, registry)
    return _page(words.title.format(site=facts.site), words.fields, listed, facts, language)


def office_page(facts: Facts, language: Language, registry: Registry = PURPOSES) -> Page:
    """The privacy office's record as a page."""
    words = ACTIVITY_WORDS[language]
    listed = office_activities(facts, language, registry)
    return _page(
        words.office_title.format(operator=facts.helper_operator), words.office_fields, listed, facts, language
    )


def record_csv(facts: Facts, language: Language, registry: Registry = PURPOSES) -> str:
    """The operator's record as CSV: one row an activity, one column a letter."""
    words = ACTIVITY_WORDS[language]
    return _csv((words.activity, *words.fields), activities(facts, language, registry))


def office_csv(facts: Facts, language: Language, registry: Registry = PURPOSES) -> str:
    """The privacy office's record as CSV."""
    words = ACTIVITY_WORDS[language]
    return _csv((words.activity, *words.office_fields), office_activities(facts, language, registry))


def _of_purpose(purpose: Purpose, facts: Facts, language: Language) -> Activity:
    words, text = ACTIVITY_WORDS[language], purpose.text(language)
    basis = words.on_basis.format(basis=references(language, purpose.legal_references))
    data = data_of(purpose, language)
    return Activity(
        text.title,
        (
            _join(_parties(facts, words)),
            _join((text.explanation, basis, words.off_until)),
            _join((words.subjects, f"{data[:1].upper()}{data[1:]}.", text.reads)),
            _join((*_recipients(purpose, facts, language), _leaving(purpose, language))),
            _transfers(facts, words),
            _join((words.device_days.format(days=purpose.retention_days), *_records(purpose, facts, language))),
            _join(words.measures),
        ),
    )


def _on_the_device(facts: Facts, language: Language) -> Activity:
    words, notice = ACTIVITY_WORDS[language], NOTICE_WORDS[language]
    held = (record.text(language) for record in DEVICE_RECORDS)
    left = (record.text(language) for record in DEVICE_RECORDS if not record.erased)
    return Activity(
        words.device_title,
        (
            _join(_parties(facts, words)),
            words.device_purpose,
            _join((words.device_subjects, *held, *(item.text(language) for item in BROWSER_RECORDS))),
            words.device_recipients,
            _transfers(facts, words),
            _join((words.device_limits, notice.device_left, *left)),
            words.measures[0],
        ),
    )


def _of_proof(facts: Facts, words: ActivityWords) -> Activity:
    return Activity(
        words.proof_title,
        (
            _join(_parties(facts, words)),
            words.proof_purpose,
            words.proof_data,
            _join((words.proof_recipients, *_hosting(facts, words))),
            _transfers(facts, words),
            words.proof_days.format(receipts_days=facts.receipts_days),
            _join(words.measures[-1:]),
        ),
    )


def _parties(facts: Facts, words: ActivityWords) -> Iterable[str]:
    yield words.controller.format(
        name=facts.controller_name, address=facts.controller_address, contact=facts.controller_contact
    )
    if facts.helper_role == "joint_controller":
        yield _office(facts, words)
    if facts.controller_representative:
        yield words.representative.format(representative=facts.controller_representative)
    yield words.officer.format(officer=facts.officer_contact)


def _office(facts: Facts, words: ActivityWords) -> str:
    return words.office.format(
        operator=facts.helper_operator,
        address=facts.helper_address,
        contact=facts.helper_contact,
        role=dict(words.roles)[facts.helper_role],
    )


def _recipients(purpose: Purpose, facts: Facts, language: Language) -> Iterable[str]:
    words = ACTIVITY_WORDS[language]
    yield words.recipients.format(recipients=recipients_of(purpose, language))
    if "helper" in purpose.recipients and facts.helper_role == "processor":
        yield _office(facts, words)
    yield from _hosting(facts, words)
    if purpose.leaves == "nothing":
        yield words.page


def _records(purpose: Purpose, facts: Facts, language: Language) -> Iterable[str]:
    told = server_records(facts, language)
    return (told[record] for record in purpose.records)


def _leaving(purpose: Purpose, language: Language) -> str:
    return purpose.text(language).leaves


def _hosting(facts: Facts, words: ActivityWords) -> tuple[str, ...]:
    return (words.hosting.format(hosting=facts.hosting),) if facts.hosting else ()


def _transfers(facts: Facts, words: ActivityWords) -> str:
    return facts.transfers or words.no_transfers


def _join(sentences: Iterable[str]) -> str:
    return " ".join(sentences)


def _page(title: str, letters: tuple[str, ...], listed: Iterable[Activity], facts: Facts, language: Language) -> Page:
    words = ACTIVITY_WORDS[language]
    blocks: list[Block] = [
        Paragraph(words.dated.format(date=facts.updated.isoformat(), site=facts.site)),
        Paragraph(dict(WORDING[language].modes)[facts.mode]),
        Paragraph(words.authority_note.format(name=facts.authority_name, contact=facts.authority_contact)),
    ]
    for activity in listed:
        rows = tuple(zip(letters, activity.entries, strict=True))
        blocks += [Heading(activity.title), Table((words.field, words.entry), rows)]
    return Page(language, title, tuple(blocks), facts.origin)


def _csv(header: tuple[str, ...], listed: Iterable[Activity]) -> str:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(header)
    writer.writerows((activity.title, *activity.entries) for activity in listed)
    return _BYTE_ORDER_MARK + lines.getvalue()
