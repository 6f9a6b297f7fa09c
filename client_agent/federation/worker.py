"""The short-lived worker: takes part in rounds while there are any, lingers, and ends. It polls and sends, no more.

What it does between a round's first sight and a device's slot does not depend on the device's coin, for there is none
yet: every reservation that was paid for is answered in a child process (``answering``), and only at its slot is the
coin flipped that chooses between what the child gave and the null. The child would compute in vain for most devices
with a small sampling rate; a device trains in well under a second, at the lowest priority, and for that not only the
size and the time of what leaves but the work of the whole machine are the same for heads and tails. An answer that is
not there at its slot, because the child is slow, hangs or crashed, leaves the null.

Polls and steps stand on a fixed grid of time, so that what one step takes does not move those after it.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from client_agent.clocks import Clock, SystemClock
from client_agent.errors import AgentError
from client_agent.federation.child import AnswerProcess, Computing
from client_agent.federation.contribution import Reservation
from client_agent.federation.federation import Federation
from models.wire.problems import ProblemError

POLL_SECONDS = 1.0
IDLE_SECONDS = 20.0
_TICK_SECONDS = 0.05
_NODE_ID = 1


class AnswerApp(Protocol):
    """What masks and fixes a reservation at its slot: the Flower ClientApp with its mods."""

    def __call__(self, reservation: Reservation) -> object:
        """Answer for one reservation, whatever its coin will say."""
        ...


class Worker:
    """One loop over one federation.

    Args:
        federation: the participants and their rounds.
        computing: computes plain answers somewhere else.
        answer: masks and fixes what was computed, with a coin.
        clock: the machine's clocks.
        poll_seconds: time between two polls.
    """

    def __init__(
        self, federation: Federation, computing: Computing, answer: AnswerApp, clock: Clock, poll_seconds: float
    ) -> None:
        self._federation = federation
        self._computing = computing
        self._answer = answer
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._next_poll_seconds = clock.monotonic_seconds()
        self._waiting: list[Reservation] = []
        self._consent_change = -1
        self.busy_at_seconds = clock.monotonic_seconds()
        """When there last was something to do."""

    def step(self) -> None:
        """Poll if it is time, have new rounds answered, settle and send what is due; nothing for who withdrew."""
        self._let_go()
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds >= self._next_poll_seconds - _TICK_SECONDS / 2:  # the nearest step: sums of floats are not exact
            self._next_poll_seconds = _after(now_seconds, self._next_poll_seconds, self._poll_seconds)
            self._poll()
        now_ms = self._clock.now_ms()  # one reading for both: what is settled is due by the very rule it is sent by
        self._settle(now_ms)
        delivery = self._federation.send_due(now_ms)
        if delivery.accepted or self._waiting or self._federation.next_slot_ms() is not None:
            self.busy_at_seconds = now_seconds

    def close(self) -> None:
        """Stop computing; nulls that were not fixed are sent as nulls after the next start."""
        self._computing.close()

    def _poll(self) -> None:
        try:
            rounds = self._federation.open_rounds()
        except ProblemError:
            return  # the next poll asks again; what is due is sent meanwhile
        for found in rounds:
            reserved = sorted(self._federation.reserve_all(found), key=lambda reservation: reservation.slot_ms)
            for reservation in reserved:
                if reservation.may_be_real:
                    self._computing.submit(reservation)
            self._waiting += reserved

    def _let_go(self) -> None:
        """Compute and settle nothing more for who withdrew since the last step: what was stored of it is gone."""
        federation = self._federation
        change = federation.store.consents.last_change()
        if change == self._consent_change:
            return
        federation.roster.refresh_consent()
        standing = []
        for reservation in self._waiting:
            if federation.stands(reservation):
                standing.append(reservation)
            else:
                self._computing.forget(reservation.found.key, reservation.participant.participant_id)
        self._waiting = standing
        self._consent_change = change

    def _settle(self, now_ms: int) -> None:
        """Whose slot has come is answered, flipped and fixed: all of them in one transaction."""
        due = [reservation for reservation in self._waiting if reservation.slot_ms <= now_ms]
        if not due:
            return
        self._waiting = [reservation for reservation in self._waiting if reservation.slot_ms > now_ms]
        with self._federation.store.transaction():
            for reservation in due:
                self._answer_one(reservation)
                self._federation.finalise(reservation.found, [reservation])  # whatever the app made of it
        self._end(reservation.found.key for reservation in due)

    def _answer_one(self, reservation: Reservation) -> None:
        try:
            self._answer(reservation)
        except Exception:  # noqa: BLE001 - one reservation that fails is a null; it does not end the worker
            self._federation.note_failure(reservation.found)

    def _end(self, keys: Iterable[tuple[bytes, int]]) -> None:
        for key in set(keys) - {reservation.found.key for reservation in self._waiting}:
            self._computing.end(key)


def run(worker: Worker, clock: Clock, idle_seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Step until nothing was to be done for a while."""
    try:
        due_seconds = clock.monotonic_seconds()
        while clock.monotonic_seconds() - worker.busy_at_seconds < idle_seconds:
            worker.step()
            now_seconds = clock.monotonic_seconds()
            due_seconds = _after(now_seconds, due_seconds, _TICK_SECONDS)
            sleep(due_seconds - now_seconds)
    finally:
        worker.close()


def _after(now_seconds: float, due_seconds: float, apart_seconds: float) -> float:
    """The first time after both now and a due time on the grid that the due time stands on."""
    missed = max(0, math.floor((now_seconds - due_seconds) / apart_seconds))
    return due_seconds + (missed + 1) * apart_seconds


def main(arguments: list[str] | None = None) -> int:
    """Take part for the agent in a folder. Started by ``hearthside-agent run``."""
    parser = argparse.ArgumentParser(prog="client_agent.federation.worker")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--poll", type=float, default=POLL_SECONDS)
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS)
    parser.add_argument("--epsilon", type=float, default=None)
    parser.add_argument("--quota", action="append", default=[])
    options = parser.parse_args(arguments)
    try:
        _work(options)
    except (AgentError, ProblemError) as error:
        print(f"worker: {error}", file=sys.stderr)  # noqa: T201 - this function is a command line
        return 1
    return 0


def _work(options: argparse.Namespace) -> None:
    from client_agent.agent import open_agent
    from client_agent.federation.app import build_answering_app, participant_context, round_message
    from client_agent.policy import lowered, lowered_quotas
    from client_agent.profiles import event_texts

    agent, clock = open_agent(options.dir), SystemClock()
    federation = Federation(
        agent.store,
        agent.leader(),
        agent.helper(),
        agent.pins,
        clock,
        os.urandom,
        lowered(options.epsilon),
        quotas=lowered_quotas(options.quota),
    )
    computing = AnswerProcess(
        lambda who: event_texts(agent.store, who, clock.now_ms()), clock.now_ms, stands=agent.store.reports.has
    )
    app = build_answering_app(federation, computing.take)

    def answer(reservation: Reservation) -> object:
        context = participant_context(reservation.participant.participant_id, _NODE_ID)
        return app(round_message(reservation.found, _NODE_ID), context)

    run(Worker(federation, computing, answer, clock, options.poll), clock, options.idle)


if __name__ == "__main__":
    sys.exit(main())
