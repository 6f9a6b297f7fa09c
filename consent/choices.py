"""From what a person pressed to the receipt that says so. Run by the device.

Granting and declining are one call each: taking consent back is as easy as giving it.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from consent.errors import ChoiceInvalid
from consent.notices import Notice, notice
from consent.purposes import PURPOSES
from consent.receipts import DEFAULT_VALID_DAYS, Kind, Receipt
from consent.registry import Language, Registry
from consent.signals.facts import NO_SIGNALS, Signals
from consent.state import ConsentState
from consent.wording import Mode

EPOCHS_AHEAD: Final = 2**20
"""How far beyond its own epoch a device follows a leader. It is far more than the choices of a lifetime, which is what
a restored device can have lost, and so little that no lie uses the numbers of epochs up (there are 2^53)."""


def notice_for(
    state: ConsentState,
    signals: Signals = NO_SIGNALS,
    *,
    language: Language = "en",
    mode: Mode = "device",
    registry: Registry = PURPOSES,
) -> Notice:
    """The notice that this person is to be shown now. Everybody who asks for a choice asks with this one.

    It tells of Global Privacy Control when the browser sends it, and also when it was ever seen on this site: only a
    yes that was given knowing of the signal overrides it.

    Args:
        state: what stands; its parties say for which site.
        signals: what accompanies this moment.
        language: of all texts.
        mode: where the agent runs.
        registry: the purposes as installed.
    """
    return notice(state.parties.site, language, registry, mode=mode, gpc=signals.gpc or state.gpc_seen)


def grant(
    state: ConsentState,
    purposes: Iterable[str],
    *,
    notice: Notice,
    issued_at: int,
    registry: Registry = PURPOSES,
    epoch_after: int = 0,
    valid_days: int = DEFAULT_VALID_DAYS,
) -> Receipt:
    """The receipt of granting purposes; what stood before goes on standing.

    Args:
        state: what stands.
        purposes: ids that the person switched on in this act.
        notice: what the person saw; with ``gpc`` it told them that the signal is on and that yes overrides it.
        issued_at: Unix seconds.
        registry: the purposes as installed.
        epoch_after: the leader's last epoch, where a restored device has fallen behind it.
        valid_days: how long the grant holds.

    Raises:
        ChoiceInvalid: nothing chosen, a purpose that is not declared or was not in the notice, or a notice that does
            not tell of a signal that is known: such a yes would look like one and open nothing. See ``notice_for``.
    """
    chosen = _chosen(purposes, registry)
    if not chosen <= {shown.id for shown in notice.purposes}:
        raise ChoiceInvalid("expected purposes that the notice showed, got another")
    if state.gpc_seen and not notice.gpc:
        raise ChoiceInvalid("expected a notice that tells of Global Privacy Control, which is on for this site")
    standing = chosen | _standing(state, issued_at, registry)
    return _receipt(state, "grant", chosen, standing, notice, issued_at, registry, epoch_after, valid_days)


def decline(
    state: ConsentState,
    purposes: Iterable[str],
    *,
    notice: Notice,
    issued_at: int,
    registry: Registry = PURPOSES,
    epoch_after: int = 0,
) -> Receipt:
    """The receipt of saying no: a withdrawal if any of it was granted (the leader must hear), else a refusal.

    A device that has lost choices, or knows to be behind the leader's epoch, cannot know what the leader holds, and
    always withdraws.

    Raises:
        ChoiceInvalid: nothing chosen, or a purpose that was neither declared nor granted.
    """
    granted = {held.purpose for held in state.granted}
    chosen = _chosen(purposes, registry, also=granted)
    behind = state.behind or epoch_after > state.epoch
    kind: Kind = "withdrawal" if chosen & granted or behind else "refusal"
    standing = _standing(state, issued_at, registry) - chosen
    return _receipt(state, kind, chosen, standing, notice, issued_at, registry, epoch_after, DEFAULT_VALID_DAYS)


def withdraw_all(state: ConsentState, *, notice: Notice, issued_at: int, registry: Registry = PURPOSES) -> Receipt:
    """The receipt of taking everything back in one act; refuses every other purpose as well."""
    return decline(state, everything(state, registry), notice=notice, issued_at=issued_at, registry=registry)


def everything(state: ConsentState, registry: Registry = PURPOSES) -> set[str]:
    """All that can be declined: every declared purpose, and what stands granted though nobody declares it any more."""
    return {purpose.id for purpose in registry} | {held.purpose for held in state.granted}


def beyond(receipt: Receipt, last_epoch: int) -> Receipt | None:
    """The same choice, signed again beyond the epoch that a leader names; None if that is no credible epoch.

    A device that finds itself behind has lost choices, so nothing but this very choice goes on standing: what an
    older copy of the ledger says was granted may have been taken back since. Age, notice and purposes stay.

    Args:
        receipt: the choice, which the leader refused.
        last_epoch: the epoch that stands at the leader.
    """
    if not receipt.epoch <= last_epoch <= receipt.epoch + EPOCHS_AHEAD:
        return None
    granted = receipt.chosen if receipt.kind == "grant" else ()
    versions = tuple(item for item in receipt.purpose_versions if item[0] in receipt.chosen)
    return replace(receipt, granted=granted, purpose_versions=versions, epoch=last_epoch + 1)


def _receipt(
    state: ConsentState,
    kind: Kind,
    chosen: set[str],
    standing: set[str],
    notice: Notice,
    issued_at: int,
    registry: Registry,
    epoch_after: int,
    valid_days: int,
) -> Receipt:
    held = state.granted_versions
    versions = {p: found.version if (found := registry.find(p)) else held[p] for p in chosen | standing}
    return Receipt(
        device_key=state.parties.device_key,
        leader=state.parties.leader_key.fingerprint,
        site=state.parties.site,
        person=state.parties.person,
        kind=kind,
        chosen=tuple(sorted(chosen)),
        granted=tuple(sorted(standing)),
        purpose_versions=tuple(sorted(versions.items())),
        notice_hash=notice.hash,
        language=notice.language,
        epoch=state.epoch if kind == "refusal" else max(state.epoch, epoch_after) + 1,
        issued_at=issued_at,
        gpc=notice.gpc,
        valid_days=valid_days,
    )


def _chosen(purposes: Iterable[str], registry: Registry, also: AbstractSet[str] = frozenset()) -> set[str]:
    chosen = set(purposes)
    if not chosen:
        raise ChoiceInvalid("expected at least one purpose")
    unknown = sorted(name for name in chosen - also if registry.find(name) is None)
    if unknown:
        raise ChoiceInvalid(f"expected declared purposes, got {unknown}")
    return chosen


def _standing(state: ConsentState, now: int, registry: Registry) -> set[str]:
    """What goes on standing: granted in its present version and not expired, by the latest time that is known."""
    now = max(now, state.seen_at)
    return {
        held.purpose
        for held in state.granted
        if (found := registry.find(held.purpose)) and held.answers(found.version, now)
    }
