"""A bundle repository as officers and a leader make it, for tests that need one."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from tuf.api.metadata import DelegatedRole, Key, Metadata, Root, Snapshot, Targets, Timestamp

from aggregator.leader.ceremony import Change, Request
from aggregator.leader.distribution import Distribution
from aggregator.leader.officers import sign
from aggregator.leader.repository import RoleKeys, State, after, lent_by, public_key, signer
from aggregator.leader.signing import Signers, release, signers_of
from models.wire.bundle import Bundle
from privacy.crypto import SigningKey

__all__ = ["Signers", "bundle", "change", "establish", "older_form", "release", "repository", "signed"]


def bundle(version: int = 1, site: str = "shop.example") -> Bundle:
    """A bundle with nothing in it."""
    return Bundle(
        site=site,
        bundle_version=version,
        published_at_ms=1_000 + version,
        personas=None,
        intent=None,
        transitions=None,
        segments=(),
        modules=(),
        rules=(),
        provenance=(),
    )


def signed(request: Request, officers: Sequence[SigningKey], now: dt.datetime) -> list[Request]:
    """The request as it comes back from each officer, by way of bytes."""
    return [Request.parse(sign(Request.parse(request.to_bytes()), key, now).to_bytes()) for key in officers]


def establish(
    distribution: Distribution, officers: Sequence[SigningKey], now: dt.datetime, threshold: int = 1
) -> Distribution:
    """Make keys, have the first root signed, install it."""
    keys = distribution.keys
    change = Change([key.verify_key for key in officers], threshold, 1, keys.create(), keys.create())
    distribution.install(signed(distribution.request(change, now), officers, now), now)
    return distribution


def change(
    distribution: Distribution, signing: Sequence[SigningKey], now: dt.datetime, **wanted: object
) -> Distribution:
    """Draft, sign and install a change."""
    distribution.install(signed(distribution.request(Change(**wanted), now), signing, now), now)
    return distribution


def repository(folder: Path, officers: Sequence[SigningKey], now: dt.datetime, **options: object) -> Distribution:
    """A new repository in a folder, with the leader's part of the keys beside it."""
    site = str(options.pop("site", "shop.example"))
    return establish(
        Distribution(folder, site, RoleKeys(folder.parent / f"{folder.name}-keys")), officers, now, **options
    )


def older_form(folder: Path, officer: SigningKey, leader: SigningKey, now: dt.datetime) -> Distribution:
    """A repository as the leader made it before there was a publishing key: it signs everything but the root."""
    distribution = Distribution(folder, "shop.example", RoleKeys(folder.parent / f"{folder.name}-keys", (leader,)))
    root = Root(expires=after(now, 365), consistent_snapshot=True)
    root.add_key(public_key(officer.verify_key), Root.type)
    for role in (Targets.type, Snapshot.type, Timestamp.type):
        root.add_key(public_key(leader.verify_key), role)
    state = State(Metadata(root), Metadata(Targets()), None, Metadata(Snapshot()), Metadata(Timestamp()))
    state.root.sign(signer(officer))
    with distribution.files.changing():
        distribution.files.write("1.root.json", state.root)
        release(distribution.files, state, signers_of(state, distribution.keys), now)
    return distribution


def lent(request: Request) -> DelegatedRole:
    """To whom a request lends the right to publish."""
    role = lent_by(request.targets.signed)
    assert role is not None
    return role


def lent_key(request: Request) -> Key:
    """The key that a request lends it to."""
    return request.targets.signed.delegations.keys[lent(request).keyids[0]]


def hand_targets_over(root: Root) -> None:
    """Let the leader's own key sign who may publish."""
    root.roles[Targets.type].keyids = list(root.roles[Timestamp.type].keyids)


def take_online(root: Root, key: Key) -> None:
    """Let another key sign daily."""
    root.keys[key.keyid] = key
    for name in (Snapshot.type, Timestamp.type):
        root.roles[name].keyids = [key.keyid]
