"""The people of a household or a workplace behind one agent: adults with a profile each, children without any.

A child is never enrolled and has no key, no consent and no events: nothing is there that could be turned on. A PIN
keeps the others of the household from a person's page; it is no protection against whoever has the operating system's
account, for they have the store and its key.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from client_agent.clocks import Clock
from client_agent.enrolment import Entropy, Pins
from client_agent.erasing import erase_person
from client_agent.errors import PersonRefused, PinRefused
from client_agent.store import AgentStore, PersonRecord
from client_agent.store.people import Kind

NAME_CHARACTERS: Final = 64
PIN_CHARACTERS: Final = range(4, 65)
FREE_ATTEMPTS: Final = 5
"""Wrong PINs before the first wait; then each further one doubles it."""
FIRST_WAIT_SECONDS: Final = 30
LONGEST_WAIT_SECONDS: Final = 3_600
_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_one_at_a_time = threading.Lock()
"""A digest takes 32 MiB: somebody who tries many at once must not take the machine's memory."""


@dataclass(frozen=True, slots=True)
class PinVerifier:
    """What is kept of a PIN.

    scrypt (RFC 7914) with N = 2^15, r = 8, p = 3: 32 MiB and about a third of a second, one of the equivalent settings
    of OWASP's password storage cheat sheet. A PIN of four digits has 10,000 values whatever its digest costs: against
    whoever has the store only a long one helps; at the page the waits do (``wait_seconds``).

    Attributes:
        salt: 16 random bytes.
        digest: 32 bytes.
    """

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @classmethod
    def seal(cls, pin: str, salt: bytes) -> PinVerifier:
        """Derive a verifier from a PIN.

        Raises:
            PersonRefused: shorter than 4 or longer than 64 characters.
        """
        if len(pin) not in PIN_CHARACTERS:
            raise PersonRefused(f"expected a PIN of {PIN_CHARACTERS.start} to {PIN_CHARACTERS.stop - 1} characters")
        with _one_at_a_time:
            return cls(salt, _scrypt(salt).derive(pin.encode()))

    def verify(self, pin: str) -> bool:
        """Whether this is the PIN; compared in constant time."""
        if len(pin) not in PIN_CHARACTERS:
            return False
        try:
            with _one_at_a_time:
                _scrypt(self.salt).verify(pin.encode(), self.digest)
        except InvalidKey:
            return False
        return True


def wait_seconds(failures: int) -> int:
    """How long after the last wrong PIN the next one is looked at: 0 for the first five, then 30 s doubling to 1 h."""
    if failures < FREE_ATTEMPTS:
        return 0
    return int(min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(failures - FREE_ATTEMPTS, 16)))


def check_name(name: str) -> str:
    """A name as it is stored: trimmed, printable, at most 64 characters.

    Raises:
        PersonRefused: empty, too long, or with characters that a screen cannot show.
    """
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_CHARACTERS or not trimmed.isprintable():
        raise PersonRefused(f"expected a name of 1 to {NAME_CHARACTERS} printable characters")
    return trimmed


