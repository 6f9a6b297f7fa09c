"""``hearthside documents``: everything that a person, a regulator or a site's operator reads about consent, on disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from consent import Language
    from consent.documents import Facts

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside documents --example > controller.toml

  hearthside documents --facts controller.toml --out documents

  hearthside documents --facts controller.toml --out documents --check
"""


class Tongue(StrEnum):
    """A language of the documents."""

    ENGLISH = "en"
    GERMAN = "de"


@app.command(epilog=_EXAMPLES)
def documents(
    facts: Annotated[
        Path | None, typer.Option(help="TOML file with the operator's facts.", exists=True, dir_okay=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the documents.", file_okay=False)] = None,
    language: Annotated[Tongue | None, typer.Option(help="One language; left out: every one.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; name every file that differs.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a facts file to start from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object: files with their digests.")] = False,
) -> None:
    """Make the documents about consent: privacy notice, label, record of processing, impact-assessment pack, gpc.json.

    They come from the registry of purposes and the operator's facts, and are the same for the same input. Epsilon and
    delta in the facts are the contract's (device level, zero-out). Exit code 1: with --check, a file differs.
    """
    from consent.documents import example_facts, generate

    if example:
        print(example_facts(), end="")
        return
    if facts is None or out is None:
        raise typer.BadParameter("expected --facts FILE and --out FOLDER, or --example")
    known, tongues = _read(facts), _tongues(language)
    made = generate(known, languages=tongues)
    drifted = _drift(out, made, known, tongues) if check else {}
    if not check:
        _write(out, made)
    if as_json:
        import json

        print(json.dumps(_summary(made, drifted), indent=2))
    else:
        for line in _lines(out, made, drifted, check=check):
            print(line)
    if drifted:
        raise typer.Exit(1)


def _read(path: Path) -> Facts:
    from consent import ConsentError
    from consent.documents import read_facts

    try:
        return read_facts(path.read_text(encoding="utf-8"))
    except (ConsentError, UnicodeDecodeError, OSError) as error:
        raise typer.BadParameter(f"{path.name}: {error}", param_hint="--facts") from error


def _tongues(language: Tongue | None) -> tuple[Language, ...]:
    from consent import LANGUAGES

    return LANGUAGES if language is None else (language.value,)


def _drift(out: Path, made: Mapping[str, str], facts: Facts, tongues: tuple[Language, ...]) -> dict[str, str]:
    """Files that are not what would be written now, each with what is wrong."""
    from consent.documents import no_longer_made

    found = {}
    for name, text in made.items():
        try:
            if (out / name).read_bytes() != text.encode():
                found[name] = "differs"
        except OSError:
            found[name] = "missing"
    return found | {name: "left over" for name in sorted(no_longer_made(facts, tongues)) if (out / name).exists()}


def _write(out: Path, made: Mapping[str, str]) -> None:
    """Write all files, each whole or not at all: none is put in place before the last is on the disk."""
    try:
        with _parts(out, made) as parts:
            for target, part in parts.items():
                part.replace(target)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {error.filename}: {error.strerror}", param_hint="--out") from error


@contextlib.contextmanager
def _parts(out: Path, made: Mapping[str, str]) -> Iterator[dict[Path, Path]]:
    """The files beside their places, under names of this process; none of them stays."""
    parts = {out / name: (out / name).with_name(f".{Path(name).name}.{os.getpid()}.part") for name in made}
    try:
        for (target, part), text in zip(parts.items(), made.values(), strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        yield parts
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _summary(made: Mapping[str, str], drifted: Mapping[str, str]) -> dict[str, object]:
    from hashlib import sha256

    from consent import registry_hash

    return {
        "policy_hash": registry_hash().hex(),
        "documents": [{"name": name, "sha256": sha256(text.encode()).hexdigest()} for name, text in made.items()],
        "drifted": dict(drifted),
    }


def _lines(out: Path, made: Mapping[str, str], drifted: Mapping[str, str], *, check: bool) -> Iterator[str]:
    if drifted:
        yield from (f"{out / name}: {what}" for name, what in drifted.items())
        yield "Run the same command without --check to write them anew (what is left over: delete it)."
    elif check:
        yield f"{len(made)} documents in {out} are what the registry and the facts say."
    else:
        yield from (str(out / name) for name in made)
