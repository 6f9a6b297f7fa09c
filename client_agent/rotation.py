"""Another key for a device: made, told, taken over; a crash anywhere in between loses neither key.

::

    begin   the new key and what both keys signed are on the disk    before anybody hears of them
    tell    the leader is told, the old key signs the request        the same again is answered again
    adopt   one transaction: a row in the consent ledger, the new key in the old one's place, which is overwritten

After ``begin`` a crash leaves a change that ``go_on`` takes up, at the next poll or delivery. Between the leader's yes
and ``adopt`` the leader refuses what the old key signs, but for a withdrawal: reports wait, and are sent under the new
key, the same reports.

Once the leader may have heard of a key, no refusal makes this device forget it: what the leader says of the old key may
be about a clock that is wrong, about an answer that was lost, or about another process of this device that was faster.
After a refusal the *new* key asks what the leader holds: where it is the device's key there, it is taken over. Else the
change waits with both keys, and the old one goes on; only a device that was revoked under its old key drops the change.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from client_agent.clocks import Clock
from client_agent.connection import LeaderConnection, Signer
from client_agent.enrolment import Pins
from client_agent.errors import NotEnrolled
from client_agent.standing import consent_of
from client_agent.store import AgentStore, ParticipantRecord
from client_agent.store.consents import ConsentRow
from consent import make_rotation, restart, rotate
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey

if TYPE_CHECKING:
    from client_agent.consenting import ConsentKeeper

_log = logging.getLogger(__name__)
_SEED_BYTES: Final = 32
_NONCE_BYTES: Final = 16
_NEVER_HEARD: Final = "bad-signature"
"""What a leader says to a request that is signed by a key which the device has not and never had."""
Entropy = Callable[[int], bytes]


def begin(store: AgentStore, pins: Pins, clock: Clock, entropy: Entropy, people: Sequence[str] | None = None) -> int:
    """Make new keys for people, durably; who has a change under way keeps that one. Returns how many changes wait.

    Args:
        store: the agent's store.
        pins: which leader: keys are per leader.
        clock: for the time in what is signed.
        entropy: for the keys.
        people: local names; everybody unless given.
    """
    with store.transaction():
        for record in store.participants.all(pins.leader_key.raw):
            chosen = people is None or record.person in people
            if not chosen or record.device_id is None or record.next_seed is not None:
                continue
            seed = entropy(_SEED_BYTES)
            at = clock.now_ms() // 1_000
            signed = make_rotation(SigningKey(record.seed), SigningKey(seed), pins.leader_key, at)
            store.participants.begin_rotation(record.participant_id, seed, signed)
    return len(store.participants.rotating(pins.leader_key.raw))


def finish(store: AgentStore, leader: LeaderConnection, pins: Pins, clock: Clock, entropy: Entropy = os.urandom) -> int:
    """Tell the leader of every change that waits, and take the new keys over. Returns how many were.

    Raises:
        ProblemError: the leader cannot be reached, or has refused a change, which waits; the others go on.
    """
    done, problem = 0, None
    for record in store.participants.rotating(pins.leader_key.raw):
        try:
            leader.change_key(signer_of(record, pins, clock, entropy), record.rotation or "")
        except ProblemError as error:
            if error.problem_type.retry:
                problem = error
                break
            if not _is_done(store, leader, record, pins, clock, entropy, error):
                problem = error
                continue
        adopt(store, pins, clock, record)
        done += 1
    if problem is not None:
        raise problem
    return done


def _is_done(
    store: AgentStore,
    leader: LeaderConnection,
    record: ParticipantRecord,
    pins: Pins,
    clock: Clock,
    entropy: Entropy,
    refusal: ProblemError,
) -> bool:
    """Whether a change that was refused was made all the same: the new key asks.

    Raises:
        ProblemError: the leader cannot be reached.
    """
    assert record.next_seed is not None, "only changes that wait are told"
    key = SigningKey(record.next_seed)
    try:
        held = leader.standing(replace(signer_of(record, pins, clock, entropy), key=key))
    except ProblemError as error:
        if error.problem_type.retry:
            raise
        if refusal.code == "device-revoked" and error.code == _NEVER_HEARD:
            with store.transaction():
                store.participants.drop_rotation(record.participant_id, record.rotation or "")
            return False
        return not _waits(store, record)
    return held.device_key == key.verify_key.raw.hex()


def _waits(store: AgentStore, record: ParticipantRecord) -> bool:
    """Whether this very change still waits; another process may have made it, or the person may be gone."""
    found = [item for item in store.participants.rotating(record.leader) if item.rotation == record.rotation]
    return bool(found)


def go_on(store: AgentStore, leader: LeaderConnection, pins: Pins, clock: Clock) -> None:
    """Take up what a crash left; what cannot be done now waits, and keeps nothing else waiting."""
    if not store.participants.rotating(pins.leader_key.raw):
        return
    try:
        finish(store, leader, pins, clock)
    except ProblemError as problem:
        _log.warning("a change of key waits or was refused: %s", problem)


def adopt(store: AgentStore, pins: Pins, clock: Clock, told: ParticipantRecord) -> None:
    """Go on under the key that the leader has confirmed; in one transaction. Done before, it does nothing.

    Args:
        store: the agent's store.
        pins: which leader.
        clock: for the rows' times.
        told: the participant as the leader was told of it; another process may have gone on since.
    """
    participant_id = told.participant_id
    keeper, at = _keeper(store, pins, clock), clock.now_ms() // 1_000
    with store.transaction():
        try:
            record = store.participants.get(participant_id)
        except NotEnrolled:  # erased meanwhile
            return
        if record.rotation is None or record.rotation != told.rotation:
            return
        store.consents.guard()
        state = consent_of(store, pins.leader_key, record, SigningKey(record.seed))
        if state.fault is not None:
            state, row = restart(state, at)
            store.consents.append([ConsentRow(participant_id, row, state.epoch)])
        state, row = rotate(state, record.rotation, at)
        store.consents.append([ConsentRow(participant_id, row, state.epoch)])
        store.participants.adopt_key(participant_id)
        keeper.sign_anew(participant_id)


def signer_of(record: ParticipantRecord, pins: Pins, clock: Clock, entropy: Entropy = os.urandom) -> Signer:
    """Who signs a request in a participant's name, now.

    Raises:
        NotEnrolled: the leader does not know them yet.
    """
    if record.device_id is None:
        raise NotEnrolled("expected an enrolled participant; enrol first")
    at = clock.now_ms() // 1_000
    return Signer(SigningKey(record.seed), record.device_id, pins.leader_key, at, entropy(_NONCE_BYTES))


def _keeper(store: AgentStore, pins: Pins, clock: Clock) -> ConsentKeeper:
    from client_agent.consenting import ConsentKeeper

    return ConsentKeeper(store, pins, clock)
