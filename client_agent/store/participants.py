"""Who this agent speaks for: one participant is one person on one site towards one leader, with a key of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from client_agent.errors import NotEnrolled
from client_agent.store.database import Database
from client_agent.store.facts import Facts

_COLUMNS = "participant_id, person, site, leader, seed, device_id"
_CHANGE = "participants-change"


@dataclass(frozen=True, slots=True)
class ParticipantRecord:
    """One stored participant.

    Attributes:
        participant_id: random, 16 hex digits; the pseudonym in receipts.
        person: a local name; it never leaves the device. Ledgers are kept by person.
        site: the site's name.
        leader: the leader's public key (32 bytes).
        seed: the signing key's 32 secret bytes.
        device_id: as the leader knows it (16 bytes); None until enrolled.
    """

    participant_id: str
    person: str
    site: str
    leader: bytes
    seed: bytes = field(repr=False)
    device_id: bytes | None


class Participants:
    """The table of participants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._facts = Facts(database)

    def add(self, records: Iterable[ParticipantRecord]) -> None:
        """Store new participants. Part of the caller's transaction."""
        self.note_change()
        self._database.run_many(
            f"INSERT INTO participants ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            [(r.participant_id, r.person, r.site, r.leader, r.seed, r.device_id) for r in records],
        )

    def enrolled(self, rows: Iterable[tuple[str, bytes]], at_ms: int) -> None:
        """Note (participant id, device id) as the leader confirmed them. Part of the caller's transaction."""
        self.note_change()
        self._database.run_many(
            "UPDATE participants SET device_id = ?, enrolled_at_ms = ? WHERE participant_id = ?",
            [(device_id, at_ms, participant_id) for participant_id, device_id in rows],
        )

    def note_change(self) -> None:
        """Count a change of the table, so that another process notices it."""
        self._facts.count(_CHANGE)

    def last_change(self) -> int:
        """Number of the table's last change."""
        return self._facts.counted(_CHANGE)

    def all(self, leader: bytes | None = None) -> list[ParticipantRecord]:
        """All participants in the order of their ids, of one leader if one is named."""
        condition, values = ("WHERE leader = ?", (leader,)) if leader is not None else ("", ())
        return self._select(f"{condition} ORDER BY participant_id", values)

    def get(self, participant_id: str) -> ParticipantRecord:
        """One participant.

        Raises:
            NotEnrolled: there is none of this id.
        """
        found = self._select("WHERE participant_id = ?", (participant_id,))
        if not found:
            raise NotEnrolled(f"expected the id of a participant of this agent, got {participant_id!r}")
        return found[0]

    def has(self, participant_id: str) -> bool:
        """Whether there is a participant of this id."""
        return bool(self._select("WHERE participant_id = ?", (participant_id,)))

    def of_person(self, person: str) -> list[ParticipantRecord]:
        """A person's participants on all sites."""
        return self._select("WHERE person = ? ORDER BY participant_id", (person,))

    def _select(self, clause: str, values: Sequence[object]) -> list[ParticipantRecord]:
        rows = self._database.fetch(f"SELECT {_COLUMNS} FROM participants {clause}", values)  # noqa: S608 - constants
        return [ParticipantRecord(*row) for row in rows]
