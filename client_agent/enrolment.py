"""Becoming known to a leader: pins first, then keys, then the leader's word.

Pins are given out of band (a fingerprint read from paper or a page of the privacy office). A key that reaches a device
only through the leader is the leader's key, and would let it open every seal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from client_agent.clocks import Clock
from client_agent.connection import LeaderConnection
from client_agent.errors import PersonRefused, PinMismatch
from client_agent.store import AgentStore, ParticipantRecord
from models.wire.enrolment import BATCH_MAXIMUM, EnrolmentResult, ServiceIdentity, device_id, make_enrolment
from models.wire.problems import ProblemError, problem_code
from privacy.crypto import SigningKey, VerifyKey, canonical_json, parse_canonical

PINS = "pins"
Entropy = Callable[[int], bytes]
"""Returns that many bytes from a CSPRNG, such as ``os.urandom``."""


class _Identified(Protocol):
    def identity(self) -> ServiceIdentity: ...


@dataclass(frozen=True, slots=True)
class Pins:
    """The keys that this device accepts, and nothing else.

    Attributes:
        leader_key: the leader's.
        helper_key: the helper's, run by the privacy office.
        officers: keys that may approve studies.
        site: the leader's site.
    """

    leader_key: VerifyKey
    helper_key: VerifyKey
    officers: tuple[VerifyKey, ...]
    site: str = ""

    def to_bytes(self) -> bytes:
        """For the store."""
        return canonical_json(
            {
                "leader": self.leader_key.raw.hex(),
                "helper": self.helper_key.raw.hex(),
                "officers": [key.raw.hex() for key in self.officers],
                "site": self.site,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Pins:
        """Undo ``to_bytes``."""
        fields = parse_canonical(data)
        return cls(
            _key(fields["leader"]), _key(fields["helper"]), tuple(_key(k) for k in fields["officers"]), fields["site"]
        )


def pin(
    leader: _Identified, helper: _Identified, leader_fingerprint: str, helper_fingerprint: str, officers: Iterable[str]
) -> Pins:
    """Ask both services who they are and keep their keys if the fingerprints are the expected ones.

    Args:
        leader: connection to the leader.
        helper: connection to the helper.
        leader_fingerprint: given out of band.
        helper_fingerprint: given out of band.
        officers: fingerprints of the officers, given out of band; the helper supplies the keys.

    Raises:
        PinMismatch: a service is another one, or does not know an officer.
    """
    leading, helping = leader.identity(), helper.identity()
    leader_key = _expect(leading, "leader", leader_fingerprint)
    helper_key = _expect(helping, "helper", helper_fingerprint)
    offered = {key.fingerprint: key for key in map(_key, helping.officers)}
    missing = sorted(set(officers) - set(offered))
    if missing:
        raise PinMismatch(f"expected the helper to name officer {missing[0]}, it names {sorted(offered)}")
    return Pins(leader_key, helper_key, tuple(offered[name] for name in sorted(set(officers))), leading.site)


def check_pins(pins: Pins, leader: _Identified, helper: _Identified | None = None) -> None:
    """Return if the services present the pinned keys.

    Raises:
        PinMismatch: one of them does not.
    """
    _expect(leader.identity(), "leader", pins.leader_key.fingerprint)
    if helper is not None:
        _expect(helper.identity(), "helper", pins.helper_key.fingerprint)


def enrol(
    store: AgentStore,
    leader: LeaderConnection,
    pins: Pins,
    people: Sequence[str],
    *,
    token: str,
    clock: Clock,
    entropy: Entropy,
) -> list[ParticipantRecord]:
    """Enrol people on the leader's site, 256 a request; a retry keeps the keys.

    Who is enrolled is named again: a leader that knows the key says so and spends no use of the token, and one that has
    forgotten it, years after the last yes ended, takes it in anew.

    Args:
        store: the agent's store.
        leader: connection to the leader.
        pins: what the leader must be.
        people: local names; they stay here.
        token: the operator's enrolment token.
        clock: for the request's time.
        entropy: for keys, ids and nonces.

    Returns:
        The people's participants, in the order given.

    Raises:
        PersonRefused: one of them is a child; nobody is enrolled then.
        PinMismatch: another leader answers.
        ProblemError: the leader refused somebody; the others are kept.
    """
    _refuse_children(store, people)
    check_pins(pins, leader)
    records = _records(store, pins, people, entropy)
    named = list(records.values())
    for start in range(0, len(named), BATCH_MAXIMUM):
        batch = named[start : start + BATCH_MAXIMUM]
        enrolments = [
            make_enrolment(SigningKey(record.seed), pins.leader_key, token, entropy(16), clock.now_ms())
            for record in batch
        ]
        _keep(store, pins, batch, leader.enrol(enrolments), clock.now_ms())
    return list(_records(store, pins, people, entropy).values())


def _records(store: AgentStore, pins: Pins, people: Sequence[str], entropy: Entropy) -> dict[str, ParticipantRecord]:
    """One record a person, in the order given; new ones get keys, stored before anybody hears of them."""
    known = {r.person: r for r in store.participants.all(pins.leader_key.raw) if r.site == pins.site}
    new = [
        ParticipantRecord(entropy(8).hex(), person, pins.site, pins.leader_key.raw, entropy(32), None)
        for person in dict.fromkeys(people)
        if person not in known
    ]
    if new:
        with store.transaction():
            _refuse_children(store, people)  # as this very transaction reads it
            store.participants.add(new)
            store.facts.put(PINS, pins.to_bytes())
    known |= {record.person: record for record in new}
    return {person: known[person] for person in people}


def _refuse_children(store: AgentStore, people: Sequence[str]) -> None:
    if store.people.children().intersection(people):
        raise PersonRefused("expected adults, got a child: a child is never enrolled; see person set --adult")


def _keep(
    store: AgentStore,
    pins: Pins,
    batch: Sequence[ParticipantRecord],
    results: Sequence[EnrolmentResult],
    at_ms: int,
) -> None:
    if len(results) != len(batch):
        raise ProblemError("malformed", f"expected {len(batch)} results, got {len(results)}")
    enrolled, refused = [], None
    for record, result in zip(batch, results, strict=True):
        expected = device_id(pins.leader_key, SigningKey(record.seed).verify_key)
        known = record.device_id or expected  # an id outlives the key that it follows from
        if result.device_id in {expected.hex(), known.hex()}:
            enrolled.append((record.participant_id, bytes.fromhex(result.device_id)))
        else:
            refused = result.problem or refused
    with store.transaction():
        store.participants.enrolled(enrolled, at_ms)
    if refused is not None:
        raise ProblemError(problem_code(refused), refused.detail)
    if len(enrolled) != len(batch):
        raise ProblemError("malformed", "expected the device id that follows from the keys, got another")


def _expect(identity: ServiceIdentity, role: str, fingerprint: str) -> VerifyKey:
    key = _key(identity.key)
    if identity.role != role or key.fingerprint != fingerprint:
        raise PinMismatch(f"expected the {role} with fingerprint {fingerprint}, got {identity.role} {key.fingerprint}")
    return key


def _key(raw_hex: str) -> VerifyKey:
    return VerifyKey(bytes.fromhex(raw_hex))
