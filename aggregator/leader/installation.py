"""Putting in force what the officers signed. Run at the leader, inside the repository's lock.

The order of writing lets agents follow at every instant: everything new lies there before the timestamp names it, the
timestamp bears the outgoing online key's signature beside the new one, and the new root comes last. Only where the
outgoing key is gone, or where the root before does not take the new targets (it asks for more signatures than they
bear), comes the root before the timestamp, and an agent that asks between the two asks again. An installation that
stopped anywhere is ended by the same command once more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # public, but re-exported implicitly
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from aggregator.leader.ceremony import Request
from aggregator.leader.officers import check
from aggregator.leader.repository import PUBLISHING, Repository, RoleKeys, State, lent_by, verifies
from aggregator.leader.signing import Signers, release, require_signer
from models.wire.problems import ProblemError


def joined(signed: Sequence[Request]) -> Request:
    """One request with everybody's signatures.

    Raises:
        ProblemError: ``malformed``, when they are not all the same request.
    """
    if not signed:
        raise ProblemError("malformed", "expected a signed request")
    first = signed[0]
    for other in signed[1:]:
        for mine, theirs in ((first.root, other.root), (first.targets, other.targets), (first.before, other.before)):
            if (mine is None) != (theirs is None) or (mine and theirs and mine.signed != theirs.signed):
                raise ProblemError("malformed", "expected the same request from every officer")
            if mine is not None and theirs is not None:
                mine.signatures.update(theirs.signatures)
    return first


def install(files: Repository, keys: RoleKeys, request: Request, now: dt.datetime) -> None:
    """Put a signed request in force; once more does no harm.

    Raises:
        ProblemError: ``malformed`` or ``wrong-state`` where it does not fit, ``bad-signature`` where signatures are
            missing, ``wrong-state`` where a key of the leader's part is.
    """
    roots = files.last_roots()
    root = roots[-1] if roots else None
    taken = root is not None and request.root is not None and root.signed == request.root.signed
    if not taken:
        check(request, now)
        _require_drafted_for(request, root)
    _require_signed(request)
    between = roots if taken or request.root is None else [*roots[-1:], request.root]
    state = files.state(installing=between) if files.exists else None
    if not taken:
        _require_next(request, state)
    write(files, keys, _after(request, root, state, keys), state, now)


def _require_drafted_for(request: Request, root: Metadata[Root] | None) -> None:
    drafted_for = request.before.signed if request.before is not None else None
    if drafted_for != (root.signed if root is not None else None):
        raise ProblemError("wrong-state", "the request was drafted for another root than the one in force")


def _require_next(request: Request, state: State | None) -> None:
    """Insist that a request follows what is in force: an old one that officers signed once is not taken again."""
    if request.targets is None or state is None:
        return
    current, wanted = state.targets.signed, request.targets.signed
    if wanted.version != current.version + 1 and wanted != current:
        raise ProblemError("wrong-state", f"expected targets {current.version + 1}, got {wanted.version}: draft anew")


def _require_signed(request: Request) -> None:
    """Insist on as many officers' signatures as are needed."""
    try:
        if request.root is not None:
            (request.before or request.root).verify_delegate(Root.type, request.root)
            request.root.verify_delegate(Root.type, request.root)
        if request.targets is not None:
            request.root_after.verify_delegate(Targets.type, request.targets)
    except RepositoryError as error:
        raise ProblemError("bad-signature", f"{error}: another officer signs with 'tuf sign'") from None


def _after(request: Request, root: Metadata[Root] | None, state: State | None, keys: RoleKeys) -> State:
    """What will be in force; the leader's part without its new signatures."""
    new_root = request.root or root
    targets = request.targets or (state.targets if state is not None else None)
    if new_root is None or targets is None:
        raise ProblemError("malformed", "expected a root and targets in the first request")
    require_signer(keys, new_root.signed.roles[Timestamp.type].keyids, Timestamp.type)
    together = state.snapshot.signed if state is not None else Snapshot()
    timestamp = state.timestamp.signed if state is not None else Timestamp()
    return State(new_root, targets, _carried(state, targets), Metadata(together), Metadata(timestamp))


def _carried(state: State | None, targets: Metadata[Targets]) -> Metadata[Targets] | None:
    """What names the bundle under the new targets; the same object as before where its key stays.

    A new key takes over what the one before it had published. After a revocation it begins with nothing.
    """
    lent = lent_by(targets.signed)
    if lent is None:
        return None
    if state is not None and state.publishing is not None and state.lent and state.lent.keyids == lent.keyids:
        return state.publishing
    before = state.naming_bundle if state is not None else None
    known = state.snapshot.signed.meta.get(f"{PUBLISHING}.json") if state is not None else None
    names = dict(before.targets) if before is not None else None
    return Metadata(Targets(known.version if known is not None else 1, targets=names))


def write(files: Repository, keys: RoleKeys, new: State, state: State | None, now: dt.datetime) -> None:
    """Write everything, in the order that the top of this module explains; remove keys that nothing names any more."""
    online = require_signer(keys, new.root.signed.roles[Timestamp.type].keyids, Timestamp.type)
    outgoing = _outgoing(keys, state, online)
    names = None
    if new.lent is not None and (state is None or new.publishing is not state.publishing):
        names = require_signer(keys, new.lent.keyids, PUBLISHING)
    if state is not None and state.is_older_form:
        for by in outgoing:
            new.targets.sign(by, append=True)
    version = new.targets.signed.version
    data = files.write(f"{version}.targets.json", new.targets)
    new.snapshot.signed.meta["targets.json"] = MetaFile.from_data(version, data, ["sha256"])
    root_first = state is None or not (outgoing or _same_online(state, new)) or not verifies(state.root, new.targets)
    if root_first:
        files.write(f"{new.root.signed.version}.root.json", new.root)
    release(files, new, Signers(names, [online, *outgoing], keys.head), now, names=names is not None)
    if not root_first:
        files.write(f"{new.root.signed.version}.root.json", new.root)
    keys.remove(files.named_ever() - _named_by(new))  # those too that an earlier installation did not live to remove


def _outgoing(keys: RoleKeys, state: State | None, online: CryptoSigner) -> list[CryptoSigner]:
    if state is None:
        return []
    found = keys.find(state.root.signed.roles[Timestamp.type].keyids)
    return [found] if found is not None and found.public_key != online.public_key else []


def _same_online(state: State, new: State) -> bool:
    return bool(state.root.signed.roles[Timestamp.type].keyids == new.root.signed.roles[Timestamp.type].keyids)


def _named_by(state: State) -> set[str]:
    """Every key of the leader's part that metadata in force names."""
    named = set(state.root.signed.roles[Timestamp.type].keyids)
    return named | (set(state.lent.keyids) if state.lent is not None else set())
