"""What the studies that were shown here ask, in the words that officer and analyst read, too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from client_agent.store import AgentStore
from consent.registry import LANGUAGES, Language
from models.queries.summaries import summarise
from models.wire.future import FutureStudy
from models.wire.studies import Study

_FACT: Final = "studies-in-words"
_REMEMBERED: Final = 64
_NEWER: Final = {
    "en": "A question of a newer form: this version of the agent sends empty reports for it.",
    "de": "Eine Frage in neuerer Form: Diese Fassung des Agenten sendet dazu leere Berichte.",
}


def describe(store: AgentStore, studies: Iterable[Study]) -> None:
    """Keep what each study asks, of whom, what leaves the device and what it may cost; the newest are kept.

    Args:
        store: the agent's.
        studies: verified: officers approved these very bytes.
    """
    known = descriptions(store)
    fresh = {study.study_id: _words(study) for study in studies if study.study_id not in known}
    if fresh:
        kept = dict(list({**known, **fresh}.items())[-_REMEMBERED:])
        with store.transaction():
            store.facts.put(_FACT, json.dumps(kept).encode())


def descriptions(store: AgentStore) -> dict[str, dict[Language, str]]:
    """By study and language, what it asks."""
    stored = store.facts.get(_FACT)
    return {} if stored is None else dict(json.loads(stored))


def _words(study: Study) -> dict[str, str]:
    if isinstance(study, FutureStudy):
        return {language: f"{study.title}. {_NEWER[language]}" for language in LANGUAGES}
    return {language: f"{study.title}. {summarise(study, language).text()}" for language in LANGUAGES}
