"""The short-lived worker: takes part in rounds while there are any, lingers, and ends. It alone loads the heavy parts.

A real answer is computed on a thread of its own while the loop goes on sending, so that a slot is met whether or not an
answer is ready: what a slow answer would otherwise delay is the very thing that must look alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from client_agent.clocks import Clock, SystemClock
from client_agent.errors import AgentError
from client_agent.federation.contribution import Reservation
from client_agent.federation.federation import Federation
from models.wire.problems import ProblemError

POLL_SECONDS = 1.0
IDLE_SECONDS = 20.0
_TICK_SECONDS = 0.05
_NODE_ID = 1


class AnswerApp(Protocol):
    """What computes, masks and fixes a real answer: the Flower ClientApp with its mods."""

    def __call__(self, reservation: Reservation) -> object:
        """Answer for one reservation with heads."""
        ...


class Worker:
    """One loop over one federation.

    Args:
        federation: the participants and their rounds.
        answer: computes, masks and fixes a real answer.
        clock: the machine's clocks.
        poll_seconds: time between two polls.
    """

    def __init__(self, federation: Federation, answer: AnswerApp, clock: Clock, poll_seconds: float) -> None:
        self._federation = federation
        self._answer = answer
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._next_poll_seconds = float("-inf")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answer")
        self._waiting: list[tuple[Reservation, Future[object]]] = []
        self.busy_at_seconds = clock.monotonic_seconds()
        """When there last was something to do."""

    def step(self) -> None:
        """Poll if it is time, start what is new, fix what is due, send what is due."""
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds >= self._next_poll_seconds:
            self._next_poll_seconds = now_seconds + self._poll_seconds
            self._poll()
        now_ms = self._clock.now_ms()  # one reading for both: a head is due by the very rule by which a tail is sent
        self._fix_due(now_ms)
        delivery = self._federation.send_due(now_ms)
        if delivery.accepted or self._waiting or self._federation.next_slot_ms() is not None:
            self.busy_at_seconds = now_seconds

    def close(self) -> None:
        """Stop computing; nulls that were not fixed are sent as nulls after the next start."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _poll(self) -> None:
        try:
            rounds = self._federation.open_rounds()
        except ProblemError:
            return  # the next poll asks again; what is due is sent meanwhile
        for found in rounds:
            reserved = self._federation.reserve_all(found)
            heads = self._federation.flip_all(reserved)
            self._federation.finalise(found, [reservation for reservation in reserved if not reservation.heads])
            self._waiting += [(head, self._thread.submit(self._answer, head)) for head in heads]

    def _fix_due(self, now_ms: int) -> None:
        """A head whose slot has come is fixed as it stands; one whose answer is ready was fixed by it."""
        for head, _ in self._waiting:
            if not head.fixed and head.slot_ms <= now_ms:
                self._federation.finalise(head.found, [head])
        self._waiting = [(head, future) for head, future in self._waiting if not (head.fixed and future.done())]


def run(worker: Worker, clock: Clock, idle_seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Step until nothing was to be done for a while."""
    try:
        while clock.monotonic_seconds() - worker.busy_at_seconds < idle_seconds:
            worker.step()
            sleep(_TICK_SECONDS)
    finally:
        worker.close()


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
    from client_agent.federation.app import build_client_app, participant_context, round_message
    from client_agent.policy import lowered, lowered_quotas
    from client_agent.profiles import StoredData

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
    app = build_client_app(federation, lambda who: StoredData(agent.store, who, clock.now_ms()))

    def answer(reservation: Reservation) -> object:
        context = participant_context(reservation.participant.participant_id, _NODE_ID)
        return app(round_message(reservation.found, _NODE_ID), context)

    run(Worker(federation, answer, clock, options.poll), clock, options.idle)


if __name__ == "__main__":
    sys.exit(main())
