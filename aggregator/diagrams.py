"""Diagrams and tables of the documentation, drawn from the state machines' own tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from aggregator.made_pages import fill
from aggregator.rounds import FINAL_ROUND_STATES, ROUND_TABLE, RoundState
from aggregator.studies import DECIDED_BY_OFFICER, FINAL_STUDY_STATES, STUDY_TABLE, StudyState

_Arrow = tuple[str, str, str]


def study_diagram() -> str:
    """A study's life as a Mermaid state diagram."""
    arrows = [(state.value, event.value, after.value) for (state, event), after in STUDY_TABLE.items()]
    return _diagram(StudyState.PROPOSED, arrows, [state.value for state in StudyState if state in FINAL_STUDY_STATES])


def round_diagram() -> str:
    """A round's walk as a Mermaid state diagram."""
    arrows = [(state.value, event.value, step.state.value) for (state, event), step in ROUND_TABLE.items()]
    return _diagram(RoundState.AWAITED, arrows, [state.value for state in RoundState if state in FINAL_ROUND_STATES])


def study_table() -> str:
    """Every step of a study: from, event, to, and whose signature says so."""
    rows = (
        (state.value, event.value, after.value, "an officer" if event in DECIDED_BY_OFFICER else "the leader")
        for (state, event), after in STUDY_TABLE.items()
    )
    return _table(("in state", "happens", "then it is", "signed by"), rows)


def round_table() -> str:
    """Every step of a round: from, event, to, and what is done in the same transaction or right after it."""
    rows = (
        (state.value, event.value, step.state.value, ", ".join(effect.value for effect in step.effects))
        for (state, event), step in ROUND_TABLE.items()
    )
    return _table(("in state", "happens", "then it is", "and with it"), rows)


def parts() -> dict[str, str]:
    """What the page takes from here, by the name of its place."""
    return {
        "study diagram": study_diagram(),
        "study table": study_table(),
        "round diagram": round_diagram(),
        "round table": round_table(),
    }


def place(page: str) -> str:
    """A page with everything between its markers drawn anew.

    Raises:
        ValueError: the page lacks a place.
    """
    return fill(page, parts())


def _diagram(start: str, arrows: list[_Arrow], final: list[str]) -> str:
    return "\n".join(("```mermaid", "stateDiagram-v2", *_lines(start, arrows, final), "```"))


def _lines(start: str, arrows: list[_Arrow], final: list[str]) -> Iterator[str]:
    yield f"    [*] --> {start}"
    for (state, after), group in groupby(sorted(arrows, key=_ends(arrows)), key=lambda arrow: (arrow[0], arrow[2])):
        yield f"    {state} --> {after}: {', '.join(event for _, event, _ in group)}"
    for state in final:
        yield f"    {state} --> [*]"


def _ends(arrows: list[_Arrow]) -> Callable[[_Arrow], int]:
    """Arrows between the same two states are one line, in the order of the table."""
    order = list(dict.fromkeys((state, after) for state, _, after in arrows))
    return lambda arrow: order.index((arrow[0], arrow[2]))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
