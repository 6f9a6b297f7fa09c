"""The people of a household on disk, and the browsers that they said are theirs.

A browser's row holds digests of random tokens, never the tokens: who reads the store cannot pose as a browser. Its
secret seals what the page's script holds and leaves in that browser; without the row nothing of it opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from client_agent.store.database import Database
from client_agent.store.facts import Facts
from client_agent.store.traces import note_deletion

Kind = Literal["adult", "child"]
_CHANGE = "people-change"
_PERSON = "name, kind, pin_salt, pin_digest, failures, failed_at_ms"
_BROWSER = "page, site, person, lasting, created_at_ms, used_at_ms, opened_at_ms, secret"
SECRET_BYTES: Final = 32
_NEXT: Final = b"hearthside next secret"
_EVERYBODY = f"""
    SELECT {_PERSON} FROM people
    UNION ALL SELECT DISTINCT person, 'adult', NULL, NULL, 0, 0 FROM participants
    WHERE person NOT IN (SELECT name FROM people)
"""  # noqa: S608 - constants
"""Who was enrolled before anybody was listed is an adult without a PIN."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """One person of the household.

    Attributes:
        name: a local name; it never leaves the device.
        kind: a child has no profile, no consent and no key.
        pin_salt: of the PIN's digest (16 bytes); None without a PIN.
        pin_digest: scrypt of the PIN (32 bytes); None without a PIN.
        failures: wrong PINs since the last right one.
        failed_at_ms: when the last of them was tried.
    """

    name: str
    kind: Kind
    pin_salt: bytes | None = field(default=None, repr=False)
    pin_digest: bytes | None = field(default=None, repr=False)
    failures: int = 0
    failed_at_ms: int = 0

    @property
    def has_pin(self) -> bool:
        """Whether a PIN stands before this person's page."""
        return self.pin_digest is not None


@dataclass(frozen=True, slots=True)
class BrowserRecord:
    """One browser in which somebody said who they are.

    Attributes:
        page: digest of the token on the agent's own origin (32 bytes).
        site: digest of the token on the site's origin (32 bytes); None until the browser went there.
        person: whose browser it is.
        lasting: the person asked that it be remembered; else it ends with the browser's session.
        created_at_ms: when they said so.
        used_at_ms: about when it was last used, on either origin.
        opened_at_ms: about when the page was last open, for people with a PIN.
        secret: 32 random bytes; what the page's script is given to prove and to seal itself with is sealed under it.
    """

    page: bytes = field(repr=False)
    site: bytes | None = field(repr=False)
    person: str
    lasting: bool
    created_at_ms: int
    used_at_ms: int
    opened_at_ms: int
    secret: bytes = field(repr=False)


class People:
    """The table of people. Changes are part of the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._facts = Facts(database)

    def all(self) -> list[PersonRecord]:
        """Everybody by name, those among them who were only ever enrolled."""
        rows = self._database.fetch(f"SELECT {_PERSON} FROM ({_EVERYBODY}) ORDER BY name")  # noqa: S608 - constants
        return [PersonRecord(*row) for row in rows]

    def get(self, name: str) -> PersonRecord | None:
        """One person; None if nobody here has this name."""
        statement = f"SELECT {_PERSON} FROM ({_EVERYBODY}) WHERE name = ?"  # noqa: S608 - constants
        rows = self._database.fetch(statement, (name,))
        return PersonRecord(*rows[0]) if rows else None

    def children(self) -> frozenset[str]:
        """Names of the children."""
        return frozenset(row[0] for row in self._database.fetch("SELECT name FROM people WHERE kind = 'child'"))

    def put(self, record: PersonRecord) -> None:
        """Store a person, replacing what was known."""
        self.note_change()
        self._database.run(
            f"INSERT OR REPLACE INTO people ({_PERSON}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
            (
                record.name,
                record.kind,
                record.pin_salt,
                record.pin_digest,
                record.failures,
                record.failed_at_ms,
            ),
        )

    def forget(self, name: str) -> None:
        """Delete a person and their browsers; what they did is ``AgentStore.erase``'s to delete."""
        self.note_change()
        self._database.run("DELETE FROM people WHERE name = ?", (name,))
        self._database.run("DELETE FROM browsers WHERE person = ?", (name,))

    def note_change(self) -> None:
        """Count a change, so that another process notices it."""
        self._facts.count(_CHANGE)

    def last_change(self) -> int:
        """Number of the table's last change."""
        return self._facts.counted(_CHANGE)


