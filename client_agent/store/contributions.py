"""What became of each report that this device made ready to send: the list of releases that a person may be in.

A row is made with the send, in the transaction before the first byte, or by the withdrawal that deletes a report
unsent. It tells the report that was sent, a null or a real one: which, is written down nowhere. Rows outlive their
rounds, are kept as long as the receipts, and go when the person is erased.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from client_agent.store.database import Database

Outcome = Literal["standing", "unsent", "kept_out", "removed", "possible"]
"""What became of a report. OUTCOMES says each in words."""
OUTCOMES: Final[dict[Outcome, str]] = {
    "standing": "It was sent under a consent that stands; it may be in the release.",
    "unsent": "It was taken back before it left this device, and deleted.",
    "kept_out": "The helper has signed that it is in no sum.",
    "removed": "The leader has signed that it took it out; the helper has not signed that.",
    "possible": "It was taken back, but may be in the release: nobody has signed that it came in time.",
}


@dataclass(frozen=True, slots=True)
class Contribution:
    """One report, as the person may see it.

    Attributes:
        study_id: the study's short name.
        title: its title, as approved.
        purpose: the purpose's id.
        study_hash: digest of the study (32 bytes): with the round it names the release in the leader's public log.
        round: the round's number.
        report_id: SHA-256 of the report's seal (32 bytes).
        sent_at_ms: when its first byte may have left, Unix milliseconds; None if none did.
        outcome: what became of it.
        removal: the leader's signed word that it took the report out (JWS), None without.
        confirmation: the helper's signed word on the withdrawal (JWS), ``kept`` or ``late``; None without.
        size_bytes: of the report; None where none left, or where it left before sizes were noted.
    """

    study_id: str
    title: str
    purpose: str
    study_hash: bytes
    round: int
    report_id: bytes
    sent_at_ms: int | None
    outcome: Outcome
    removal: str | None
    confirmation: str | None
    size_bytes: int | None = None

    @property
    def may_be_in_release(self) -> bool:
        """Whether the round's release, if there is one, may hold it. The leader's word alone does not change that."""
        return self.outcome not in {"unsent", "kept_out"}


_COLUMNS: Final = (
    "rounds.study_id, rounds.title, rounds.purpose, study_hash, round, report_id, sent_at_ms, taken_back, helper,"
    " removal, confirmation, size_bytes"
)


class Contributions:
    """The table of contributions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def releases_of(self, participant_id: str, purposes: Collection[str] | None = None) -> list[Contribution]:
        """A participant's contributions, the latest first: what was sent, and what was taken back before it was.

        Those with ``may_be_in_release`` are the releases that the person may be in. A report that waits for its slot
        is not among them: it has not left, and a withdrawal deletes it.

        Args:
            participant_id: who.
            purposes: ids of purposes; all of them unless given.
        """
        rows = self._database.fetch(
            f"SELECT {_COLUMNS} FROM contributions JOIN rounds USING (study_hash, round) WHERE participant_id = ?"  # noqa: S608 - constants
            " ORDER BY sent_at_ms DESC, round DESC",
            (participant_id,),
        )
        found = [_contribution(*row) for row in rows]
        return [item for item in found if purposes is None or item.purpose in purposes]

    def sent_of(self, participant_id: str) -> dict[str, tuple[int, int]]:
        """(reports, bytes) that may have left for a participant, by purpose; what was taken back since is among them.

        The person's own: what this device sent for everybody together tells each of them about the others.
        """
        rows = self._database.fetch(
            "SELECT rounds.purpose, count(*), coalesce(sum(size_bytes), 0) FROM contributions"
            " JOIN rounds USING (study_hash, round) WHERE participant_id = ? AND sent_at_ms IS NOT NULL"
            " GROUP BY rounds.purpose ORDER BY rounds.purpose",
            (participant_id,),
        )
        return {purpose: (reports, size_bytes) for purpose, reports, size_bytes in rows}

    def untold_of(self, participant_id: str) -> int:
        """How many of a participant's reports were taken back and the helper has not answered for."""
        statement = "SELECT count(*) FROM contributions JOIN taken_back USING (report_id) WHERE participant_id = ?"
        return int(self._database.fetch(statement, (participant_id,))[0][0])

    def rounds_of(self, participant_id: str) -> list[tuple[bytes, int, bytes]]:
        """(study digest, round, report id) of what a participant took back and the leader has not signed for."""
        rows = self._database.fetch(
            "SELECT study_hash, round, report_id FROM contributions"
            " WHERE participant_id = ? AND taken_back = 1 AND removal IS NULL",
            (participant_id,),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def note_sending(self, reports: Iterable[tuple[str, bytes, int, bytes, int]], now_ms: int) -> None:
        """Note (participant, study digest, round, report id, bytes) of reports that may leave from now on.

        Part of the transaction after which the first byte is handed over. A report that is sent again keeps its first
        time.
        """
        self._database.run_many(
            "INSERT INTO contributions (participant_id, study_hash, round, report_id, size_bytes, sent_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(*report, now_ms) for report in reports],
        )

    def note_taken_back(self, reports: Iterable[tuple[str, bytes, int, bytes]]) -> None:
        """Note that reports were taken back; one that nothing was noted of has never left. Part of a transaction."""
        self._database.run_many(
            "INSERT INTO contributions (participant_id, study_hash, round, report_id, taken_back)"
            " VALUES (?, ?, ?, ?, 1)"
            " ON CONFLICT (participant_id, study_hash, round) DO UPDATE SET taken_back = 1",
            list(reports),
        )

    def note_removal(self, participant_id: str, rounds: Iterable[tuple[bytes, int]], removal: str) -> None:
        """Keep the leader's signed word for (study digest, round). Part of a transaction."""
        self._database.run_many(
            "UPDATE contributions SET removal = ?"
            " WHERE participant_id = ? AND study_hash = ? AND round = ? AND taken_back = 1",
            [(removal, participant_id, study_hash, number) for study_hash, number in rounds],
        )

    def note_confirmation(self, report_id: bytes, outcome: Literal["kept", "late"], confirmation: str) -> None:
        """Keep the helper's signed word; ``kept`` is not undone by a later ``late``. Part of a transaction."""
        self._database.run(
            "UPDATE contributions SET helper = ?, confirmation = ?"
            " WHERE report_id = ? AND taken_back = 1 AND coalesce(helper, '') <> 'kept'",
            (outcome, confirmation, report_id),
        )


def _contribution(
    study_id: str,
    title: str,
    purpose: str,
    study_hash: bytes,
    number: int,
    report_id: bytes,
    sent_at_ms: int | None,
    taken_back: int,
    helper: str | None,
    removal: str | None,
    confirmation: str | None,
    size_bytes: int | None,
) -> Contribution:
    outcome = _outcome(sent_at_ms is not None, bool(taken_back), helper, removal is not None)
    named = (study_id, title, purpose, study_hash, number, report_id)
    return Contribution(*named, sent_at_ms, outcome, removal, confirmation, size_bytes)


def _outcome(sent: bool, taken_back: bool, helper: str | None, removed: bool) -> Outcome:  # noqa: FBT001 - four facts
    if not taken_back:
        return "standing"
    if not sent:
        return "unsent"
    if helper == "kept":
        return "kept_out"
    if helper == "late" or not removed:
        return "possible"
    return "removed"
