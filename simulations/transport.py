"""Real services in this process: a background event loop, and a synchronous transport that reaches it without a socket.

Everything above the socket is as in production: the same applications, guards, stores, seals and signatures.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI

T = TypeVar("T")


class LoopThread:
    """An event loop on a thread of its own; ``call`` runs a coroutine there and waits for its result."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stop(self) -> None:
        """Stop the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class LoopTransport(httpx.BaseTransport):
    """A synchronous httpx transport onto an ASGI application that lives on a loop thread."""

    def __init__(self, loop: LoopThread, app: FastAPI) -> None:
        self._loop = loop
        self._inner = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read the whole response."""
        return self._loop.call(self._exchange(request))

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        asynchronous = httpx.Request(request.method, request.url, headers=request.headers.raw, content=request.read())
        response = await self._inner.handle_async_request(asynchronous)
        body = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers.raw, content=body)


class InProcessServices:
    """Several applications on one loop thread; their lifespans begin in the order given, as one may ask another."""

    def __init__(self, build: Callable[[], dict[str, FastAPI]]) -> None:
        self._build = build
        self._loop = LoopThread()
        self._stack = AsyncExitStack()
        self.apps: dict[str, FastAPI] = {}

    def transport(self, role: str) -> LoopTransport:
        """The synchronous way to one of the applications."""
        return LoopTransport(self._loop, self.apps[role])

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine beside the applications."""
        return self._loop.call(work)

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.call(self._start())
        return self

    async def _start(self) -> None:
        self.apps = self._build()
        for app in self.apps.values():
            await self._stack.enter_async_context(app.router.lifespan_context(app))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call(self._stack.aclose())
        self._loop.stop()
