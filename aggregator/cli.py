"""``hearthside-aggregator``: set up and run leader and helper, make tokens, propose and decide studies."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # before anything can import Flower

import typer

from aggregator.errors import AggregatorError, SettingsInvalid
from models.wire.command import EXIT_INPUT, EXIT_UNAVAILABLE, run_command
from models.wire.problems import PROBLEM_TYPES, Problem, ProblemError, problem_code

NAME = "hearthside-aggregator"
Folder = Annotated[Path, typer.Option("--dir", help="The party's own folder: key, settings, store.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
LeaderUrl = Annotated[str, typer.Option("--leader", help="The leader's address.")]
HelperUrl = Annotated[str, typer.Option("--helper", help="The helper's address.")]
Token = Annotated[str, typer.Option("--token", envvar="HEARTHSIDE_TOKEN", help="An API token (or HEARTHSIDE_TOKEN).")]
Reason = Annotated[str, typer.Option(help="Why, in a sentence; it is signed and shown.")]
StudyName = Annotated[str, typer.Argument(help="The study's name.")]


def _group(help_text: str, example: str) -> typer.Typer:
    return typer.Typer(
        help=help_text,
        epilog=f"Example: {NAME} {example}",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


app = _group(
    "The two services that make a private sum: a leader and, run by the privacy office, a helper.",
    "init leader --dir leader --site shop",
)
init = _group("Make a party's folder and keys.", "init officer --dir officer")
token = _group(
    "API tokens of the leader, hashed at rest, scoped, expiring.", "token create --dir leader --scope analyst"
)
study = _group(
    "Propose, decide, run and read studies.", "study approve moves --dir officer --helper http://127.0.0.1:8800"
)
app.add_typer(init, name="init")
app.add_typer(token, name="token")
app.add_typer(study, name="study")


@init.command("leader", epilog=f"Example: {NAME} init leader --dir leader --site shop")
def init_leader(
    directory: Folder,
    site: Annotated[str, typer.Option(help="Name of the site.")] = "site",
    helper_url: Annotated[str, typer.Option(help="Where the helper answers.")] = "",
    helper_key: Annotated[str, typer.Option(help="The helper's public key, hex.")] = "",
    officer_key: Annotated[
        list[str] | None, typer.Option(help="An officer's public key, hex; repeat for more.")
    ] = None,
) -> None:
    """Make the leader's key and settings."""
    settings = {"site": site, "helper_url": helper_url, "helper_key": helper_key, "officers": officer_key}
    _make_party(directory, "service.key", settings)


@init.command(
    "helper", epilog=f"Example: {NAME} init helper --dir helper --site shop --leader-key KEY --officer-key KEY"
)
def init_helper(
    directory: Folder,
    site: Annotated[str, typer.Option(help="Name of the site.")] = "site",
    leader_key: Annotated[str, typer.Option(help="The leader's public key, hex.")] = "",
    officer_key: Annotated[
        list[str] | None, typer.Option(help="An officer's public key, hex; repeat for more.")
    ] = None,
) -> None:
    """Make the helper's key and settings."""
    _make_party(directory, "service.key", {"site": site, "leader_key": leader_key, "officers": officer_key})


@init.command("officer", epilog=f"Example: {NAME} init officer --dir officer")
def init_officer(directory: Folder) -> None:
    """Make an officer's key. It stays with the officer."""
    _make_party(directory, "officer.key", None)


@init.command("repository", epilog=f"Example: {NAME} init repository --dir leader --officer-dir officer")
def init_repository(
    directory: Folder, officer_dir: Annotated[Path, typer.Option(help="The officer's folder: it signs the root.")]
) -> None:
    """Make the leader's empty bundle repository (TUF); the officer signs its root."""
    from aggregator.key_files import load_key
    from aggregator.leader.distribution import Distribution
    from aggregator.settings import LeaderSettings

    settings = LeaderSettings.read(directory)
    distribution = Distribution(directory / "tuf", settings.site)
    now = dt.datetime.now(dt.UTC)
    distribution.initialise(load_key(officer_dir / "officer.key"), settings.signing_key(), now)
    print(distribution.metadata_dir / "1.root.json")


