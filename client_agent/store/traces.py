"""Erasing for good: after a deletion, what is left of it in the files is overwritten, and the store's key is replaced.

Two steps, both durable as intentions before they begin, so that a crash or another process that has the store open
only puts them off:

1. *pages*: the file is written anew and its log emptied, so that no page holds what was deleted, not even for who has
   the key. Needs nobody's leave.
2. *key*: a copy of what is live, under a fresh key, takes the place of the file, and the old key is forgotten, so that
   older copies of the file (back-ups, blocks that the disk has not reused) open with nothing that remains. Needs to be
   the only one that has the file open, and then does the first step too. Each attempt draws its own key: one that was
   given up leaves a copy, at worst, that no key opens which is kept.

An erasure of a person asks for both, a deletion of events for the first. A store that is too large to be written anew
under other connections gets the second in either case. See docs/decisions/0012-erasing-for-good.md.
"""

from __future__ import annotations

import secrets
from typing import Final, Literal

from client_agent.errors import KeyringUnreadable
from client_agent.keys import Keyring
from client_agent.store.database import STORE_KEY_BYTES, Database
from client_agent.store.facts import Facts

Traces = Literal["pages", "key"]
"""What has yet to be done: everything (but the key only after an erasure), or only the key."""
STORE_KEY: Final = "store-key"
NEXT_KEY: Final = "store-key-next"
UNSCRUBBED: Final = "unscrubbed"
_PAGES, _PAGES_AND_KEY, _KEY = b"pages", b"pages, key", b"key"
_NOTE_BYTES: Final = 8


def note_deletion(database: Database, *, of_person: bool = False) -> None:
    """Note that something personal is being deleted. Part of the transaction that does it.

    Args:
        database: the store's.
        of_person: everything about somebody goes: the key is to be replaced too.
    """
    asked = of_person or _asked(Facts(database).get(UNSCRUBBED)) in {_PAGES_AND_KEY, _KEY}
    _note(database, _PAGES_AND_KEY if asked else _PAGES)


def left_of(database: Database) -> Traces | None:
    """What has yet to be done; None if no trace of anything deleted is left."""
    asked = _asked(Facts(database).get(UNSCRUBBED))
    return None if asked is None else "key" if asked == _KEY else "pages"


def remove_traces(database: Database, keyring: Keyring) -> Traces | None:
    """Do now what can be done now; returns what is left for a later call, None if nothing is.

    Raises:
        StoreUnreadable: the file does not open any more after it was replaced.
    """
    noted = Facts(database).get(UNSCRUBBED)
    asked = _asked(noted)
    if asked is None:
        return None
    if (asked != _PAGES or database.is_large) and _replace_key(database, keyring):
        _settle(database, noted, None)  # the copy holds live content only: the pages are clean too
    elif asked != _KEY and database.scrub():
        _settle(database, noted, _KEY if asked == _PAGES_AND_KEY else None)
    return left_of(database)


def settle_key(keyring: Keyring, key: bytes) -> None:
    """Make a key the store's only one. Under the store's lock, or two writers of the keyring lose one's entries."""
    keyring.write_all({STORE_KEY: key, NEXT_KEY: b""})


def _asked(noted: bytes | None) -> bytes | None:
    return None if noted is None else noted[_NOTE_BYTES:]


def _note(database: Database, asked: bytes) -> None:
    """Every note is another one, so that who has finished does not take a later one for theirs."""
    Facts(database).put(UNSCRUBBED, secrets.token_bytes(_NOTE_BYTES) + asked)


def _settle(database: Database, noted: bytes | None, left: bytes | None) -> None:
    """Say what is left of what was noted, unless more was deleted meanwhile."""
    with database.transaction():
        if Facts(database).get(UNSCRUBBED) != noted:
            return
        if left is None:
            Facts(database).remove(UNSCRUBBED)
        else:
            _note(database, left)


def _replace_key(database: Database, keyring: Keyring) -> bool:
    """Whether a copy under a fresh key has taken the place of the file, and its key is the only one that is kept."""
    try:
        replaced = database.change_key(lambda: _draw(database, keyring))
        if keyring.read(NEXT_KEY):  # a copy was begun, now or before a crash: what opens the file is the only key
            with database.transaction():
                settle_key(keyring, database.key)
    except (OSError, KeyringUnreadable):
        return False  # a full disk, a keyring that is locked: the store is whole, and what was noted stays noted
    return replaced


def _draw(database: Database, keyring: Keyring) -> bytes:
    """A key that no copy ever had, kept beside the present one; in this order, for a keyring without transactions."""
    key = secrets.token_bytes(STORE_KEY_BYTES)
    keyring.write_all({STORE_KEY: database.key, NEXT_KEY: key})
    return key
