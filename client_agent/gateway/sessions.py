"""Which person is at which browser: theory of operation.

::

    unknown  --(says who they are on the agent's own page; PIN if there is one)-->  known there
    known there  --(a code, once, within a minute, from page to site)-->  known at the site's door, too
    known  --(leaves, somebody else, erasure, removal, too long unused)-->  unknown, on both at once

A browser proves itself with one random token on each origin. The store keeps their digests in one row, so that what
ends one ends the other. A browser that proves nothing is unknown, and about it nothing is ever stored: a guest, a
private window and another browser are the same to the agent. So is a browser that presents two tokens at once, for one
of them was planted.

All this keeps out a site whose servers are elsewhere. A server under the same host name as one of the two origins, on
whichever port, is sent the cookies of that host and may set them (RFC 6265, section 8.5); the gateway therefore refuses
a site on its own machine unless told otherwise, see docs/decisions/0011.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from client_agent.errors import PersonRefused
from client_agent.gateway.ports import Household, Member, Visitor
from client_agent.store.people import SECRET_BYTES, BrowserRecord
from consent.signals import Subject

Entropy = Callable[[int], bytes]
TOKEN_BYTES: Final = 32
CODE_SECONDS: Final = 60
_DAY_MS: Final = 86_400_000
LASTING_IDLE_MS: Final = 30 * _DAY_MS
LASTING_MS: Final = 180 * _DAY_MS
OTHERS_IDLE_MS: Final = 12 * 3_600_000
"""A browser that is not to be remembered ends with its session; where it does not say when, after so long."""
PIN_IDLE_MS: Final = 15 * 60_000
"""The page of somebody with a PIN asks for it again after so long; the site's door goes on knowing the browser."""
BROWSERS_MAXIMUM: Final = 32
_CODES_MAXIMUM: Final = 1_024
_TOUCH_MS: Final = 60_000
"""Times of use are kept to the minute, so that looking at pages writes next to nothing."""


@dataclass(frozen=True, slots=True)
class Here:
    """Who is at a browser at this moment.

    Attributes:
        subject: what the policy asks.
        member: who; None for somebody unknown.
        visitor: their profile; None for a child, a guest, and an adult who has none yet.
        secret: of the browser's row, for what the site's own pages are given (``seals``); empty without a profile.
        epoch: number of the consent that stands at this moment.
        form: what the forms of the person's own page carry, so that a form of one person is never another's answer.
        clear: a cookie came that is nobody's, and the browser is to drop it.
        locked: the page wants the person's PIN again.
    """

    subject: Subject
    member: Member | None = None
    visitor: Visitor | None = None
    secret: bytes = field(default=b"", repr=False)
    form: str = field(default="", repr=False)
    clear: bool = False
    epoch: int = 0
    locked: bool = False


NOBODY: Final = Here("unknown")


@dataclass(frozen=True, slots=True)
class _Code:
    page: bytes = field(repr=False)
    lasting: bool
    expires_ms: int


