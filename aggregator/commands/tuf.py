"""``hearthside-aggregator tuf``: who may sign bundles; the leader drafts, officers sign elsewhere."""

from __future__ import annotations

import datetime as dt
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aggregator.commands.options import NAME, Folder, group

if TYPE_CHECKING:  # loaded when a command runs, not for its help
    from aggregator.leader.ceremony import Change, Request
    from aggregator.leader.distribution import Distribution
    from aggregator.settings import LeaderSettings
    from privacy.crypto import VerifyKey

app = group("Keys of the bundles' repository (TUF).", "tuf init --dir leader --request first.json")
RequestFile = Annotated[Path, typer.Option("--request", help="File for what the officers sign; it holds no secret.")]
Signed = Annotated[
    list[Path], typer.Argument(help="The request as it came back, from each officer.", exists=True, dir_okay=False)
]
Threshold = Annotated[
    int | None, typer.Option(min=1, max=16, help="How many officers sign a new root; as it is unless said, at first 1.")
]
Lending = Annotated[
    int | None,
    typer.Option(min=1, max=16, help="How many officers lend or take back the right to publish; likewise."),
]


class Rotated(StrEnum):
    """What can be rotated."""

    PUBLISHING = "publishing"
    ONLINE = "online"
    OFFICERS = "officers"


@app.command("init", epilog=f"Example: {NAME} tuf init --dir leader --threshold 1 --request first.json")
def init(
    directory: Folder, request: RequestFile, threshold: Threshold = None, lending_threshold: Lending = None
) -> None:
    """Make the leader's keys and draft the first root; for a repository of the older form, the one that replaces it."""
    from aggregator.leader.ceremony import Change
    from models.wire.problems import ProblemError

    settings, distribution = _open(directory)
    if distribution.files.exists and not distribution.files.state().is_older_form:
        raise ProblemError("wrong-state", f"{distribution.metadata_dir}: there is a repository; see 'tuf rotate'")
    online, publishing = distribution.keys.create(), distribution.keys.create()
    _draft(
        distribution, Change(_officers(settings), threshold or 1, lending_threshold or 1, online, publishing), request
    )


