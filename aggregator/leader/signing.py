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

from aggregator.leader.repository import PUBLISHING, Head, Repository, RoleKeys, State, after, raised
from models.wire.bundle import TIMESTAMP_DAYS
from models.wire.problems import ProblemError

PUBLISHING_DAYS: Final = 90
SNAPSHOT_DAYS: Final = 30
REFRESH_SECONDS: Final = 86_400
LEAD_DAYS: Final = 60
"""A clock that is so far ahead of the last signature signs nothing before somebody has said that it is right."""
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Signers:
    """Who signs for the leader.

    Attributes:
        names: signs the names of bundles; None for nobody, or where they stay as they are.
        online: sign what belongs together and that it is of today; two of them while the key changes.
        head: the highest version so far; None where nothing is remembered.
    """

    names: CryptoSigner | None
    online: Sequence[CryptoSigner]
    head: Head | None = None


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
        return Signers(keys.find(state.lent.keyids), [online], keys.head)
    return Signers(online if state.is_older_form else None, [online], keys.head)


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
    names = names and naming is not None and signers.names is not None
    floor = signers.head.read() if signers.head is not None else 0
    if names and naming is not None:
        naming.version, naming.expires = raised(naming.version, now, floor), after(now, PUBLISHING_DAYS)
    if snapshot:
        together.version, together.expires = raised(together.version, now, floor), after(now, SNAPSHOT_DAYS)
    timestamp.version, timestamp.expires = raised(timestamp.version, now, floor), after(now, TIMESTAMP_DAYS)
    if signers.head is not None:  # before anybody can see them
        signers.head.note(max(timestamp.version, together.version, naming.version if naming is not None else 0))
    if names and naming is not None and signers.names is not None:
        role = Targets.type if state.publishing is None else PUBLISHING
        data = _sign(files, f"{naming.version}.{role}.json", naming, [signers.names])
        together.meta[f"{role}.json"] = MetaFile.from_data(naming.version, data, ["sha256"])
    if snapshot:
        data = _sign(files, f"{together.version}.snapshot.json", together, signers.online)
        timestamp.snapshot_meta = MetaFile.from_data(together.version, data, ["sha256"])
    _sign(files, "timestamp.json", timestamp, signers.online)


def lead_days(state: State, now: dt.datetime) -> float:
    """How far the clock is ahead of the last signature, in days; negative where it is behind."""
    return (now - state.timestamp.signed.expires).total_seconds() / _DAY_SECONDS + TIMESTAMP_DAYS


def require_likely(state: State, now: dt.datetime) -> None:
    """Insist on a clock that can be right: what it signs counts from there on, and agents go back to nothing lower.

    Raises:
        ProblemError: ``wrong-state``, when it is months ahead of the last signature.
    """
    lead = lead_days(state, now)
    if lead > LEAD_DAYS:
        advice = "set it, or, if it is right, sign once by hand: 'tuf refresh'"
        raise ProblemError("wrong-state", f"the clock is {lead:.0f} days ahead of the last signature: {advice}")


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
