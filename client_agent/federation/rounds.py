"""The rounds that this device takes part in: verified once, priced once, remembered on disk, and closed when over.

A round is admitted when all that ``trust`` asks holds, no stop of the privacy office has come, its local layer keeps
below the installed cap, and it was not seen with another opening. What is admitted is on disk before anybody is charged
for it, and a round that is closed there is never admitted again.
"""

from __future__ import annotations

import logging
from typing import Final

from client_agent.clocks import Clock
from client_agent.connection import LeaderConnection
from client_agent.enrolment import Pins
from client_agent.errors import RefusalCode, RoundRefused
from client_agent.federation.contribution import SEAL_GRACE_SECONDS
from client_agent.federation.descriptions import describe
from client_agent.federation.log_view import LogView
from client_agent.federation.prices import RoundPrice, check_cap, price_round
from client_agent.federation.shortfalls import note
from client_agent.federation.stops import Stops
from client_agent.federation.trust import VerifiedRound, claimed_model, claimed_tree, lacking, verify_round
from client_agent.store import AgentStore, RoundKey
from models.wire.rounds import RoundWork, Work, model_hash
from privacy.accounting import Contract

_log = logging.getLogger(__name__)
_REMEMBERED_MODELS: Final = 8


class Rounds:
    """The rounds of one leader.

    Args:
        store: the agent's store.
        leader: where models are fetched.
        pins: the keys that were given out of band.
        stops: which studies the privacy office has stopped.
        log: the leader's log, as far as this device follows it.
        clock: the machine's clocks.
        contract: the installed budget (device level, zero-out), for prices.
        local_epsilon_cap: installed cap of the local layer (per training row, zero-out), for one study.

    Attributes:
        refused: by study, the rounds of the last poll that were not admitted, with the code of the failed check.
    """

    def __init__(
        self,
        store: AgentStore,
        leader: LeaderConnection,
        pins: Pins,
        stops: Stops,
        log: LogView,
        clock: Clock,
        contract: Contract,
        local_epsilon_cap: float,
    ) -> None:
        self.refused: dict[bytes, RefusalCode] = {}
        self._store = store
        self._leader = leader
        self._pins = pins
        self._stops = stops
        self._log = log
        self._clock = clock
        self._contract = contract
        self._local_epsilon_cap = local_epsilon_cap
        self._admitted: dict[RoundKey, VerifiedRound] = {}
        self._prices: dict[RoundKey, RoundPrice] = {}
        self._models: dict[str, bytes] = {}

    def admit(self, work: Work) -> list[VerifiedRound]:
        """What is admitted of the leader's answer to a poll; ``refused`` says why the others are not.

        Raises:
            ProblemError: the leader does not serve a model.
        """
        found, refused = [], dict[bytes, RefusalCode]()
        for item in work.rounds:
            try:
                found.append(self._admit(item, work))
            except RoundRefused as refusal:
                key = item.study.study_hash()
                refused[key] = refusal.code
                if self.refused.get(key) != refusal.code:
                    _log.warning("round of %s refused: %s", item.study.study_id, refusal)
        self.refused = refused
        lacked = {verified.study.study_id: lacking(verified.study) for verified in found if not verified.supported}
        note(self._store, lacked, self._leader.unread_rounds)
        return found if self._log.fault is None and self._log.is_current else []

    def get(self, key: RoundKey) -> VerifiedRound | None:
        """A round that was admitted, None if it was not."""
        return self._admitted.get(key)

    def price(self, found: VerifiedRound) -> RoundPrice:
        """What a round costs whoever takes part."""
        known = self._prices.get(found.key)
        return known or price_round(found, self._contract, self._local_epsilon_cap)

    def close(self, listed: set[RoundKey]) -> list[RoundKey]:
        """Close the rounds that are over: past their window, stopped, or gone from the work with nothing left to send.

        Args:
            listed: the rounds that the last poll admitted.

        Returns:
            The rounds that were closed, never to be admitted again.
        """
        now_ms, holds = self._clock.now_ms(), self._log.fault is None and self._log.is_current
        over = [
            key
            for key, closes_at_ms, unsent in self._store.reports.open_rounds()
            if now_ms >= closes_at_ms or (holds and key not in listed and not unsent) or self._stops.is_stopped(key[0])
        ]
        with self._store.transaction():
            for key in over:
                self._store.reports.close_round(key)
            self._store.reports.forget_tokens(now_ms - 1_000 * SEAL_GRACE_SECONDS)
        for key in over:
            self._admitted.pop(key, None)
            self._prices.pop(key, None)
            _log.debug("round %d of study %s is over", key[1], key[0].hex()[:12])
        return over

    def _admit(self, item: RoundWork, work: Work) -> VerifiedRound:
        if self._log.fault is None and not self._log.is_current:
            raise RoundRefused("checkpoint", "the leader shows less of its log than before: nothing is taken from it")
        verified = self._verified(item, work)
        if self._log.fault is not None:
            raise RoundRefused("log", self._log.fault)
        if self._stops.is_stopped(verified.study_hash):
            raise RoundRefused("stopped", "the privacy office has stopped the study")
        if not self._remember(verified):
            raise RoundRefused("equivocation", "this round was seen with another opening, or is closed here")
        return verified

    def _verified(self, item: RoundWork, work: Work) -> VerifiedRound:
        now_ms = self._clock.now_ms()
        for known in self._admitted.values():
            if known.source == (item.opening, item.approval) and known.study == item.study:
                if now_ms >= known.opening.closes_at_ms:
                    raise RoundRefused("window", "the window is past")
                if now_ms >= known.study.expires_at_ms:
                    raise RoundRefused("expired", "the study has expired")
                return known
        try:
            verified = verify_round(item, work.checkpoint, self._pins, now_ms, self._model(item))
        except RoundRefused as refusal:
            if refusal.code == "checkpoint":  # two logs of one size: the view keeps both statements
                self._log.require(claimed_tree(item, self._pins), item.opening)
            raise
        self._log.require(verified.opening.checkpoint, item.opening)
        return verified

    def _model(self, item: RoundWork) -> bytes:
        """The round's model, fetched once; its digest is checked with the opening."""
        wanted = claimed_model(item, self._pins)
        if wanted == model_hash(b"").hex():
            return b""
        if wanted not in self._models:
            self._models[wanted] = self._leader.model(wanted)
            while len(self._models) > _REMEMBERED_MODELS:
                del self._models[next(iter(self._models))]
        return self._models[wanted]

    def _remember(self, verified: VerifiedRound) -> bool:
        if verified.key in self._admitted:
            return self._admitted[verified.key].opening_digest == verified.opening_digest
        if verified.supported:
            check_cap(verified)
        price = self.price(verified)
        with self._store.transaction():
            fresh = self._store.reports.open_round(
                verified.key,
                verified.opening_digest,
                verified.study.purpose,
                verified.opening.closes_at_ms,
                verified.study.study_id,
                verified.study.title,
            )
        if fresh:
            describe(self._store, [verified.study])
            self._admitted[verified.key], self._prices[verified.key] = verified, price
        return fresh
