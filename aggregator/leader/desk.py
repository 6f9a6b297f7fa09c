"""What every part of the leader works with, and who may ask it for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request

from aggregator.budget import Budget, Promised
from aggregator.clock import Clock, Entropy
from aggregator.gate import require_held
from aggregator.leader.gathering import Gathering
from aggregator.leader.helper_link import HelperLink
from aggregator.leader.log import TransparencyLog
from aggregator.leader.open_rounds import OpenRounds
from aggregator.leader.rates import SenderRates
from aggregator.leader.register import Register
from aggregator.leader.work import WorkBoard
from aggregator.metrics import Metrics
from aggregator.service import Log
from aggregator.settings import LeaderSettings
from aggregator.storage.database import Database
from aggregator.storage.leader import LeaderStore
from aggregator.storage.vault import KeyVault
from privacy.crypto import SigningKey

if TYPE_CHECKING:
    from aggregator.leader.bundles import Publisher
    from aggregator.leader.duty import Duty
    from aggregator.leader.enrolments import Asked
    from aggregator.leader.following import Follower
    from aggregator.leader.receipts import Checked
    from aggregator.leader.reports import Candidate
    from aggregator.leader.studies import Running
    from models.wire.enrolment import EnrolmentResult, ReceiptResult
    from models.wire.frames import ReportFrame


@dataclass
class Desk:
    """The leader's keys, store, budget, log and memory."""

    settings: LeaderSettings
    key: SigningKey
    clock: Clock
    log: Log
    metrics: Metrics
    database: Database
    store: LeaderStore
    budget: Budget
    register: Register
    open_rounds: OpenRounds
    ledger_log: TransparencyLog
    board: WorkBoard
    helper: HelperLink
    running: Running
    publisher: Publisher
    entropy: Entropy
    vault: KeyVault
    opening: dict[tuple[bytes, int], Promised] = field(default_factory=dict)
    """Rounds that the helper is being asked to open, and what they will be charged."""
    looked_up: Gathering[ReportFrame, Candidate | str] = field(default_factory=Gathering)
    taken_in: Gathering[Candidate | str, str] = field(default_factory=Gathering)
    admitted: Gathering[Asked, EnrolmentResult] = field(default_factory=Gathering)
    recorded: Gathering[Checked, ReceiptResult] = field(default_factory=Gathering)
    """Enrolments, receipts and reports of requests that come together: looked up together, stored in one change."""
    follower: Follower = field(init=False)
    """Keeps all of this in step with the store."""
    duty: Duty = field(init=False)
    """Whether it is this worker that runs studies."""
    rates: SenderRates = field(init=False)
    """How much one device or enrolment token may send."""

    def __post_init__(self) -> None:
        """Begin with full buckets."""
        self.rates = SenderRates(self.settings, self.clock)

    async def require_scope(self, request: Request, scope: str) -> None:
        """Return if the request bears a token of this scope. The gate has looked the token up already.

        Raises:
            ProblemError: ``unauthenticated`` or ``forbidden``.
        """
        require_held(request, scope)


def desk_of(request: Request) -> Desk:
    """The desk behind a request."""
    desk: Desk = request.app.state.desk
    return desk
