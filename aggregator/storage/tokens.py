"""API and enrolment tokens: 32 random bytes, hashed at rest, scoped, expiring, capped, revocable.

A token reads ``hs_<id>_<secret><checksum>``. The id names it in lists and in the record of actions, and opens nothing.
Prefix and checksum are for whoever looks for tokens that leaked into a repository or a log: what fits both is one of
these. A token is looked up by its SHA-256: how long an answer takes says nothing about how near a guess was.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import MetaData, Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import SCOPES
from aggregator.storage.leader_tables import METADATA as LEADER_METADATA
from models.wire.problems import ProblemError

DAY_MS: Final = 86_400_000
TOKEN: Final = re.compile(r"hs_(?P<id>[a-z2-7]{8})_[0-9A-Za-z]{43}[0-9A-Za-z]{6}")
"""What a token looks like; the last six characters are the CRC-32 of what stands before them, in base 62."""
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_SECRET_BYTES, _SECRET_DIGITS, _CHECK_DIGITS, _ID_BYTES = 32, 43, 6, 8
_UNKNOWN: Final = "the token is not known, was revoked, or has expired"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who bears a token: what is known of them, and nothing that opens anything.

    Attributes:
        token_id: names the token.
        label: what the operator calls it.
        scopes: what it is for.
        uses_left: how many enrolments it still lets in; None for no cap.
    """

    token_id: str
    label: str
    scopes: frozenset[str]
    uses_left: int | None = None


def new_token(entropy: Callable[[int], bytes] = os.urandom) -> str:
    """A fresh token."""
    name = "".join(_ID_LETTERS[byte % 32] for byte in entropy(_ID_BYTES))
    secret = _base62(int.from_bytes(entropy(_SECRET_BYTES), "big"), _SECRET_DIGITS)
    body = f"hs_{name}_{secret}"
    return body + _checksum(body)


def is_token(text: str) -> bool:
    """Whether a text is a token by its form and checksum; whether it opens anything is for the store to say."""
    return TOKEN.fullmatch(text) is not None and _checksum(text[:-_CHECK_DIGITS]) == text[-_CHECK_DIGITS:]


