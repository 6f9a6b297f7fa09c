"""The words of the agent's own pages, by language: one structure each, with the same keys (a test compares them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from client_agent.pages import texts_de, texts_en
from consent.registry import Language


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of one language.

    Attributes:
        page: the pages' own words; braces are filled in by the template.
        rules: what each rule of the consent policy means for the person, by rule.
        events: what each kind of event is called.
    """

    page: Mapping[str, str]
    rules: Mapping[str, str]
    events: Mapping[str, str]


TEXTS: Final[dict[Language, Texts]] = {
    "en": Texts(texts_en.PAGE, texts_en.RULES, texts_en.EVENTS),
    "de": Texts(texts_de.PAGE, texts_de.RULES, texts_de.EVENTS),
}
