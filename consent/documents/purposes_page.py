"""The page of purposes for whoever builds on Hearthside: both languages and every fact of the registry on one page."""

from __future__ import annotations

from consent.documents.words import data_of, recipients_of
from consent.purposes import PURPOSES
from consent.registry import DPV, DPV_PERSONAL_DATA, LANGUAGES, Language, Purpose, Registry
from consent.wording import WORDING

_HEADING = """# What consent is asked for

This page is generated from the registry of purposes (`consent.documents.purposes_page`); do not edit it by hand.
Every purpose is off until a person grants it. The legal basis of each is consent ({references}). No purpose
decides anything automatically that has a legal or similarly significant effect.

Policy hash: `{hash}`
"""
_LANGUAGE_NAMES: dict[Language, str] = {"en": "English", "de": "Deutsch"}
_LABELS: dict[Language, tuple[str, str, str]] = {
    "en": ("Data: ", "Recipients: ", "If you say no: "),
    "de": ("Daten: ", "Empfänger: ", "Wenn Sie Nein sagen: "),
}


def purposes_page(registry: Registry = PURPOSES) -> str:
    """The text of ``docs/consent/purposes.md``."""
    references = "; ".join(sorted({each for purpose in registry for each in purpose.legal_references}))
    parts = [_HEADING.format(hash=registry.hash.hex(), references=references), *_overview(registry), ""]
    for language in LANGUAGES:
        parts.append(f"## {_LANGUAGE_NAMES[language]}\n")
        parts.extend(_section(purpose, language) for purpose in registry)
    return "\n".join(parts).rstrip() + "\n"


def _overview(registry: Registry) -> list[str]:
    rows = [
        "| purpose | version | signals read | leaves the device | kept (days) |",
        "|---|---|---|---|---|",
        *(
            f"| `{p.id}` | {p.version} | {', '.join(p.signals)} | {_form(p, 'en')} | {p.retention_days} |"
            for p in registry
        ),
        "",
        f"In terms of the W3C Data Privacy Vocabulary (`dpv:` is `{DPV}`, `pd:` is `{DPV_PERSONAL_DATA}`):",
        "",
        "| purpose | term | personal data | recipients | a server may hold |",
        "|---|---|---|---|---|",
    ]
    for p in registry:
        terms = ", ".join(_short(category.iri) for category in p.categories)
        rows.append(
            f"| `{p.id}` | {_short(p.vocabulary)} | {terms} | {', '.join(p.recipients)} | {', '.join(p.records)} |"
        )
    return rows


def _section(purpose: Purpose, language: Language) -> str:
    text = purpose.text(language)
    data, recipients, refusal = _LABELS[language]
    lines = (
        text.explanation,
        data + data_of(purpose, language) + ".",
        text.reads,
        text.leaves,
        recipients + recipients_of(purpose, language) + ".",
        WORDING[language].retention.format(days=purpose.retention_days),
        refusal + text.refusal,
    )
    return f"### {text.title} (`{purpose.id}`)\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _form(purpose: Purpose, language: Language) -> str:
    return dict(WORDING[language].leaves)[purpose.leaves]


def _short(iri: str) -> str:
    return iri.replace(DPV_PERSONAL_DATA, "pd:").replace(DPV, "dpv:")
