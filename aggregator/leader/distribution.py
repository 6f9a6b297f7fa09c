"""Distribution of bundles: a repository after The Update Framework (TUF 1.0), served as static, cacheable files.

The root is signed by an officer, so that the leader cannot replace its own keys unseen; targets, snapshot and timestamp
are the leader's. Agents refuse rollback, freeze and mix-and-match by TUF's own client workflow. Every file but
``timestamp.json`` carries its version or digest in its name (consistent snapshot) and is never changed, and the
timestamp is replaced last: a reader sees the old repository or the new one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final, TypeVar

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # public, but re-exported implicitly
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from models.wire.bundle import BUNDLE_TARGET, Bundle
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey

ROOT_DAYS: Final = 365
TARGETS_DAYS: Final = 90
TIMESTAMP_DAYS: Final = 7
"""An agent that is shown an older timestamp than this knows that it is being held back."""

_Role = TypeVar("_Role", Root, Timestamp, Snapshot, Targets)
_SERIALIZER: Final = JSONSerializer(compact=True)


class Distribution:
    """One site's TUF repository in a folder with ``metadata/`` and ``targets/``.

    Args:
        folder: the repository's folder; made by ``initialise``.
        site: the site whose bundles are published; another site's bundle is refused.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self.metadata_dir = folder / "metadata"
        self.targets_dir = folder / "targets"
        self._site = site

    def initialise(self, officer_key: SigningKey, leader_key: SigningKey, now: dt.datetime) -> None:
        """Make an empty repository. Run once, where the officer's key is.

        The root names the officer's key for itself and the leader's for everything else.

        Args:
            officer_key: signs the root; not needed again until the root expires or a key changes.
            leader_key: signs what is published.
            now: the present, UTC.

        Raises:
            ProblemError: ``wrong-state``, when there is a repository already.
        """
        if (self.metadata_dir / "timestamp.json").exists():
            raise ProblemError("wrong-state", f"{self.metadata_dir}: expected no repository yet")
        self.metadata_dir.mkdir(parents=True, exist_ok=True)
        self.targets_dir.mkdir(parents=True, exist_ok=True)
        officer, leader = CryptoSigner(officer_key.private_key()), CryptoSigner(leader_key.private_key())
        root = Root(expires=_after(now, ROOT_DAYS), consistent_snapshot=True)
        root.add_key(officer.public_key, Root.type)
        for role in (Targets.type, Snapshot.type, Timestamp.type):
            root.add_key(leader.public_key, role)
        self._write("1.root.json", Metadata(root), officer)
        self._release(Targets(), Snapshot(), Timestamp(), leader, now)

    def publish(self, bundle: Bundle, leader_key: SigningKey, now: dt.datetime) -> str:
        """Publish a bundle and return the SHA-256 of its padded bytes in hex. Run by the leader.

        Args:
            bundle: checked by ``models.personalisation.publishable_bundle``; its version is above the current one.
            leader_key: the key that the root names.
            now: the present, UTC.

        Raises:
            ProblemError: ``wrong-state`` for another site's bundle, a version that does not rise, or no repository.
        """
        current = self.current_version()
        if bundle.site != self._site or bundle.bundle_version <= current:
            raise ProblemError(
                "wrong-state",
                f"expected a bundle of {self._site!r} above version {current}, got {bundle.bundle_version}",
            )
        data = bundle.padded()
        name = hashlib.sha256(data).hexdigest()
        _replace(self.targets_dir / f"{name}.{BUNDLE_TARGET}", data)
        targets, snapshot, timestamp = self._current()
        entry = TargetFile.from_data(BUNDLE_TARGET, data, ["sha256"])
        entry.unrecognized_fields["custom"] = {"bundle_version": bundle.bundle_version, "site": bundle.site}
        targets.targets[BUNDLE_TARGET] = entry
        for role in (targets, snapshot, timestamp):
            role.version += 1
        self._release(targets, snapshot, timestamp, CryptoSigner(leader_key.private_key()), now)
        return name

    def refresh(self, leader_key: SigningKey, now: dt.datetime) -> None:
        """Sign everything anew, unchanged, so that it does not expire. Run by the leader daily.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository.
        """
        targets, snapshot, timestamp = self._current()
        for role in (targets, snapshot, timestamp):
            role.version += 1
        self._release(targets, snapshot, timestamp, CryptoSigner(leader_key.private_key()), now)

    def current_version(self) -> int:
        """The version of the published bundle; 0 before the first.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository.
        """
        entry = self._current()[0].targets.get(BUNDLE_TARGET)
        return int(entry.custom["bundle_version"]) if entry is not None and entry.custom else 0

    def _current(self) -> tuple[Targets, Snapshot, Timestamp]:
        try:
            timestamp = self._read("timestamp.json", Timestamp)
            snapshot = self._read(f"{timestamp.snapshot_meta.version}.snapshot.json", Snapshot)
            targets = self._read(f"{snapshot.meta['targets.json'].version}.targets.json", Targets)
        except OSError:
            raise ProblemError("wrong-state", "expected a repository; make one with the officer's key first") from None
        return targets, snapshot, timestamp

    def _release(
        self, targets: Targets, snapshot: Snapshot, timestamp: Timestamp, leader: CryptoSigner, now: dt.datetime
    ) -> None:
        """Write the three roles, each naming the exact bytes of the one before, the timestamp last."""
        targets.expires = _after(now, TARGETS_DAYS)
        data = self._write(f"{targets.version}.targets.json", Metadata(targets), leader)
        snapshot.expires = _after(now, TARGETS_DAYS)
        snapshot.meta["targets.json"] = MetaFile.from_data(targets.version, data, ["sha256"])
        data = self._write(f"{snapshot.version}.snapshot.json", Metadata(snapshot), leader)
        timestamp.expires = _after(now, TIMESTAMP_DAYS)
        timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, data, ["sha256"])
        self._write("timestamp.json", Metadata(timestamp), leader)

    def _write(self, name: str, metadata: Metadata[_Role], signer: CryptoSigner) -> bytes:
        metadata.sign(signer)
        data = metadata.to_bytes(_SERIALIZER)
        _replace(self.metadata_dir / name, data)
        return data

    def _read(self, name: str, kind: type[_Role]) -> _Role:
        metadata: Metadata[_Role] = Metadata.from_bytes((self.metadata_dir / name).read_bytes())
        signed = metadata.signed
        if not isinstance(signed, kind):
            raise ProblemError("wrong-state", f"{name}: expected {kind.type} metadata")
        return signed


def _after(now: dt.datetime, days: int) -> dt.datetime:
    return now.astimezone(dt.UTC).replace(microsecond=0) + dt.timedelta(days=days)


def _replace(path: Path, data: bytes) -> None:
    """Write a file durably and all at once."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(draft).chmod(0o644)
    Path(draft).replace(path)
