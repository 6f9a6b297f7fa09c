"""``hearthside-aggregator study``: propose, decide, run and read studies."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path
from typing import Annotated

import typer

from aggregator.commands.calling import call, show_document
from aggregator.commands.options import NAME, Folder, HelperUrl, LeaderUrl, Reason, StudyName, Token, group
from models.wire.problems import ProblemError

app = group(
    "Propose, decide, run and read studies.", "study approve moves --dir officer --helper http://127.0.0.1:8800"
)


@app.command("propose", epilog=f"Example: {NAME} study propose study.json --leader http://127.0.0.1:8700 --token TOKEN")
def propose(
    file: Annotated[Path, typer.Argument(help="The study as JSON.", exists=True, dir_okay=False)],
    leader_url: LeaderUrl,
    bearer: Token,
) -> None:
    """Propose a study: it is checked, logged and forwarded to the privacy office."""
    from pydantic import ValidationError

    from models.wire.studies import Study

    try:
        proposal = Study.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise typer.BadParameter(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    show_document(call("POST", f"{leader_url}/v1/studies", proposal.document(), bearer))


@app.command("approve", epilog=f"Example: {NAME} study approve moves --dir officer --helper URL --reason 'asks little'")
def approve(name: StudyName, directory: Folder, helper_url: HelperUrl, reason: Reason) -> None:
    """Sign an officer's yes."""
    _decide(name, "approve", directory, helper_url, reason)


@app.command("refuse", epilog=f"Example: {NAME} study refuse moves --dir officer --helper URL --reason 'too costly'")
def refuse(name: StudyName, directory: Folder, helper_url: HelperUrl, reason: Reason) -> None:
    """Sign an officer's no."""
    _decide(name, "refuse", directory, helper_url, reason)


@app.command("stop", epilog=f"Example: {NAME} study stop moves --dir officer --helper URL --reason 'asked by mistake'")
def stop(name: StudyName, directory: Folder, helper_url: HelperUrl, reason: Reason) -> None:
    """Sign an officer's stop: round keys are destroyed, every device hears of it at its next poll."""
    _decide(name, "stop", directory, helper_url, reason)


@app.command("start", epilog=f"Example: {NAME} study start moves --leader http://127.0.0.1:8700 --token TOKEN")
def start(name: StudyName, leader_url: LeaderUrl, bearer: Token) -> None:
    """Run an approved study."""
    show_document(call("POST", f"{leader_url}/v1/studies/{name}/start", None, bearer))


@app.command("check", epilog=f"Example: {NAME} study check study.json --leader http://127.0.0.1:8700 --token TOKEN")
def check(
    file: Annotated[Path, typer.Argument(help="The study as JSON.", exists=True, dir_okay=False)],
    leader_url: LeaderUrl,
    bearer: Token,
) -> None:
    """Every fault of a study, its cost, and what it asks in plain words; nothing is stored."""
    try:
        document = json.loads(file.read_bytes())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}") from None
    found = call("POST", f"{leader_url}/v1/studies/check", document, bearer)
    show_document(found)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command("schedule", epilog=f"Example: {NAME} study schedule moves --at 2027-01-04T06:00:00+00:00 --leader URL")
def schedule(
    name: StudyName,
    leader_url: LeaderUrl,
    bearer: Token,
    at: Annotated[str, typer.Option(help="When it starts: ISO 8601 with an offset, such as +00:00.")],
    interval: Annotated[float, typer.Option(min=0, help="Seconds from one round to the next.")] = 0.0,
    jitter: Annotated[float, typer.Option(min=0, help="Most seconds that a round opens late.")] = 0.0,
) -> None:
    """Start an approved study at a time, its rounds an interval apart."""
    try:
        start_at = dt.datetime.fromisoformat(at)
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 2027-01-04T06:00:00+00:00, got {at!r}") from None
    if start_at.tzinfo is None:
        raise typer.BadParameter(f"expected an offset behind the time, such as +00:00, got {at!r}")
    plan = {
        "starts_at_ms": int(start_at.timestamp() * 1_000),
        "interval_seconds": interval,
        "jitter_seconds": jitter,
    }
    show_document(call("POST", f"{leader_url}/v1/studies/{name}/schedule", plan, bearer))


@app.command("pause", epilog=f"Example: {NAME} study pause moves --leader http://127.0.0.1:8700 --token TOKEN")
def pause(name: StudyName, leader_url: LeaderUrl, bearer: Token) -> None:
    """Open no new round; the one that is open ends as usual."""
    show_document(call("POST", f"{leader_url}/v1/studies/{name}/pause", None, bearer))


@app.command("resume", epilog=f"Example: {NAME} study resume moves --leader http://127.0.0.1:8700 --token TOKEN")
def resume(name: StudyName, leader_url: LeaderUrl, bearer: Token) -> None:
    """Go on with a paused study."""
    show_document(call("POST", f"{leader_url}/v1/studies/{name}/resume", None, bearer))


@app.command("withdraw", epilog=f"Example: {NAME} study withdraw moves --leader http://127.0.0.1:8700 --token TOKEN")
def withdraw(name: StudyName, leader_url: LeaderUrl, bearer: Token) -> None:
    """Take a proposal back that the privacy office has not decided."""
    show_document(call("POST", f"{leader_url}/v1/studies/{name}/withdraw", None, bearer))


@app.command("show", epilog=f"Example: {NAME} study show moves --leader http://127.0.0.1:8700")
def show(name: StudyName, leader_url: LeaderUrl) -> None:
    """State, rounds and charges of a study."""
    show_document(call("GET", f"{leader_url}/v1/studies/{name}", None))


@app.command("results", epilog=f"Example: {NAME} study results moves --leader http://127.0.0.1:8700")
def results(name: StudyName, leader_url: LeaderUrl) -> None:
    """What was released."""
    show_document(call("GET", f"{leader_url}/v1/studies/{name}/results", None))


def _decide(name: str, verdict: str, directory: Path, helper_url: str, reason: str) -> None:
    """Find the proposal at the helper, sign exactly its digest, and hand the decision in."""
    from aggregator.key_files import load_key
    from models.queries.summaries import summarise
    from models.wire.studies import APPROVAL_TYPE, Decision, Study
    from privacy.crypto import sign_document

    key = load_key(directory / "officer.key")
    proposals = call("GET", f"{helper_url}/v1/proposals", None)
    found = next((item for item in proposals if item["study_id"] == name), None)
    if found is None:
        raise ProblemError("unknown-study", f"no study called {name!r} was proposed at {helper_url}")
    asked = Study.model_validate(found["study"])
    # Made here from the study that is signed, not believed from the helper's answer.
    words = summarise(asked, "en", found["epsilon"]).text()
    typer.echo(f"signing {verdict!r}: {asked.title}. The analyst says: {asked.summary} It asks: {words}", err=True)
    decision = Decision.model_validate(
        {
            "study_id": name,
            "study_hash": asked.study_hash().hex(),
            "decision": verdict,
            "reason": reason,
            "decided_at_ms": int(time.time() * 1_000),
        }
    )
    jws = sign_document(key, APPROVAL_TYPE, decision.document())
    show_document(call("POST", f"{helper_url}/v1/decisions", {"jws": jws}))