@app.command(epilog=f"Example: {NAME} configure --dir leader helper_key=KEY officers=KEY,KEY")
def configure(
    directory: Folder, pairs: Annotated[list[str], typer.Argument(help="name=value; a list is separated by commas.")]
) -> None:
    """Change settings in a party's folder, such as the other parties' keys once they are known."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected name=value, got {pair!r}")
        changes[name] = (
            [item for item in value.split(",") if item] if name in {"officers", "hosts", "origins"} else value
        )
    _write_settings(directory, changes)


@app.command(epilog=f"Example: {NAME} leader --dir leader --port 8700")
def leader(directory: Folder, port: Port = 8700, host: Host = "127.0.0.1") -> None:
    """Run the leader."""
    from aggregator.leader.app import create_app
    from aggregator.settings import LeaderSettings

    settings = LeaderSettings.read(directory)
    _serve(create_app(settings.model_copy(update={"hosts": _hosts(settings.hosts, host, port)})), host, port)


@app.command(epilog=f"Example: {NAME} helper --dir helper --port 8800")
def helper(directory: Folder, port: Port = 8800, host: Host = "127.0.0.1") -> None:
    """Run the helper."""
    from aggregator.helper.app import create_app
    from aggregator.settings import HelperSettings

    settings = HelperSettings.read(directory)
    _serve(create_app(settings.model_copy(update={"hosts": _hosts(settings.hosts, host, port)})), host, port)


@token.command("create", epilog=f"Example: {NAME} token create --dir leader --scope enrol --uses 2000 --days 30")
def create_token(
    directory: Folder,
    scope: Annotated[Literal["analyst", "operator", "auditor", "enrol"], typer.Option(help="What it opens.")],
    label: Annotated[str, typer.Option(help="What you call it.")] = "",
    days: Annotated[float, typer.Option(min=0.001, max=3_660, help="Days until it expires.")] = 30,
    uses: Annotated[int | None, typer.Option(min=1, help="Most enrolments with it (scope enrol).")] = None,
) -> None:
    """Make a token and print it once; only its digest is stored."""
    from aggregator.settings import LeaderSettings

    if uses is not None and scope != "enrol":
        raise typer.BadParameter("--uses is for scope enrol")
    print(asyncio.run(_create_token(LeaderSettings.read(directory), scope, label, days, uses)))


@study.command(
    "propose", epilog=f"Example: {NAME} study propose study.json --leader http://127.0.0.1:8700 --token TOKEN"
)
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
    _print(_call("POST", f"{leader_url}/v1/studies", proposal.document(), bearer))


@study.command("approve", epilog=f"Example: {NAME} study approve moves --dir officer --helper http://127.0.0.1:8800")
def approve(name: StudyName, directory: Folder, helper_url: HelperUrl, reason: Reason = "") -> None:
    """Sign an officer's yes."""
    _decide(name, "approve", directory, helper_url, reason)


@study.command("refuse", epilog=f"Example: {NAME} study refuse moves --dir officer --helper URL --reason 'too costly'")
def refuse(name: StudyName, directory: Folder, helper_url: HelperUrl, reason: Reason = "") -> None:
    """Sign an officer's no."""
    _decide(name, "refuse", directory, helper_url, reason)


@study.command("stop", epilog=f"Example: {NAME} study stop moves --dir officer --helper http://127.0.0.1:8800")
def stop(name: StudyName, directory: Folder, helper_url: HelperUrl, reason: Reason = "") -> None:
    """Sign an officer's stop: round keys are destroyed, every device hears of it at its next poll."""
    _decide(name, "stop", directory, helper_url, reason)


@study.command("start", epilog=f"Example: {NAME} study start moves --leader http://127.0.0.1:8700 --token TOKEN")
def start(name: StudyName, leader_url: LeaderUrl, bearer: Token) -> None:
    """Run an approved study."""
    _print(_call("POST", f"{leader_url}/v1/studies/{name}/start", None, bearer))


@study.command("show", epilog=f"Example: {NAME} study show moves --leader http://127.0.0.1:8700")
def show(name: StudyName, leader_url: LeaderUrl) -> None:
    """State, rounds and charges of a study."""
    _print(_call("GET", f"{leader_url}/v1/studies/{name}", None))


@study.command("results", epilog=f"Example: {NAME} study results moves --leader http://127.0.0.1:8700")
def results(name: StudyName, leader_url: LeaderUrl) -> None:
    """What was released."""
    _print(_call("GET", f"{leader_url}/v1/studies/{name}/results", None))


