"""``hearthside-aggregator officer``: a raise of a budget, which two officers sign and a service is then given."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from aggregator.commands.calling import call
from aggregator.commands.options import NAME, Folder, LeaderUrl, group
from aggregator.errors import SettingsInvalid

app = group(
    "Raise a budget: one officer asks, a second one countersigns, the service is given both.",
    "officer raise --dir officer --service http://127.0.0.1:8800 --epsilon 6 --reason 'a second year' --out raise.json",
)
_File = Annotated[Path, typer.Argument(help="The raise, as the first officer wrote it.", exists=True, dir_okay=False)]
_COLUMNS = ("epsilon", "delta", "window_seconds", "quotas", "study_epsilon_cap")


@app.command("raise", epilog=f"Example: {NAME} officer raise --dir officer --service URL --epsilon 6 --reason WHY")
def ask(
    directory: Folder,
    service_url: Annotated[str, typer.Option("--service", help="Address of the service whose budget it is.")],
    reason: Annotated[str, typer.Option(help="Why, in a sentence; it is signed and in the log.")],
    out: Annotated[Path, typer.Option(help="File for the second officer.")] = Path("raise.json"),
    epsilon: Annotated[float | None, typer.Option(help="Epsilon from now on.")] = None,
    delta: Annotated[float | None, typer.Option(help="Delta from now on.")] = None,
    quota: Annotated[list[str] | None, typer.Option(help="purpose=share from now on; repeat for more.")] = None,
    study_cap: Annotated[float | None, typer.Option(help="The most that one study may name as its limit.")] = None,
) -> None:
    """Write down and sign what a service's budget shall be; it counts once a second officer has signed it too."""
    from aggregator.key_files import load_key
    from models.wire.budgets import BUDGET_TYPE, BudgetRaise, BudgetState, BudgetTerms
    from privacy.crypto import sign_document

    key = load_key(directory / "officer.key")
    state = BudgetState.model_validate(call("GET", f"{service_url}/v1/budget", None))
    before, asked = state.allowed, {"epsilon": epsilon, "delta": delta, "study_epsilon_cap": study_cap}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if quota:
        changes["quotas"] = {**before.quotas, **_shares(quota)}
    after = BudgetTerms.model_validate({**before.document(), **changes})
    if not after.beyond(before):
        raise typer.BadParameter("expected a raise; to allow less, change the settings: no officer is needed")
    statement = BudgetRaise(
        site=state.site,
        service=state.service,
        service_key=state.service_key,
        number=state.number + 1,
        before=before,
        after=after,
        reason=reason,
        at_ms=int(time.time() * 1_000),
    )
    out.write_text(sign_document(key, BUDGET_TYPE, statement.document()) + "\n", encoding="ascii")
    _show(statement)
    print(f"signed once; a second officer signs it with: {NAME} officer countersign {out}")


@app.command("countersign", epilog=f"Example: {NAME} officer countersign raise.json --dir officer-2 --leader URL")
def countersign(file: _File, directory: Folder, leader_url: LeaderUrl) -> None:
    """Sign what another officer has signed, and have the leader put both into its log."""
    from aggregator.key_files import load_key
    from models.wire.budgets import BUDGET_TYPE, BudgetRaise, LoggedRaise, SignedRaise
    from models.wire.enrolment import ServiceIdentity
    from privacy.crypto import SignatureInvalid, VerifyKey, sign_document, verify_document

    key, first = load_key(directory / "officer.key"), file.read_text(encoding="ascii").strip()
    known = ServiceIdentity.model_validate(call("GET", f"{leader_url}/v1/identity", None)).officers
    try:
        officers = [VerifyKey(bytes.fromhex(item)) for item in known]
        statement = BudgetRaise.model_validate(verify_document(first, BUDGET_TYPE, officers))
    except (SignatureInvalid, ValueError) as error:
        raise SettingsInvalid(f"{file}: no raise that an officer of this site has signed: {error}") from None
    _show(statement)
    signed = SignedRaise(first=first, second=sign_document(key, BUDGET_TYPE, statement.document()))
    logged = LoggedRaise.model_validate(call("POST", f"{leader_url}/v1/raises", signed.document()))
    file.write_bytes(logged.canonical() + b"\n")
    print(f"in the log as entry {logged.inclusion.index}; the operator installs it with: {NAME} officer install {file}")


@app.command("install", epilog=f"Example: {NAME} officer install raise.json --dir helper")
def install(file: _File, directory: Folder) -> None:
    """Give a service a raise that two officers signed, and change its settings to it; then start the service again."""
    from aggregator.commands.parties import settings_of, write_settings
    from aggregator.storage.contracts import raise_file
    from models.wire.budgets import LoggedRaise, read_raise

    try:
        logged = LoggedRaise.model_validate_json(file.read_bytes())
    except ValueError:
        raise SettingsInvalid(f"{file}: expected a raise that two officers signed; run 'countersign' first") from None
    found = read_raise(logged.signed, settings_of(directory).officer_keys())
    target = raise_file(directory, found.number)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    target.write_bytes(logged.canonical())
    settings: dict[str, Any] = {
        "budget_epsilon": found.after.epsilon,
        "budget_delta": found.after.delta,
        "budget_window_seconds": found.after.window_seconds,
        "budget_quotas": found.after.quotas,
    }
    if found.after.study_epsilon_cap is not None:
        settings["study_epsilon_cap"] = found.after.study_epsilon_cap
    write_settings(directory, settings)
    print(f"{target}: start the {found.service} again, and it checks both signatures and the log's proof")


def _shares(pairs: list[str]) -> dict[str, float]:
    shares = {}
    for pair in pairs:
        purpose, equals, share = pair.partition("=")
        try:
            shares[purpose] = float(share)
        except ValueError:
            equals = ""
        if not equals:
            raise typer.BadParameter(f"expected purpose=share, such as intent=0.5, got {pair!r}")
    return shares


def _show(statement: Any) -> None:
    before, after = statement.before.document(), statement.after.document()
    print(f"raise {statement.number} of the {statement.service} of {statement.site}: {statement.reason}")
    for name in _COLUMNS:
        if before[name] != after[name]:
            print(f"  {name}: {before[name]} -> {after[name]}")
