"""``hearthside-agent consent``: show, grant, withdraw, verify and export, purpose by purpose."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from client_agent.commands.options import DEFAULT_PERSON, HOME, AsJson, Folder, Person, people_named, say
from client_agent.files import open_private

if TYPE_CHECKING:  # the store's parts are loaded when a command runs, not for its help
    from client_agent.agent import Agent
    from client_agent.consenting import ConsentKeeper, TakenBack
    from client_agent.store import ParticipantRecord
    from consent import ConsentState, Verified

app = typer.Typer(
    rich_markup_mode=None,
    help="Show, grant and withdraw consent, purpose by purpose; prove it to anybody.",
    no_args_is_help=True,
)


@app.command("show", epilog="Example: hearthside-agent consent show --gates --language de")
def show(
    person: Person = DEFAULT_PERSON,
    language: Annotated[Literal["en", "de"], typer.Option(help="Of titles and rules.")] = "en",
    folder: Folder = HOME,
    *,
    gates: Annotated[bool, typer.Option("--gates", help="Also what each of the four gates answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """What stands, purpose by purpose: yes or no, by which rule and receipt, until when, and who confirmed it."""
    from client_agent.commands.findings import standing_json, standing_lines
    from client_agent.overview import overview
    from consent import NO_SIGNALS

    agent, keeper, record, now = _opened(folder, person)
    state = keeper.state_of(record.participant_id)
    receipts = agent.store.consents.receipts_of(record.participant_id)
    found = overview(state, receipts, NO_SIGNALS, now, language)
    document = {
        "epoch": state.epoch,
        "confirmed_by_leader": state.countersigned,
        "fault": state.fault,
        "purposes": {item.purpose: standing_json(item, gates=gates) for item in found},
    }
    say(document, "\n".join(line for item in found for line in standing_lines(item, gates=gates)), as_json=as_json)


@app.command("grant", epilog="Example: hearthside-agent consent grant measurement persona")
def grant(
    purposes: Annotated[list[str], typer.Argument(help="Purposes to grant; see consent show.")],
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Grant purposes; in force at once."""
    agent, keeper, record, _ = _opened(folder, person)
    _chosen(lambda: keeper.grant(record.participant_id, purposes))
    _deliver(agent)
    say({"granted": sorted(purposes)}, f"granted: {', '.join(sorted(purposes))}", as_json=as_json)


