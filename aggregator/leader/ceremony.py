"""What the officers sign for the bundles' repository: who they are, and which keys the leader may sign bundles with.

The leader drafts a *request*: a root, top-level targets, or both, with the root in force beside them. It goes to each
officer's machine (``officers``), comes back with one more signature, and is installed when there are enough
(``installation``). An officer's key never lies on the leader.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # public names, but re-exported implicitly
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from aggregator.leader.repository import BUNDLE_PATHS, PUBLISHING, State, after, key_of, public_key
from models.wire.message import Message
from models.wire.problems import ProblemError
from privacy.crypto import VerifyKey

ROOT_DAYS: Final = 365
TARGETS_DAYS: Final = 365
_Role = TypeVar("_Role", Root, Targets)


class _Document(Message):
    """A request as it travels."""

    version: Literal[1]
    site: str
    before: dict[str, Any] | None
    root: dict[str, Any] | None
    targets: dict[str, Any] | None


@dataclass(frozen=True)
class Request:
    """What officers are asked to sign, with the signatures so far.

    Attributes:
        site: whose bundles it is about.
        before: the root in force; None before the first.
        root: the next one; None where it stays.
        targets: the next top-level targets; None where they stay.
    """

    site: str
    before: Metadata[Root] | None
    root: Metadata[Root] | None
    targets: Metadata[Targets] | None

    def to_bytes(self) -> bytes:
        """As it travels: JSON, with the metadata as TUF writes it."""
        parts = {name: part.to_dict() if part is not None else None for name, part in self._parts().items()}
        return (json.dumps({"version": 1, "site": self.site, **parts}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Request:
        """Read a request.

        Raises:
            ProblemError: ``malformed``.
        """
        try:
            document = _Document.model_validate_json(data)
            return cls(
                document.site,
                _part(document.before, Root),
                _part(document.root, Root),
                _part(document.targets, Targets),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RepositoryError):
            raise ProblemError("malformed", "expected a request of 'tuf init', 'rotate' or 'revoke'") from None

    def _parts(self) -> dict[str, Metadata[Any] | None]:
        return {"before": self.before, "root": self.root, "targets": self.targets}

    @property
    def root_after(self) -> Metadata[Root]:
        """The root that will be in force."""
        root = self.root or self.before
        if root is None:
            raise ProblemError("malformed", "expected a root in the request")
        return root


def _part(document: dict[str, Any] | None, kind: type[_Role]) -> Metadata[_Role] | None:
    if document is None:
        return None
    metadata: Metadata[_Role] = Metadata.from_dict(document)
    if not isinstance(metadata.signed, kind):
        raise TypeError(kind.type)
    return metadata


@dataclass(frozen=True)
class Change:
    """What is to be different; what is None stays.

    Attributes:
        officers: whose signatures count from now on.
        threshold: how many of them a root needs.
        lending_threshold: how many of them it takes to lend or take back the right to publish.
        online: the key of snapshot and timestamp.
        publishing: the key that publishes.
        revoke: nobody publishes; every agent drops its bundle.
        renew: nothing changes but the dates.
    """

    officers: Sequence[VerifyKey] | None = None
    threshold: int | None = None
    lending_threshold: int | None = None
    online: Key | None = None
    publishing: Key | None = None
    revoke: bool = False
    renew: bool = False

    @property
    def concerns_root(self) -> bool:
        """Whether the root changes."""
        parts = (self.officers, self.threshold, self.lending_threshold, self.online)
        return self.renew or any(part is not None for part in parts)


def draft(site: str, state: State | None, change: Change, now: dt.datetime) -> Request:
    """A request for a change; without a state for the first root. Run at the leader.

    Raises:
        ProblemError: ``malformed``, when the first root misses something, or it asks for more signatures than officers.
    """
    if state is None:
        return _first(site, change, now)
    older = state.is_older_form
    root = _next_root(state, change, now) if change.concerns_root or older else None
    officers_change = change.officers is not None or change.lending_threshold is not None
    changes = older or change.renew or change.revoke or officers_change or change.publishing is not None
    targets = _next_targets(state, change, now) if changes else None
    if root is None and targets is None:
        raise ProblemError("malformed", "expected something to change")
    return Request(site, Metadata(state.root.signed, dict(state.root.signatures)), root, targets)


def _first(site: str, change: Change, now: dt.datetime) -> Request:
    if not change.officers or change.online is None or change.publishing is None:
        raise ProblemError("malformed", "expected officers, an online key and a publishing key for the first root")
    root = Root(expires=after(now, ROOT_DAYS), consistent_snapshot=True)
    _name_officers(root, change.officers, change.threshold or 1, change.lending_threshold or 1)
    _name_online(root, change.online)
    targets = Targets(expires=after(now, TARGETS_DAYS), delegations=_lending(change.publishing))
    return Request(site, None, Metadata(root), Metadata(targets))


def _next_root(state: State, change: Change, now: dt.datetime) -> Metadata[Root]:
    before = state.root.signed
    online = change.online or before.keys[before.roles[Timestamp.type].keyids[0]]
    officers = change.officers or [key_of(before.keys[name]) for name in before.roles[Root.type].keyids]
    threshold = change.threshold or before.roles[Root.type].threshold
    lending = change.lending_threshold or (1 if state.is_older_form else before.roles[Targets.type].threshold)
    root = Root(before.version + 1, expires=after(now, ROOT_DAYS), consistent_snapshot=True)
    _name_officers(root, officers, threshold, lending)
    _name_online(root, online)
    return Metadata(root)


def _next_targets(state: State, change: Change, now: dt.datetime) -> Metadata[Targets]:
    before = state.targets.signed
    lent, delegations = state.lent, None
    if change.publishing is not None:
        delegations = _lending(change.publishing)
    elif lent is not None and not change.revoke and before.delegations is not None:
        delegations = _lending(before.delegations.keys[lent.keyids[0]])
    return Metadata(Targets(before.version + 1, expires=after(now, TARGETS_DAYS), delegations=delegations))


def _name_officers(root: Root, officers: Iterable[VerifyKey], threshold: int, lending: int) -> None:
    for key in dict.fromkeys(officers):
        root.add_key(public_key(key), Root.type)
        root.add_key(public_key(key), Targets.type)
    for role, least in ((Root.type, threshold), (Targets.type, lending)):
        if not 1 <= least <= len(root.roles[role].keyids):
            raise ProblemError("malformed", f"expected 1 to {len(root.roles[role].keyids)} signatures, got {least}")
        root.roles[role].threshold = least


def _name_online(root: Root, key: Key) -> None:
    for role in (Snapshot.type, Timestamp.type):
        root.add_key(key, role)


def _lending(key: Key) -> Delegations:
    role = DelegatedRole(PUBLISHING, [key.keyid], threshold=1, terminating=True, paths=[BUNDLE_PATHS])
    return Delegations({key.keyid: key}, {PUBLISHING: role})
