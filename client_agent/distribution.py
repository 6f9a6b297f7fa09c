"""Fetching the bundle: TUF's client workflow over httpx, so that an old, altered or mixed bundle is refused.

The bundle is the same for everyone and is fetched whole, so a fetch says nothing about the person. Every file has a
greatest length and the whole fetch a least speed: who serves for ever, or drips, is hung up on. What was verified last
is kept beside TUF's own files and stays in use, with the date until which it was known to be the newest.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public, but re-exported
    Metadata,
    Root,
    TargetFile,
    Timestamp,
)
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.updater import Updater

from client_agent.downloading import PATIENCE_SECONDS, Fetcher, Pace, SharedFetches, TooSlow
from client_agent.files import open_private, sync_folder
from client_agent.streaming import watched
from models.wire.bundle import BUNDLE_TARGET, TIMESTAMP_DAYS, Bundle, parse_bundle
from models.wire.problems import ProblemError
from privacy.crypto import VerifyKey

MAXIMUM_BUNDLE_BYTES: Final = 8_388_608
MAXIMUM_ROOT_BYTES: Final = 65_536
_CLOCK_SLACK_DAYS: Final = 2
"""How far the leader's clock may be ahead of the agent's."""
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=256,  # counted from the pinned root at every fetch
    max_delegations=4,
    root_max_length=MAXIMUM_ROOT_BYTES,
    timestamp_max_length=16_384,
    snapshot_max_length=65_536,
    targets_max_length=262_144,
)
TUF_FOLDER: Final = "tuf"
"""In an agent's folder: the bundle and its metadata."""
_ACCEPTED: Final = "accepted.json"
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Accepted:
    """The bundle that was verified last.

    Attributes:
        bundle_version: its version.
        file: its name in the folder: the digest of its padded bytes.
        checked_at: when it was last known to be the newest, UTC.
        fresh_until: until when that holds: the leader signs daily for a week. Later it may be held back.
    """

    bundle_version: int
    file: str
    checked_at: dt.datetime
    fresh_until: dt.datetime

    def is_old(self, now: dt.datetime) -> bool:
        """Whether there may be a newer one that somebody holds back."""
        return now > self.fresh_until

    @classmethod
    def read(cls, folder: Path) -> Accepted | None:
        """What a folder says; None where nothing has been verified."""
        try:
            found = json.loads((folder / _ACCEPTED).read_bytes())
            times = (dt.datetime.fromisoformat(found[name]) for name in ("checked_at", "fresh_until"))
            return cls(int(found["bundle_version"]), str(found["file"]), *times)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep it, all at once."""
        document = {
            "bundle_version": self.bundle_version,
            "file": self.file,
            "checked_at": self.checked_at.isoformat(),
            "fresh_until": self.fresh_until.isoformat(),
        }
        _replace(folder / _ACCEPTED, json.dumps(document).encode())


class _DatedFetcher(Fetcher):
    """Takes no timestamp that a right clock cannot have signed yet: who follows one goes back to nothing before it."""

    def __init__(
        self, client: httpx.Client, pace: Pace, shared: SharedFetches | None = None, *, now: dt.datetime
    ) -> None:
        super().__init__(client, pace, shared)
        self._latest = now + dt.timedelta(days=TIMESTAMP_DAYS + _CLOCK_SLACK_DAYS)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Download metadata; whether it is signed is the updater's to say, once this has seen the date."""
        data: bytes = super().download_bytes(url, max_length)
        if url.endswith(f"/{Timestamp.type}.json"):
            expires = Metadata.from_bytes(data).signed.expires
            if expires > self._latest:
                raise ProblemError(
                    "bundle-invalid", f"a timestamp until {expires:%Y-%m-%d}: the leader's clock or this one is wrong"
                )
        return data


