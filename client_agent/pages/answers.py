"""The visitor's answers as the page shows them: one line a purpose, the record of choices, and what was taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from client_agent.history import Recorded
from client_agent.store.contributions import Contribution
from consent import PURPOSES, ConsentState, Purpose, Rule, Signals, decide, lapsed
from consent.registry import Language, PurposeText

Badge = Literal["on", "off", "open", "changed", "expired", "signal"]
_BADGES: Final[dict[Rule, Badge]] = {
    "granted": "on",
    "not_granted": "open",
    "purpose_changed": "changed",
    "expired": "expired",
    "gpc_opt_out": "signal",
}
_SHOWN_RELEASES: Final = 25


@dataclass(frozen=True, slots=True)
class Answer:
    """One purpose beside its two buttons.

    Attributes:
        id: the purpose's id.
        text: its words in the language shown.
        days: how long what it needs is kept on the device.
        rule: the rule of the policy that decides now.
        badge: the same in a word.
        yes: the standing answer is yes; no button is pressed where there is none.
        no: the standing answer is no.
        again: it was answered, and has to be answered again: it changed, or the answer is too old.
        since: Unix seconds of a yes in force.
        until: Unix seconds at which it ends.
    """

    id: str
    text: PurposeText
    days: int
    rule: Rule
    badge: Badge
    yes: bool
    no: bool
    again: bool
    since: int | None
    until: int | None


def answers(state: ConsentState, signals: Signals, now: int, language: Language) -> list[Answer]:
    """A line for every declared purpose, in the registry's order.

    Args:
        state: what stands.
        signals: what accompanies this moment.
        now: Unix seconds.
        language: of the words.
    """
    again = frozenset(answer.purpose for answer in lapsed(state, now))
    return [_answer(purpose, state, signals, now, language, again=purpose.id in again) for purpose in PURPOSES]


def _answer(
    purpose: Purpose, state: ConsentState, signals: Signals, now: int, language: Language, *, again: bool
) -> Answer:
    decided, grant = decide("use", purpose.id, state, signals, now), state.grant_of(purpose.id)
    declined = state.declined_of(purpose.id)
    rule: Rule = "purpose_changed" if again and decided.rule == "declined" else decided.rule
    return Answer(
        id=purpose.id,
        text=purpose.text(language),
        days=purpose.retention_days,
        rule=rule,
        badge=_BADGES.get(rule, "off"),
        yes=decided.allowed,
        no=declined is not None and declined.version == purpose.version and not decided.allowed,
        again=again,
        since=grant.issued_at if grant and decided.allowed else None,
        until=grant.expires_at if grant and decided.allowed else None,
    )


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The latest withdrawal, and what became of what it concerned.

    Attributes:
        record: the choice itself.
        unsent: reports that were deleted on this device before they left.
        sent: reports that had left and were taken back at the services.
        kept_out: those of them that the helper has signed to be in no sum.
        waiting: those of them for which it has not answered.
        fixed: reports that may be in a release, the latest first; nulls are among them and look the same.
    """

    record: Recorded
    unsent: int
    sent: int
    kept_out: int
    waiting: int
    fixed: tuple[Contribution, ...]


def taken_back(history: Sequence[Recorded], contributions: Sequence[Contribution]) -> TakenBack | None:
    """What the person took back last; None if nothing was, or if all of it was allowed again since."""
    latest = next((line for line in history if line.act in {"grant", "withdrawal"}), None)
    if latest is None or latest.act != "withdrawal":
        return None
    about = [item for item in contributions if item.purpose in latest.purposes]
    recalled = [item for item in about if item.outcome in {"kept_out", "removed", "possible"}]
    return TakenBack(
        record=latest,
        unsent=sum(item.outcome == "unsent" for item in about),
        sent=len(recalled),
        kept_out=sum(item.outcome == "kept_out" for item in recalled),
        waiting=sum(item.confirmation is None for item in recalled),
        fixed=tuple(item for item in about if item.may_be_in_release),
    )


def shortened(releases: Sequence[Contribution]) -> tuple[Sequence[Contribution], int]:
    """The releases that the page lists, and how many more there are."""
    return releases[:_SHOWN_RELEASES], max(0, len(releases) - _SHOWN_RELEASES)
