"""Where the bytes of reports lie: seals and masked vectors, by far the largest part of a round.

In the database, in the rows themselves (``InRows``), or in files that the rows point into (``report_files.InFiles``).
Who reported, and that it counts, is in the row either way: bytes that no row names are nobody's report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from privacy.secure_sum import BatchRefused

if TYPE_CHECKING:
    from sqlalchemy import Row

    from aggregator.storage.database import Change

Storage = Literal["database", "directory"]
REPORT_FOLDER = "reports"
PLACE = ("round_id", "report_id", "segment", "position", "seal_bytes", "masked_bytes", "masked_sha256")
"""Columns of a row that say where its bytes are, and what they must be."""


class ReportBytes(Protocol):
    """One way to keep them. Reading never gives other bytes than those that were kept: it refuses the batch."""

    async def keep(self, change: Change, reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take in reports, each with ``round_id``, ``seal`` and ``masked``; durable once ``change`` is.

        Returns:
            What their rows say, in the order of the reports within each round.
        """

    async def seals(self, rows: Sequence[Row[Any]]) -> list[bytes]:
        """The seals of these rows, which have the columns ``PLACE`` and ``seal``.

        Raises:
            BatchRefused: they are not there, or not those that were kept.
        """

    async def masked(self, rows: Sequence[Row[Any]]) -> list[bytes]:
        """The masked vectors of these rows, which have the columns ``PLACE`` and ``masked``.

        Raises:
            BatchRefused: they are not there, or not those that were kept.
        """

    def overwrite(self, row: Row[Any]) -> None:
        """A row is gone, durably, because its report was taken back: its bytes go too."""

    def rounds(self) -> set[int]:
        """Rounds of which anything lies outside of the database."""

    async def remove(self, round_ids: set[int]) -> None:
        """These rounds are over, durably: what lies outside of the database goes."""


class InRows:
    """Bytes in the rows: the database keeps, orders and deletes them."""

    async def keep(self, change: Change, reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: ARG002 - the row's own transaction is all it needs
        """As ``ReportBytes``."""
        return [dict(report) for report in reports]

    async def seals(self, rows: Sequence[Row[Any]]) -> list[bytes]:
        """As ``ReportBytes``."""
        return [present(row.seal) for row in rows]

    async def masked(self, rows: Sequence[Row[Any]]) -> list[bytes]:
        """As ``ReportBytes``."""
        return [present(row.masked) for row in rows]

    def overwrite(self, row: Row[Any]) -> None:
        """As ``ReportBytes``: the database has deleted them with the row."""

    def rounds(self) -> set[int]:
        """As ``ReportBytes``."""
        return set()

    async def remove(self, round_ids: set[int]) -> None:
        """As ``ReportBytes``."""


def present(body: bytes | None) -> bytes:
    """The bytes of a row that has its own.

    Raises:
        BatchRefused: it names a file, and there is no folder to look in.
    """
    if body is None:
        raise BatchRefused("a report's bytes were kept in a directory that is not there any more")
    return body


def report_bytes(where: Storage, folder: Path) -> ReportBytes:
    """The way that a leader's settings name.

    Where they name the database since a moment ago, rounds that still lie in the folder are read from there.
    """
    from aggregator.storage.report_files import InFiles

    files = InFiles(folder, takes_new=where == "directory")
    return files if where == "directory" or files.rounds() else InRows()