class Sessions:
    """The browsers of one gateway. Safe to call from threads.

    Args:
        household: who may be chosen, and their browsers.
        entropy: a CSPRNG.

    Attributes:
        household: as given.
        entropy: as given.
    """

    def __init__(self, household: Household, entropy: Entropy) -> None:
        self.household = household
        self.entropy = entropy
        self._codes: dict[bytes, _Code] = {}
        self._lock = threading.Lock()

    def at_site(self, presented: Sequence[str]) -> Here:
        """Who is at a browser that came to the door with these tokens."""
        if not presented:
            return NOBODY
        found = self.household.browsers.by_site(_digest(presented[0])) if len(presented) == 1 else None
        return self._here(found, opening=False)

    def at_page(self, presented: Sequence[str]) -> Here:
        """Who is at a browser that came to the agent's own page with these tokens."""
        if not presented:
            return NOBODY
        return self._here(self._on_page(presented), opening=True)

    def begin(self, presented: Sequence[str], name: str, pin: str, *, lasting: bool) -> str:
        """Somebody says who they are; whoever was at this browser before has left it. Returns the page's token.

        Args:
            presented: what the browser came with.
            name: who they say they are.
            pin: their PIN, if they have one.
            lasting: whether the browser is to be remembered.

        Raises:
            PersonRefused: nobody of this name may be chosen here, or the PIN is refused.
        """
        if self.household.member(name) is None:
            raise PersonRefused("expected somebody of this household")
        checked = self.household.check_pin(name, pin)
        token, secret = self._token(), self.entropy(SECRET_BYTES)
        with self.household.together():
            # A PIN takes its time: meanwhile the person may have been removed, or have taken another one.
            if not self.household.stands(checked):
                raise PersonRefused("expected somebody of this household, as they were a moment ago")
            self._start(token, secret, self._on_page(presented), name, lasting=lasting)
        return token

    def _start(self, token: str, secret: bytes, former: BrowserRecord | None, name: str, *, lasting: bool) -> None:
        """Put a browser in the place of whoever was there before. Part of the caller's transaction."""
        browsers, now_ms = self.household.browsers, self.household.now_ms()
        started = BrowserRecord(_digest(token), None, name, lasting, now_ms, now_ms, now_ms, secret)
        if former is not None:
            browsers.end([former.page])
            if former.person == name and not _is_over(former, now_ms):  # the PIN again: the site's door stays open
                started = replace(started, site=former.site, created_at_ms=former.created_at_ms, secret=former.secret)
        browsers.end_unused(now_ms - LASTING_IDLE_MS, now_ms - OTHERS_IDLE_MS)
        browsers.put(started)
        browsers.end([record.page for record in browsers.of(name)[BROWSERS_MAXIMUM:]])

    def end(self, presented: Sequence[str]) -> None:
        """The person leaves this browser, on both origins."""
        found = self._on_page(presented)
        if found is not None:
            self.household.browsers.end([found.page])

    def mint(self, presented: Sequence[str]) -> str | None:
        """A code with which this browser, and no other, is to be known at the site's door; None if nobody is here."""
        found = self._on_page(presented)
        now_ms = self.household.now_ms()
        if found is None or _is_over(found, now_ms):
            return None
        code = self._token()
        with self._lock:
            self._codes = {name: held for name, held in self._codes.items() if held.expires_ms > now_ms}
            while len(self._codes) >= _CODES_MAXIMUM:
                del self._codes[next(iter(self._codes))]
            self._codes[_digest(code)] = _Code(found.page, found.lasting, now_ms + 1_000 * CODE_SECONDS)
        return code

    def redeem(self, code: str) -> tuple[str, bool] | None:
        """Turn a code into the site's token: (token, whether to keep it); None for a code that is not, or no longer."""
        with self._lock:
            held = self._codes.pop(_digest(code), None)
        if held is None or self.household.now_ms() >= held.expires_ms:
            return None
        token = self._token()
        return (token, held.lasting) if self.household.browsers.meet(held.page, _digest(token)) else None

    def _on_page(self, presented: Sequence[str]) -> BrowserRecord | None:
        return self.household.browsers.by_page(_digest(presented[0])) if len(presented) == 1 else None

    def _here(self, found: BrowserRecord | None, *, opening: bool) -> Here:
        now_ms = self.household.now_ms()
        if found is not None and _is_over(found, now_ms):
            self.household.browsers.end([found.page])
            found = None
        member = self.household.member(found.person) if found else None
        if found is None or member is None:
            return Here("unknown", clear=True)
        locked = member.has_pin and now_ms - found.opened_at_ms > PIN_IDLE_MS
        self._touch(found, now_ms, opening=opening and not locked)
        form = _digest_text("form", found.page)
        if member.kind == "child":
            return Here("child", member, None, form=form)
        visitor = self.household.visitor(member.name)
        if visitor is None:
            return Here("known", member, None, form=form, locked=opening and locked)
        return Here(
            "known", member, visitor, found.secret, form, epoch=visitor.consent().epoch, locked=opening and locked
        )

    def _touch(self, found: BrowserRecord, now_ms: int, *, opening: bool) -> None:
        opened_ms = now_ms if opening else found.opened_at_ms
        if max(now_ms - found.used_at_ms, opened_ms - found.opened_at_ms) >= _TOUCH_MS:
            self.household.browsers.touch(found.page, now_ms, opened_ms)

    def _token(self) -> str:
        return base64.urlsafe_b64encode(self.entropy(TOKEN_BYTES)).decode().rstrip("=")


def _is_over(record: BrowserRecord, now_ms: int) -> bool:
    if not record.lasting:
        return now_ms - record.used_at_ms >= OTHERS_IDLE_MS
    return now_ms - record.used_at_ms >= LASTING_IDLE_MS or now_ms - record.created_at_ms >= LASTING_MS


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _digest_text(label: str, value: bytes) -> str:
    """A text that says nothing about what it was made of (256 bits, base64url)."""
    raw = hashlib.sha256(f"hearthside {label} ".encode() + value).digest()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
