"""What was done with a token, told to everybody: an entry of kind ``action`` in the transparency log."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.leader.log import TransparencyLog
from aggregator.storage.actions import Action
from aggregator.storage.database import Change
from aggregator.storage.leader import LeaderStore
from aggregator.storage.log import log_size, require_continued
from models.wire.log import log_entry
from privacy.crypto import canonical_json

_UNNAMED: Final = frozenset({"revoke-device", "create-token", "revoke-token"})
"""Actions whose subject is nobody's business but the auditor's."""


def action_entry(action: Action) -> bytes:
    """The body of a log entry: role, action, study and time. No token, no label, no device, no name."""
    subject = "" if action.action in _UNNAMED else action.subject
    return canonical_json({"role": action.role, "action": action.action, "subject": subject, "at_ms": action.at_ms})


async def announce(log: TransparencyLog, change: Change, action: Action) -> None:
    """Append an action to the log, within the change that records what came of it."""
    await log.append(change, "action", action_entry(action))


async def append_action(connection: AsyncConnection, action: Action) -> None:
    """The same from the command line: no tree is at hand, and services that run read the entry like any other's.

    Raises:
        LogHeldBack: others may have seen entries that are not here.
    """
    await require_continued(connection)
    index = await log_size(connection)
    await LeaderStore().add_log_entry(connection, index, log_entry("action", action_entry(action)))
