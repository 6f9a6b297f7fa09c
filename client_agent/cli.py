"""``hearthside-agent``: the edge operator's and the visitor's command line. Help loads none of the worker's parts."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from client_agent.errors import AgentError, StoreError
from models.wire.command import EXIT_INPUT, EXIT_UNAVAILABLE, run_command
from models.wire.problems import ProblemError

app = typer.Typer(
    rich_markup_mode=None,
    help="The agent at the edge: raw clicks stay here; only masked shares of noisy sums leave, and only with consent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example: hearthside-agent enrol --leader http://127.0.0.1:8100 --helper http://127.0.0.1:8101 ...",
)
consent_app = typer.Typer(
    rich_markup_mode=None, help="Show, grant and withdraw consent, purpose by purpose.", no_args_is_help=True
)
app.add_typer(consent_app, name="consent")

Folder = Annotated[Path, typer.Option("--dir", help="The agent's folder.", envvar="HEARTHSIDE_AGENT_DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Person = Annotated[str, typer.Option("--person", help="A local name; it never leaves this device.")]
HOME = Path("~/.hearthside").expanduser()
DEFAULT_PERSON = "me"


@app.command(epilog="Example: hearthside-agent enrol --leader URL --helper URL --leader-fingerprint abcd-... ...")
def enrol(
    leader: Annotated[str, typer.Option(help="Address of the leader.")],
    helper: Annotated[str, typer.Option(help="Address of the helper, run by the privacy office.")],
    leader_fingerprint: Annotated[str, typer.Option(help="The leader's fingerprint, from paper or another channel.")],
    helper_fingerprint: Annotated[str, typer.Option(help="The helper's fingerprint, likewise.")],
    officer_fingerprint: Annotated[list[str], typer.Option(help="An officer's fingerprint; repeat for each.")],
    token: Annotated[str, typer.Option(help="The operator's enrolment token.")] = "",
    person: Annotated[list[str] | None, typer.Option(help="Local names of the people behind this agent.")] = None,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Pin both services by fingerprint, make a key for each person, and become known to the leader."""
    from client_agent.agent import Addresses, set_up
    from client_agent.clocks import SystemClock
    from client_agent.connection import HelperConnection, LeaderConnection
    from client_agent.enrolment import enrol as enrol_people
    from client_agent.enrolment import pin

    leading, helping = LeaderConnection(leader), HelperConnection(helper)
    pins = pin(leading, helping, leader_fingerprint, helper_fingerprint, officer_fingerprint)
    agent = set_up(folder, pins, Addresses(leader, helper))
    people = person or [DEFAULT_PERSON]
    records = enrol_people(
        agent.store, leading, pins, people, token=token, clock=SystemClock(), entropy=os.urandom
    )  # fmt: skip
    _say(
        {"site": pins.site, "people": [record.person for record in records]},
        f"enrolled {len(records)} at {pins.site}; nothing is granted yet: hearthside-agent consent grant",
        as_json=as_json,
    )


@app.command(epilog="Example: hearthside-agent run --upstream http://127.0.0.1:8200 --port 8300 --page-port 8301")
def run(
    upstream: Annotated[str, typer.Option(help="The site to serve through the gateway; none: no gateway.")] = "",
    port: Annotated[int, typer.Option(help="Port of the site's origin.")] = 8300,
    page_port: Annotated[int, typer.Option(help="Port of the visitor's own page.")] = 8301,
    person: Person = DEFAULT_PERSON,
    mode: Annotated[
        Literal["device", "gateway", "site_edge"], typer.Option(help="Where this agent runs; its notice says so.")
    ] = "device",
    poll: Annotated[float, typer.Option(help="Seconds between two looks at the leader's work.", min=0.05)] = 5.0,
    epsilon: Annotated[float | None, typer.Option(help="A smaller budget than the installed one.")] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option(help="PURPOSE=SHARE: a smaller share of the budget for one purpose, or for '*'; may be repeated."),
    ] = None,
    folder: Folder = HOME,
) -> None:
    """Run the agent: gateway and visitor's page, consent delivery, bundle, and a worker when there is a round."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.policy import lowered, lowered_quotas
    from client_agent.resident import Resident

    try:
        lowered(epsilon)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--epsilon") from None
    try:
        lowered_quotas(quota or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--quota") from None
    budget = () if epsilon is None else ("--epsilon", str(epsilon))
    options = (*budget, *(part for text in quota or [] for part in ("--quota", text)))
    agent, clock = open_agent(folder), SystemClock()
    resident = Resident(agent, clock, poll, options)
    thread = threading.Thread(target=resident.loop, name="resident")
    # The server passes a polite stop on once it has shut down; it then has to end here, with the worker, not at once.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    thread.start()
    try:
        if upstream:
            from client_agent.serving import serve

            serve(agent, resident, clock, person, upstream, port, page_port, mode)
        else:
            thread.join()
    finally:
        resident.stop()
        thread.join()


@consent_app.command("show", epilog="Example: hearthside-agent consent show --json")
def consent_show(person: Person = DEFAULT_PERSON, folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """What stands, purpose by purpose."""
    from consent import NO_SIGNALS, PURPOSES, decide

    keeper, participant_id, now_ms = _keeper(folder, person)
    state = keeper.state_of(participant_id)
    rows = {}
    for purpose in PURPOSES:
        decision = decide("use", purpose.id, state, NO_SIGNALS, now_ms // 1_000)
        rows[purpose.id] = {"granted": decision.allowed, "rule": decision.rule, "title": purpose.text("en").title}
    document = {"epoch": state.epoch, "confirmed_by_leader": state.countersigned, "purposes": rows}
    lines = [f"{'yes' if row['granted'] else 'no ':<4} {name:<16} {row['title']}" for name, row in rows.items()]
    _say(document, "\n".join(lines), as_json=as_json)


@consent_app.command("grant", epilog="Example: hearthside-agent consent grant measurement persona")
def consent_grant(
    purposes: Annotated[list[str], typer.Argument(help="Purposes to grant; see consent show.")],
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Grant purposes; in force at once."""
    keeper, participant_id, _ = _keeper(folder, person)
    _chosen(lambda: keeper.grant(participant_id, purposes))
    _deliver(folder, keeper)
    _say({"granted": sorted(purposes)}, f"granted: {', '.join(sorted(purposes))}", as_json=as_json)


