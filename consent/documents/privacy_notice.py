"""The privacy notice (GDPR Art. 13), in the order of the questions that a person has."""

from __future__ import annotations

from collections.abc import Iterator

from consent.device_records import BROWSER_RECORDS, DEVICE_RECORDS
from consent.documents.facts import Facts
from consent.documents.pages import Block, Bullets, Heading, Page, Paragraph, Table
from consent.documents.words import (
    NOTICE_WORDS,
    NoticeWords,
    budget_sentences,
    data_of,
    recipients_of,
    references,
    server_records,
)
from consent.explanations import EXPLANATIONS, sights
from consent.purposes import PURPOSES
from consent.receipts import DEFAULT_VALID_DAYS
from consent.registry import Language, Purpose, Registry
from consent.wording import WORDING


def privacy_notice(facts: Facts, language: Language, registry: Registry = PURPOSES) -> Page:
    """The notice that the site's operator publishes."""
    words = NOTICE_WORDS[language]
    parts = (_who, _purposes, _sights, _retention, _on_the_device, _budget, _rights, _rest)
    blocks = (
        Paragraph(words.dated.format(date=facts.updated.isoformat())),
        *(block for part in parts for block in part(facts, language, registry)),
    )
    return Page(language, words.title.format(site=facts.site), blocks, facts.origin)


def _who(facts: Facts, language: Language, _: Registry) -> Iterator[Block]:
    words = NOTICE_WORDS[language]
    yield Heading(words.short)
    yield Bullets((*words.in_short, EXPLANATIONS[language].refusal))
    yield Heading(words.controller)
    yield Paragraph(f"{facts.controller_name}, {facts.controller_address}")
    lines = [
        words.contact.format(contact=facts.controller_contact),
        words.officer.format(officer=facts.officer_contact),
    ]
    if facts.controller_representative:
        lines.append(words.representative.format(representative=facts.controller_representative))
    yield Bullets(tuple(lines))


def _purposes(facts: Facts, language: Language, registry: Registry) -> Iterator[Block]:
    del facts
    words = NOTICE_WORDS[language]
    yield Heading(words.purposes)
    yield Paragraph(words.purposes_lead)
    for purpose in registry:
        text = purpose.text(language)
        yield Heading(text.title, 3)
        yield Paragraph(text.explanation)
        yield Bullets(_lines(purpose, language, words))


def _lines(purpose: Purpose, language: Language, words: NoticeWords) -> tuple[str, ...]:
    text = purpose.text(language)
    return (
        words.data.format(data=data_of(purpose, language)),
        words.reads.format(reads=text.reads),
        words.leaves.format(leaves=text.leaves),
        words.basis.format(basis=references(language, purpose.legal_references)),
        words.recipients.format(recipients=recipients_of(purpose, language)),
        words.kept.format(days=purpose.retention_days),
        words.refusal.format(refusal=text.refusal),
    )


def _sights(facts: Facts, language: Language, _: Registry) -> Iterator[Block]:
    words = NOTICE_WORDS[language]
    yield Heading(words.sights)
    yield Table(words.sights_columns, tuple((sight.name, sight.sees) for sight in sights(language, facts.mode)))
    yield Paragraph(
        words.helper.format(operator=facts.helper_operator, address=facts.helper_address, contact=facts.helper_contact)
    )
    if facts.hosting:
        yield Paragraph(words.hosting.format(hosting=facts.hosting))
    yield Heading(words.modes)
    yield Paragraph(dict(WORDING[language].modes)[facts.mode])
    yield Heading(words.transfers)
    yield Paragraph(facts.transfers or words.no_transfers)


def _retention(facts: Facts, language: Language, registry: Registry) -> Iterator[Block]:
    words, records = NOTICE_WORDS[language], server_records(facts, language)
    held = tuple(record for record in records if any(record in purpose.records for purpose in registry))
    yield Heading(words.retention)
    yield Bullets(
        (
            *(
                words.retention_device.format(title=purpose.text(language).title, days=purpose.retention_days)
                for purpose in registry
            ),
            words.retention_receipt.format(valid_days=DEFAULT_VALID_DAYS),
            *(records[record] for record in held),
        )
    )


def _on_the_device(facts: Facts, language: Language, _: Registry) -> Iterator[Block]:
    del facts
    words = NOTICE_WORDS[language]
    yield Heading(words.device, 3)
    for lead, erased in ((words.device_erased, True), (words.device_left, False)):
        yield Paragraph(lead)
        yield Bullets(tuple(record.text(language) for record in DEVICE_RECORDS if record.erased == erased))
    yield Heading(words.browser, 3)
    yield Paragraph(words.browser_lead)
    yield Bullets(tuple(item.text(language) for item in BROWSER_RECORDS))


def _budget(facts: Facts, language: Language, _: Registry) -> Iterator[Block]:
    yield Heading(NOTICE_WORDS[language].budget)
    for sentence in budget_sentences(facts, language):
        yield Paragraph(sentence)


def _rights(facts: Facts, language: Language, _: Registry) -> Iterator[Block]:
    words, told = NOTICE_WORDS[language], EXPLANATIONS[language]
    yield Heading(words.rights)
    yield Table(words.rights_columns, tuple((right.title, right.article, right.how) for right in told.rights))
    yield Heading(words.withdrawal)
    yield Paragraph(WORDING[language].withdrawal)
    yield Paragraph(told.undone)
    yield Heading(words.complaint)
    yield Paragraph(
        f"{told.complaint} {words.complaint_at.format(name=facts.authority_name, contact=facts.authority_contact)}"
    )


def _rest(facts: Facts, language: Language, _: Registry) -> Iterator[Block]:
    del facts
    words, told = NOTICE_WORDS[language], EXPLANATIONS[language]
    for heading, texts in (
        (words.duty, (told.refusal,)),
        (words.automated, (told.automated,)),
        (words.source, (words.source_text,)),
        (words.people, (told.children, told.guests, told.private_window)),
        (words.signal, (WORDING[language].signal_rule,)),
    ):
        yield Heading(heading)
        yield from (Paragraph(text) for text in texts)
