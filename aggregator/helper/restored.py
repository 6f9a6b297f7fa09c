"""What a helper does whose store is not the one last used: nothing that was taken away comes back with a back-up."""

from __future__ import annotations

from aggregator.helper.decisions import CLOCK_SKEW_MS
from aggregator.helper.expiry import FOR_EVER_MS
from aggregator.helper.office import Office
from aggregator.storage import backup
from aggregator.storage.database import Change
from aggregator.storage.helper_tables import EXPIRED, METADATA
from aggregator.storage.tokens import TokenStore


async def check(office: Office, change: Change) -> None:
    """Compare the store with what lies beside the key; run once, at the start.

    Where they differ, every round under way ends, and no approval that was signed before this moment counts: a stop, a
    notice or an opening may be among what was lost. Whether charges were lost, the ledger's own head says. The mark of
    ``hearthside-aggregator restore`` has the same consequences where no head differs.
    """
    directory = office.settings.directory
    kept = await office.standing.is_kept(change) and not backup.is_marked(directory)
    if kept and not office.budget.lost:
        return
    now_ms = office.clock.now_ms()
    await office.store.expire_rounds(change.connection, FOR_EVER_MS, EXPIRED)
    approvals = await office.store.withdraw_approvals(change.connection, now_ms + CLOCK_SKEW_MS)
    tokens = await TokenStore(METADATA).revoke_all(change.connection, now_ms)
    await office.standing.begin_again(change, now_ms)
    change.then(lambda: backup.unmark(directory))
    office.log.error(
        "store restored",
        meaning="it is not the one last used: round keys are destroyed, and officers have to sign approvals again",
        approvals=approvals,
    )
    office.log.error("tokens revoked", meaning="make new ones: 'token create'", tokens=tokens)
    if office.budget.lost:
        office.log.error("ledger lost", meaning="charges are missing: the whole budget counts as spent")