@consent_app.command("withdraw", epilog="Example: hearthside-agent consent withdraw        (everything, at once)")
def consent_withdraw(
    purposes: Annotated[list[str] | None, typer.Argument(help="Purposes to take back; none: all.")] = None,
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Refuse purposes or take them back; in force at once, queued reports included."""
    keeper, participant_id, _ = _keeper(folder, person)
    _chosen(lambda: keeper.withdraw(participant_id, purposes))
    _deliver(folder, keeper)
    _say({"withdrawn": purposes or "all"}, f"withdrawn: {', '.join(purposes or ['everything'])}", as_json=as_json)


@app.command(epilog="Example: hearthside-agent status --json")
def status(person: Person = DEFAULT_PERSON, folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """Who this agent belongs to, what it was pinned to, what left and what the budget says."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.federation.budgets import inspect
    from client_agent.federation.stops import IGNORED_STOPS

    agent = open_agent(folder)
    spend = inspect(agent.store, person, SystemClock())
    document: dict[str, Any] = {
        "site": agent.pins.site,
        "people": [record.person for record in agent.store.participants.all()],
        "leader": {"address": agent.addresses.leader, "fingerprint": agent.pins.leader_key.fingerprint},
        "helper": {"address": agent.addresses.helper, "fingerprint": agent.pins.helper_key.fingerprint},
        "receipts_waiting": len(agent.store.consents.waiting(256)),
        "withdrawals_of_erased_people_waiting": len(agent.store.outbox),
        "ignored_stops": agent.store.facts.counted(IGNORED_STOPS),
        "sent": {
            purpose: {"reports": counts.get("sent_reports", 0), "bytes": counts.get("sent_bytes", 0)}
            for purpose, counts in agent.store.tallies.all().items()
        },
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
    _say(document, "\n".join(f"{name}: {json.dumps(value)}" for name, value in document.items()), as_json=as_json)


@app.command(epilog="Example: hearthside-agent export > mine.json")
def export(person: Person = DEFAULT_PERSON, folder: Folder = HOME) -> None:
    """Everything about a person as JSON: events, receipts, what left. Coins and null counts are not in it."""
    from client_agent.agent import open_agent

    agent = open_agent(folder)
    records = _of_person(agent, person)
    document = {
        "person": person,
        "sites": [
            {
                "site": record.site,
                "pseudonym": record.participant_id,
                "events": [json.loads(body) for _, body in agent.store.events_of(record.participant_id)],
                "receipts": [receipt.jws for receipt in agent.store.consents.receipts_of(record.participant_id)],
            }
            for record in records
        ],
    }
    print(json.dumps(document, indent=2))


@app.command(epilog="Example: hearthside-agent erase --yes")
def erase(
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Withdraw everything, then delete all about a person. What was spent of the budget stays spent."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.erasing import deliver_farewells, erase_person

    if not yes:
        typer.confirm(f"Delete everything about {person}?", abort=True)
    agent, clock = open_agent(folder), SystemClock()
    _of_person(agent, person)
    erase_person(agent.store, agent.pins, person, clock)
    print(f"erased {person}; the spend counter stays")
    left = deliver_farewells(agent.store, agent.pins, clock, agent.leader(), agent.helper())
    if left:
        print(
            f"still to be delivered: {left.withdrawals} withdrawal(s) to the leader, {left.reports} report(s) to be"
            " taken back at the helper; hearthside-agent run delivers them, and nothing else of you is kept"
        )


def main() -> NoReturn:
    """Entry point."""
    warnings.showwarning = _warn
    try:
        run_command(app, "hearthside-agent")
    except AgentError as error:
        print(f"hearthside-agent: {error}", file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE if isinstance(error, StoreError) else EXIT_INPUT)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Warnings are for the person at the terminal: one line, no place in the code."""
    print(f"hearthside-agent: {message}", file=sys.stderr)


def _chosen(act: Callable[[], Any]) -> Any:
    from consent import ConsentError

    try:
        return act()
    except ConsentError as error:
        raise typer.BadParameter(str(error)) from None


def _keeper(folder: Path, person: str) -> tuple[Any, str, int]:
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.consenting import ConsentKeeper

    agent, clock = open_agent(folder), SystemClock()
    return ConsentKeeper(agent.store, agent.pins, clock), _of_person(agent, person)[0].participant_id, clock.now_ms()


def _of_person(agent: Any, person: str) -> list[Any]:
    records: list[Any] = agent.store.participants.of_person(person)
    if not records:
        raise typer.BadParameter(f"expected the name of a person behind this agent, got {person!r}")
    return records


def _deliver(folder: Path, keeper: Any) -> None:
    """Tell both services now; what cannot be delivered waits in the store for ``run``."""
    from client_agent.agent import open_agent

    agent = open_agent(folder)
    try:
        keeper.deliver(agent.leader())
        keeper.tell_helper(agent.helper())
    except ProblemError as problem:
        typer.echo(f"in force here; the services will hear of it later ({problem})", err=True)


def _say(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    print(json.dumps(document, indent=2) if as_json else text)


if __name__ == "__main__":
    main()
