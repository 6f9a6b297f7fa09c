"""Leader and helper behind their real HTTP servers, for whatever is thrown at them; all that they log is kept."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
import threading
from pathlib import Path
from typing import Self

import httpx
from starlette.types import ASGIApp

from aggregator.server import make_server
from models.wire.problems import PROBLEM_MEDIA_TYPE, PROBLEM_TYPES, Problem, problem_code
from models.wire.rounds import Opening
from models.wire.studies import Study
from privacy.crypto.requests import sign_request

from .world import Device, World

PATIENCE_SECONDS = 5.0
"""An answer that takes longer is a time-out, and a fault."""
NAMES = {"leader": "leader.test", "helper": "helper.test"}


class Besieged:
    """Both services in a thread, with a study whose round is open and some devices that may report to it.

    Attributes:
        world: the services and their keys; only ``run`` may touch what lives in their loop.
        ports: where they listen.
        log: all lines of both.
    """

    def __init__(self, folder: Path) -> None:
        options = {"log_level": "info", "body_limit_bytes": 2**20, "body_pause_seconds": 1.0, "header_seconds": 1.0}
        self.world = World(folder, leader_options=dict(options), helper_options=dict(options))
        self.world.leader_options["failed_credentials_per_minute"] = 1e6
        self.log = io.StringIO()
        self.ports: dict[str, int] = {}
        self.study: Study
        self.opening: Opening
        self.devices: list[Device] = []
        self.bearer = ""
        self._ready, self._loop, self._over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._failure: BaseException | None = None
        self._listeners: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60), "the services did not start"
        if self._failure is not None:
            raise self._failure
        self.clients = {
            role: httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers={"host": NAMES[role]}, timeout=PATIENCE_SECONDS
            )
            for role, port in self.ports.items()
        }
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients.values():
            client.close()
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the services did not end"

    def run(self, work):
        """Do something in the services' own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def ask(self, role: str, method: str, path: str, **options) -> httpx.Response:
        """One request by a client that follows the rules of HTTP."""
        return self.clients[role].request(method, path, **options)

    def as_leader(self, path: str, body: bytes, media_type: str = "application/json") -> httpx.Response:
        """A request to the helper under the leader's signature: past the door, whatever is in it."""
        world = self.world
        audience = world.helper_key.verify_key.fingerprint
        now = world.clock.now_seconds()
        headers = sign_request(world.leader_key, "POST", path, body, now, os.urandom(16), audience=audience)
        return self.ask("helper", "POST", path, content=body, headers={**headers, "content-type": media_type})

    def raw(self, role: str, request: bytes) -> bytes:
        """What comes back for bytes that need not be a request; the connection is closed at the end of them."""
        with socket.create_connection(("127.0.0.1", self.ports[role]), timeout=PATIENCE_SECONDS) as line:
            line.sendall(request)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                line.shutdown(socket.SHUT_WR)
                while part := line.recv(65_536):
                    answer += part
        return answer

    # The thread

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.redirect_stderr(self.log):
            try:
                self._loop.run_until_complete(self._serve())
            except BaseException as error:  # noqa: BLE001 - whoever waits for the start is told
                self._failure = error
                self._ready.set()
            finally:
                self._loop.run_until_complete(self._loop.shutdown_default_executor())
                self._loop.close()

    async def _serve(self) -> None:
        world = self.world
        async with world.up():
            self.bearer = await world.token("analyst")
            self.devices = await world.devices(4)
            self.study = world.study(window_seconds=600.0)
            await world.run(self.study)
            _, self.opening = await world.work()
            servers = [
                self._listen("leader", world.leader_app, world.leader_settings()),
                self._listen("helper", world.helper_app, world.helper_settings()),
            ]
            serving = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
            while not all(server.started for server, _ in servers):  # noqa: ASYNC110 - the library has no event for it
                await asyncio.sleep(0.01)
            self._ready.set()
            await self._over.wait()
            for server, _ in servers:
                server.should_exit = True
            await asyncio.gather(*serving)
            for listener in self._listeners:
                listener.close()

    def _listen(self, role: str, app: ASGIApp, settings):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.ports[role] = listener.getsockname()[1]
        self._listeners.append(listener)
        server = make_server(app, settings)
        server.config.lifespan = "off"  # the world opens and closes the applications
        return server, listener


def require_sane(response: httpx.Response) -> httpx.Response:
    """No answer is a server's error, and every error is a problem document that a client can read."""
    assert response.status_code < 500, (response.request.method, str(response.request.url), response.text[:500])
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE, response.text[:500]
        problem = Problem.model_validate_json(response.content)
        assert problem.status == response.status_code
        assert problem_code(problem) in PROBLEM_TYPES
    return response


def read_raw(answer: bytes) -> list[tuple[int, bytes]]:
    """Status and body of every response in what a socket gave back."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        assert status_line.startswith(b"HTTP/1."), answer[:200]
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        size = int(headers.get(b"content-length", len(rest)))
        found.append((int(status_line.split(b" ")[1]), rest[:size]))
        answer = rest[size:]
    return found


def nested(depth: int) -> bytes:
    """JSON so deep that a recursive reader ends there."""
    return b"[" * depth + b"]" * depth


def object_with(name: str, value: bytes) -> bytes:
    """A JSON object with one field."""
    return b"{" + json.dumps(name).encode() + b":" + value + b"}"