class PeopleKeeper:
    """Who belongs to the household, over the store. Safe to call from threads and processes.

    Args:
        store: the agent's store.
        pins: the services; what an adult granted there is withdrawn before a child takes their place.
        clock: for waits and withdrawals.
        entropy: for salts.
    """

    def __init__(self, store: AgentStore, pins: Pins, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._pins = pins
        self._clock = clock
        self._entropy = entropy

    def add(self, name: str, kind: Kind, pin: str | None = None) -> PersonRecord:
        """Add somebody; an adult is enrolled separately, a child never.

        Raises:
            PersonRefused: the name is taken or not usable, the PIN too short, or a child's.
        """
        if kind == "child" and pin is not None:
            raise PersonRefused("expected no PIN for a child: nothing is kept of a child that it could protect")
        record = self._with_pin(PersonRecord(check_name(name), kind), pin)
        with self._store.transaction():
            if self._store.people.get(record.name) is not None:
                raise PersonRefused(f"expected a new name, {record.name!r} is here already; see person list")
            self._store.people.put(record)
        return record

    def set_kind(self, name: str, kind: Kind) -> bool:
        """Say that somebody is a child or an adult; in force for every gate when this returns.

        What an adult had granted is withdrawn and their profile erased in the same transaction that makes a child of
        them; what the services have yet to hear waits as after any erasure. An adult who was a child starts with
        nothing, and enrols.

        Returns:
            Whether a profile was erased.

        Raises:
            PersonRefused: nobody of this name is here.
        """
        with self._store.transaction():
            known = self._known(name)
            if known.kind == kind:
                return False
            erased = self._erase(name)
            self._store.people.put(PersonRecord(name, kind))
            self._store.participants.note_change()  # the worker looks again at who may take part
        return erased

    def set_pin(self, name: str, pin: str | None) -> None:
        """Put a PIN before an adult's page, or take it away; their browsers have to say again who they are.

        Raises:
            PersonRefused: nobody of this name is here, a child, or a PIN that is too short.
        """
        bare = PersonRecord(name, "adult")
        renewed = self._with_pin(bare, pin)
        with self._store.transaction():
            if self._known(name).kind == "child":
                raise PersonRefused("expected an adult: nothing is kept of a child that a PIN could protect")
            self._store.people.forget(name)
            self._store.people.put(renewed)

    def remove(self, name: str) -> bool:
        """Withdraw and erase everything of a person, and forget that they were here.

        Returns:
            Whether a profile was erased.

        Raises:
            PersonRefused: nobody of this name is here.
        """
        with self._store.transaction():
            self._known(name)
            return self._erase(name)

    def check_pin(self, name: str, pin: str) -> PersonRecord:
        """The person as they were when this was their PIN, or when they had none.

        An attempt is counted before the PIN is looked at, so that many at once, or a crash, win nothing.

        Raises:
            PersonRefused: nobody of this name is here.
            PinRefused: another PIN, or too soon after too many wrong ones.
        """
        now_ms = self._clock.now_ms()
        with self._store.transaction():
            known = self._known(name)
            if known.pin_salt is None or known.pin_digest is None:
                return known
            left_seconds = _left_seconds(known, now_ms)
            if left_seconds > 0:
                raise PinRefused(f"expected the next PIN in {left_seconds} s", left_seconds)
            self._store.people.put(replace(known, failures=known.failures + 1, failed_at_ms=now_ms))
        if not PinVerifier(known.pin_salt, known.pin_digest).verify(pin):
            raise PinRefused("expected this person's PIN, got another", wait_seconds(known.failures + 1))
        self._pass(known)
        return known

    def _pass(self, checked: PersonRecord) -> None:
        """The right PIN ends the count, unless it was changed while it was looked at."""
        with self._store.transaction():
            known = self._store.people.get(checked.name)
            if known is None or known.pin_digest != checked.pin_digest:
                raise PinRefused("expected this person's PIN, it was changed meanwhile", 0)
            self._store.people.put(replace(known, failures=0, failed_at_ms=0))

    def _erase(self, name: str) -> bool:
        """Erase all about somebody, their name and browsers included; returns whether there was a profile."""
        enrolled = bool(self._store.participants.of_person(name))
        erase_person(self._store, self._pins, name, self._clock)
        return enrolled

    def _known(self, name: str) -> PersonRecord:
        known = self._store.people.get(name)
        if known is None:
            raise PersonRefused(f"expected the name of a person behind this agent, got {name!r}; see person list")
        return known

    def _with_pin(self, record: PersonRecord, pin: str | None) -> PersonRecord:
        if pin is None:
            return record
        sealed = PinVerifier.seal(pin, self._entropy(_SALT_BYTES))
        return replace(record, pin_salt=sealed.salt, pin_digest=sealed.digest)


def _left_seconds(known: PersonRecord, now_ms: int) -> int:
    """What is left of a wait; a clock that was turned back does not end it: it then waits until it has caught up."""
    wait_ms = 1_000 * wait_seconds(known.failures)
    return max(0, -(-(wait_ms - (now_ms - known.failed_at_ms)) // 1_000)) if wait_ms else 0


def _scrypt(salt: bytes) -> Scrypt:
    return Scrypt(salt=salt, length=_DIGEST_BYTES, n=2**15, r=8, p=3)
