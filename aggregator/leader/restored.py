"""What a leader does whose store is not the one last used: nothing that was under way then is released from it.

The ledger's own head shows that charges are missing; then the whole budget counts as spent for a window. The mark that
``hearthside-aggregator restore`` leaves shows it where none are. Either way the rounds that the store has under way are
over: since they were stored, their devices may have withdrawn, and their sums may have been released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aggregator.budget import Budget
from aggregator.leader.register import Register
from aggregator.rounds import RoundEvent, RoundState, step_round
from aggregator.service import Log
from aggregator.storage import backup
from aggregator.storage.database import Change
from aggregator.storage.leader import LeaderStore
from aggregator.storage.leader_tables import METADATA
from aggregator.storage.log import hold_back
from aggregator.storage.tokens import TokenStore

_PART: Final = 256


async def check(
    store: LeaderStore, change: Change, directory: Path, budget: Budget, register: Register, now_ms: int, log: Log
) -> None:
    """Abandon what a restored store has under way; run once, at the start, when the budget is loaded.

    Reports and the names of wrapping keys go in this change; the keys themselves, which nothing names any more, go when
    the leader tidies up, right after.
    """
    if budget.lost:
        log.error("ledger lost", meaning="the store is not the one last used: the whole budget counts as spent")
    if not budget.lost and not backup.is_marked(directory):
        return
    await hold_back(change.connection, held=True)  # until the helper has said what it knows of the log
    rows = await store.unfinished_rounds(change.connection)
    for row in rows:
        step = step_round(RoundState(row.state), RoundEvent.FAILED)
        await store.update_round(
            change.connection,
            row.round_id,
            state=step.state,
            wrapping=None,
            wrapped_noise=None,
            answer=None,
            detail="the leader's store was restored from a back-up",
        )
        await store.drop_reports(change.connection, row.round_id)
    change.then(lambda: backup.unmark(directory))
    tokens = await TokenStore(METADATA).revoke_all(change.connection, now_ms)
    devices = await _end_again(store, change, register, now_ms)
    log.error("store restored", meaning="it is not the one last used: rounds under way are abandoned", rounds=len(rows))
    log.error("tokens revoked", meaning="make new ones: 'token create'", tokens=tokens, devices=devices)


async def _end_again(store: LeaderStore, change: Change, register: Register, now_ms: int) -> int:
    """What the file beside the key says has ended, ends in this store too; returns for how many devices.

    A device whose key was replaced since counts as revoked: the key that this store knows may be the reason for which
    it was replaced, and only the device has the other one. It enrols with that.
    """
    connection, endings, ended, last = change.connection, register.endings, 0, b""
    while rows := await store.devices_after(connection, last, _PART):
        last = rows[-1].device_id
        fresh = [row.device_id for row in rows if row.revoked_at_ms is None]
        for device in (await register.find(connection, fresh)).values():
            if device.revoked_at is not None or endings.is_replaced(device.key.raw):
                await store.revoke_device(connection, device.device_id, (device.revoked_at or now_ms // 1_000) * 1_000)
                if device.revoked_at is None:
                    endings.revoked(change, device.device_id, now_ms)
            elif device.consent is not None and device.consent.epoch < device.least_epoch:
                await store.replace_grants(connection, [device.device_id], [])
            else:
                continue
            ended += 1
    return ended
