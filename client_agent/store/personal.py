"""Reading and deleting what is about a person, table by table, as ``holdings`` lists it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from client_agent.store.database import Database
from client_agent.store.holdings import PERSONAL, Holding
from client_agent.store.traces import note_deletion

_OF_TABLE = {holding.table: holding for holding in PERSONAL}


class Personal:
    """Rows about a person in every personal table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, table: str, whose: Sequence[str]) -> Iterator[dict[str, Any]]:
        """What an export holds of a table, by column, in the order in which it came.

        Args:
            table: one of ``holdings.PERSONAL``.
            whose: participant ids or a name, whichever says whom the table's rows are about.
        """
        holding = _OF_TABLE[table]
        order = "sequence" if "sequence" in holding.withheld else "1, 2"
        statement = f"SELECT {', '.join(holding.columns)} FROM {table} WHERE {holding.whose} = ? ORDER BY {order}"  # noqa: S608 - constants
        for one in whose:
            found = self._database.fetch(statement, (one,))
            yield from (dict(zip(holding.columns, row, strict=True)) for row in found)

    def purposes_and_sizes(self, participant_id: str) -> dict[tuple[bytes, int], tuple[str | None, int]]:
        """By study and round: the purpose and the size in bytes of a report that is still kept here."""
        found = self._database.fetch(
            "SELECT reports.study_hash, reports.round, purpose, length(frame) FROM reports"
            " LEFT JOIN rounds USING (study_hash, round) WHERE participant_id = ?",
            (participant_id,),
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in found}

    def delete(self, participant_id: str) -> None:
        """Delete everything about one person on one site. Part of a transaction."""
        self._delete([holding for holding in PERSONAL if holding.whose == "participant_id"], participant_id)

    def delete_name(self, person: str) -> None:
        """Delete what is kept by a person's local name. Part of a transaction."""
        self._delete([holding for holding in PERSONAL if holding.whose != "participant_id"], person)

    def _delete(self, holdings: Sequence[Holding], whose: str) -> None:
        note_deletion(self._database, of_person=True)
        for holding in holdings:
            self._database.run(f"DELETE FROM {holding.table} WHERE {holding.whose} = ?", (whose,))  # noqa: S608 - constants