class BundleSource:
    """Where an agent gets its bundle from, and the metadata that it trusts so far (kept, to notice a rollback).

    Args:
        folder: the agent's folder for TUF metadata; one agent a folder.
        base_url: the leader's address, such as ``http://127.0.0.1:8000``.
        root: the root metadata that was checked with ``pin_root`` at enrolment.
        site: the site that this agent serves.
        client: the connection; see ``Fetcher``.
        shared: see ``Fetcher``.
        monotonic: seconds of a clock that nobody turns.
        patience_seconds: see ``Pace``.
    """

    def __init__(
        self,
        folder: Path,
        base_url: str,
        root: bytes,
        site: str,
        client: httpx.Client,
        shared: SharedFetches | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._folder = folder
        self._base_url = base_url.rstrip("/")
        self._root = root
        self._site = site
        self._client, self._shared = client, shared
        self._monotonic, self._patience_seconds = monotonic, patience_seconds
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def fetch(self, now: dt.datetime) -> Bundle | None:
        """Return the current bundle, verified; None when none is published, or none any more: then none is stored.

        Args:
            now: the present, UTC: metadata that has expired by then is refused.

        Raises:
            ProblemError: ``bundle-invalid`` for anything that does not verify; ``leader-unavailable`` when nothing
                could be fetched, or too slowly. What is stored stays.
        """
        pace = Pace(self._monotonic, self._patience_seconds)
        with _problems():
            return self._verified(_DatedFetcher(self._client, pace, self._shared, now=now), now)

    def stored(self) -> Bundle | None:
        """Return the bundle of the last successful fetch, for use while no leader answers; None if there is none.

        Its bytes are held against the digest that was verified then.
        """
        return stored_bundle(self._folder, self._site)

    def _verified(self, fetcher: Fetcher, now: dt.datetime) -> Bundle | None:
        updater = Updater(
            metadata_dir=str(self._folder),
            metadata_base_url=f"{self._base_url}/tuf/metadata/",
            target_base_url=f"{self._base_url}/tuf/targets/",
            fetcher=fetcher,
            config=_CONFIG,
            bootstrap=self._root,
        )
        # TUF's updater reads the clock when it is made; time is an argument here, as everywhere in this house.
        updater._trusted_set.reference_time = now.astimezone(dt.UTC)  # noqa: SLF001 - no public way; a test holds it
        with _cut_when_slow(fetcher):
            return self._current(updater, now)

    def _current(self, updater: Updater, now: dt.datetime) -> Bundle | None:
        entry = updater.get_targetinfo(BUNDLE_TARGET)
        if entry is None:
            self._tidy(None)
            return None
        if entry.length > MAXIMUM_BUNDLE_BYTES:
            raise ProblemError("bundle-invalid", f"expected at most {MAXIMUM_BUNDLE_BYTES} bytes, got {entry.length}")
        name = _file_of(entry)
        path = self._folder / name
        if updater.find_cached_target(entry, str(path)) is None:
            updater.download_target(entry, str(path))
        bundle = _parsed(path.read_bytes(), self._site)
        fresh_until = Metadata.from_file(str(self._folder / "timestamp.json")).signed.expires
        Accepted(bundle.bundle_version, name, now, fresh_until).write(self._folder)
        self._tidy(name)
        return bundle

    def _tidy(self, kept: str | None) -> None:
        """Remove every bundle but this one, and without one what says that there is one."""
        if kept is None:
            (self._folder / _ACCEPTED).unlink(missing_ok=True)
        for path in self._folder.glob(f"*{BUNDLE_TARGET}"):
            if path.name != kept:
                path.unlink(missing_ok=True)


def stored_bundle(folder: Path, site: str) -> Bundle | None:
    """The bundle that a ``BundleSource`` of this folder and site would give without a network."""
    accepted = Accepted.read(folder)
    if accepted is None:
        return None
    with contextlib.suppress(OSError, ValueError, ProblemError):
        data = (folder / accepted.file).read_bytes()
        if f"{hashlib.sha256(data).hexdigest()}.{BUNDLE_TARGET}" == accepted.file:
            return _parsed(data, site)
    return None


def _file_of(entry: TargetFile) -> str:
    """The name under which a bundle is kept: its digest, which leads nowhere else, whoever signed it."""
    sha256 = str(entry.hashes.get("sha256"))
    if not _SHA256.fullmatch(sha256):
        raise ProblemError("bundle-invalid", "expected the SHA-256 of the bundle")
    return f"{sha256}.{BUNDLE_TARGET}"


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """What stops a fetch, as the problem that it is."""
    try:
        yield
    except DownloadHTTPError as error:
        raise ProblemError("leader-unavailable", f"the bundle could not be fetched: {error.status_code}") from None
    except RepositoryError as error:
        raise ProblemError("bundle-invalid", f"{type(error).__name__}: {error}") from None
    except DownloadError as error:
        raise _download_problem(error) from None
    except (ValueError, RecursionError):
        raise ProblemError("bundle-invalid", "the signed bytes are not a bundle of this version") from None


@contextlib.contextmanager
def _cut_when_slow(fetcher: Fetcher) -> Iterator[None]:
    """Hang up, whatever is waited for, once it comes too slowly; a line that many agents share is left alone."""
    if fetcher.is_shared:
        yield
        return
    with watched(fetcher.line.cut, fetcher.pace.stands):
        yield


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    with open_private(draft) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def _parsed(data: bytes, site: str) -> Bundle:
    bundle = parse_bundle(data)
    if bundle.site != site:
        raise ProblemError("bundle-invalid", f"expected a bundle of {site!r}, got one of {bundle.site!r}")
    return bundle


def fetch_root(base_url: str, officers: Collection[VerifyKey], client: httpx.Client) -> bytes:
    """Fetch the first root metadata and pin it. Run once, at enrolment.

    Raises:
        ProblemError: ``not-found`` while the leader has none, ``leader-unavailable``, and what ``pin_root`` raises.
    """
    fetcher = Fetcher(client, Pace(time.monotonic, PATIENCE_SECONDS))
    try:
        with _problems(), _cut_when_slow(fetcher):
            data = fetcher.download_bytes(f"{base_url.rstrip('/')}/tuf/metadata/1.root.json", MAXIMUM_ROOT_BYTES)
    except ProblemError as problem:
        if problem.code == "leader-unavailable" and problem.detail.endswith(str(int(httpx.codes.NOT_FOUND))):
            raise ProblemError("not-found", "the leader has published no bundle yet") from None
        raise
    return pin_root(data, officers)


def pin_root(data: bytes, officers: Collection[VerifyKey]) -> bytes:
    """Return root metadata if only pinned officers can have signed it. Run once, at enrolment.

    Args:
        data: ``/tuf/metadata/1.root.json`` as the leader serves it.
        officers: keys of the privacy office, known out of band by fingerprint.

    Raises:
        ProblemError: ``bundle-invalid``, when it names another key for itself or is not signed by its own.
    """
    pinned = {officer.raw.hex() for officer in officers}
    try:
        metadata: Metadata[Root] = Metadata.from_bytes(data)
        if not isinstance(metadata.signed, Root):
            raise ProblemError("bundle-invalid", "expected root metadata")
        metadata.verify_delegate(Root.type, metadata)
        role = metadata.signed.roles[Root.type]
        named = {str(metadata.signed.keys[key].keyval.get("public")) for key in role.keyids}
    except (RepositoryError, ValueError, KeyError) as error:
        raise ProblemError("bundle-invalid", f"root metadata does not verify: {type(error).__name__}") from None
    if not named <= pinned:
        raise ProblemError("bundle-invalid", "the root is signed by a key that is not a pinned officer's")
    return data


def _download_problem(error: DownloadError) -> ProblemError:
    cause = error.__cause__
    if isinstance(error, TooSlow):
        return ProblemError("leader-unavailable", f"the bundle came too slowly: {error}")
    if cause is None:
        return ProblemError("bundle-invalid", f"{type(error).__name__}: {error}")
    return ProblemError("leader-unavailable", f"the bundle could not be fetched: {type(cause).__name__}")
