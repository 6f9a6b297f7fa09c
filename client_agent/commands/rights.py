"""``hearthside-agent export`` and ``erase``: the rights of access, portability and erasure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, Literal

import typer

from client_agent.commands.options import DEFAULT_PERSON, HOME, Folder, Person, check_name
from client_agent.files import open_private

if TYPE_CHECKING:
    from client_agent.rights import Export

Format = Literal["json", "csv", "text"]
TRACES: Final = {
    None: "nothing deleted is left in the files, and older copies of the store open with no key that is kept",
    "key": "nothing deleted is left in the store; the key that opens older copies of it is replaced as soon as no other"
    " program has it open, and the disk has room for a copy: hearthside-agent run does that by itself",
    "pages": "another program has the store open, or the disk is full: what was deleted is overwritten in the file"
    " afterwards; hearthside-agent run does that by itself",
}
"""What is left of what was erased, in words."""


def export(
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    form: Annotated[
        Format, typer.Option("--format", help="json; csv: a zip of CSV files; text: for a person to read.")
    ] = "json",
    out: Annotated[Path | None, typer.Option("--out", help="A file to write instead of printing.")] = None,
) -> None:
    """Everything that is held about a person, offline: as JSON, as CSV files, or to read. Coins are not in it."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.distribution import TUF_FOLDER, stored_bundle
    from client_agent.rights import gather
    from models.personalisation import prepare

    if form == "csv" and out is None and sys.stdout.isatty():
        raise typer.BadParameter("expected --out FILE.zip: a zip is not for a terminal", param_hint="--format")
    agent = open_agent(folder)
    check_name(agent, person)
    bundle = stored_bundle(agent.folder / TUF_FOLDER, agent.pins.site)
    prepared = prepare(bundle) if bundle is not None else None
    found = gather(agent.store, agent.pins, person, SystemClock(), addresses=agent.addresses, bundle=prepared)
    if out is None:
        _write(found, form, sys.stdout.buffer)
        return
    with open_private(out) as file:
        _write(found, form, file)


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
    check_name(agent, person)
    enrolled = bool(agent.store.participants.of_person(person))
    erase_person(agent.store, agent.pins, person, clock)
    print(f"erased {person}{'; the spend counter stays, under a pseudonym' * enrolled}")
    left = deliver_farewells(agent.store, agent.pins, clock, agent.leader(), agent.helper())
    if left:
        print(
            f"still to be delivered: {left.withdrawals} withdrawal(s) to the leader, {left.reports} report(s) to be"
            " taken back at the helper, counted for everybody behind this agent; hearthside-agent run delivers them,"
            " and nothing else of you is kept"
        )
    print(TRACES[agent.store.remove_traces()])


def _write(found: Export, form: Format, file: BinaryIO) -> None:
    from client_agent.exporting import csv_zip_pieces, json_pieces, text_pieces

    if form == "csv":
        file.writelines(csv_zip_pieces(found))
    else:
        pieces = json_pieces(found) if form == "json" else text_pieces(found)
        file.writelines(piece.encode("utf-8", "replace") for piece in pieces)
    file.flush()
