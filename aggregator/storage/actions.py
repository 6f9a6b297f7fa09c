"""The record of actions: who did what with which token, when, and what came of it. Rows are only ever added.

Each row names the digest of the one before it, so that an auditor who has seen a row notices whether anything before
it was changed or taken out. A row holds no raw data, no token and no address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import MetaData, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from privacy.crypto import canonical_json, parse_canonical

NO_ROW: Final = bytes(32)
"""What the first row names as the one before it."""
COMMAND_LINE: Final = "command line"
"""Who acts where no token does: whoever has the service's folder."""
ASKED: Final = "asked"
"""The outcome of a row that is written before the action: one without a later row was cut short."""


@dataclass(frozen=True, slots=True)
class Action:
    """One row.

    Attributes:
        token_id: names the token; empty for the command line.
        label: what the operator calls the token, or ``COMMAND_LINE``.
        role: the token's scopes, separated by commas.
        action: what was done, in the words of the table of access.
        subject: on what: a study, a token's id, a device's id.
        outcome: ``asked``, ``done``, or the code of a problem.
        at_ms: Unix milliseconds.
    """

    token_id: str
    label: str
    role: str
    action: str
    subject: str
    outcome: str
    at_ms: int

    def body(self, previous: bytes) -> bytes:
        """Canonical JSON, with the digest of the row before it."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return canonical_json({**fields, "previous": previous.hex()})


class ActionStore:
    """The table of actions.

    Args:
        metadata: the leader's or the helper's.
    """

    def __init__(self, metadata: MetaData) -> None:
        self._actions: Table = metadata.tables["actions"]

    async def append(self, connection: AsyncConnection, action: Action) -> None:
        """Add a row. Part of a change: rows have no gap."""
        newest = (await connection.execute(select(func.max(self._actions.c.action_index)))).scalar_one()
        previous = NO_ROW
        if newest is not None:
            here = self._actions.c.action_index == newest
            previous = row_digest((await connection.execute(select(self._actions.c.body).where(here))).scalar_one())
        values = {"action_index": 0 if newest is None else newest + 1, "body": action.body(previous)}
        await connection.execute(self._actions.insert().values(values))

    async def page(self, connection: AsyncConnection, start: int, count: int) -> list[bytes]:
        """Rows from one on, in order."""
        query = select(self._actions.c.body).where(self._actions.c.action_index >= start)
        return list((await connection.execute(query.order_by(self._actions.c.action_index).limit(count))).scalars())

    async def size(self, connection: AsyncConnection) -> int:
        """How many rows there are."""
        newest = (await connection.execute(select(func.max(self._actions.c.action_index)))).scalar_one()
        return 0 if newest is None else int(newest) + 1


def row_digest(body: bytes) -> bytes:
    """What the next row names (32 bytes)."""
    return hashlib.sha256(body).digest()


def verify_rows(bodies: Sequence[bytes], previous: bytes = NO_ROW) -> None:
    """Return if rows follow on one another. Run by an auditor, over what was read page by page.

    Raises:
        ValueError: one was changed, added or taken out.
    """
    for index, body in enumerate(bodies):
        if parse_canonical(body)["previous"] != previous.hex():
            raise ValueError(f"row {index} does not follow on the one before it")
        previous = row_digest(body)
