"""Budget ledgers on disk, and their mirror outside of it.

A ledger is named by its owner (a person: the device's filter spans all sites and leaders) and its filter: empty for the
contract, a study's digest for the local layer. It outlives an erasure, so its owner is a pseudonym: HMAC-SHA-256 of the
local name under a random secret of this store. No name is written down; whoever has the store open can still test a
name that they guess, and learns that it was here and what it spent.

The digest over all heads is mirrored in the keyring: before a commit as *next*, after it as *present*, so that a crash
in between is recognised and a restored back-up is too.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from client_agent.keys import Keyring
from client_agent.store.database import Database
from client_agent.store.facts import Facts
from privacy.accounting import Row
from privacy.crypto import digest

MIRROR = "ledger-mirror"
CONTRACT = ""
"""Name of the filter that is the contract."""
OWNERS = "ledger-owners"
"""The fact that is the secret behind the pseudonyms."""
_DIGEST_BYTES, _SECRET_BYTES, _OWNER_BYTES = 32, 32, 16


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row in its ledger."""

    owner: str
    filter: str
    row: Row


class Ledgers:
    """Rows, heads and the mirror."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._facts = Facts(database)
        self._pending: bytes | None = None
        self._after_loss = False
        self._present = self._digest()

    def intact(self) -> bool:
        """Whether the heads are those that the mirror remembers; if not, what was spent is unknown.

        Asked inside a transaction, so that no other process moves the heads meanwhile.
        """
        mirrored = self._keyring.read(MIRROR) or b""
        accepted = [mirrored[i : i + _DIGEST_BYTES] for i in range(0, len(mirrored), _DIGEST_BYTES)]
        return self._digest() in (accepted or [_empty()])

    def owner_of(self, person: str) -> str:
        """The pseudonym under which a person's ledgers are kept: 32 hexadecimal digits; the same for the same name.

        Args:
            person: the local name. It is its own owner in a store of an older agent, until ``hide_owners``.
        """
        secret = self._facts.get(OWNERS)
        return person if secret is None else _pseudonym(secret, person)

    def hide_owners(self) -> dict[str, str] | None:
        """From now on owners are pseudonyms. Part of a transaction, whose author moves the ledgers that are there.

        Returns:
            The new owner of each old one; None where owners were hidden before.
        """
        if self._facts.get(OWNERS) is not None:
            return None
        secret = secrets.token_bytes(_SECRET_BYTES)
        self._facts.put(OWNERS, secret)
        return {owner: _pseudonym(secret, owner) for owner, _ in self.heads()}

    def append(self, rows: Iterable[LedgerRow]) -> None:
        """Append rows and move the heads. Part of the caller's transaction."""
        rows = list(rows)
        if not rows:
            return
        self._database.run_many(
            "INSERT INTO ledger_rows VALUES (?, ?, ?, ?)",
            [(entry.owner, entry.filter, entry.row.index, entry.row.body()) for entry in rows],
        )
        self._database.run_many(
            "INSERT INTO ledger_heads VALUES (?, ?, ?, ?)"
            " ON CONFLICT (owner, filter) DO UPDATE SET head = excluded.head, length = excluded.length",
            [(entry.owner, entry.filter, entry.row.digest, entry.row.index + 1) for entry in rows],
        )
        self._pending = b""

    def replace(self, owner: str, name: str, rows: Iterable[Row]) -> None:
        """Put fresh rows in the place of a ledger that was reopened. Part of the caller's transaction."""
        for table in ("ledger_rows", "ledger_heads"):
            self._database.run(f"DELETE FROM {table} WHERE owner = ? AND filter = ?", (owner, name))  # noqa: S608 - two constants
        self._pending = b""
        self.append(LedgerRow(owner, name, row) for row in rows)

    def rename(self, owner: str, name: str, new_owner: str) -> None:
        """Move a ledger's rows to another owner as they are. Part of the caller's transaction."""
        for table in ("ledger_rows", "ledger_heads"):
            statement = f"UPDATE {table} SET owner = ? WHERE owner = ? AND filter = ?"  # noqa: S608 - two constants
            self._database.run(statement, (new_owner, owner, name))
        self._pending = b""

    def announce(self) -> None:
        """Let this transaction bring the mirror up to date: after a loss was recorded.

        Until that is durable the mirror stays as it was, for naming the digest that shows the loss would whitewash it.
        """
        self._pending, self._after_loss = b"", True

    def rows(self) -> dict[tuple[str, str], list[bytes]]:
        """All rows' bodies by (owner, filter), in order."""
        found: dict[tuple[str, str], list[bytes]] = {}
        for owner, name, body in self._database.fetch(
            "SELECT owner, filter, body FROM ledger_rows ORDER BY owner, filter, position"
        ):
            found.setdefault((owner, name), []).append(body)
        return found

    def rows_of(self, owner: str, name: str) -> list[bytes]:
        """One ledger's rows' bodies, in order."""
        statement = "SELECT body FROM ledger_rows WHERE owner = ? AND filter = ? ORDER BY position"
        return [row[0] for row in self._database.fetch(statement, (owner, name))]

    def heads(self) -> dict[tuple[str, str], bytes]:
        """The digest of each ledger's last row, which no other row keeps, by (owner, filter)."""
        found = self._database.fetch("SELECT owner, filter, head FROM ledger_heads")
        return {(owner, name): bytes(head) for owner, name, head in found}

    def head_of(self, owner: str, name: str) -> bytes | None:
        """One ledger's entry of ``heads``; None for a ledger without rows."""
        found = self._database.fetch("SELECT head FROM ledger_heads WHERE owner = ? AND filter = ?", (owner, name))
        return bytes(found[0][0]) if found else None

    def before_commit(self) -> None:
        """Announce the next digest to the mirror; does nothing where no ledger moved."""
        if self._pending is not None:
            self._pending = self._digest()
            if not self._after_loss:
                self._keyring.write(MIRROR, self._present + self._pending)

    @property
    def moved(self) -> bool:
        """Whether something was committed that the mirror does not call present yet."""
        return bool(self._pending)

    def settled(self) -> dict[str, bytes]:
        """The keyring's entry that makes the announced digest the present one; empty where no ledger moved."""
        if not self._pending:
            return {}
        self._present, self._pending, self._after_loss = self._pending, None, False
        return {MIRROR: self._present}

    def after_rollback(self) -> None:
        """Forget what was announced; the mirror accepts the present digest as before."""
        self._pending, self._after_loss = None, False

    def _digest(self) -> bytes:
        heads = self._database.fetch("SELECT owner, filter, head FROM ledger_heads ORDER BY owner, filter")
        return digest("ledger-mirror", *(part for o, f, head in heads for part in (o.encode(), f.encode(), head)))


def _pseudonym(secret: bytes, person: str) -> str:
    name = b"hearthside-ledger-owner:" + person.encode("utf-8", "surrogatepass")
    return hmac.digest(secret, name, "sha256")[:_OWNER_BYTES].hex()


def _empty() -> bytes:
    return digest("ledger-mirror")
