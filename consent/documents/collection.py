"""All documents of one operator at once: names and texts, ready to be written or compared."""

from __future__ import annotations

import json
from collections.abc import Iterable

from consent.documents.activities import office_csv, office_page, record_csv, record_page
from consent.documents.assessment import assessment_page
from consent.documents.facts import Facts
from consent.documents.label import label_html, label_json
from consent.documents.pages import html, markdown
from consent.documents.privacy_notice import privacy_notice
from consent.documents.purposes_page import purposes_page
from consent.purposes import POLICY_UPDATED, PURPOSES
from consent.registry import LANGUAGES, Language, Registry
from consent.signals import well_known_gpc


def generate(facts: Facts, registry: Registry = PURPOSES, languages: Iterable[Language] = LANGUAGES) -> dict[str, str]:
    """Every document by its name; the same for the same facts and registry, byte for byte.

    The impact-assessment pack is in English whatever the languages; the page of purposes is in all of them.
    """
    documents = {
        "purposes.md": purposes_page(registry),
        "impact-assessment.en.md": markdown(assessment_page(facts, registry)),
        ".well-known/gpc.json": json.dumps(well_known_gpc(max(facts.updated, POLICY_UPDATED))) + "\n",
    }
    for language in languages:
        documents |= _in_language(facts, language, registry)
    return dict(sorted(documents.items()))


def no_longer_made(facts: Facts, languages: Iterable[Language] = LANGUAGES) -> frozenset[str]:
    """Names that other facts would have made, and these do not: a file of that name is left over."""
    every = {f"record-of-processing-helper.{language}.{kind}" for language in languages for kind in ("md", "csv")}
    return frozenset(every if facts.helper_role != "processor" else ())


def _in_language(facts: Facts, language: Language, registry: Registry) -> dict[str, str]:
    notice = privacy_notice(facts, language, registry)
    documents = {
        f"privacy-notice.{language}.md": markdown(notice),
        f"privacy-notice.{language}.html": html(notice),
        f"privacy-label.{language}.html": label_html(facts, language, registry),
        f"privacy-label.{language}.json": label_json(facts, language, registry),
        f"record-of-processing.{language}.md": markdown(record_page(facts, language, registry)),
        f"record-of-processing.{language}.csv": record_csv(facts, language, registry),
    }
    if facts.helper_role == "processor":
        documents[f"record-of-processing-helper.{language}.md"] = markdown(office_page(facts, language, registry))
        documents[f"record-of-processing-helper.{language}.csv"] = office_csv(facts, language, registry)
    return documents
