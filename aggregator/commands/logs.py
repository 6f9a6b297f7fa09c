"""``hearthside-aggregator log``: anybody's check of a leader's log, and putting back what a restored leader lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aggregator.commands.calling import call, show_document
from aggregator.commands.options import NAME, Folder, group
from aggregator.errors import StoreCorrupt

if TYPE_CHECKING:
    from aggregator.log_audit import LogAudit, Signers
    from aggregator.settings import LeaderSettings
    from models.wire.statements import DecisionStatement, RoundStatement

app = group("The leader's transparency log.", "log check http://127.0.0.1:8700 --against http://127.0.0.1:8800")
_PAGE = 1_000


@app.command("check", epilog=f"Example: {NAME} log check http://127.0.0.1:8700 --against http://127.0.0.1:8800")
def check(
    leader_url: Annotated[str, typer.Argument(help="The leader's address.")],
    against: Annotated[
        list[str] | None,
        typer.Option(help="The helper's address, or a file of 'hearthside-agent log show --json'; repeat for more."),
    ] = None,
    trust: Annotated[
        list[str] | None, typer.Option(help="Fingerprint of a key that you ever accepted; repeat for all of them.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the entries in this file.", dir_okay=False)] = None,
) -> None:
    """Download every entry, check every signature, rebuild the tree, and compare it with what others were shown.

    Ends with 1 where anything does not hold. Without --trust the keys are the ones that the services say are theirs.
    """
    from aggregator.log_audit import LogAudit

    sources = [(name, _shown(name)) for name in against or []]
    asked_at_ms, told = int(time.time() * 1_000), [(name, *_stated(name)) for name, _ in sources if "://" in name]
    accounts = _accounts(leader_url)  # before the checkpoint: what they tell of is in its log
    newest = str(call("GET", f"{leader_url}/v1/log/checkpoint", None)["checkpoint"])
    audit = LogAudit(_signers(leader_url, [name for name, _ in sources if "://" in name], trust or []), trust or [])
    entries = _download(leader_url, newest, audit)
    for entry in entries:
        audit.read(entry)
    stated = audit.compare("the leader", newest)
    for name, shown in sources:
        for jws in shown:
            audit.compare(name, jws)
    for name, decisions, rounds in told:
        audit.hold_against(name, decisions, rounds, asked_at_ms)
    for study_hash, state, released in accounts:
        audit.hold_account(study_hash, state, released)
    if save is not None:
        from models.wire.message import to_base64

        save.write_text("\n".join([newest, *map(to_base64, entries)]) + "\n", "ascii")
    _report(audit, None if stated is None else stated.root)


@app.command("restore", epilog=f"Example: {NAME} log restore --dir leader saved.log")
def restore(
    directory: Folder,
    file: Annotated[Path, typer.Argument(help="A file of 'log check --save'.", exists=True, dir_okay=False)],
) -> None:
    """Put back the entries that a leader lost when its store was restored: nobody believes a shorter log."""
    from aggregator.settings import LeaderSettings

    added = asyncio.run(put_back(LeaderSettings.read(directory), file.read_text("ascii")))
    print(f"{added} entries put back")


async def put_back(settings: LeaderSettings, text: str) -> int:
    """Append what the store lacks of saved entries; returns how many.

    Raises:
        StoreCorrupt: they are not the entries of a checkpoint that this leader signed, or not a longer copy of its log.
    """
    from aggregator.storage.database import Change, Database
    from aggregator.storage.leader import LeaderStore
    from aggregator.storage.log import log_pages
    from models.wire.message import from_base64
    from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint
    from privacy.crypto import MerkleTree, verify_document

    newest, *lines = text.split()
    saved = [from_base64(line) for line in lines]
    keys = (settings.signing_key().verify_key,)
    stated = Checkpoint.model_validate(verify_document(newest, CHECKPOINT_TYPE, keys))
    if stated.size != len(saved) or MerkleTree(saved).root().hex() != stated.root:
        raise StoreCorrupt("expected the entries of the checkpoint in the file, which this leader signed")
    database, store = Database(settings.url()), LeaderStore()

    async def act(change: Change) -> int:
        present = [entry async for page in log_pages(change.connection, 0) for entry in page]
        if present != saved[: len(present)]:
            raise StoreCorrupt("the store has entries that are not in the file: it is no older copy of this log")
        for index in range(len(present), len(saved)):
            await store.add_log_entry(change.connection, index, saved[index])
        return len(saved) - len(present)

    try:
        await database.open("leader")
        return await database.change(act)
    finally:
        await database.close()


def _shown(name: str) -> list[str]:
    """Every checkpoint that a helper or a file has: the last that held, and what contradicted it."""
    if "://" in name:
        known = call("GET", f"{name}/v1/log/checkpoint", None)
        return [*([known["checkpoint"]] if known["checkpoint"] else []), *known["refused"]]
    text = Path(name).read_text("utf-8")
    if not text.lstrip().startswith("{"):
        return text.split()[:1]
    seen = json.loads(text)
    evidence = [item[side] for item in seen.get("evidence", []) for side in ("kept", "shown")]
    return list(dict.fromkeys([*([seen["checkpoint"]] if seen.get("checkpoint") else []), *evidence]))


def _stated(helper_url: str) -> tuple[list[DecisionStatement], list[RoundStatement]]:
    """Everything that a helper took in and opened."""
    from models.wire.statements import DecisionStatements, RoundStatements

    decisions: list[DecisionStatement] = []
    rounds: list[RoundStatement] = []
    while page := DecisionStatements.model_validate(_page(helper_url, "decisions", decisions)).decisions:
        decisions += page
    while more := RoundStatements.model_validate(_page(helper_url, "rounds", rounds)).rounds:
        rounds += more
    return decisions, rounds


def _page(helper_url: str, what: str, known: Sequence[DecisionStatement | RoundStatement]) -> Any:
    return call("GET", f"{helper_url}/v1/log/{what}?after={known[-1].number if known else 0}", None)


def _accounts(leader_url: str) -> list[tuple[str, str, list[int]]]:
    """What the leader says of each study: its digest, its state, the rounds that are released."""
    accounts = []
    for item in call("GET", f"{leader_url}/v1/studies", None):
        account = call("GET", f"{leader_url}/v1/studies/{item['study_id']}", None)
        released = [row["round"] for row in account["rounds"] if row["released_at_ms"] is not None]
        accounts.append((str(account["study_hash"]), str(account["state"]), released))
    return accounts


def _signers(leader_url: str, helper_urls: list[str], trusted: list[str]) -> Signers:
    """The keys that count; each one's fingerprint among ``trusted``, where that was given."""
    from aggregator.log_audit import Signers
    from models.wire.enrolment import ServiceIdentity
    from privacy.crypto import VerifyKey

    leader, *helpers = (
        ServiceIdentity.model_validate(call("GET", f"{url}/v1/identity", None)) for url in (leader_url, *helper_urls)
    )
    if not helpers:
        raise typer.BadParameter("expected --against with the helper's address: its key checks the openings")
    keys = [VerifyKey(bytes.fromhex(text)) for text in (leader.key, helpers[0].key, *helpers[0].officers)]
    for key in keys:
        if trusted and key.fingerprint not in trusted:
            raise typer.BadParameter(f"a service presents the key {key.fingerprint}, which is none of --trust")
    return Signers(keys[0], keys[1], tuple(keys[2:]))


def _download(leader_url: str, newest: str, audit: LogAudit) -> list[bytes]:
    """The entries of the newest checkpoint, a page at a time; what the leader leaves out is missing in the tree."""
    from models.wire.message import from_base64

    size = audit.size_of(newest)
    entries: list[bytes] = []
    while len(entries) < size:
        count = min(_PAGE, size - len(entries))
        page = call("GET", f"{leader_url}/v1/log/entries?start={len(entries)}&count={count}", None)["entries"]
        if not page:
            break
        entries += map(from_base64, page[:count])
    return entries


def _report(audit: LogAudit, root: str | None) -> None:
    document = {
        "entries": len(audit.tree),
        "root": root or audit.tree.root().hex(),
        "kinds": dict(audit.kinds),
        "holds": not audit.findings,
        "answered_and_not_released": audit.unreleased,
        "findings": [{"place": finding.place, "text": finding.text} for finding in audit.findings],
    }
    show_document(document)
    if audit.findings:
        raise typer.Exit(1)
