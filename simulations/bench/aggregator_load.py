"""The load: an open loop of check-ins, and requests as fast as so many connections can bring them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.bench.aggregator_line import Answer, Line, LoadFailed, require

Show = Callable[[str, int, int], None]
"""Is told what is done, how much of it, and of how much."""
_WORK: Final = "/v1/work"
_SEED: Final = 7
_CONNECTING: Final = 50
_SHOW_EVERY: Final = 50


@dataclass(frozen=True)
class Latencies:
    """Milliseconds from when a request was meant to be sent until its answer was read whole, in increasing order."""

    milliseconds: Sequence[float]
    seconds: float
    """From the first request that was meant to be sent until the last answer."""

    def at(self, share: float) -> float:
        """The latency that this share of the requests did not exceed."""
        return self.milliseconds[min(len(self.milliseconds) - 1, int(share * len(self.milliseconds)))]


class Agent:
    """A device that polls for work on a connection of its own: now as if for the first time, now with what it knows.

    Args:
        url: the leader's.
    """

    def __init__(self, url: str) -> None:
        self.line = Line(url)
        self._etag = ""
        self._turn = asyncio.Lock()
        self._asked = 0

    async def check_in(self, due: float, took: list[float]) -> None:
        """One poll; ``due`` is when it was meant to begin, and what its latency is counted from."""
        async with self._turn:
            headers = {"if-none-match": self._etag} if self._asked % 2 else {}
            answer = require(await self.line.ask("GET", _WORK, headers=headers), 200, 304)
            self._asked += 1
            self._etag = answer.headers.get("etag", "")
        took.append((time.perf_counter() - due) * 1e3)


async def check_ins(url: str, agents: int, per_second: float, seconds: float, show: Show) -> Latencies:
    """An open loop: agents check in at times fixed beforehand, whether or not earlier answers have come.

    The times are those of a Poisson stream, as of agents that know nothing of each other; each agent comes once before
    any comes twice.
    """
    crowd = [Agent(url) for _ in range(agents)]
    for start in range(0, agents, _CONNECTING):
        await asyncio.gather(*(agent.line.open() for agent in crowd[start : start + _CONNECTING]))
    times = _schedule(per_second, seconds)
    took: list[float] = []
    order = _order(len(times), agents)
    started = time.perf_counter() + 0.1
    try:
        async with asyncio.TaskGroup() as under_way:
            for number, after in enumerate(times):
                await asyncio.sleep(max(0.0, started + after - time.perf_counter()))
                under_way.create_task(crowd[order[number]].check_in(started + after, took))
                if number % _SHOW_EVERY == 0:
                    show("check-ins", number, len(times))
    finally:
        for agent in crowd:
            await agent.line.close()
    return Latencies(sorted(took), time.perf_counter() - started)


def _schedule(per_second: float, seconds: float) -> list[float]:
    generator, now, times = random.Random(_SEED), 0.0, []  # noqa: S311 - when the load sends is no secret
    while (now := now + generator.expovariate(per_second)) < seconds:
        times.append(now)
    return times


def _order(count: int, agents: int) -> list[int]:
    generator, order = random.Random(_SEED), list[int]()  # noqa: S311 - as above
    while len(order) < count:
        order += generator.sample(range(agents), agents)
    return order


@dataclass(frozen=True)
class Post:
    """A request of the load."""

    path: str
    body: bytes
    media_type: str = "application/json"


@dataclass(frozen=True)
class Pumped:
    """What came of requests that were sent as fast as they were answered."""

    seconds: float
    answers: Sequence[Answer]


async def pump(url: str, chains: Sequence[Sequence[Post]], connections: int, show: Show, what: str) -> Pumped:
    """Send requests over so many connections at once; the requests of a chain follow one another.

    Answers are kept and looked at afterwards: the load takes from the leader's cores while the clock runs.

    Raises:
        LoadFailed: an answer was no success.
    """
    answers: list[Answer] = []
    waiting = iter(chains)
    done = 0

    async def work(line: Line) -> None:
        nonlocal done
        for chain in waiting:  # the connections share the iterator: each takes the next chain that nobody has
            for post in chain:
                headers: Mapping[str, str] = {"content-type": post.media_type}
                answers.append(await line.ask("POST", post.path, post.body, headers))
            done += 1
            show(what, done, len(chains))

    lines = [Line(url) for _ in range(connections)]
    for line in lines:
        await line.open()
    started = time.perf_counter()
    try:
        await asyncio.gather(*(work(line) for line in lines))
        seconds = time.perf_counter() - started
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        raise LoadFailed(f"the connection broke: {type(error).__name__}") from error
    finally:
        for line in lines:
            await line.close()
    for answer in answers:
        require(answer, 200, 201, 202)
    return Pumped(seconds, answers)