@app.command("withdraw", epilog="Example: hearthside-agent consent withdraw        (everything, at once)")
def withdraw(
    purposes: Annotated[list[str] | None, typer.Argument(help="Purposes to take back; none: all.")] = None,
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Refuse purposes or take them back; in force at once, and says what was deleted and what cannot be undone."""
    from client_agent.commands.findings import withdrawal_lines

    agent, keeper, record, _ = _opened(folder, person)
    taken = _chosen(lambda: keeper.withdraw(record.participant_id, purposes))
    _deliver(agent)
    found = _withdrawn(agent, record, purposes, taken)
    say(found, "\n".join(withdrawal_lines(found)), as_json=as_json)


@app.command(
    "verify", epilog="Example: hearthside-agent consent verify consent.json --leader-fingerprint abcd-efgh-..."
)
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, allow_dash=True, help="A consent record, from anybody; none: this agent's own."
        ),
    ] = None,
    leader_fingerprint: Annotated[
        str, typer.Option(help="The leader's fingerprint, from paper or another channel; needed for a file.")
    ] = "",
    device_fingerprint: Annotated[str, typer.Option(help="The device's fingerprint, where it is known.")] = "",
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Verify a consent record, offline and without an agent; exit code 1 with row and reason if it does not hold."""
    from client_agent.commands.findings import verified_lines
    from consent import verify_record

    if file is None:
        found = _own_record_verified(folder, person)
    elif not leader_fingerprint:
        raise typer.BadParameter("expected the leader's fingerprint: no key is believed because it is in the file")
    else:
        found = verify_record(_read(file), leader_fingerprint, device_fingerprint or None)
    say(found.document(), "\n".join(verified_lines(found)), as_json=as_json)
    if not found.holds:
        raise typer.Exit(1)


@app.command("export", epilog="Example: hearthside-agent consent export --out consent.json")
def export(
    person: Person = DEFAULT_PERSON,
    out: Annotated[Path | None, typer.Option(help="A file to write; none: standard output.")] = None,
    folder: Folder = HOME,
) -> None:
    """Write the consent record: every choice with its signatures, for anybody to verify with consent verify."""
    from client_agent.evidence import consent_record
    from consent import write_record

    agent, _, record, now = _opened(folder, person)
    data = write_record(consent_record(agent.store, agent.pins.leader_key, record, now))
    if out is None:
        sys.stdout.write(data.decode("utf-8"))
        return
    with open_private(out) as opened:
        opened.write(data)


def _own_record_verified(folder: Path, person: str) -> Verified:
    """The agent's own ledger, as a stranger would verify it, and as far as the keyring's mirror covers it."""
    from dataclasses import replace

    from client_agent.evidence import consent_record
    from consent import RecordFault, verify_record, write_record

    agent, keeper, record, now = _opened(folder, person)
    document = consent_record(agent.store, agent.pins.leader_key, record, now)
    found = verify_record(write_record(document), agent.pins.leader_key.fingerprint)
    state: ConsentState = keeper.state_of(record.participant_id)
    if found.holds and state.fault is not None:
        return replace(found, standing=(), fault=RecordFault(None, state.fault))
    return found


def _read(file: Path) -> bytes:
    from consent.record_files import MAXIMUM_RECORD_BYTES

    if str(file) == "-":
        return sys.stdin.buffer.read(MAXIMUM_RECORD_BYTES + 1)
    with file.open("rb") as opened:
        return opened.read(MAXIMUM_RECORD_BYTES + 1)


def _withdrawn(agent: Agent, record: ParticipantRecord, purposes: list[str] | None, taken: TakenBack) -> dict[str, Any]:
    """What came of a withdrawal, after the services were told."""
    from client_agent.commands.findings import release_json
    from client_agent.overview import confirmations
    from consent import verify_receipt
    from consent.instants import tell_instant
    from privacy.crypto import SigningKey

    receipts = agent.store.consents.receipts_of(record.participant_id)
    last = receipts[-1]
    confirmed = confirmations(receipts, agent.pins.leader_key)
    told = {item.report_id for item in agent.store.reports.taken_back()}
    return {
        "withdrawn": sorted(purposes) if purposes else "all",
        "kind": verify_receipt(last.jws, SigningKey(record.seed).verify_key).kind,
        "receipt": last.digest.hex(),
        "confirmed_at": tell_instant(confirmed.get(last.digest)),
        "deleted_reports": len(taken),
        "waiting_for_helper": len([item for item in taken if item.report_id in told]),
        "releases": [
            release_json(item)
            for item in agent.store.contributions.releases_of(record.participant_id, purposes or None)
        ],
    }


def _chosen(act: Callable[[], Any]) -> Any:
    from consent import ConsentError

    try:
        return act()
    except ConsentError as error:
        raise typer.BadParameter(str(error)) from None


def _opened(folder: Path, person: str) -> tuple[Agent, ConsentKeeper, ParticipantRecord, int]:
    """The agent, its keeper of consent, the person's record, and Unix seconds now."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.consenting import ConsentKeeper

    agent, clock = open_agent(folder), SystemClock()
    if person in agent.store.people.children():
        raise typer.BadParameter(f"{person!r} is a child here: children have no profile, and nothing to consent to")
    record = people_named(agent, person)[0]
    return agent, ConsentKeeper(agent.store, agent.pins, clock), record, clock.now_ms() // 1_000


def _deliver(agent: Agent) -> None:
    """Tell both services now; what cannot be delivered waits in the store for ``run``."""
    from client_agent.clocks import SystemClock
    from client_agent.delivering import Courier

    courier = Courier(agent.store, agent.pins, SystemClock())
    for problem in courier.tell_both(agent.leader(), agent.helper()):
        typer.echo(f"in force here; the services will hear of it later ({problem})", err=True)
