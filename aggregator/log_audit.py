"""Reading a transparency log as a stranger would: every entry, every signature in it, every tree that it names. No I/O.

Whose signatures count is followed as the log tells it: an entry counts under the keys that are in force where it
stands, so a key that came later validates nothing from before. No key counts that the reader does not trust.

The tree that is rebuilt here from the entries is compared with every checkpoint that anybody was shown: the leader's
own, the ones that the helper put into its openings (they stand in the log), and those that an agent or the helper kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import ValidationError

from aggregator.errors import StepForbidden
from aggregator.studies import (
    DECIDED_BY_OFFICER,
    FINAL_STUDY_STATES,
    MAY_RUN,
    UNDER_WAY,
    StudyEvent,
    StudyState,
    step_study,
)
from models.wire.budgets import RAISE, SignedRaise, read_raise
from models.wire.limits import CLOCK_SKEW_SECONDS
from models.wire.log import KeysInForce, read_entry
from models.wire.message import Message
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, OPENING_TYPE, Checkpoint, Opening
from models.wire.statements import DecisionStatement, RoundStatement
from models.wire.states import STATE_TYPE, StateChange
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import CryptoError, VerifyKey, verify_document
from privacy.crypto.merkle import MerkleTree

_Kind = TypeVar("_Kind", bound=Message)
_BUNDLE_BYTES: Final = 40
_SKEW_MS: Final = CLOCK_SKEW_SECONDS * 1_000
HEARD_MS: Final = 3_600_000
"""So soon at the latest a leader that is up has heard of a decision, and logged it."""
_EVENTS: Final = {"approve": StudyEvent.APPROVE, "refuse": StudyEvent.REFUSE, "stop": StudyEvent.STOP}


@dataclass(frozen=True, slots=True)
class Signers:
    """The keys that the services present now."""

    leader: VerifyKey
    helper: VerifyKey
    officers: tuple[VerifyKey, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be.

    Attributes:
        place: the entry's number, or whose checkpoint it is.
        text: what was expected and what was got.
    """

    place: str
    text: str


class _Wrong(Exception):
    """What a check found."""


