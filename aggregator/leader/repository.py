"""The files of a TUF repository (The Update Framework 1.0) and the keys that sign them. Theory of operation.

Four roles, each with keys of its own::

    root        the officers; names every other key, and agents pin its first version when they enrol
    targets     the officers; names nothing itself and lends ``bundle*`` to ``publishing``
    publishing  one key at the leader; names the bundle
    snapshot, timestamp
                one key at the leader, online; say which versions belong together and that they are of this week

Every file but ``timestamp.json`` carries its version or its digest in its name and is never changed. A change is made
under one lock of the folder, by whichever worker or command; what is read back is verified against the root first, so
that nothing is signed on top of a file that somebody has put there. Versions of what the leader signs follow the
clock and rise always, above the highest that was ever signed too (``Head``): a leader that was restored from a back-up,
after a clock that was ahead, does not stay below what its agents have seen.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # public, but re-exported
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    DelegatedRole,
    Key,
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from aggregator.key_files import create_key, load_key
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey, VerifyKey

PUBLISHING: Final = "publishing"
BUNDLE_PATHS: Final = "bundle*"
SERIALIZER: Final = JSONSerializer(compact=True)
KEY_FOLDER: Final = "tuf-keys"
_LOCK_FILE: Final = ".lock"
_ROOT_NAME: Final = re.compile(r"([1-9][0-9]*)\.root\.json", re.ASCII)
_NAMES_KEYS: Final = re.compile(r"[0-9]+\.(root|targets)\.json", re.ASCII)
_DAMAGED: Final = "expected metadata that its root verifies; put the folder back from a back-up"

Role = TypeVar("Role", Root, Timestamp, Snapshot, Targets)


def public_key(key: VerifyKey) -> Key:
    """A key as TUF metadata names it."""
    return SSlibKey.from_crypto(key.public_key())


def signer(key: SigningKey) -> CryptoSigner:
    """A key as TUF signs with it."""
    return CryptoSigner(key.private_key())


def key_of(named: Key) -> VerifyKey:
    """A key that TUF metadata names, as the rest of the house knows it.

    Raises:
        ValueError: it is no Ed25519 key.
    """
    return VerifyKey(bytes.fromhex(str(named.keyval["public"])))


class Head:
    """The highest version that was ever signed with the keys beside it; in no back-up, so that it outlives one.

    Args:
        path: a file with one number.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int:
        """The number; 0 before the first signature.

        Raises:
            ProblemError: ``wrong-state``, when the file is damaged.
        """
        try:
            return int(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError:
            advice = "remove it, and then 'tuf rotate online'"
            raise ProblemError("wrong-state", f"{self._path}: expected a version; {advice}") from None

    def note(self, version: int) -> None:
        """Remember a version that is about to be signed."""
        if version > self.read():
            replace_file(self._path, f"{version}\n".encode("ascii"))


class RoleKeys:
    """The folder of the keys that the leader signs its part with: one file a key, named by the key.

    Args:
        folder: made when the first key is.
        others: keys that lie elsewhere: the leader's own, which signs a repository of the older form.

    Attributes:
        head: the highest version that was signed with them.
    """

    def __init__(self, folder: Path, others: Iterable[SigningKey] = ()) -> None:
        self.folder = folder
        self.head = Head(folder.with_name(f"{folder.name}.head"))
        self._others = {public_key(key.verify_key).keyid: key for key in others}

    def create(self) -> Key:
        """Make a key; metadata that names it is not signed yet."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        os.close(handle)
        Path(draft).unlink()
        named = public_key(create_key(Path(draft)).verify_key)
        Path(draft).rename(self._path(named.keyid))
        return named

    def find(self, keyids: Iterable[str]) -> CryptoSigner | None:
        """The first of these keys that is at hand."""
        for keyid in keyids:
            if keyid in self._others:
                return signer(self._others[keyid])
            if (path := self._path(keyid)).exists():
                return signer(load_key(path))
        return None

    def remove(self, keyids: Iterable[str]) -> None:
        """Remove keys that no metadata names any more."""
        for keyid in keyids:
            self._path(keyid).unlink(missing_ok=True)

    def _path(self, keyid: str) -> Path:
        return self.folder / f"{keyid}.key"


@dataclass
class State:
    """The newest metadata of every role, verified.

    Attributes:
        root: signed by the officers.
        targets: signed by the officers; in the older form by the leader, and it names the bundle itself.
        publishing: None before anything was lent.
        snapshot: what belongs together.
        timestamp: that it is of now.
    """

    root: Metadata[Root]
    targets: Metadata[Targets]
    publishing: Metadata[Targets] | None
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    @property
    def lent(self) -> DelegatedRole | None:
        """Who may publish; None in the older form and after a revocation."""
        return lent_by(self.targets.signed)

    @property
    def is_older_form(self) -> bool:
        """Whether the leader's own key signs the targets: made before the officers lent that right."""
        return self.root.signed.roles[Targets.type].keyids == self.root.signed.roles[Timestamp.type].keyids

    @property
    def naming_bundle(self) -> Targets | None:
        """The role that names the bundle; None after the right to publish was taken back."""
        if self.publishing is not None:
            return self.publishing.signed
        return self.targets.signed if self.is_older_form else None


def lent_by(targets: Targets) -> DelegatedRole | None:
    """To whom top-level targets lend the bundle's path."""
    roles = targets.delegations.roles if targets.delegations is not None else None
    return roles.get(PUBLISHING) if roles else None


class Repository:
    """Reads, verifies and writes the files of one repository.

    Args:
        folder: with ``metadata/`` and ``targets/``; shared by the workers of one leader.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.metadata_dir = folder / "metadata"
        self.targets_dir = folder / "targets"

    @property
    def exists(self) -> bool:
        """Whether something can be fetched from it."""
        return (self.metadata_dir / "timestamp.json").exists()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only one, of all workers and commands of this folder, that changes it. Blocks."""
        for folder in (self._folder, self.metadata_dir, self.targets_dir):
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def root(self) -> Metadata[Root] | None:
        """The newest root, verified by the one before it; None without any."""
        return roots[-1] if (roots := self.last_roots()) else None

    def last_roots(self) -> list[Metadata[Root]]:
        """The newest root and before it the one that verifies it; fewer where there are none.

        Raises:
            ProblemError: ``wrong-state``, when they do not verify.
        """
        versions = sorted(
            int(found[1])
            for path in self.metadata_dir.glob("*.root.json")
            if (found := _ROOT_NAME.fullmatch(path.name))
        )
        if not versions:
            return []
        roots = [self._read(f"{version}.root.json", Root) for version in versions[-2:]]
        try:
            roots[0].verify_delegate(Root.type, roots[-1])
            roots[-1].verify_delegate(Root.type, roots[-1])
        except RepositoryError:
            raise ProblemError("wrong-state", f"{versions[-1]}.root.json: {_DAMAGED}") from None
        return roots

    def state(self, *, installing: Sequence[Metadata[Root]] = ()) -> State:
        """What is in force.

        Args:
            installing: the roots between which an installation may have stopped: it is enough that one of them
                verifies the targets, and nobody is asked for the keys of snapshot and timestamp. Empty where none goes
                on.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository or it does not verify.
        """
        root = self.root() if self.exists else None
        if root is None:
            raise ProblemError("wrong-state", "expected a repository; make one with 'hearthside-aggregator tuf init'")
        try:
            return self._verified(root, installing)
        except FileNotFoundError as error:
            raise ProblemError("wrong-state", f"{Path(error.filename).name}: {_DAMAGED}") from None
        except (RepositoryError, ValueError, KeyError) as error:
            raise ProblemError("wrong-state", f"{type(error).__name__}: {_DAMAGED}") from None

    def _verified(self, root: Metadata[Root], installing: Sequence[Metadata[Root]]) -> State:
        timestamp = self._read("timestamp.json", Timestamp)
        snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        if not installing:
            root.verify_delegate(Timestamp.type, timestamp)
            root.verify_delegate(Snapshot.type, snapshot)
        targets = self._read(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
        if not any(verifies(other, targets) for other in installing):
            root.verify_delegate(Targets.type, targets)
        publishing = None
        if lent_by(targets.signed) is not None:
            publishing = self._read(f"{snapshot.signed.meta[f'{PUBLISHING}.json'].version}.{PUBLISHING}.json", Targets)
            targets.verify_delegate(PUBLISHING, publishing)
        return State(root, targets, publishing, snapshot, timestamp)

    def named_ever(self) -> set[str]:
        """Every key of the leader's part that any file here names, in force or not."""
        named: set[str] = set()
        for path in self.metadata_dir.glob("*.*.json"):
            if not _NAMES_KEYS.fullmatch(path.name):
                continue
            signed = Metadata.from_bytes(path.read_bytes()).signed
            if isinstance(signed, Root):
                named.update(signed.roles[Timestamp.type].keyids)
            elif isinstance(signed, Targets) and (lent := lent_by(signed)) is not None:
                named.update(lent.keyids)
        return named

    def write(self, name: str, metadata: Metadata[Role]) -> bytes:
        """Write signed metadata; returns its bytes."""
        data = metadata.to_bytes(SERIALIZER)
        replace_file(self.metadata_dir / name, data)
        return data

    def _read(self, name: str, kind: type[Role]) -> Metadata[Role]:
        metadata: Metadata[Role] = Metadata.from_bytes((self.metadata_dir / name).read_bytes())
        if not isinstance(metadata.signed, kind):
            raise ProblemError("wrong-state", f"{name}: expected {kind.type} metadata")
        return metadata


def verifies(root: Metadata[Root], targets: Metadata[Targets]) -> bool:
    """Whether a root's officers have signed targets, as many as it asks for."""
    try:
        root.verify_delegate(Targets.type, targets)
    except RepositoryError:
        return False
    return True


def raised(version: int, now: dt.datetime, head: int = 0) -> int:
    """The version after this one and after the highest of all: the clock's seconds, and always above."""
    return max(version + 1, head + 1, int(now.timestamp()))


def after(now: dt.datetime, days: int) -> dt.datetime:
    """When something that is signed now for so many days expires."""
    return now.astimezone(dt.UTC).replace(microsecond=0) + dt.timedelta(days=days)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file durably and all at once."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
