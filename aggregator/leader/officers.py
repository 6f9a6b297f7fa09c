"""The officers' side of the bundles' keys: what a request asks for in words, what no officer signs, the signature.

Run on an officer's own machine. Nothing in a request is believed: it is read as metadata, what is described is what
would be signed, and what it would change is told from a root that the officer's folder knows (``known_roots``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from aggregator.leader.ceremony import ROOT_DAYS, TARGETS_DAYS, Request
from aggregator.leader.known_roots import KnownRoots
from aggregator.leader.repository import BUNDLE_PATHS, after, key_of, lent_by, public_key, signer
from models.wire.problems import ProblemError
from privacy.crypto import KeyInvalid, SigningKey, VerifyKey

_SLACK_DAYS: Final = 2
"""How far the leader's clock may be ahead of the officer's."""
_NOTHING: Final = KnownRoots()


def sign(request: Request, officer: SigningKey, now: dt.datetime, known: KnownRoots = _NOTHING) -> Request:
    """Add an officer's signatures. Run on the officer's machine, after ``describe`` was read.

    Args:
        request: what is asked for.
        officer: the officer's key.
        now: the present, UTC.
        known: what the officer's folder remembers of the site.

    Raises:
        ProblemError: ``malformed`` for what no officer signs, ``forbidden`` for an officer whom it does not name, or
            for one who does not know the root that it begins with.
    """
    check(request, now)
    known.require(request, officer.verify_key)
    keyid, signs = public_key(officer.verify_key).keyid, False
    for role, part in ((Root.type, request.root), (Targets.type, request.targets)):
        if part is not None and keyid in _who_signs(request, role):
            part.sign(signer(officer), append=True)
            signs = True
    if not signs:
        raise ProblemError("forbidden", f"the request names no officer {officer.verify_key.fingerprint}")
    return request


def _who_signs(request: Request, role: str) -> set[str]:
    """Keys whose signature counts: under a new root those before it too, for agents that have not seen it yet."""
    roots = [request.root_after, *([request.before] if request.before is not None else [])]
    return {name for root in roots for name in root.signed.roles[role].keyids}


def check(request: Request, now: dt.datetime) -> None:
    """Insist that a request asks for nothing but what ``draft`` can ask for.

    Raises:
        ProblemError: ``malformed``, saying what it asks for.
    """
    try:
        if request.before is not None:
            request.before.verify_delegate(Root.type, request.before)
        root, online = request.root_after.signed, _online(request.root_after.signed)
        officers = {key_of(root.keys[name]).raw for name in root.roles[Root.type].keyids}
        publishing = None if request.targets is None else publishing_key(request.targets.signed)
    except (RepositoryError, KeyInvalid, ValueError, KeyError) as error:
        raise ProblemError("malformed", f"the request does not verify: {type(error).__name__}") from None
    faults = [*_root_faults(request, now), *_targets_faults(request, now)]
    if officers & {online.raw, *([publishing.raw] if publishing else [])}:
        faults.append("an officer's key as a key of the leader")
    if publishing == online:
        faults.append("one key for publishing and for what is signed daily")
    if request.root is None and request.targets is None:
        faults.append("nothing at all")
    if faults:
        raise ProblemError("malformed", f"the request asks for {', '.join(faults)}")


def _root_faults(request: Request, now: dt.datetime) -> list[str]:
    if request.root is None:
        return []
    root, faults = request.root.signed, []
    if root.version != (request.before.signed.version + 1 if request.before else 1):
        faults.append(f"root version {root.version} out of turn")
    if root.expires > after(now, ROOT_DAYS + _SLACK_DAYS):
        faults.append(f"a root until {root.expires:%Y-%m-%d}")
    if root.roles[Targets.type].keyids != root.roles[Root.type].keyids:
        faults.append("targets that are not the officers'")
    if not root.consistent_snapshot or root.unrecognized_fields:
        faults.append("a root of another form")
    return faults


def _targets_faults(request: Request, now: dt.datetime) -> list[str]:
    if request.targets is None:
        return []
    targets, faults = request.targets.signed, []
    if targets.targets or targets.unrecognized_fields:
        faults.append("targets that name files themselves")
    if targets.expires > after(now, TARGETS_DAYS + _SLACK_DAYS):
        faults.append(f"targets until {targets.expires:%Y-%m-%d}")
    lent = lent_by(targets)
    if targets.delegations is not None and (
        lent is None
        or targets.delegations.roles is None
        or len(targets.delegations.roles) != 1
        or (lent.paths, lent.threshold, len(lent.keyids)) != ([BUNDLE_PATHS], 1, 1)
        or lent.path_hash_prefixes is not None
    ):
        faults.append(f"more than {BUNDLE_PATHS} for one key")
    return faults


def _online(root: Root) -> VerifyKey:
    named = {name for role in (Snapshot.type, Timestamp.type) for name in root.roles[role].keyids}
    if len(named) != 1:
        raise ValueError(len(named))
    return key_of(root.keys[named.pop()])


def publishing_key(targets: Targets) -> VerifyKey | None:
    """The key that may publish, None for nobody."""
    lent = lent_by(targets)
    if lent is None or targets.delegations is None:
        return None
    return key_of(targets.delegations.keys[lent.keyids[0]])


def describe(request: Request, known: KnownRoots = _NOTHING, officer: VerifyKey | None = None) -> list[str]:
    """What a request, which ``check`` has passed, would change: in words, one line a fact.

    Args:
        request: what is asked for.
        known: what the officer's folder remembers, and has required of the request.
        officer: who reads it; None at the leader, which drafted it from its own root.
    """
    words = [f"site {request.site}"]
    if officer is not None and not known.roots:
        words.append("nothing of this site is remembered here: every officer but you is called new")
    if request.root is not None:
        words += _root_words(request.root, request.before, known, officer)
    if request.targets is not None:
        targets = request.targets.signed
        key = publishing_key(targets)
        words.append(f"targets {targets.version}, until {targets.expires:%Y-%m-%d}")
        words.append(f"bundles signed by {key.fingerprint}" if key else "nobody may publish; agents drop the bundle")
    return words


def _root_words(
    asked: Metadata[Root], in_force: Metadata[Root] | None, known: KnownRoots, officer: VerifyKey | None
) -> list[str]:
    root, before = asked.signed, in_force.signed if in_force is not None else None
    words = [f"root {root.version}, until {root.expires:%Y-%m-%d}"]
    if known.signed is not None and known.signed.signed.version == root.version and known.signed.signed != root:
        words.append(f"another root {root.version} than the one that you signed before")
    for role, what in ((Root.type, "a root"), (Targets.type, "lending the right to publish")):
        words.append(f"signatures for {what}: {_thresholds(root, before, role)}")
    new = (
        set()
        if officer is None
        else {
            key_of(root.keys[name]).fingerprint
            for name in root.roles[Root.type].keyids
            if not known.knows(name, officer)
        }
    )
    words += _differences("officer", _named(root, Root.type), _named(before, Root.type), new)
    return words + _differences("online key", _named(root, Timestamp.type), _named(before, Timestamp.type))


def _thresholds(root: Root, before: Root | None, role: str) -> str:
    count = root.roles[role].threshold
    return (
        str(count)
        if before is None or before.roles[role].threshold == count
        else (f"{before.roles[role].threshold} -> {count}")
    )


def _named(root: Root | None, role: str) -> list[str]:
    return [] if root is None else [key_of(root.keys[name]).fingerprint for name in root.roles[role].keyids]


def _differences(what: str, now: Sequence[str], before: Sequence[str], unknown: Collection[str] = ()) -> list[str]:
    new = [name for name in now if name not in before or name in unknown]
    return [
        *(f"{what} {name}" for name in now if name not in new),
        *(f"{what} {name} (new)" for name in new),
        *(f"{what} {name} (no more)" for name in before if name not in now),
    ]
