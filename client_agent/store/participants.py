"""Who this agent speaks for: one participant is one person on one site towards one leader, with a key of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from client_agent.errors import NotEnrolled
from client_agent.store.database import Database
from client_agent.store.facts import Facts
from client_agent.store.traces import note_deletion

_COLUMNS = "participant_id, person, site, leader, seed, device_id"
_READ = f"{_COLUMNS}, next_seed, rotation, rotations"
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
        next_seed: of the key that takes this one's place once the leader has confirmed; None without a change.
        rotation: what both keys signed of that change (``consent.make_rotation``).
        rotations: how often the key was replaced.
    """

    participant_id: str
    person: str
    site: str
    leader: bytes
    seed: bytes = field(repr=False)
    device_id: bytes | None
    next_seed: bytes | None = field(default=None, repr=False)
    rotation: str | None = field(default=None, repr=False)
    rotations: int = 0


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

    def begin_rotation(self, participant_id: str, next_seed: bytes, rotation: str) -> None:
        """Keep the key that is to come, before anybody hears of it. Part of a transaction."""
        self._database.run(
            "UPDATE participants SET next_seed = ?, rotation = ? WHERE participant_id = ? AND next_seed IS NULL",
            (next_seed, rotation, participant_id),
        )

    def drop_rotation(self, participant_id: str, rotation: str) -> None:
        """Go on with the key of now: the leader has refused this change, and will. Part of a transaction."""
        self._database.run(
            "UPDATE participants SET next_seed = NULL, rotation = NULL WHERE participant_id = ? AND rotation = ?",
            (participant_id, rotation),
        )

    def adopt_key(self, participant_id: str) -> None:
        """Go on with the key that was to come, and overwrite the one before it. Part of a transaction."""
        self.note_change()
        self._database.run(
            "UPDATE participants SET seed = next_seed, next_seed = NULL, rotation = NULL, rotations = rotations + 1"
            " WHERE participant_id = ? AND next_seed IS NOT NULL",
            (participant_id,),
        )
        note_deletion(self._database)

    def rotating(self, leader: bytes) -> list[ParticipantRecord]:
        """Those of a leader whose key is being replaced."""
        return self._select("WHERE leader = ? AND next_seed IS NOT NULL ORDER BY participant_id", (leader,))

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
        rows = self._database.fetch(f"SELECT {_READ} FROM participants {clause}", values)  # noqa: S608 - constants
        return [ParticipantRecord(*row) for row in rows]
