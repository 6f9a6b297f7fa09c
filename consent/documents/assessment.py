"""The impact-assessment pack (GDPR Art. 35(7)): what can be said from the code, and what only the controller can add.

A pack, not an assessment: it is complete where software is concerned, and marks every question that it leaves open.
"""

from __future__ import annotations

from collections.abc import Iterator

from consent.documents.facts import Facts
from consent.documents.pages import Block, Bullets, Heading, Page, Paragraph, Table
from consent.documents.risks import LIMITS, NECESSITY, QUESTIONS, RISKS, Risk
from consent.documents.words import budget_sentences, data_of, recipients_of, references, server_records
from consent.explanations import EXPLANATIONS, sights
from consent.purposes import PURPOSES
from consent.registry import Registry
from consent.wording import WORDING

OPEN: str = "To be answered by the controller"
_DUTIES = (
    ("Only what is needed (Art. 5(1)(c))", "What was recorded stays on the device; a bounded vector leaves, masked."),
    ("For one purpose (Art. 5(1)(b))", "A study names its purpose; device, leader and helper refuse it for another."),
    ("No longer than needed (Art. 5(1)(e))", "Retention per purpose on the device; reports go with their round."),
    ("Lawful (Art. 6(1)(a))", "Consent per purpose, off until granted, signed, countersigned, taken back in one step."),
    ("Fair and clear (Art. 12, 13)", "One registry makes the notice, the page of choices and these documents."),
    ("Secure (Art. 32)", "Two services that each hold half; encrypted stores; keys that end with their round."),
    (
        "By design and by default (Art. 25)",
        "Caps are installed policy: a study, a server or a setting can only lower them.",
    ),
)


def assessment_page(facts: Facts, registry: Registry = PURPOSES) -> Page:
    """The pack for one site, in English."""
    parts = (_opening, _description, _necessity, _risks, _limits, _questions)
    blocks = tuple(block for part in parts for block in part(facts, registry))
    return Page("en", f"Impact-assessment pack (GDPR Art. 35): {facts.site}", blocks, facts.origin)


def _opening(facts: Facts, _: Registry) -> Iterator[Block]:
    yield Paragraph(
        f"As of {facts.updated.isoformat()}. Controller: {facts.controller_name}, {facts.controller_address}."
    )
    yield Paragraph(
        "This pack covers what the software does. It becomes an assessment when the controller has answered what is "
        f'marked "{OPEN}".'
    )


def _description(facts: Facts, registry: Registry) -> Iterator[Block]:
    yield Heading("1. The processing, described (Art. 35(7)(a))")
    yield Paragraph(
        "An agent records what happens on the site's pages, on the visitor's side. With consent it personalises pages "
        "there, and takes part in rounds: it sends a masked vector to the leader and the sealed mask to the helper. "
        "Both add noise; only the sum over many devices can be read."
    )
    yield Paragraph(dict(WORDING["en"].modes)[facts.mode])
    columns = ("purpose", "what for", "personal data", "leaves the device", "recipients", "kept on the device")
    yield Table(
        columns,
        tuple(
            (
                text.title,
                text.explanation,
                data_of(purpose, "en"),
                text.leaves,
                recipients_of(purpose, "en"),
                f"{purpose.retention_days} days",
            )
            for purpose in registry
            for text in (purpose.text("en"),)
        ),
    )
    yield Heading("Who can see what", 3)
    yield Table(("who", "what"), tuple((sight.name, sight.sees) for sight in sights("en", facts.mode)))
    yield Heading("What the servers keep", 3)
    yield Bullets(tuple(server_records(facts, "en").values()))
    yield Heading("What the results can say about one person", 3)
    yield Bullets(budget_sentences(facts, "en"))


def _necessity(facts: Facts, registry: Registry) -> Iterator[Block]:
    del facts
    basis = sorted({references("en", purpose.legal_references) for purpose in registry})
    yield Heading("2. Necessity and proportionality (Art. 35(7)(b))")
    yield Paragraph(f"Legal basis of every purpose: consent ({'; '.join(basis)}). {EXPLANATIONS['en'].automated}")
    yield Table(("principle", "how it is kept"), _DUTIES)
    yield Heading("Rights", 3)
    yield Table(
        ("right", "law", "how it is used"),
        tuple((right.title, right.article, right.how) for right in EXPLANATIONS["en"].rights),
    )
    yield _asked(NECESSITY.asks)


def _risks(facts: Facts, _: Registry) -> Iterator[Block]:
    del facts
    yield Heading("3. Risks to people, and measures (Art. 35(7)(c) and (d))")
    yield Paragraph(
        "Severity is that of the harm before any measure; likelihood is judged with the measures in place. Each "
        "measure is held by tests that fail when it stops working."
    )
    yield Table(
        ("risk", "severity", "likelihood", "what remains"),
        tuple((risk.what, risk.severity, risk.likelihood, risk.residual) for risk in RISKS),
    )
    for risk in RISKS:
        yield from _risk(risk)


def _risk(risk: Risk) -> Iterator[Block]:
    yield Heading(risk.what, 3)
    yield Bullets(
        (
            f"Harm: {risk.harm}",
            *(f"Measure: {measure}" for measure in risk.measures),
            *(f"Held by `{test}`" for test in risk.tests),
            f"Remains: {risk.residual}",
        )
    )


def _limits(facts: Facts, _: Registry) -> Iterator[Block]:
    del facts
    yield Heading("4. What is not promised")
    yield Bullets(tuple(f"{what} {words}" for what, words in LIMITS))


def _questions(facts: Facts, _: Registry) -> Iterator[Block]:
    del facts
    yield Heading("5. Open questions")
    for question in QUESTIONS:
        yield _asked(question.asks)
        yield Paragraph(f"Why here: {question.because}.")


def _asked(question: str) -> Paragraph:
    return Paragraph(f"{OPEN}: {question}", marked=True)
