"""When the site's banner asks: before the first choice, and once when an answer has lapsed or none can be believed.

An answer lapses when its purpose has changed since, or when a yes is too old. A no that still says what it said is
never asked about. Where the ledger is faulty no answer counts, be it a yes or a no, and nothing is collected; only the
person's next choice mends that, and they are asked as at the first time: a page of the site is not told why, the
agent's own page says it.

Each is asked about for as long as one visit lasts, counted from the first page that was told of it, and then no more
while the agent runs. What was asked is in memory alone: a page that looks is a GET, and stores nothing.
"""

from __future__ import annotations

import threading
from typing import Final

from client_agent.pages.languages import number
from client_agent.pages.texts import TEXTS
from consent import ConsentState, lapsed
from consent.registry import Language

VISIT_MS: Final = 30 * 60_000
_EVERYTHING: Final = ("", b"")
"""In the place of one purpose and receipt: the whole of a ledger that is not believed."""


class Questions:
    """What the people here were asked on the site since the agent started. Safe to call from threads."""

    def __init__(self) -> None:
        self._first_ms: dict[str, dict[tuple[str, bytes], int]] = {}
        self._lock = threading.Lock()

    def due(self, state: ConsentState, now_ms: int) -> int | None:
        """How many lapsed answers the banner is to ask for now; None where it asks for nothing.

        0 where it asks as at the first time: nothing was answered yet, or no answer can be believed.

        Args:
            state: what stands for the person.
            now_ms: Unix milliseconds.
        """
        answers = lapsed(state, now_ms // 1_000) if state.fault is None else ()
        asked = [(was.purpose, was.receipt) for was in answers] if state.fault is None else [_EVERYTHING]
        with self._lock:
            known = self._first_ms.get(state.parties.person, {})
            first = {name: known.get(name, now_ms) for name in asked}
            self._first_ms[state.parties.person] = first
        is_due = state.length == 0 or any(now_ms - at < VISIT_MS for at in first.values())
        return len(answers) if is_due else None


def to_answer(count: int, language: Language) -> str:
    """Why the banner asks again, in a sentence or two."""
    page = TEXTS[language].page
    return page["to_answer_one"] if count == 1 else page["to_answer_more"].format(count=number(count, language))
