"""What the visitor's page says at one moment, gathered for its template; reads the agent and changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from client_agent.decisions import decision_for
from client_agent.gateway.ports import Sent, Visitor
from client_agent.history import Recorded
from client_agent.pages.answers import answers, shortened, taken_back
from client_agent.pages.languages import NAMES, general, moment, number, percent, size
from client_agent.pages.texts import TEXTS
from client_agent.store.contributions import Contribution
from consent import PURPOSES, Signals, notice_for
from consent.registry import Language
from consent.wording import WORDING, Mode

RECENT_EVENTS: Final = 12
RECENT_CHOICES: Final = 20
_WORDLESS_EPSILON: Final = 12.0
"""Above it the factor e^epsilon says nothing that a person could use."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a page is shown, whatever is on it.

    Attributes:
        site: the site's name.
        site_url: where it is reached through the gateway.
        language: of everything on the page.
        mode: where the agent runs.
        form: what each form carries, so that a form of one person is never another's answer; empty where one is alone.
    """

    site: str
    site_url: str
    language: Language
    mode: Mode
    form: str

    def words(self) -> dict[str, Any]:
        """The words and the language's ways of writing, for a template."""
        language, texts = self.language, TEXTS[self.language]

        def factor(epsilon: float) -> str:
            figure = general(math.exp(min(epsilon, _WORDLESS_EPSILON)), language, 3)
            return figure if epsilon <= _WORDLESS_EPSILON else texts.page["factor_any"]

        return {
            "t": texts.page,
            "rules": texts.rules,
            "kinds_of_event": texts.events,
            "language": language,
            "languages": NAMES,
            "site": self.site,
            "site_url": self.site_url,
            "mode": self.mode,
            "form": self.form,
            "titles": {purpose.id: purpose.text(language).title for purpose in PURPOSES},
            "number": lambda value, digits=0: number(value, language, digits),
            "general": lambda value: general(value, language),
            "percent": lambda share: percent(share, language),
            "moment": lambda at_ms: moment(at_ms, language),
            "size": lambda size_bytes: size(size_bytes, language),
            "factor": factor,
        }


def facts(visitor: Visitor, signals: Signals, shown: Shown) -> dict[str, Any]:
    """Everything on the visitor's own page."""
    contributions = visitor.contributions()
    return {
        **_choices(visitor, signals, shown, contributions),
        **_concluded(visitor, signals),
        **_left(visitor, shown, contributions),
    }


def _choices(visitor: Visitor, signals: Signals, shown: Shown, contributions: Sequence[Contribution]) -> dict[str, Any]:
    state, history = visitor.consent(), visitor.history()
    lines = answers(state, signals, visitor.now_ms() // 1_000, shown.language)
    return {
        "notice": notice_for(state, signals, language=shown.language, mode=shown.mode),
        "labels": WORDING[shown.language],
        "mode_text": dict(WORDING[shown.language].modes)[shown.mode],
        "gpc": signals.gpc,
        "log_holds": visitor.log_holds(),
        "gpc_applied": [line.at for line in history if line.act == "gpc"],
        "answers": lines,
        "again": sum(line.again for line in lines),
        "allowed": sum(line.yes for line in lines),
        "history": history[:RECENT_CHOICES],
        "history_more": len(history) > RECENT_CHOICES,
        "uses_of": lambda line: _uses(line, shown.language),
        "back": taken_back(history, contributions),
        "any_granted": bool(state.granted),
    }


def _uses(line: Recorded, language: Language) -> str:
    """The purposes of one line of the record, by name."""
    if set(line.purposes) >= {purpose.id for purpose in PURPOSES}:
        return TEXTS[language].page["all_uses"]
    titles = {purpose.id: purpose.text(language).title for purpose in PURPOSES}
    quoted = "“{}”" if language == "en" else "„{}“"
    return ", ".join(quoted.format(titles.get(name, name)) for name in line.purposes)


def _concluded(visitor: Visitor, signals: Signals) -> dict[str, Any]:
    events, prepared = visitor.events(), visitor.bundle()
    return {
        "decision": decision_for(visitor, signals),
        "bundle": prepared.bundle if prepared else None,
        "module_titles": {m.module_id: m.title for m in prepared.bundle.modules} if prepared else {},
        "segment_titles": {s.segment_id: s.title for s in prepared.bundle.segments} if prepared else {},
        "kinds": Counter(event.kind for event in events).most_common(),
        "event_count": len(events),
        "recent": sorted(events, key=lambda event: -event.at_ms)[:RECENT_EVENTS],
    }


def _left(visitor: Visitor, shown: Shown, contributions: Sequence[Contribution]) -> dict[str, Any]:
    sent = visitor.sent()
    return {
        "sent": sent,
        "sent_total": sum(row.size_bytes for row in sent),
        "left": _by_purpose(sent, shown.language),
        "releases": [item for item in contributions if item.may_be_in_release],
        "shortened": shortened,
        "budget": visitor.budget(),
    }


def _by_purpose(sent: Sequence[Sent], language: Language) -> list[dict[str, Any]]:
    """What left by purpose, the purposes for which nothing did among them."""
    by_purpose = {row.purpose: row for row in sent}
    known = {purpose.id: purpose for purpose in PURPOSES}
    return [
        {
            "title": known[name].text(language).title if name in known else name,
            "never": name in known and known[name].leaves == "nothing",
            "reports": row.reports if row else 0,
            "size_bytes": row.size_bytes if row else 0,
            "each": _each(row, language) if row else "",
        }
        for name in [*known, *(name for name in by_purpose if name not in known)]
        for row in (by_purpose.get(name),)
    ]


def _each(row: Sent, language: Language) -> str:
    """The bytes of one report; every report of a study has the same, studies differ."""
    share, rest = divmod(row.size_bytes, max(row.reports, 1))
    mean = number(round(row.size_bytes / max(row.reports, 1)), language)
    return TEXTS[language].page["left_each"].format(mean=mean) if rest else number(share, language)
