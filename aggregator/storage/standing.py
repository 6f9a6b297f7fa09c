"""What a store must not forget, as one digest: decisions, openings and withdrawal notices, chained in their order.

The ledger's own head shows lost charges. This head shows every other loss that would give something back: an officer's
stop, a notice that takes a report back, an opening that a round has had. It lies in a file of its own beside the key;
a store that was restored from a back-up has a head that the file does not name.
"""

from __future__ import annotations

from aggregator.storage.database import Change
from aggregator.storage.ledger import LedgerStore
from aggregator.storage.mirror import HeadMirror
from privacy.crypto import digest

STANDING_FILE = "standing.head"
_FACT = "standing"
_GENESIS = bytes(32)


class Standing:
    """The chain's head, in the store and in its mirror.

    Args:
        facts: where the store keeps the head.
        mirror: the file beside the key.
    """

    def __init__(self, facts: LedgerStore, mirror: HeadMirror) -> None:
        self._facts = facts
        self._mirror = mirror

    async def is_kept(self, change: Change) -> bool:
        """Whether this store is the one that was last used; if so the mirror names it alone from this change on.

        Raises:
            StoreCorrupt: the mirror cannot be read.
        """
        head = await self._head(change)
        kept = head in self._mirror.named(_GENESIS)
        if kept:
            change.then(lambda: self._mirror.settle(head))
        return kept

    async def advance(self, change: Change, what: str, *parts: bytes) -> None:
        """Chain one more fact, in the change that makes it durable; once a change.

        Args:
            change: the change.
            what: its kind.
            parts: what makes it this one.
        """
        present = await self._head(change)
        following = digest("standing", present, what.encode(), *parts)
        self._mirror.announce(present, following)
        await self._facts.set_fact(change.connection, _FACT, following)
        change.then(lambda: self._mirror.settle(following))

    async def begin_again(self, change: Change, at_ms: int) -> None:
        """Go on from a store that was not the last one used; the mirror names it once the consequences are durable."""
        head = digest("standing", await self._head(change), b"restored", at_ms.to_bytes(8, "big"))
        await self._facts.set_fact(change.connection, _FACT, head)
        change.then(lambda: self._mirror.begin_again(head))

    async def _head(self, change: Change) -> bytes:
        return await self._facts.fact(change.connection, _FACT) or _GENESIS
