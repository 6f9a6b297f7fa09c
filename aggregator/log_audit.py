"""Reading a transparency log as a stranger would: every entry, every signature in it, every tree that it names. No I/O.

The tree that is rebuilt here from the entries is compared with every checkpoint that anybody was shown: the leader's
own, the ones that the helper put into its openings (they stand in the log), and those that an agent or the helper kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import ValidationError

from models.wire.budgets import RAISE, SignedRaise, read_raise
from models.wire.limits import CLOCK_SKEW_SECONDS
from models.wire.log import KeysInForce, read_entry
from models.wire.message import Message
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, OPENING_TYPE, Checkpoint, Opening
from models.wire.states import STATE_TYPE, StateChange
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import CryptoError, VerifyKey, verify_document
from privacy.crypto.merkle import MerkleTree

_Kind = TypeVar("_Kind", bound=Message)
_BUNDLE_BYTES: Final = 40
_SKEW_MS: Final = CLOCK_SKEW_SECONDS * 1_000


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures count in this log."""

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
        signers: whose signatures count.

    Attributes:
        findings: what should not be, in the order of the entries.
        kinds: how many entries of each kind there are.
        tree: rebuilt from the entries.
    """

    def __init__(self, signers: Signers) -> None:
        self.findings: list[Finding] = []
        self.kinds: Counter[str] = Counter()
        self.tree = MerkleTree()
        self._signers = signers
        self._studies: dict[str, str] = {}
        self._approved: set[str] = set()
        self._stopped_at_ms: dict[str, int] = {}
        self._opened: set[tuple[str, int]] = set()
        self._released: set[tuple[str, int]] = set()
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
            return _signed(Opening, jws, OPENING_TYPE, self._signers.helper).checkpoint

    def _study(self, body: bytes) -> None:
        study = Study.model_validate_json(body)
        _require(study.canonical() == body, "the study is not in canonical form")
        self._studies[study.study_hash().hex()] = study.study_id
        keys = (self._signers.leader.raw.hex(), self._signers.helper.raw.hex())
        _require((study.leader_key, study.helper_key) == keys, f"study {study.study_id!r} names other services")

    def _decision(self, body: bytes) -> None:
        decision = _signed(Decision, body.decode("ascii"), APPROVAL_TYPE, *self._signers.officers)
        self._require_study(decision.study_hash, decision.study_id)
        if decision.decision == "approve":
            self._approved.add(decision.study_hash)
        else:
            self._stopped_at_ms.setdefault(decision.study_hash, decision.decided_at_ms)

    def _state(self, body: bytes) -> None:
        step = _signed(StateChange, body.decode("ascii"), STATE_TYPE, self._signers.leader)
        self._require_study(step.study_hash, step.study_id)

    def _opening(self, body: bytes) -> None:
        opening = _signed(Opening, body.decode("ascii"), OPENING_TYPE, self._signers.helper)
        self._require_study(opening.study_hash, opening.study_id)
        name, seen = f"round {opening.round} of {opening.study_id!r}", opening.checkpoint
        self._opened.add((opening.study_hash, opening.round))
        _require(opening.study_hash in self._approved, f"{name} was opened without an approval in the log")
        stopped_at_ms = self._stopped_at_ms.get(opening.study_hash, opening.issued_at_ms)
        _require(opening.issued_at_ms <= stopped_at_ms + _SKEW_MS, f"{name} was opened after the office had said no")
        _require(seen.size <= len(self.tree), f"{name} states a tree of {seen.size} entries, which came later")
        same = self.tree.root(seen.size).hex() == seen.root
        _require(same, f"FORK: the helper was shown another history of {seen.size} entries for {name}")

    def _release(self, body: bytes) -> None:
        document = json.loads(body)
        key = (str(document["study"]), int(document["round"]))
        name = f"round {key[1]} of {self._studies.get(key[0], key[0][:12])!r}"
        _require(key in self._opened, f"{name} was released without an opening in the log")
        _require(key not in self._released, f"{name} was released twice")
        self._released.add(key)

    def _bundle(self, body: bytes) -> None:
        _require(len(body) == _BUNDLE_BYTES, f"expected {_BUNDLE_BYTES} bytes about a bundle, got {len(body)}")
        version = int.from_bytes(body[:8], "big")
        _require(version > self._bundle_version, f"bundle {version} comes after bundle {self._bundle_version}")
        self._bundle_version = version

    def _keys(self, body: bytes) -> None:
        keys, signers = KeysInForce.model_validate_json(body), self._signers
        _require(keys.leader == signers.leader.raw.hex(), "another leader's key came into force")
        _require(keys.helper == signers.helper.raw.hex(), "another helper's key came into force")
        unknown = set(keys.officers) - {key.raw.hex() for key in signers.officers}
        _require(not unknown, f"{len(unknown)} unknown officer key(s) came into force")

    def _raise(self, body: bytes) -> None:
        try:
            read_raise(SignedRaise.model_validate_json(body), self._signers.officers)
        except ProblemError as error:
            raise _Wrong(str(error)) from None

    def _stopped(self, body: bytes) -> None:
        _require(body.hex() in self._studies, "a study was stopped that is not in the log")

    def _require_study(self, study_hash: str, study_id: str) -> None:
        _require(self._studies.get(study_hash) == study_id, f"{study_id!r} is no study of this log")


def _signed(kind: type[_Kind], jws: str, typ: str, *keys: VerifyKey) -> _Kind:
    return kind.model_validate(verify_document(jws, typ, keys))


def _json(body: bytes) -> None:
    json.loads(body)


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - the condition is the argument
    if not holds:
        raise _Wrong(otherwise)
