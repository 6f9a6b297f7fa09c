"""What every part of the helper works with, and who may ask it for what."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from dataclasses import dataclass, field

from fastapi import Request

from aggregator.budget import Budget
from aggregator.clock import OS_ENTROPY, Clock, Entropy
from aggregator.helper.spool import SpoolFolder
from aggregator.metrics import Metrics
from aggregator.service import Log
from aggregator.settings import HelperSettings
from aggregator.storage.database import Database
from aggregator.storage.helper import HelperStore
from aggregator.storage.standing import Standing
from aggregator.storage.vault import KeyVault
from models.wire.problems import ProblemError
from privacy.crypto import RequestStale, SignatureInvalid, SigningKey, VerifyKey
from privacy.crypto.requests import WINDOW_SECONDS, SignedHead, check_body, verify_head

_SPOOLS_AT_ONCE = 2


@dataclass
class Office:
    """The helper's keys, store, budget and clock."""

    settings: HelperSettings
    key: SigningKey
    leader_key: VerifyKey
    officers: tuple[VerifyKey, ...]
    clock: Clock
    log: Log
    metrics: Metrics
    database: Database
    store: HelperStore
    budget: Budget
    spools: SpoolFolder
    vault: KeyVault
    standing: Standing
    entropy: Entropy = OS_ENTROPY
    worker: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    """Names this process to the others that share the store; 16 bytes, no secret."""
    spooling: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SPOOLS_AT_ONCE))
    """Batches arrive a few at a time, so that what they take on disk has a bound."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the service ends: what opens seals stops at its next range."""
    answering: dict[int, asyncio.Task[bytes]] = field(default_factory=dict)
    """Answers under way in this process, by round: a retry waits for the first attempt's instead of opening the seals
    again. Between processes the store says who answers."""

    async def check_leader(self, request: Request, body: bytes) -> None:
        """Return if the leader signed this very request, for the first time.

        Raises:
            ProblemError: ``bad-signature``, or ``replayed``.
        """
        head = self._signed_head(request)
        self.check_body(head, hashlib.sha256(body).digest())
        await self._use_nonce(head.nonce)

    async def check_leader_head(self, request: Request) -> SignedHead:
        """What the leader signed, for the first time, of a request whose body is still to come.

        Nothing of a body is kept before this; when it is whole, ``check_body`` says whether it is the one.

        Raises:
            ProblemError: ``bad-signature``, or ``replayed``.
        """
        head = self._signed_head(request)
        await self._use_nonce(head.nonce)
        return head

    def check_body(self, head: SignedHead, body_sha256: bytes) -> None:
        """Return if a body is the one that was signed.

        Raises:
            ProblemError: ``bad-signature``.
        """
        try:
            check_body(head, body_sha256)
        except SignatureInvalid as error:
            raise ProblemError("bad-signature", str(error)) from error

    def _signed_head(self, request: Request) -> SignedHead:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        audience, now = self.key.verify_key.fingerprint, self.clock.now_seconds()
        try:
            return verify_head(request.headers, request.method, target, (self.leader_key,), now, audience=audience)
        except RequestStale as error:
            raise ProblemError("stale", str(error)) from error
        except SignatureInvalid as error:
            raise ProblemError("bad-signature", str(error)) from error

    async def _use_nonce(self, nonce: bytes) -> None:
        """In the store: what one process took is replayed to no other, and to none after a restart."""
        now_ms = self.clock.now_ms()
        oldest_ms = now_ms - 2 * WINDOW_SECONDS * 1_000
        new = await self.database.change(
            lambda change: self.store.use_nonce(change.connection, nonce, now_ms, oldest_ms)
        )
        if not new:
            raise ProblemError("replayed", "this signed request was received before")


def office_of(request: Request) -> Office:
    """The office behind a request."""
    office: Office = request.app.state.office
    return office