class LogAudit:
    """One reading of one log, entry by entry.

    Args:
        signers: the keys that the services present.
        trusted: fingerprints of every key that may ever have been in force; those of ``signers`` unless given.

    Attributes:
        findings: what should not be, in the order of the entries.
        kinds: how many entries of each kind there are.
        tree: rebuilt from the entries.
        unreleased: rounds that the helper answered and nobody released, as far as the log tells.
    """

    def __init__(self, signers: Signers, trusted: Collection[str] = ()) -> None:
        presented = {key.fingerprint for key in (signers.leader, signers.helper, *signers.officers)}
        self.unreleased: list[str] = []
        self._trusted = frozenset(trusted or presented)
        self._told = False
        """Whether the log has said which keys are in force; until then those count that are presented."""
        self._helper, self._officers = signers.helper, signers.officers
        self._helpers = [signers.helper]
        self._states: dict[str, StudyState] = {}
        self._texts: set[str] = set()
        self.findings: list[Finding] = []
        self.kinds: Counter[str] = Counter()
        self.tree = MerkleTree()
        self._signers = signers
        self._studies: dict[str, str] = {}
        self._approved: set[str] = set()
        self._stopped_at_ms: dict[str, int] = {}
        self._opened: set[tuple[str, int]] = set()
        self._released: dict[tuple[str, int], str] = {}
        self._bundle_version = 0
        self._checks: dict[str, Callable[[bytes], None]] = {
            "study": self._study,
            "decision": self._decision,
            "state": self._state,
            "opening": self._opening,
            "release": self._release,
            "bundle": self._bundle,
            "keys": self._keys,
            RAISE: self._raise,
            "stopped": self._stopped,
        }

    def read(self, entry: bytes) -> None:
        """Take in the next entry."""
        place = str(len(self.tree))
        try:
            kind, body = read_entry(entry)
            self.kinds[kind.name] += 1
            self._checks.get(kind.name, _json)(body)
        except (_Wrong, CryptoError) as error:
            self.findings.append(Finding(place, str(error)))
        except ValidationError as error:
            self.findings.append(Finding(place, f"expected the fields of {error.title}"))
        except (ValueError, KeyError, TypeError) as error:
            self.findings.append(Finding(place, f"cannot be read: {type(error).__name__}"))
        self.tree.append(entry)

    def size_of(self, jws: str) -> int:
        """Number of entries that the leader's checkpoint states.

        Raises:
            CryptoError: the leader did not sign it.
        """
        return _signed(Checkpoint, jws, CHECKPOINT_TYPE, self._signers.leader).size

    def compare(self, whose: str, jws: str) -> Checkpoint | None:
        """Compare a checkpoint, or the one in an opening, with the tree; returns it where it is one of this log."""
        try:
            stated = self._stated(jws)
        except (CryptoError, ValidationError):
            self.findings.append(Finding(whose, "is signed neither by the leader nor by the helper"))
            return None
        if stated.size > len(self.tree):
            text = f"expected these {len(self.tree)} entries to be all, got a checkpoint of {stated.size}"
        elif self.tree.root(stated.size).hex() != stated.root:
            text = f"FORK: signed another history of {stated.size} entries than this one"
        else:
            return stated
        self.findings.append(Finding(whose, text))
        return None

    def _stated(self, jws: str) -> Checkpoint:
        try:
            return _signed(Checkpoint, jws, CHECKPOINT_TYPE, self._signers.leader)
        except CryptoError:
            return _signed(Opening, jws, OPENING_TYPE, *self._helpers).checkpoint

    def _study(self, body: bytes) -> None:
        study = Study.model_validate_json(body)
        _require(study.canonical() == body, "the study is not in canonical form")
        name = study.study_hash().hex()
        _require(name not in self._studies, f"{study.study_id!r} was proposed twice")
        self._studies[name] = study.study_id
        self._states[name] = StudyState.PROPOSED
        keys = (self._signers.leader.raw.hex(), self._helper.raw.hex())
        _require((study.leader_key, study.helper_key) == keys, f"study {study.study_id!r} names other services")

    def _decision(self, body: bytes) -> None:
        self._require_keys()
        decision = _signed(Decision, body.decode("ascii"), APPROVAL_TYPE, *self._officers)
        self._require_study(decision.study_hash, decision.study_id)
        self._texts.add(body.decode("ascii"))
        name, state, event = decision.study_hash, self._states[decision.study_hash], _EVENTS[decision.decision]
        if event is StudyEvent.APPROVE:
            self._approved.add(name)
        else:
            self._stopped_at_ms.setdefault(name, decision.decided_at_ms)
        again = event is StudyEvent.APPROVE and (state is StudyState.APPROVED or state in UNDER_WAY)
        late = event is StudyEvent.STOP and state in FINAL_STUDY_STATES
        if not again and not late:
            self._states[name] = _step(decision.study_id, state, event)

    def _state(self, body: bytes) -> None:
        step = _signed(StateChange, body.decode("ascii"), STATE_TYPE, self._signers.leader)
        self._require_study(step.study_hash, step.study_id)
        state, event = self._states[step.study_hash], StudyEvent(step.event)
        if event is StudyEvent.STOP and state is StudyState.STOPPED:
            return  # in older logs the leader signed a step of its own after the officer's
        _require(event not in DECIDED_BY_OFFICER, f"the leader signed {event.value!r}, which an officer has to")
        after = _step(step.study_id, state, event)
        stated = f"{step.before} to {step.after}"
        _require((step.before, step.after) == (state, after), f"{step.study_id!r} is {state.value}, not {stated}")
        self._states[step.study_hash] = after

    def _opening(self, body: bytes) -> None:
        self._require_keys()
        opening = _signed(Opening, body.decode("ascii"), OPENING_TYPE, self._helper)
        self._require_study(opening.study_hash, opening.study_id)
        name, seen = f"round {opening.round} of {opening.study_id!r}", opening.checkpoint
        self._opened.add((opening.study_hash, opening.round))
        self._texts.add(body.decode("ascii"))
        state = self._states[opening.study_hash]
        _require(opening.study_hash in self._approved, f"{name} was opened without an approval in the log")
        stopped_at_ms = self._stopped_at_ms.get(opening.study_hash, opening.issued_at_ms)
        _require(opening.issued_at_ms <= stopped_at_ms + _SKEW_MS, f"{name} was opened after the office had said no")
        _require(state in (*MAY_RUN, StudyState.STOPPED), f"{name} was opened while the study was {state.value}")
        _require(seen.size <= len(self.tree), f"{name} states a tree of {seen.size} entries, which came later")
        same = self.tree.root(seen.size).hex() == seen.root
        _require(same, f"FORK: the helper was shown another history of {seen.size} entries for {name}")

    def _release(self, body: bytes) -> None:
        document = json.loads(body)
        key = (str(document["study"]), int(document["round"]))
        name = self._name(*key)
        _require(key in self._opened, f"{name} was released without an opening in the log")
        _require(key not in self._released, f"{name} was released twice")
        self._released[key] = str(document["batch"])

    def _bundle(self, body: bytes) -> None:
        _require(len(body) == _BUNDLE_BYTES, f"expected {_BUNDLE_BYTES} bytes about a bundle, got {len(body)}")
        version = int.from_bytes(body[:8], "big")
        _require(version > self._bundle_version, f"bundle {version} comes after bundle {self._bundle_version}")
        self._bundle_version = version

    def _keys(self, body: bytes) -> None:
        keys = KeysInForce.model_validate_json(body)
        helper = VerifyKey(bytes.fromhex(keys.helper))
        officers = tuple(VerifyKey(bytes.fromhex(text)) for text in keys.officers)
        known = [key for key in (helper, *officers) if key.fingerprint in self._trusted]
        self._told = True
        self._officers = tuple(key for key in officers if key in known)
        if helper in known:
            self._helper = helper
            self._helpers.append(helper)
        _require(keys.leader == self._signers.leader.raw.hex(), "another leader's key came into force")
        strange = [key.fingerprint for key in (helper, *officers) if key not in known]
        _require(not strange, f"keys came into force that are none of --trust: {', '.join(strange)}")

    def _raise(self, body: bytes) -> None:
        self._require_keys()
        try:
            read_raise(SignedRaise.model_validate_json(body), self._officers)
        except ProblemError as error:
            raise _Wrong(str(error)) from None

    def _stopped(self, body: bytes) -> None:
        _require(body.hex() in self._studies, "a study was stopped that is not in the log")
        self._states[body.hex()] = StudyState.STOPPED

    def hold_against(
        self, whose: str, decisions: Iterable[DecisionStatement], rounds: Iterable[RoundStatement], now_ms: int
    ) -> None:
        """Whether the log tells of what the helper says that it took in, opened and answered. Run after the last entry.

        A round that was opened and never answered may be missing: the leader may not have got the opening.

        Args:
            whose: the helper's address.
            decisions: those that it took in, oldest first; the newest on each study counts.
            rounds: those that it opened.
            now_ms: when they were asked for, Unix milliseconds.
        """
        for decision in {item.study_hash: item for item in decisions}.values():
            over = self._states.get(decision.study_hash) in FINAL_STUDY_STATES
            if decision.jws in self._texts or over or now_ms - decision.recorded_at_ms < HEARD_MS:
                continue
            name = self._studies.get(decision.study_hash, decision.study_hash[:12])
            self.findings.append(Finding(whose, f"the office's decision on {name!r} is not in the log"))
        for item in rounds:
            name, batch = self._name(item.study_hash, item.round), self._released.get((item.study_hash, item.round))
            if item.batch is not None and item.opening not in self._texts:
                self.findings.append(Finding(whose, f"{name} was answered, and its opening is not in the log"))
            elif batch != item.batch and batch is not None:
                self.findings.append(Finding(whose, f"{name} was released with another batch than the helper answered"))
            elif batch != item.batch:
                self.unreleased.append(name)

    def hold_account(self, study_hash: str, state: str, released: Iterable[int]) -> None:
        """Whether the log tells of what the leader itself says of a study. Run after the last entry."""
        name, known = self._studies.get(study_hash, study_hash[:12]), self._states.get(study_hash)
        if state in FINAL_STUDY_STATES and state != known:
            text = f"{name!r} is {state}, and in the log {known.value if known else 'unknown'}"
            self.findings.append(Finding("the leader", text))
        for number in released:
            if (study_hash, number) not in self._released:
                self.findings.append(
                    Finding("the leader", f"{self._name(study_hash, number)} is released, not in the log")
                )

    def _name(self, study_hash: str, number: int) -> str:
        return f"round {number} of {self._studies.get(study_hash, study_hash[:12])!r}"

    def _require_keys(self) -> None:
        _require(self._told, "is signed before the log says whose signatures count")

    def _require_study(self, study_hash: str, study_id: str) -> None:
        _require(self._studies.get(study_hash) == study_id, f"{study_id!r} is no study of this log")


def _signed(kind: type[_Kind], jws: str, typ: str, *keys: VerifyKey) -> _Kind:
    return kind.model_validate(verify_document(jws, typ, keys))


def _step(study_id: str, state: StudyState, event: StudyEvent) -> StudyState:
    try:
        return step_study(state, event)
    except StepForbidden:
        raise _Wrong(f"{study_id!r} cannot {event.value} while it is {state.value}") from None


def _json(body: bytes) -> None:
    json.loads(body)


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - the condition is the argument
    if not holds:
        raise _Wrong(otherwise)
