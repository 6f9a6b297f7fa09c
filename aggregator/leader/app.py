"""The leader as a service: ``create_app(settings)``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import httpx
from fastapi import FastAPI

from aggregator.access import LEADER, Table
from aggregator.action_routes import action_routes
from aggregator.budget import Budget
from aggregator.clock import OS_ENTROPY, Clock, Entropy
from aggregator.condition import Condition
from aggregator.gate import Gate
from aggregator.leader import continuity, hearing, restored, tidying
from aggregator.leader.actions import announce
from aggregator.leader.auditing import write_standings
from aggregator.leader.bundles import Publisher
from aggregator.leader.condition import LeaderCondition
from aggregator.leader.desk import Desk
from aggregator.leader.device_routes import own_device_routes
from aggregator.leader.distribution import Distribution
from aggregator.leader.duty import Duty
from aggregator.leader.following import Follower
from aggregator.leader.helper_link import HelperLink
from aggregator.leader.keys_in_force import note_keys
from aggregator.leader.log import TransparencyLog
from aggregator.leader.open_rounds import OpenRounds
from aggregator.leader.raises import parties_of, raise_routes
from aggregator.leader.register import Register
from aggregator.leader.repository import KEY_FOLDER, RoleKeys
from aggregator.leader.repository_routes import repository_routes
from aggregator.leader.routes import device_routes, log_routes, public_routes
from aggregator.leader.studies import Running
from aggregator.leader.study_routes import study_routes
from aggregator.leader.work import WorkBoard
from aggregator.logs import quiet_libraries, service_log
from aggregator.metrics import Metrics
from aggregator.service import Log, add_common_routes, new_service
from aggregator.settings import LeaderSettings
from aggregator.storage.actions import ActionStore
from aggregator.storage.contracts import contract_in_force
from aggregator.storage.database import Change, Database
from aggregator.storage.endings import ENDINGS_FILE
from aggregator.storage.leader import LeaderStore
from aggregator.storage.leader_tables import METADATA
from aggregator.storage.mirror import MIRROR_FILE, HeadMirror
from aggregator.storage.processes import running, starting
from aggregator.storage.report_bytes import report_bytes
from aggregator.storage.tokens import TokenStore
from aggregator.storage.vault import KeyVault
from models.wire.enrolment import ServiceIdentity
from privacy.crypto import SigningKey

_NAME_BYTES: Final = 16


def create_app(
    settings: LeaderSettings,
    *,
    helper_transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
    entropy: Entropy = OS_ENTROPY,
) -> FastAPI:
    """Build the leader. Its store is opened, and running studies resumed, by the application's lifespan.

    Args:
        settings: from ``LeaderSettings.read``.
        helper_transport: how to reach the helper; the network unless given (in one process: ``httpx.ASGITransport``).
        clock: the time; the operating system's unless given.
        entropy: where the noise's secrets come from; the operating system unless given.

    Raises:
        SettingsInvalid: a key that is missing or unreadable.
    """
    key, metrics, log, clock = (
        settings.signing_key(),
        Metrics(),
        service_log("leader", settings.log_level),
        clock or Clock(),
    )
    database = Database(settings.url(), settings.patience())
    role_keys = RoleKeys(settings.directory / KEY_FOLDER, (key,))
    distribution = Distribution(settings.directory / "tuf", settings.site, role_keys)
    quiet_libraries()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        link = _link(settings, key, helper_transport, clock, metrics)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(database.close)
            stack.push_async_callback(link.close)
            stack.enter_context(running(settings.directory))
            async with starting(settings.directory):  # two that start at once do not both find a restored store
                await database.open("leader")
                desk = await _open_desk(settings, key, clock, log, metrics, database, link, distribution, entropy)
            app.state.desk = desk
            gate.announce = partial(announce, desk.ledger_log)
            await stack.enter_async_context(_in_step(desk))
            LeaderCondition(desk).attach(condition)
            await stack.enter_async_context(condition.kept())
            yield

    condition = Condition("leader", settings, database, metrics, clock)
    summary = "Takes masked reports and releases noisy sums; alone it sees random numbers."
    gate = Gate(
        Table(LEADER),
        database,
        TokenStore(METADATA),
        ActionStore(METADATA),
        settings,
        clock,
        metrics,
    )
    app = new_service("Hearthside leader", summary, settings, lifespan, metrics, log, gate=gate)
    identity = ServiceIdentity(
        role="leader",
        key=key.verify_key.raw.hex(),
        fingerprint=key.verify_key.fingerprint,
        site=settings.site,
        officers=settings.officers,
    )
    app.include_router(device_routes())  # routes are tried in their order, and devices ask most
    add_common_routes(app, identity, metrics, condition)
    app.include_router(action_routes(gate))
    app.include_router(own_device_routes())
    routers = (public_routes(), study_routes(), raise_routes(), log_routes(), repository_routes())
    for router in routers:
        app.include_router(router)
    return app


def _link(
    settings: LeaderSettings,
    key: SigningKey,
    transport: httpx.AsyncBaseTransport | None,
    clock: Clock,
    metrics: Metrics,
) -> HelperLink:
    timeout = httpx.Timeout(settings.helper_timeout_seconds, connect=5.0)
    client = httpx.AsyncClient(
        base_url=settings.helper_url,
        transport=transport,
        timeout=timeout,
        trust_env=False,
        verify=settings.authorities(),
    )
    return HelperLink(
        client,
        key,
        settings.helper_verify_key(),
        clock,
        metrics,
        share_timeout_seconds=settings.share_timeout_seconds,
    )


@asynccontextmanager
async def _in_step(desk: Desk) -> AsyncIterator[None]:
    """Follow the store, run studies if nobody else does, tidy up; at the end, leave the duty to whoever comes next."""
    desk.follower, desk.duty = Follower(desk), Duty(desk, OS_ENTROPY(_NAME_BYTES).hex())
    tasks: list[asyncio.Task[None]] = []
    try:
        await desk.duty.attend(await desk.follower.look())
        may_append = await continuity.compare(desk)  # before any study is taken up
        desk.database.following = desk.follower
        await tidying.tidy(desk)
        if may_append:
            await note_keys(desk)
        await desk.follower.look()  # studies that are under way go on before the first request
        tasks = [
            asyncio.create_task(desk.follower.follow(), name="following the store"),
            asyncio.create_task(tidying.watch(desk), name="tidying up"),
            asyncio.create_task(continuity.watch(desk), name="comparing the log"),
            asyncio.create_task(hearing.watch(desk), name="hearing decisions"),
        ]
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await desk.running.close()
        await desk.duty.end()


async def _open_desk(
    settings: LeaderSettings,
    key: SigningKey,
    clock: Clock,
    log: Log,
    metrics: Metrics,
    database: Database,
    link: HelperLink,
    distribution: Distribution,
    entropy: Entropy,
) -> Desk:
    """Bring the store up to date and load the budget; the rest of memory follows the store (``following``)."""
    store = LeaderStore(clock, report_bytes(settings.report_storage, settings.report_folder()))
    register = Register(key, settings.site, store, log, settings.directory / ENDINGS_FILE)

    async def load(change: Change) -> tuple[Budget, int]:
        mirror = HeadMirror(settings.directory / MIRROR_FILE)
        contract = await contract_in_force(change, store.ledger, settings, parties_of(settings, key))
        budget = await store.ledger.load(change, contract, "leader", clock, mirror, settings.quotas())
        await restored.check(store, change, settings.directory, budget, register, clock.now_ms(), log)
        await write_standings(change, store, register, key.verify_key)
        return budget, await store.device_count(change.connection)

    budget, devices = await database.change(load)
    tree = TransparencyLog(store, key)
    async with database.reading() as connection:
        await tree.catch_up(connection)
    metrics.devices.set(devices)
    return Desk(
        settings=settings,
        key=key,
        clock=clock,
        log=log,
        metrics=metrics,
        database=database,
        store=store,
        budget=budget,
        register=register,
        open_rounds=OpenRounds(),
        ledger_log=tree,
        board=WorkBoard(clock, tree),
        helper=link,
        running=Running(),
        publisher=Publisher(distribution, asyncio.Lock()),
        entropy=entropy,
        vault=KeyVault(settings.vault_folder()),
    )
