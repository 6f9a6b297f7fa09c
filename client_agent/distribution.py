"""Fetching the bundle: TUF's client workflow over httpx, so that an old, altered or mixed bundle is refused.

The bundle is the same for everyone and is fetched whole, so a fetch says nothing about the person.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, MutableMapping
from pathlib import Path
from typing import Final

import httpx
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, Root, Targets  # type: ignore[attr-defined]  # public, but re-exported implicitly
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from models.wire.bundle import BUNDLE_TARGET, Bundle, parse_bundle
from models.wire.problems import ProblemError
from privacy.crypto import VerifyKey

MAXIMUM_BUNDLE_BYTES: Final = 8_388_608
SharedFetches = MutableMapping[str, bytes | None]
_CHUNK_BYTES: Final = 65_536
_TIMEOUT_SECONDS: Final = 20.0
_CONFIG: Final = UpdaterConfig(max_root_rotations=16)


class Fetcher(FetcherInterface):
    """Downloads for TUF with httpx. What it returns is not trusted: the updater verifies every byte.

    Args:
        client: the connection, with proxies and transport as configured.
        shared: bytes by address (None: not found), for many agents in one process; safe to share because each agent
            verifies them. It is for one moment: a later fetch needs a new one, or it sees the old timestamp.
    """

    def __init__(self, client: httpx.Client, shared: SharedFetches | None = None) -> None:
        self._client = client
        self._shared = shared

    def _fetch(self, url: str) -> Iterator[bytes]:
        if self._shared is not None and url in self._shared:
            data = self._shared[url]
            if data is None:
                raise DownloadHTTPError(f"404 for {url}", httpx.codes.NOT_FOUND)
            return iter((data,))
        return self._download(url)

    def _download(self, url: str) -> Iterator[bytes]:
        # Opened before the first byte is asked for, so that a missing root ends the search for newer ones.
        request = self._client.build_request("GET", url, timeout=_TIMEOUT_SECONDS)
        response = self._client.send(request, stream=True)
        if response.status_code != httpx.codes.OK:
            response.close()
            if self._shared is not None and response.status_code == httpx.codes.NOT_FOUND:
                self._shared[url] = None
            raise DownloadHTTPError(f"{response.status_code} for {url}", response.status_code)
        return self._read(url, response)

    def _read(self, url: str, response: httpx.Response) -> Iterator[bytes]:
        received: list[bytes] = []
        try:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                received.append(chunk)
                yield chunk
        except httpx.HTTPError as error:
            raise DownloadError(f"{url}: {type(error).__name__}") from error
        finally:
            response.close()
        if self._shared is not None:
            self._shared[url] = b"".join(received)


class BundleSource:
    """Where an agent gets its bundle from, and the metadata that it trusts so far (kept, to notice a rollback).

    Args:
        folder: the agent's folder for TUF metadata; one agent a folder.
        base_url: the leader's address, such as ``http://127.0.0.1:8000``.
        root: the root metadata that was checked with ``pin_root`` at enrolment.
        site: the site that this agent serves.
        client: the connection.
        shared: see ``Fetcher``.
    """

    def __init__(
        self,
        folder: Path,
        base_url: str,
        root: bytes,
        site: str,
        client: httpx.Client,
        shared: SharedFetches | None = None,
    ) -> None:
        self._folder = folder
        self._base_url = base_url.rstrip("/")
        self._root = root
        self._site = site
        self._fetcher = Fetcher(client, shared)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def fetch(self, now: dt.datetime) -> Bundle | None:
        """Return the current bundle, verified; None when nothing has been published yet.

        Args:
            now: the present, UTC: metadata that has expired by then is refused.

        Raises:
            ProblemError: ``bundle-invalid`` for anything that does not verify; ``leader-unavailable`` when nothing
                could be fetched.
        """
        try:
            return self._verified(now)
        except DownloadHTTPError as error:
            raise ProblemError("leader-unavailable", f"the bundle could not be fetched: {error.status_code}") from None
        except RepositoryError as error:
            raise ProblemError("bundle-invalid", f"{type(error).__name__}: {error}") from None
        except DownloadError as error:
            raise _download_problem(error) from None
        except ValueError:
            raise ProblemError("bundle-invalid", "the signed bytes are not a bundle of this version") from None

    def stored(self) -> Bundle | None:
        """Return the bundle of the last successful fetch, for use while no leader answers; None if there is none.

        Its bytes are held against the metadata that was verified then.
        """
        return stored_bundle(self._folder, self._site)

    def _verified(self, now: dt.datetime) -> Bundle | None:
        updater = Updater(
            metadata_dir=str(self._folder),
            metadata_base_url=f"{self._base_url}/tuf/metadata/",
            target_base_url=f"{self._base_url}/tuf/targets/",
            fetcher=self._fetcher,
            config=_CONFIG,
            bootstrap=self._root,
        )
        # TUF's updater reads the clock when it is made; time is an argument here, as everywhere in this house.
        updater._trusted_set.reference_time = now.astimezone(dt.UTC)  # noqa: SLF001 - no public way; a test holds it
        entry = updater.get_targetinfo(BUNDLE_TARGET)
        if entry is None:
            return None
        if entry.length > MAXIMUM_BUNDLE_BYTES:
            raise ProblemError("bundle-invalid", f"expected at most {MAXIMUM_BUNDLE_BYTES} bytes, got {entry.length}")
        path = str(self._folder / BUNDLE_TARGET)
        if updater.find_cached_target(entry, path) is None:
            updater.download_target(entry, path)
        return _parsed(Path(path).read_bytes(), self._site)


def stored_bundle(folder: Path, site: str) -> Bundle | None:
    """The bundle that a ``BundleSource`` of this folder and site would give without a network."""
    try:
        metadata: Metadata[Targets] = Metadata.from_bytes((folder / "targets.json").read_bytes())
        data = (folder / BUNDLE_TARGET).read_bytes()
        metadata.signed.targets[BUNDLE_TARGET].verify_length_and_hashes(data)
        return _parsed(data, site)
    except (OSError, RepositoryError, KeyError, ValueError, ProblemError):
        return None


def _parsed(data: bytes, site: str) -> Bundle:
    bundle = parse_bundle(data)
    if bundle.site != site:
        raise ProblemError("bundle-invalid", f"expected a bundle of {site!r}, got one of {bundle.site!r}")
    return bundle


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
    if cause is None:
        return ProblemError("bundle-invalid", f"{type(error).__name__}: {error}")
    return ProblemError("leader-unavailable", f"the bundle could not be fetched: {type(cause).__name__}")
