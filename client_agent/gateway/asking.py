"""When the site's banner asks: before the first choice, and once when an answer has lapsed. A no is never asked about.

An answer lapses when its purpose has changed since, or when a yes is too old. Each is asked about for as long as one
visit lasts, counted from the first page that was told of it, and then no more while the agent runs. What was asked is
in memory alone: a page that looks is a GET, and stores nothing.
"""

from __future__ import annotations

import threading
from typing import Final

from client_agent.pages.languages import number
from client_agent.pages.texts import TEXTS
from consent import ConsentState, lapsed
from consent.registry import Language

VISIT_MS: Final = 30 * 60_000


class Questions:
    """What the people here were asked on the site since the agent started. Safe to call from threads."""

    def __init__(self) -> None:
        self._first_ms: dict[str, dict[tuple[str, bytes], int]] = {}
        self._lock = threading.Lock()

    def due(self, state: ConsentState, now_ms: int) -> int:
        """How many lapsed answers the banner is to ask for now.

        Args:
            state: what stands for the person.
            now_ms: Unix milliseconds.
        """
        answers = lapsed(state, now_ms // 1_000)
        with self._lock:
            known = self._first_ms.get(state.parties.person, {})
            first = {(was.purpose, was.receipt): known.get((was.purpose, was.receipt), now_ms) for was in answers}
            self._first_ms[state.parties.person] = first
        return len(answers) if any(now_ms - at < VISIT_MS for at in first.values()) else 0


def to_answer(count: int, language: Language) -> str:
    """Why the banner asks again, in a sentence or two."""
    page = TEXTS[language].page
    return page["to_answer_one"] if count == 1 else page["to_answer_more"].format(count=number(count, language))