class TokenStore:
    """The table of tokens.

    Args:
        metadata: the leader's or the helper's.
    """

    def __init__(self, metadata: MetaData) -> None:
        self._tokens: Table = metadata.tables["tokens"]

    async def create(
        self,
        connection: AsyncConnection,
        scopes: Sequence[str],
        now_ms: int,
        expires_at_ms: int,
        *,
        label: str = "",
        uses: int | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> str:
        """Make a token and store its digest; the token itself is shown once and kept nowhere.

        Args:
            connection: of a change.
            scopes: one or more of ``access.SCOPES``.
            now_ms: Unix milliseconds.
            expires_at_ms: when it stops working.
            label: what the operator calls it.
            uses: most enrolments with it; None for no cap.
            entropy: a CSPRNG.

        Raises:
            ValueError: local misuse: no scope, or one that there is not.
        """
        if not scopes or not set(scopes) <= SCOPES.keys():
            raise ValueError(f"expected scopes of {', '.join(SCOPES)}, got {sorted(scopes)}")
        token = new_token(entropy)
        values = {
            "token_hash": _hash(token),
            "token_id": token_id(token),
            "scope": ",".join(sorted(set(scopes))),
            "label": label,
            "created_at_ms": now_ms,
            "expires_at_ms": expires_at_ms,
            "uses_left": uses,
        }
        await connection.execute(self._tokens.insert().values(values))
        return token

    async def require(self, connection: AsyncConnection, token: str, scopes: Sequence[str], now_ms: int) -> Holder:
        """Who bears the token, if it opens one of these scopes now.

        Raises:
            ProblemError: ``unauthenticated`` for a token that does not exist, was revoked or has expired; ``forbidden``
                for one of other scopes.
        """
        found = (await self.require_all(connection, [token], scopes, now_ms))[token]
        if isinstance(found, ProblemError):
            raise found
        return found

    async def require_all(
        self, connection: AsyncConnection, tokens: Collection[str], scopes: Sequence[str], now_ms: int
    ) -> dict[str, Holder | ProblemError]:
        """As ``require`` for several tokens, with one look-up for those whose form and checksum are right."""
        digests = {token: _hash(token) for token in tokens if is_whole(token)}
        query = select(self._tokens).where(self._tokens.c.token_hash.in_(list(digests.values())))
        rows = {row.token_hash: row for row in await connection.execute(query)} if digests else {}
        broken = ProblemError("unauthenticated", "the token is not whole: its checksum does not fit")
        return {
            token: _holder(rows.get(digests[token]), digests[token], scopes, now_ms) if token in digests else broken
            for token in tokens
        }

    async def spend(self, connection: AsyncConnection, token: str, uses: int) -> None:
        """Take uses off a capped token."""
        here = (self._tokens.c.token_hash == _hash(token)) & self._tokens.c.uses_left.is_not(None)
        await connection.execute(update(self._tokens).where(here).values(uses_left=self._tokens.c.uses_left - uses))

    async def note_use(self, connection: AsyncConnection, holder_id: str, now_ms: int) -> None:
        """Remember the day on which a token was last used, and no more of when."""
        day = now_ms // DAY_MS
        here = (self._tokens.c.token_id == holder_id) & (
            self._tokens.c.last_used_day.is_(None) | (self._tokens.c.last_used_day != day)
        )
        await connection.execute(update(self._tokens).where(here).values(last_used_day=day))

    async def unused_on(self, connection: AsyncConnection, holder_id: str, now_ms: int) -> bool:
        """Whether a token was not yet noted as used today."""
        found = await connection.execute(
            select(self._tokens.c.last_used_day).where(self._tokens.c.token_id == holder_id)
        )
        return found.scalar_one_or_none() != now_ms // DAY_MS

    async def all(self, connection: AsyncConnection) -> list[Row[Any]]:
        """Every token, the oldest first, without its digest."""
        shown = [column for column in self._tokens.c if column.name != "token_hash"]
        return list((await connection.execute(select(*shown).order_by(self._tokens.c.created_at_ms))).all())

    async def revoke_all(self, connection: AsyncConnection, now_ms: int) -> int:
        """Let no token open anything, or let anybody in, from now on; returns how many still could.

        Run where a store was put back: which of its tokens were revoked or used up since, nobody knows.
        """
        open_still = self._tokens.c.revoked_at_ms.is_(None) & (self._tokens.c.expires_at_ms > now_ms)
        done = await connection.execute(update(self._tokens).where(open_still).values(revoked_at_ms=now_ms))
        await connection.execute(update(self._tokens).where(self._tokens.c.uses_left.is_not(None)).values(uses_left=0))
        return int(done.rowcount)

    async def revoke(self, connection: AsyncConnection, holder_id: str, now_ms: int) -> Row[Any]:
        """Let a token open nothing from now on; one that was revoked before stays so.

        Raises:
            ProblemError: ``not-found``.
        """
        here = self._tokens.c.token_id == holder_id
        shown = [column for column in self._tokens.c if column.name != "token_hash"]
        found = (await connection.execute(select(*shown).where(here))).one_or_none()
        if found is None:
            raise ProblemError("not-found", f"no token is called {holder_id!r}; see 'token list'")
        still = here & self._tokens.c.revoked_at_ms.is_(None)
        await connection.execute(update(self._tokens).where(still).values(revoked_at_ms=now_ms))
        return found


async def create_token(
    connection: AsyncConnection,
    scope: str,
    now_ms: int,
    expires_at_ms: int,
    *,
    label: str = "",
    uses: int | None = None,
) -> str:
    """A token of one scope at the leader: ``TokenStore.create``."""
    store = TokenStore(LEADER_METADATA)
    return await store.create(connection, (scope,), now_ms, expires_at_ms, label=label, uses=uses)


def is_whole(text: str) -> bool:
    """Whether a text may be a token: those that were made before tokens had a form have none."""
    return not text.startswith("hs_") or is_token(text)


def token_id(token: str) -> str:
    """The part of a token that may be shown."""
    found = TOKEN.fullmatch(token)
    return found["id"] if found else _hash(token).hex()[:_ID_BYTES]


def _holder(found: Row[Any] | None, digest: bytes, scopes: Sequence[str], now_ms: int) -> Holder | ProblemError:
    if found is None or not hmac.compare_digest(found.token_hash, digest):
        return ProblemError("unauthenticated", _UNKNOWN)
    if found.revoked_at_ms is not None or found.expires_at_ms <= now_ms:
        return ProblemError("unauthenticated", _UNKNOWN)
    holder = Holder(found.token_id, found.label, frozenset(found.scope.split(",")), found.uses_left)
    if holder.scopes.isdisjoint(scopes):
        return ProblemError("forbidden", f"this needs a token of scope {' or '.join(map(repr, scopes))}")
    return holder


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _CHECK_DIGITS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