def main() -> NoReturn:
    """Entry point."""
    try:
        run_command(app, NAME)
    except AggregatorError as error:
        print(f"{NAME}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_INPUT)
    except OSError as error:
        print(f"{NAME}: {error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE)


def _make_party(directory: Path, key_file: str, settings: dict[str, Any] | None) -> None:
    from aggregator.key_files import create_key

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = create_key(directory / key_file)
    if settings is not None:
        _write_settings(directory, {name: value for name, value in settings.items() if value})
    print(f"key         {key.verify_key.raw.hex()}")
    print(f"fingerprint {key.verify_key.fingerprint}")


def _write_settings(directory: Path, changes: dict[str, Any]) -> None:
    """Merge settings into the folder's file; what does not fit leaves the file as it was."""
    from aggregator.settings import SETTINGS_FILE, HelperSettings, LeaderSettings

    if not directory.is_dir():
        raise SettingsInvalid(f"expected a folder at {directory}; make one with '{NAME} init'")
    path = directory / SETTINGS_FILE
    before = path.read_text() if path.exists() else "{}"
    merged = {**json.loads(before), **changes}
    path.write_text(json.dumps(merged, indent=2, sort_keys=True) + "\n")
    try:
        (HelperSettings if "leader_key" in merged else LeaderSettings).read(directory)
    except SettingsInvalid:
        path.write_text(before)
        raise


def _hosts(configured: tuple[str, ...], host: str, port: int) -> tuple[str, ...]:
    return (*configured, f"{host}:{port}", f"127.0.0.1:{port}", f"localhost:{port}")


def _serve(application: Any, host: str, port: int) -> None:
    import uvicorn

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise AggregatorError(f"{host} port {port} {why}; choose another with --port") from None
        print(f"{application.title}: http://{host}:{port} (API at /docs)", file=sys.stderr)
        # The service writes its own log; the server's would add tracebacks to a start that failed for a stated reason.
        started = _Start(application)
        config = uvicorn.Config(
            started, log_level="critical", access_log=False, timeout_graceful_shutdown=3, timeout_keep_alive=30
        )
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
    if started.failure is not None:
        raise started.failure
    if not server.started:
        raise AggregatorError("the service could not start; its log has the reason")


class _Start:
    """An application that keeps why its start failed, for the one line that is printed."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.failure: AggregatorError | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._application(scope, receive, send)
        except AggregatorError as error:
            if scope["type"] != "lifespan":
                raise
            self.failure = error


async def _create_token(settings: Any, scope: str, label: str, days: float, uses: int | None) -> str:
    from aggregator.storage.database import Database
    from aggregator.storage.tokens import create_token as store_token

    database, now_ms = Database(settings.url()), int(time.time() * 1_000)
    expires_at_ms = now_ms + int(days * 86_400_000)
    await database.open("leader")
    try:
        return await database.change(
            lambda change: store_token(change.connection, scope, now_ms, expires_at_ms, label=label, uses=uses)
        )
    finally:
        await database.close()


def _decide(name: str, verdict: str, directory: Path, helper_url: str, reason: str) -> None:
    """Find the proposal at the helper, sign exactly its digest, and hand the decision in."""
    from aggregator.key_files import load_key
    from models.wire.studies import APPROVAL_TYPE, Decision, Study
    from privacy.crypto import sign_document

    key = load_key(directory / "officer.key")
    proposals = _call("GET", f"{helper_url}/v1/proposals", None)
    found = next((item for item in proposals if item["study_id"] == name), None)
    if found is None:
        raise ProblemError("unknown-study", f"no study called {name!r} was proposed at {helper_url}")
    asked = Study.model_validate(found["study"])
    typer.echo(
        f"signing {verdict!r}: {asked.title}. {asked.summary} {asked.rounds} rounds for purpose {asked.purpose!r}, "
        f"epsilon {found['epsilon']:.3g} of at most {asked.epsilon_cap:g} at delta {asked.delta:g} "
        "(device level, zero-out)",
        err=True,
    )
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
    _print(_call("POST", f"{helper_url}/v1/decisions", {"jws": jws}))


def _call(method: str, url: str, body: Any, bearer: str = "") -> Any:
    import httpx

    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    try:
        response = httpx.request(method, url, json=body, headers=headers, timeout=60.0, trust_env=False)
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ProblemError("leader-unavailable" if "/studies" in url else "helper-unavailable", str(error)) from None
    if response.is_success:
        return response.json()
    try:
        problem = Problem.model_validate_json(response.content)
    except ValueError:
        raise ProblemError("internal", f"{url} answered {response.status_code}") from None
    code = problem_code(problem)
    assert code in PROBLEM_TYPES, "problem_code answers with a row of the table"
    raise ProblemError(code, problem.detail)


def _print(document: Any) -> None:
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
