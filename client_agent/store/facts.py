"""Small named values (pins, the last checkpoint, bundle metadata) and the device's own statistics."""

from __future__ import annotations

from collections.abc import Mapping

from client_agent.store.database import Database


class Facts:
    """Named values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> bytes | None:
        """The value of this name, None if there is none."""
        rows = self._database.fetch("SELECT value FROM facts WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def put(self, name: str, value: bytes) -> None:
        """Store a value, replacing an older one."""
        self._database.run(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    def count(self, name: str) -> int:
        """Raise a counter by one and return it. A counter is never lowered and none of its numbers comes twice."""
        self._database.run(
            "INSERT INTO facts VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (name,)
        )
        return self.counted(name)

    def counted(self, name: str) -> int:
        """Where a counter stands; 0 before its first count."""
        return int(self.get(name) or 0)

    def remove(self, name: str) -> None:
        """Delete a value."""
        self._database.run("DELETE FROM facts WHERE name = ?", (name,))


class Tallies:
    """Counts by purpose. They say how often this device sent nulls: they stay on the device."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, amounts: Mapping[tuple[str, str], int]) -> None:
        """Add amounts by (purpose, name)."""
        self._database.run_many(
            "INSERT INTO tallies VALUES (?, ?, ?)"
            " ON CONFLICT (purpose, name) DO UPDATE SET amount = amount + excluded.amount",
            [(purpose, name, amount) for (purpose, name), amount in amounts.items()],
        )

    def clear(self) -> None:
        """Count from 0 again. Part of the transaction that erases somebody."""
        self._database.run("DELETE FROM tallies")

    def all(self) -> dict[str, dict[str, int]]:
        """Amounts by purpose and name."""
        found: dict[str, dict[str, int]] = {}
        for purpose, name, amount in self._database.fetch("SELECT purpose, name, amount FROM tallies ORDER BY 1, 2"):
            found.setdefault(purpose, {})[name] = amount
        return found