class Browsers:
    """The table of browsers. Each change is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_page(self, page: bytes) -> BrowserRecord | None:
        """The browser with this digest on the agent's own origin."""
        return self._one("page = ?", page)

    def by_site(self, site: bytes) -> BrowserRecord | None:
        """The browser with this digest on the site's origin."""
        return self._one("site = ?", site)

    def of(self, person: str) -> list[BrowserRecord]:
        """A person's browsers, the latest used first."""
        return self._select("person = ? ORDER BY used_at_ms DESC", (person,))

    def put(self, record: BrowserRecord) -> None:
        """Store a browser, replacing what was known."""
        with self._database.transaction():
            self._database.run(
                f"INSERT OR REPLACE INTO browsers ({_BROWSER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    record.page,
                    record.site,
                    record.person,
                    int(record.lasting),
                    record.created_at_ms,
                    record.used_at_ms,
                    record.opened_at_ms,
                    record.secret,
                ),
            )

    def meet(self, page: bytes, site: bytes) -> bool:
        """Note a browser's digest on the site's origin; False if the browser has ended meanwhile."""
        with self._database.transaction():
            return bool(self._database.run("UPDATE browsers SET site = ? WHERE page = ?", (site, page)))

    def touch(self, page: bytes, used_at_ms: int, opened_at_ms: int) -> None:
        """Note that a browser was used; one that has ended stays ended."""
        with self._database.transaction():
            self._database.run(
                "UPDATE browsers SET used_at_ms = ?, opened_at_ms = ? WHERE page = ?", (used_at_ms, opened_at_ms, page)
            )

    def renew(self, person: str) -> None:
        """Take each of a person's browsers to its next secret: what was sealed under the former opens nowhere.

        Run by a withdrawal and by an erasure, within their transaction. The former secret is overwritten in the files,
        too, and does not follow from its successor: who takes store and browser later opens nothing with them.
        """
        with self._database.transaction():
            rows = [(hashlib.sha256(_NEXT + row.secret).digest(), row.page) for row in self.of(person)]
            self._database.run_many("UPDATE browsers SET secret = ? WHERE page = ?", rows)
            if rows:
                note_deletion(self._database)

    def end(self, pages: Sequence[bytes]) -> None:
        """Delete browsers: their tokens are nobody's from here on."""
        with self._database.transaction():
            self._database.run_many("DELETE FROM browsers WHERE page = ?", [(page,) for page in pages])

    def end_unused(self, lasting_before_ms: int, others_before_ms: int) -> None:
        """Delete browsers that were not used since, those to be remembered and the others."""
        with self._database.transaction():
            self._database.run(
                "DELETE FROM browsers WHERE used_at_ms < CASE lasting WHEN 1 THEN ? ELSE ? END",
                (lasting_before_ms, others_before_ms),
            )

    def _one(self, condition: str, value: bytes) -> BrowserRecord | None:
        found = self._select(condition, (value,))
        return found[0] if found else None

    def _select(self, clause: str, values: Sequence[object]) -> list[BrowserRecord]:
        rows = self._database.fetch(f"SELECT {_BROWSER} FROM browsers WHERE {clause}", values)  # noqa: S608 - constants
        return [
            BrowserRecord(page, site, person, bool(lasting), *times) for page, site, person, lasting, *times in rows
        ]
