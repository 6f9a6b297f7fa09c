"""Distribution of bundles: what the leader does with its repository after The Update Framework (TUF 1.0).

The officers sign who may publish (``ceremony``); the leader signs the bundle with a publishing key, and daily, with
another one, that what it serves is of today. Agents refuse rollback, freeze and mix-and-match by TUF's own client
workflow. The timestamp is replaced last: a reader sees the old repository or the new one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from aggregator.leader.ceremony import Change, Request, draft
from aggregator.leader.installation import install, joined
from aggregator.leader.officers import publishing_key
from aggregator.leader.repository import (
    PUBLISHING,
    SERIALIZER,
    Repository,
    RoleKeys,
    State,
    key_of,
    replace_file,
)
from aggregator.leader.signing import (
    LEAD_DAYS,
    lead_days,
    names_due,
    release,
    require_likely,
    signers_of,
    snapshot_due,
    timestamp_due,
)
from models.wire.bundle import BUNDLE_TARGET, TIMESTAMP_DAYS, Bundle
from models.wire.problems import ProblemError
from privacy.crypto import VerifyKey

__all__ = ["TIMESTAMP_DAYS", "Distribution", "Published", "Standing"]
WARNING_DAYS: Final = 30
"""So long before something expires that only officers can sign, the leader says so daily."""


@dataclass(frozen=True)
class Published:
    """The bundle that is served: its version, and the SHA-256 of its padded bytes."""

    bundle_version: int
    sha256: bytes


@dataclass(frozen=True)
class Named:
    """The keys that the officers have signed for the leader.

    Attributes:
        root_sha256: of the newest root metadata, which names the officers too.
        online: signs daily.
        publishing: signs bundles; None for nobody, and in the older form, where the online key does.
    """

    root_sha256: bytes
    online: VerifyKey
    publishing: VerifyKey | None


@dataclass(frozen=True)
class Standing:
    """One role as it stands.

    Attributes:
        role: its name.
        version: of its metadata.
        expires: when agents refuse it.
        threshold: how many signatures it needs.
        keys: fingerprints of the keys that count.
        at_hand: whether a key that signs it lies here.
    """

    role: str
    version: int
    expires: dt.datetime
    threshold: int
    keys: tuple[str, ...]
    at_hand: bool


class Distribution:
    """One site's repository.

    Args:
        folder: the repository's folder, shared by all workers.
        site: the site whose bundles are published; another site's bundle is refused.
        keys: the leader's part of the keys.
    """

    def __init__(self, folder: Path, site: str, keys: RoleKeys) -> None:
        self.files = Repository(folder)
        self.keys = keys
        self._site = site

    @property
    def metadata_dir(self) -> Path:
        """Where metadata lies."""
        return self.files.metadata_dir

    @property
    def targets_dir(self) -> Path:
        """Where bundles lie."""
        return self.files.targets_dir

    def request(self, change: Change, now: dt.datetime) -> Request:
        """Draft what the officers have to sign for a change; it changes nothing yet."""
        state = self.files.state() if self.files.exists else None
        return draft(self._site, state, change, now)

    def install(self, signed: Sequence[Request], now: dt.datetime) -> None:
        """Put in force what the officers have signed. Twice is as good as once.

        Keys of the leader's part that nothing names any more are removed.

        Args:
            signed: one request, as it came back from each officer.
            now: the present, UTC.

        Raises:
            ProblemError: ``malformed`` or ``wrong-state`` where it does not fit, ``bad-signature`` where signatures
                are missing.
        """
        request = joined(signed)
        if request.site != self._site:
            raise ProblemError("malformed", f"expected a request for site {self._site!r}, got {request.site!r}")
        with self.files.changing():
            install(self.files, self.keys, request, now)

    def publish(self, bundle: Bundle, now: dt.datetime) -> str:
        """Publish a bundle and return the SHA-256 of its padded bytes in hex. Run by the leader.

        Args:
            bundle: checked by ``models.personalisation.publishable_bundle``; its version is above the current one.
            now: the present, UTC.

        Raises:
            ProblemError: ``wrong-state`` for another site's bundle, a version that does not rise, no repository,
                nobody who may publish, or a clock that is months ahead.
        """
        with self.files.changing():
            state = self.files.state()
            require_likely(state, now)
            naming, current = state.naming_bundle, _published(state)
            if naming is None:
                raise ProblemError("wrong-state", "an officer took the right to publish back: 'tuf rotate publishing'")
            version = current.bundle_version if current else 0
            if bundle.site != self._site or bundle.bundle_version <= version:
                raise ProblemError(
                    "wrong-state",
                    f"expected a bundle of {self._site!r} above version {version}, got {bundle.bundle_version}",
                )
            data = bundle.padded()
            name = hashlib.sha256(data).hexdigest()
            entry = TargetFile.from_data(BUNDLE_TARGET, data, ["sha256"])
            entry.unrecognized_fields["custom"] = {"bundle_version": bundle.bundle_version, "site": bundle.site}
            naming.targets[BUNDLE_TARGET] = entry
            signers = signers_of(state, self.keys)
            if signers.names is None:
                raise ProblemError("wrong-state", f"no publishing key in {self.keys.folder}: 'tuf rotate publishing'")
            replace_file(self.targets_dir / f"{name}.{BUNDLE_TARGET}", data)
            release(self.files, state, signers, now)
        return name

    def refresh_if_due(self, now: dt.datetime) -> bool:
        """Sign anew, unchanged, what would expire: the timestamp daily, the rest at half its life. Run at any time.

        Returns:
            Whether something was signed; never without a repository.

        Raises:
            ProblemError: ``wrong-state``, when a clock is months ahead, or a key is missing.
        """
        if not self.files.exists or not timestamp_due(self.files.state(), now):
            return False
        with self.files.changing():
            state = self.files.state()
            if not timestamp_due(state, now):  # another worker was faster
                return False
            require_likely(state, now)
            names = names_due(state, now)
            snapshot = names or snapshot_due(state, now)
            release(self.files, state, signers_of(state, self.keys), now, names=names, snapshot=snapshot)
        return True

    def refresh(self, now: dt.datetime) -> None:
        """Sign everything of the leader's part anew, above every version that agents may have seen by now.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository or a key is missing.
        """
        with self.files.changing():
            state = self.files.state()
            release(self.files, state, signers_of(state, self.keys), now)

    def lead_days(self, now: dt.datetime) -> float:
        """How many days the clock is ahead of the last signature, where that is a matter of months; else 0."""
        lead = lead_days(self.files.state(), now)
        return lead if lead > LEAD_DAYS else 0.0

    def current_version(self) -> int:
        """The version of the published bundle; 0 where there is none.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository.
        """
        published = self.current()
        return published.bundle_version if published is not None else 0

    def current(self) -> Published | None:
        """The published bundle, None where there is none.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository.
        """
        return _published(self.files.state())

    def keys_in_force(self) -> Named | None:
        """Whose signatures count; None before there is a repository.

        Raises:
            ProblemError: ``wrong-state``, when the repository does not verify.
        """
        if not self.files.exists:
            return None
        state = self.files.state()
        root = state.root.signed
        publishing = publishing_key(state.targets.signed)
        return Named(
            root_sha256=hashlib.sha256(state.root.to_bytes(SERIALIZER)).digest(),
            online=key_of(root.keys[root.roles[Timestamp.type].keyids[0]]),
            publishing=publishing,
        )

    def standing(self) -> list[Standing]:
        """Every role as it stands, the officers' first.

        Raises:
            ProblemError: ``wrong-state``, when there is no repository.
        """
        state = self.files.state()
        root = state.root.signed
        parts = (state.root, state.targets, state.snapshot, state.timestamp)
        found = [self._stands(part.signed, root.roles[part.signed.type], root.keys) for part in parts]
        if state.publishing is not None and (lending := state.targets.signed.delegations) is not None:
            found.insert(2, self._stands(state.publishing.signed, state.lent, lending.keys))
        return found

    def warnings(self, now: dt.datetime) -> list[str]:
        """What only people can mend, one line each; none without a repository."""
        if not self.files.exists:
            return []
        soon = now + dt.timedelta(days=WARNING_DAYS)
        found = [
            f"{item.role} expires on {item.expires:%Y-%m-%d}: officers sign it anew with 'tuf renew'"
            for item in self.standing()
            if item.role in (Root.type, Targets.type) and item.expires < soon and not item.at_hand
        ]
        return found + [f"no key for {item.role} lies here" for item in self.standing() if _is_missing(item)]

    def _stands(self, signed: Root | Targets | Snapshot | Timestamp, role: Any, keys: dict[str, Any]) -> Standing:
        return Standing(
            getattr(role, "name", signed.type),
            signed.version,
            signed.expires,
            role.threshold,
            tuple(key_of(keys[name]).fingerprint for name in role.keyids),
            self.keys.find(role.keyids) is not None,
        )


def _published(state: State) -> Published | None:
    naming = state.naming_bundle
    entry = naming.targets.get(BUNDLE_TARGET) if naming is not None else None
    if entry is None or not entry.custom:
        return None
    return Published(int(entry.custom["bundle_version"]), bytes.fromhex(entry.hashes["sha256"]))


def _is_missing(item: Standing) -> bool:
    return item.role in (PUBLISHING, Snapshot.type) and not item.at_hand
