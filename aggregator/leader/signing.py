"""The leader's own signatures on its repository: the names of bundles, what belongs together, that it is of today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # public, but re-exported implicitly
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    Metadata,
    MetaFile,
    Snapshot,
    Targets,
    Timestamp,
)

from aggregator.leader.repository import PUBLISHING, Repository, RoleKeys, State, after, raised
from models.wire.problems import ProblemError

PUBLISHING_DAYS: Final = 90
SNAPSHOT_DAYS: Final = 30
TIMESTAMP_DAYS: Final = 7
"""An agent that is shown an older timestamp than this knows that it is being held back."""
REFRESH_SECONDS: Final = 86_400
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Signers:
    """Who signs for the leader.

    Attributes:
        names: signs the names of bundles; None for nobody, or where they stay as they are.
        online: sign what belongs together and that it is of today; two of them while the key changes.
    """

    names: CryptoSigner | None
    online: Sequence[CryptoSigner]


def require_signer(keys: RoleKeys, keyids: Iterable[str], role: str) -> CryptoSigner:
    """The key for a role.

    Raises:
        ProblemError: ``wrong-state``, when it is not at hand.
    """
    found = keys.find(keyids)
    if found is None:
        raise ProblemError("wrong-state", f"no key for {role} lies in {keys.folder}: make one with 'tuf rotate'")
    return found


def signers_of(state: State, keys: RoleKeys) -> Signers:
    """Who signs under the metadata in force; names are signed by nobody where that key is not at hand.

    Raises:
        ProblemError: ``wrong-state``, when the online key is not at hand.
    """
    online = require_signer(keys, state.root.signed.roles[Timestamp.type].keyids, Timestamp.type)
    if state.lent is not None:
        return Signers(keys.find(state.lent.keyids), [online])
    return Signers(online if state.is_older_form else None, [online])


def release(
    files: Repository, state: State, signers: Signers, now: dt.datetime, *, names: bool = True, snapshot: bool = True
) -> None:
    """Write the leader's part, each file naming the exact bytes of the one before, the timestamp last.

    Args:
        files: where to; locked.
        state: as it shall be, but for versions and dates.
        signers: who signs.
        now: the present, UTC.
        names: sign the names of bundles anew.
        snapshot: sign the snapshot anew; it has to be where a name was.
    """
    naming, together, timestamp = state.naming_bundle, state.snapshot.signed, state.timestamp.signed
    if names and naming is not None and signers.names is not None:
        role = Targets.type if state.publishing is None else PUBLISHING
        naming.version, naming.expires = raised(naming.version, now), after(now, PUBLISHING_DAYS)
        data = _sign(files, f"{naming.version}.{role}.json", naming, [signers.names])
        together.meta[f"{role}.json"] = MetaFile.from_data(naming.version, data, ["sha256"])
    if snapshot:
        together.version, together.expires = raised(together.version, now), after(now, SNAPSHOT_DAYS)
        data = _sign(files, f"{together.version}.snapshot.json", together, signers.online)
        timestamp.snapshot_meta = MetaFile.from_data(together.version, data, ["sha256"])
    timestamp.version, timestamp.expires = raised(timestamp.version, now), after(now, TIMESTAMP_DAYS)
    _sign(files, "timestamp.json", timestamp, signers.online)


def _sign(files: Repository, name: str, signed: Any, signers: Iterable[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    for by in signers:
        metadata.sign(by, append=True)
    return files.write(name, metadata)


def timestamp_due(state: State, now: dt.datetime) -> bool:
    """Whether the timestamp is a day old; or has more than its life left, after a clock that was ahead."""
    left = (state.timestamp.signed.expires - now).total_seconds()
    return not 0 <= TIMESTAMP_DAYS * _DAY_SECONDS - left < REFRESH_SECONDS


def snapshot_due(state: State, now: dt.datetime) -> bool:
    """Whether half of the snapshot's life is over."""
    return _half_gone(state.snapshot.signed, SNAPSHOT_DAYS, now)


def names_due(state: State, now: dt.datetime) -> bool:
    """Whether half of the life of what names the bundle is over; never where nobody may publish."""
    return state.naming_bundle is not None and _half_gone(state.naming_bundle, PUBLISHING_DAYS, now)


def _half_gone(signed: Targets | Snapshot, days: int, now: dt.datetime) -> bool:
    return not dt.timedelta(days=days / 2) < signed.expires - now <= dt.timedelta(days=days)
