"""What every part of the helper works with, and who may ask it for what."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from aggregator.budget import Budget
from aggregator.clock import OS_ENTROPY, Clock, Entropy
from aggregator.metrics import Metrics
from aggregator.service import Log
from aggregator.settings import HelperSettings
from aggregator.storage.database import Database
from aggregator.storage.helper import HelperStore
from models.wire.problems import ProblemError
from privacy.crypto import SignatureInvalid, SigningKey, VerifyKey
from privacy.crypto.requests import WINDOW_SECONDS, verify_request


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
    entropy: Entropy = OS_ENTROPY
    nonces: dict[bytes, int] = field(default_factory=dict)

    def check_leader(self, request: Request, body: bytes) -> None:
        """Return if the leader signed this very request, for the first time.

        Raises:
            ProblemError: ``bad-signature``, or ``replayed``.
        """
        now = self.clock.now_seconds()
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        audience = self.key.verify_key.fingerprint
        try:
            _, nonce = verify_request(
                request.headers, request.method, target, body, (self.leader_key,), now, audience=audience
            )
        except SignatureInvalid as error:
            raise ProblemError("bad-signature", str(error)) from error
        for old in [known for known, at in self.nonces.items() if at < now - 2 * WINDOW_SECONDS]:
            del self.nonces[old]
        if nonce in self.nonces:
            raise ProblemError("replayed", "this signed request was received before")
        self.nonces[nonce] = now


def office_of(request: Request) -> Office:
    """The office behind a request."""
    office: Office = request.app.state.office
    return office
