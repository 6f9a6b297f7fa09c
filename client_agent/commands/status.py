"""``hearthside-agent status``."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

from client_agent.commands.options import DEFAULT_PERSON, HOME, AsJson, Folder, Person, say
from client_agent.commands.rights import TRACES

if TYPE_CHECKING:  # the store's parts are loaded when a command runs, not for its help
    from pathlib import Path

    from client_agent.store import AgentStore

_DELETED: Final = {**TRACES, None: "nothing deleted is left in the files"}
_COUNTED_RECEIPTS: Final = 256


def status(person: Person = DEFAULT_PERSON, folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """Who this agent belongs to, what it was pinned to, what left and what the budget says."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.distribution import TUF_FOLDER
    from client_agent.federation.budgets import inspect
    from client_agent.federation.log_view import standing
    from client_agent.federation.shortfalls import UPDATE, shortfalls
    from client_agent.federation.stops import IGNORED_STOPS

    agent = open_agent(folder)
    fault, lacked = standing(agent.store)["fault"], shortfalls(agent.store)
    spend = inspect(agent.store, person, SystemClock())
    document: dict[str, Any] = {
        "site": agent.pins.site,
        "people": [record.person for record in agent.store.participants.all()],
        "leader": {"address": agent.addresses.leader, "fingerprint": agent.pins.leader_key.fingerprint},
        "helper": {"address": agent.addresses.helper, "fingerprint": agent.pins.helper_key.fingerprint},
        "device": _everybodys(agent.store),
        "person": person,
        **_own(agent.store, person),
        "withdrawals_of_erased_people_waiting": len(agent.store.outbox),
        "deleted_data": _DELETED[agent.store.traces],
        "ignored_stops": agent.store.facts.counted(IGNORED_STOPS),
        "unsupported": {name: f"{UPDATE} (it lacks {', '.join(found)})" for name, found in lacked.items()},
        "log_fault": None if fault is None else fault["words"],
        "bundle": _bundle(agent.folder / TUF_FOLDER, SystemClock().now_ms()),
        "budget": None
        if spend is None
        else {
            "unit": "device, zero-out, any 30 days",
            "spent_epsilon": spend.spent_epsilon,
            "cap_epsilon": spend.contract.epsilon,
            "delta": spend.contract.delta,
            "lifetime_epsilon": spend.lifetime_epsilon,
            "local": {
                "unit": "training row, zero-out, also against leader and helper together; the studies' sum",
                "epsilon": spend.local_epsilon,
                "delta": spend.local_delta,
                "studies": spend.local,
            },
            "intact": spend.intact,
            "quotas": spend.quotas,
            "taken": spend.taken,
        },
    }
    say(document, "\n".join(f"{name}: {json.dumps(value)}" for name, value in document.items()), as_json=as_json)


def _bundle(folder: Path, now_ms: int) -> dict[str, Any] | None:
    """The bundle in use, and whether a newer one may be held back; None without one."""
    from client_agent.distribution import Accepted

    accepted = Accepted.read(folder)
    if accepted is None:
        return None
    return {
        "version": accepted.bundle_version,
        "checked_at": accepted.checked_at.isoformat(timespec="seconds"),
        "newest_until": accepted.fresh_until.isoformat(timespec="seconds"),
        "old": accepted.is_old(dt.datetime.fromtimestamp(now_ms / 1_000, tz=dt.UTC)),
    }


def _everybodys(store: AgentStore) -> dict[str, Any]:
    """What the device counts for everybody behind it together, for whoever looks after it."""
    return {
        "counts": "of everybody behind this agent together, since somebody was last erased",
        "receipts_waiting": len(store.consents.waiting(_COUNTED_RECEIPTS)),
        "sent": {
            purpose: {"reports": counts.get("sent_reports", 0), "bytes": counts.get("sent_bytes", 0)}
            for purpose, counts in store.tallies.all().items()
        },
    }


def _own(store: AgentStore, person: str) -> dict[str, Any]:
    """What the person themselves sent, on all sites, and what of theirs waits for the leader."""
    sent: dict[str, dict[str, int]] = {}
    waiting = 0
    for record in store.participants.of_person(person):
        waiting += sum(receipt.state == "waiting" for receipt in store.consents.receipts_of(record.participant_id))
        for purpose, (reports, size_bytes) in store.contributions.sent_of(record.participant_id).items():
            total = sent.setdefault(purpose, {"reports": 0, "bytes": 0})
            total["reports"] += reports
            total["bytes"] += size_bytes
    return {"receipts_waiting": waiting, "sent": sent}
