"""Documents generated from the registry. They are committed; a test fails when one differs from the code."""

from __future__ import annotations

from consent.purposes import PURPOSES
from consent.registry import LANGUAGES, Language, Purpose, Registry
from consent.wording import WORDING

_HEADING = """# What consent is asked for

This page is generated from the registry of purposes (`consent.documents.purposes_page`); do not edit it by hand.
Every purpose is off until a person grants it. The legal basis of each is consent (GDPR Art. 6(1)(a); ePrivacy
Directive Art. 5(3)).

Policy hash: `{hash}`
"""
_LANGUAGE_NAMES: dict[Language, str] = {"en": "English", "de": "Deutsch"}


def purposes_page(registry: Registry = PURPOSES) -> str:
    """The text of ``docs/consent-purposes.md``."""
    overview = [
        "| purpose | version | signals read | leaves the device | kept (days) |",
        "|---|---|---|---|---|",
        *(
            f"| `{p.id}` | {p.version} | {', '.join(p.signals)} | {_form(p, 'en')} | {p.retention_days} |"
            for p in registry
        ),
    ]
    parts = [_HEADING.format(hash=registry.hash.hex()), "\n".join(overview), ""]
    for language in LANGUAGES:
        parts.append(f"## {_LANGUAGE_NAMES[language]}\n")
        parts.extend(_section(purpose, language) for purpose in registry)
    return "\n".join(parts).rstrip() + "\n"


def _section(purpose: Purpose, language: Language) -> str:
    text = purpose.text(language)
    retention = WORDING[language].retention.format(days=purpose.retention_days)
    lines = (text.explanation, text.reads, text.leaves, retention)
    return f"### {text.title} (`{purpose.id}`)\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _form(purpose: Purpose, language: Language) -> str:
    return dict(WORDING[language].leaves)[purpose.leaves]
