"""Reports on disk, from the reserved null to the bytes that were sent; and which rounds this device has answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from client_agent.store.contributions import Contributions
from client_agent.store.database import Database

ReportState = Literal["reserved", "final", "sent"]
"""A reserved report is a null that a real one may still replace; a final one is fixed; a sent one was taken in."""
RESERVED: Final[ReportState] = "reserved"
_TAKEN: Final = "study_hash, round, report_id, token, seal"

RoundKey = tuple[bytes, int]
"""A study's digest and a round's number."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One report.

    Attributes:
        study_hash: the study (32 bytes).
        round: the round's number.
        participant_id: whose.
        report_id: SHA-256 of the seal (32 bytes).
        token: the withdrawal token (32 secret bytes).
        state: how far it is.
        slot_ms: when it is due, Unix milliseconds.
        frame: the bytes to send.
        seal: the report's seal, which outlives the frame: it is shown to the helper when the report is taken back.
    """

    study_hash: bytes
    round: int
    participant_id: str
    report_id: bytes
    token: bytes = field(repr=False)
    state: ReportState
    slot_ms: int
    frame: bytes = field(repr=False)
    seal: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class TakenReport:
    """A report that was taken back, and what the helper is shown for it.

    Attributes:
        study_hash: its study (32 bytes).
        round: its round.
        report_id: SHA-256 of the seal (32 bytes).
        token: the withdrawal token (32 bytes).
        seal: the seal; empty for a report of an agent that did not keep it.
    """

    study_hash: bytes
    round: int
    report_id: bytes
    token: bytes = field(repr=False)
    seal: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DueReport:
    """A final report whose slot has come.

    Attributes:
        participant_id: whose.
        purpose: its study's purpose.
        study_hash: its study (32 bytes).
        round: its round.
        report_id: SHA-256 of the seal (32 bytes).
        frame: the bytes to send.
    """

    participant_id: str
    purpose: str
    study_hash: bytes
    round: int
    report_id: bytes
    frame: bytes = field(repr=False)


class Reports:
    """The tables of rounds and reports."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contributions = Contributions(database)

    def open_round(
        self, key: RoundKey, opening: bytes, purpose: str, closes_at_ms: int, study_id: str = "", title: str = ""
    ) -> bool:
        """Remember a round at first sight; False if it is known with another opening or was closed here."""
        self._database.run(
            "INSERT INTO rounds (study_hash, round, opening, purpose, closes_at_ms, study_id, title)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*key, opening, purpose, closes_at_ms, study_id, title),
        )
        known = self._database.fetch("SELECT opening, closed FROM rounds WHERE study_hash = ? AND round = ?", key)
        return (known[0][0], known[0][1]) == (opening, 0)

    def bar_rounds(self) -> None:
        """Reserve nothing more in any round known so far: a ledger forgets which rounds it paid for.

        Who was erased and enrols again has a new key and a ledger without rounds, and would have a second report in
        the sum that holds the first one. Part of a transaction.
        """
        self._database.run("UPDATE rounds SET barred = 1 WHERE barred = 0")

    def is_barred(self, key: RoundKey) -> bool:
        """Whether nothing more may be reserved in a round."""
        found = self._database.fetch("SELECT barred FROM rounds WHERE study_hash = ? AND round = ?", key)
        return bool(found and found[0][0])

    def reserve(self, reports: Iterable[StoredReport]) -> None:
        """Store reserved nulls; a second report of a participant in a round is an error. Part of a transaction."""
        self._database.run_many(
            "INSERT INTO reports (study_hash, round, participant_id, report_id, token, state, slot_ms, frame, seal)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (r.study_hash, r.round, r.participant_id, r.report_id, r.token, r.state, r.slot_ms, r.frame, r.seal)
                for r in reports
            ],
        )

    def answered(self, key: RoundKey) -> set[str]:
        """Participants that have a report in a round, or had one that they took back: there is no second one."""
        rows = self._database.fetch(
            "SELECT participant_id FROM reports WHERE study_hash = ? AND round = ?"
            " UNION SELECT participant_id FROM contributions WHERE study_hash = ? AND round = ?",
            (*key, *key),
        )
        return {row[0] for row in rows}

    def replace(self, reports: Iterable[StoredReport]) -> None:
        """Put real reports in the place of reserved nulls; a final report is never replaced."""
        self._database.run_many(
            "UPDATE reports SET report_id = ?, token = ?, frame = ?, seal = ?"
            " WHERE study_hash = ? AND round = ? AND participant_id = ? AND state = 'reserved'",
            [(r.report_id, r.token, r.frame, r.seal, r.study_hash, r.round, r.participant_id) for r in reports],
        )

    def fix(self, key: RoundKey, participant_ids: Iterable[str]) -> None:
        """Make reserved reports of a round final."""
        self._database.run_many(
            "UPDATE reports SET state = 'final'"
            " WHERE study_hash = ? AND round = ? AND participant_id = ? AND state = 'reserved'",
            [(*key, participant_id) for participant_id in participant_ids],
        )

    def fix_all(self) -> None:
        """Make all reserved reports final: at a start, whatever a crash left is sent as its null."""
        self._database.run("UPDATE reports SET state = 'final' WHERE state = 'reserved'")

    def due(self, now_ms: int, limit: int) -> list[DueReport]:
        """Final reports whose slot has come, in the order of slots."""
        rows = self._database.fetch(
            "SELECT participant_id, purpose, study_hash, round, report_id, frame"
            " FROM reports JOIN rounds USING (study_hash, round)"
            " WHERE state = 'final' AND slot_ms <= ? ORDER BY slot_ms LIMIT ?",
            (now_ms, limit),
        )
        return [DueReport(*row) for row in rows]

    def leaving(self, now_ms: int, limit: int, may_leave: Callable[[str, str], bool]) -> list[DueReport]:
        """What is due and may leave, noted as sent; what may not leave any more is taken back. One transaction.

        Whoever withdraws before it finds nothing noted, and the report has never left; whoever withdraws after it
        shows the token to the helper, whether the bytes were on their way or not.

        Args:
            now_ms: Unix milliseconds.
            limit: most reports to read.
            may_leave: asks the gate for (participant id, purpose).
        """
        with self._database.transaction():
            found = self.due(now_ms, limit)
            allowed = {key: may_leave(*key) for key in {(item.participant_id, item.purpose) for item in found}}
            going = [item for item in found if allowed[item.participant_id, item.purpose]]
            self._contributions.note_sending(
                [(r.participant_id, r.study_hash, r.round, r.report_id, len(r.frame)) for r in going], now_ms
            )
            for item in found:
                if not allowed[item.participant_id, item.purpose]:
                    self._take_back("report_id = ?", (item.report_id,))
        return going

    def resign(self, report_id: bytes, frame: bytes) -> None:
        """Put the same report, signed anew, in the place of a final one that waits. Part of a transaction."""
        self._database.run("UPDATE reports SET frame = ? WHERE report_id = ? AND state = 'final'", (frame, report_id))

    def has(self, key: RoundKey, participant_id: str) -> bool:
        """Whether a participant has a report in a round that was not taken back."""
        statement = "SELECT 1 FROM reports WHERE study_hash = ? AND round = ? AND participant_id = ?"
        return bool(self._database.fetch(statement, (*key, participant_id)))

    def all_there(self, report_ids: Iterable[bytes]) -> bool:
        """Whether none of these reports was taken back."""
        wanted = list(report_ids)
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT count(*) FROM reports WHERE report_id IN ({marks})"  # noqa: S608 - question marks
        return int(self._database.fetch(query, wanted)[0][0]) == len(wanted)

    def next_slot_ms(self) -> int | None:
        """When the next final report is due; None if none waits."""
        found = self._database.fetch("SELECT min(slot_ms) FROM reports WHERE state = 'final'")[0][0]
        return None if found is None else int(found)

    def mark_sent(self, report_ids: Iterable[bytes]) -> None:
        """Note that the leader took reports in. By id: a row that was taken back may be another report's now."""
        self._database.run_many(
            "UPDATE reports SET state = 'sent' WHERE report_id = ?", [(name,) for name in report_ids]
        )

    def drop(self, report_ids: Iterable[bytes]) -> None:
        """Never send reports again that the leader refused. Their tokens stay: it may have kept what it refused."""
        self._database.run_many(
            "UPDATE reports SET state = 'sent', frame = x'' WHERE report_id = ?", [(name,) for name in report_ids]
        )

    def take_back(self, participant_id: str, purposes: Iterable[str]) -> list[TakenReport]:
        """Delete a participant's reports for some purposes, and note what the helper has to be shown for each."""
        of_purpose = (
            "participant_id = ? AND EXISTS (SELECT 1 FROM rounds WHERE rounds.study_hash = reports.study_hash"
            " AND rounds.round = reports.round AND purpose = ?)"
        )
        return [taken for purpose in purposes for taken in self._take_back(of_purpose, (participant_id, purpose))]

    def _take_back(self, which: str, values: tuple[object, ...]) -> list[TakenReport]:
        rows = self._database.fetch(f"SELECT participant_id, {_TAKEN} FROM reports WHERE {which}", values)  # noqa: S608 - constants
        self._database.run(f"DELETE FROM reports WHERE {which}", values)  # noqa: S608 - constants
        taken = [TakenReport(*row[1:]) for row in rows]
        self._contributions.note_taken_back(
            (row[0], t.study_hash, t.round, t.report_id) for row, t in zip(rows, taken, strict=True)
        )
        self._database.run_many(
            f"INSERT OR IGNORE INTO taken_back ({_TAKEN}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            [(t.study_hash, t.round, t.report_id, t.token, t.seal) for t in taken],
        )
        return taken

    def taken_back(self) -> list[TakenReport]:
        """Reports that were taken back and that the helper has not heard of."""
        return [TakenReport(*row) for row in self._database.fetch(f"SELECT {_TAKEN} FROM taken_back")]  # noqa: S608 - a constant

    def told(self, report_ids: Iterable[bytes]) -> None:
        """The helper has heard that reports were taken back. Part of a transaction."""
        self._database.run_many("DELETE FROM taken_back WHERE report_id = ?", [(name,) for name in report_ids])

    def open_rounds(self) -> list[tuple[RoundKey, int, bool]]:
        """(key, closes at, whether reports wait to be sent) of each round that is open here."""
        rows = self._database.fetch(
            "SELECT study_hash, round, closes_at_ms, EXISTS (SELECT 1 FROM reports WHERE state <> 'sent'"
            " AND reports.study_hash = rounds.study_hash AND reports.round = rounds.round) FROM rounds WHERE closed = 0"
        )
        return [((row[0], row[1]), row[2], bool(row[3])) for row in rows]

    def close_round(self, key: RoundKey) -> None:
        """Delete a round's frames; the round is never answered again. Its tokens stay until ``forget_tokens``."""
        here = "WHERE study_hash = ? AND round = ?"
        self._database.run(f"UPDATE reports SET state = 'sent', frame = x'' {here}", key)  # noqa: S608 - a constant
        self._database.run(f"UPDATE rounds SET closed = 1 {here}", key)  # noqa: S608 - a constant

    def forget_tokens(self, before_ms: int) -> None:
        """Delete what is left of closed rounds whose window ended before a time: no seal of theirs opens any more."""
        over = self._database.fetch(
            "SELECT study_hash, round FROM rounds WHERE closed = 1 AND closes_at_ms < ?", (before_ms,)
        )
        self._database.run_many("DELETE FROM reports WHERE study_hash = ? AND round = ?", over)
        self._database.run_many("UPDATE rounds SET closed = 2 WHERE study_hash = ? AND round = ?", over)