@app.command("sign", epilog=f"Example: {NAME} tuf sign first.json --dir officer")
def sign(
    request: Annotated[Path, typer.Argument(help="What the leader drafted.", exists=True, dir_okay=False)],
    directory: Folder,
    output: Annotated[Path | None, typer.Option(help="Where to, if not into the same file.")] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(help="A root that this folder has not seen; repeat, oldest first.", exists=True, dir_okay=False),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Read what is asked for and sign it with an officer's key. Run on the officer's machine; it needs no network."""
    from aggregator.key_files import load_key
    from aggregator.leader import officers
    from aggregator.leader.ceremony import Request
    from aggregator.leader.known_roots import KnownRoots, read_root

    now, asked = dt.datetime.now(dt.UTC), Request.parse(request.read_bytes())
    key = load_key(directory / "officer.key")
    known = KnownRoots.read(directory, asked.site).led_by([read_root(path.read_bytes()) for path in root or ()])
    officers.check(asked, now)
    known.require(asked, key.verify_key)
    print("\n".join(officers.describe(asked, known, key.verify_key)))
    if not yes:
        typer.confirm("Compare the keys with what the leader's operator reads out to you. Sign?", abort=True)
    signed = officers.sign(asked, key, now, known)
    known.after(signed).write(directory, asked.site)  # first: a signature that is not remembered must not leave
    _write(output or request, signed)


@app.command("install", epilog=f"Example: {NAME} tuf install first.json --dir leader")
def install(signed: Signed, directory: Folder) -> None:
    """Put in force what enough officers have signed. A leader that runs serves it at once."""
    from aggregator.leader.ceremony import Request

    _, distribution = _open(directory)
    distribution.install([Request.parse(path.read_bytes()) for path in signed], dt.datetime.now(dt.UTC))
    _show(distribution)


@app.command("rotate", epilog=f"Example: {NAME} tuf rotate publishing --dir leader --request rotate.json")
def rotate(
    what: Annotated[list[Rotated], typer.Argument(help="Which keys; after a break-in, publishing and online.")],
    directory: Folder,
    request: RequestFile,
    threshold: Threshold = None,
    lending_threshold: Lending = None,
) -> None:
    """Draft a change of keys; new ones of the leader are made here, the officers' are those of the settings."""
    from aggregator.leader.ceremony import Change

    settings, distribution = _open(directory)
    change = Change(
        officers=_officers(settings) if Rotated.OFFICERS in what else None,
        threshold=threshold,
        lending_threshold=lending_threshold,
        online=distribution.keys.create() if Rotated.ONLINE in what else None,
        publishing=distribution.keys.create() if Rotated.PUBLISHING in what else None,
    )
    _draft(distribution, change, request)


@app.command("revoke", epilog=f"Example: {NAME} tuf revoke --dir leader --request revoke.json")
def revoke(directory: Folder, request: RequestFile) -> None:
    """Draft that nobody may publish: every agent drops its bundle, and pages show their default content."""
    from aggregator.leader.ceremony import Change

    _draft(_open(directory)[1], Change(revoke=True), request)


@app.command("renew", epilog=f"Example: {NAME} tuf renew --dir leader --request renew.json")
def renew(directory: Folder, request: RequestFile) -> None:
    """Draft the officers' part anew, with the same keys, before it expires."""
    from aggregator.leader.ceremony import Change

    _draft(_open(directory)[1], Change(renew=True), request)


@app.command("refresh", epilog=f"Example: {NAME} tuf refresh --dir leader")
def refresh(directory: Folder) -> None:
    """Sign the leader's part anew. A running leader does it daily; do it by hand after restoring a back-up."""
    _, distribution = _open(directory)
    now = dt.datetime.now(dt.UTC)
    if lead := distribution.lead_days(now):
        typer.confirm(f"Today is {now:%Y-%m-%d}, {lead:.0f} days after the last signature. Is that right?", abort=True)
    distribution.refresh(now)
    _show(distribution)


@app.command("status", epilog=f"Example: {NAME} tuf status --dir leader")
def status(directory: Folder, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Which keys count, how long their signatures hold, and what is published."""
    _, distribution = _open(directory)
    _show(distribution, as_json=as_json)


def _open(directory: Path) -> tuple[LeaderSettings, Distribution]:
    from aggregator.leader.distribution import Distribution
    from aggregator.leader.repository import KEY_FOLDER, RoleKeys
    from aggregator.settings import LeaderSettings

    settings = LeaderSettings.read(directory)
    keys = RoleKeys(directory / KEY_FOLDER, (settings.signing_key(),))
    return settings, Distribution(directory / "tuf", settings.site, keys)


def _officers(settings: LeaderSettings) -> tuple[VerifyKey, ...]:
    from aggregator.errors import SettingsInvalid

    if not settings.officers:
        raise SettingsInvalid(
            f"setting officers: expected an officer's key; '{NAME} configure --dir leader officers=KEY'"
        )
    return settings.officer_keys()


def _draft(distribution: Distribution, change: Change, path: Path) -> None:
    from aggregator.leader import officers

    now = dt.datetime.now(dt.UTC)
    request = distribution.request(change, now)
    _write(path, request)
    print("\n".join(officers.describe(request)))
    print(f"\nTake {path} to the officers; each runs: {NAME} tuf sign {path.name} --dir officer")


def _write(path: Path, request: Request) -> None:
    path.write_bytes(request.to_bytes())


def _show(distribution: Distribution, *, as_json: bool = False) -> None:
    published, standing = distribution.current(), distribution.standing()
    warnings = distribution.warnings(dt.datetime.now(dt.UTC))
    document = {
        "bundle": {"version": published.bundle_version, "sha256": published.sha256.hex()} if published else None,
        "roles": [
            {
                "role": item.role,
                "version": item.version,
                "expires": item.expires.isoformat(),
                "threshold": item.threshold,
                "keys": item.keys,
                "key_at_hand": item.at_hand,
            }
            for item in standing
        ],
        "warnings": warnings,
    }
    if as_json:
        print(json.dumps(document, indent=2))
        return
    print(f"bundle {published.bundle_version}, {published.sha256.hex()}" if published else "no bundle")
    for item in standing:
        where = "here" if item.at_hand else "not here"
        print(f"{item.role:10} {item.version:<12} until {item.expires:%Y-%m-%d}  {item.threshold} of {len(item.keys)}:")
        print("".join(f"           {key} ({where})\n" for key in item.keys), end="")
    print("".join(f"{warning}\n" for warning in warnings), end="")
