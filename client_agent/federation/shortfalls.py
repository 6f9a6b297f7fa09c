"""Studies that this version of the agent cannot answer: it sends nulls for them, and says so in its status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from client_agent.store import AgentStore
from models.wire.features import FEATURES

UPDATE: Final = "unsupported, update the agent"
"""What the status says of a study that this version sends nothing but nulls for."""
UNREAD: Final = "(unread)"
"""Stands for rounds whose very form cannot be read: for them not even a null can be made."""
_FACT: Final = "unsupported"
_REMEMBERED: Final = 64


def note(store: AgentStore, lacked: Mapping[str, list[str]], unread_rounds: int) -> None:
    """Remember what was found in a poll.

    Args:
        store: the agent's.
        lacked: by study, what it needs and this version cannot do.
        unread_rounds: rounds that could not be read at all.
    """
    known = shortfalls(store)
    fresh = {**lacked, UNREAD: ["a form of work that cannot be read"]} if unread_rounds else dict(lacked)
    merged = dict(list({**known, **fresh}.items())[-_REMEMBERED:])
    if merged != known:
        with store.transaction():
            store.facts.put(_FACT, json.dumps([sorted(FEATURES), merged]).encode())


def shortfalls(store: AgentStore) -> dict[str, list[str]]:
    """By study, what it needs and this version cannot do; forgotten once the agent can do more."""
    stored = store.facts.get(_FACT)
    if stored is None:
        return {}
    features, found = json.loads(stored)
    return dict(found) if features == sorted(FEATURES) else {}
