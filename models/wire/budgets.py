"""A service's budget as two officers sign it: what it may allow at most, and each raise of it.

A *raise* is one document, signed by two different officers, and an entry of the leader's log. A service compares its
settings with the last raise that it has seen (or its first contract) whenever it starts, and does not start above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from models.wire.log import log_entry
from models.wire.message import CompactJws, Hex32, Message, Milliseconds
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, Inclusion
from privacy.crypto import CryptoError, SignatureInvalid, VerifyKey, verify_document
from privacy.crypto.merkle import leaf_hash, verify_inclusion

BUDGET_TYPE: Final = "hearthside-budget+jwt"
"""JWS type of an officer's word on a raise (``BudgetRaise``); two officers sign the same document."""
RAISE: Final = "raise"
"""The log's kind of a ``SignedRaise``."""
_OTHERS: Final = "*"
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class BudgetTerms(Message):
    """What a service allows at most (device level, zero-out).

    Attributes:
        epsilon: over everything within the window.
        delta: of that figure.
        window_seconds: how long a charge counts.
        quotas: by purpose, the share of it that its rounds may take; ``*`` is every other purpose.
        study_epsilon_cap: the most that one study may name as its own limit; None: the contract alone.
    """

    epsilon: Annotated[float, Field(gt=0, le=1_000)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    window_seconds: Annotated[int, Field(ge=1)]
    quotas: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    study_epsilon_cap: Annotated[float, Field(gt=0, le=1e9)] | None = None

    def beyond(self, allowed: BudgetTerms) -> list[str]:
        """In which respects these terms ask for more than others allow, in words; empty where in none."""
        found = []
        if self.epsilon > allowed.epsilon:
            found.append(f"budget_epsilon {self.epsilon:g} above {allowed.epsilon:g}")
        if self.delta > allowed.delta:
            found.append(f"budget_delta {self.delta:g} above {allowed.delta:g}")
        if self.window_seconds < allowed.window_seconds:
            found.append(f"budget_window_seconds {self.window_seconds} below {allowed.window_seconds}")
        for purpose in sorted({*self.quotas, *allowed.quotas, _OTHERS}):
            if self._share(purpose) > allowed._share(purpose):
                shares = f"{self._share(purpose):g} above {allowed._share(purpose):g}"
                found.append(f"budget_quotas[{purpose}] {shares}")
        if (self.study_epsilon_cap or math.inf) > (allowed.study_epsilon_cap or math.inf):
            asked = self.study_epsilon_cap
            limit = "none" if asked is None else f"{asked:g}"
            found.append(f"study_epsilon_cap {limit} above {allowed.study_epsilon_cap:g}")
        return found

    def _share(self, purpose: str) -> float:
        return self.quotas.get(purpose, self.quotas.get(_OTHERS, 1.0))


class BudgetRaise(Message):
    """What two officers sign.

    Attributes:
        site: whose budget.
        service: which of the two services.
        service_key: that service's public key.
        number: 1 for the first raise, and one more each time.
        before: the terms until now.
        after: the terms from now on.
        reason: why; signed and in the log.
        at_ms: when it was asked for.
    """

    version: Literal[1] = 1
    site: Annotated[str, StringConstraints(max_length=64)]
    service: Literal["leader", "helper"]
    service_key: Hex32
    number: Annotated[int, Field(ge=1)]
    before: BudgetTerms
    after: BudgetTerms
    reason: Reason
    at_ms: Milliseconds


class SignedRaise(Message):
    """The same raise under two officers' signatures; its canonical bytes are the log's entry."""

    version: Literal[1] = 1
    first: CompactJws
    second: CompactJws


class LoggedRaise(Message):
    """A signed raise with the proof that it stands in the leader's log: what a service wants to see."""

    version: Literal[1] = 1
    signed: SignedRaise
    checkpoint: CompactJws
    inclusion: Inclusion


class BudgetState(Message):
    """What a service says of its budget. ``allowed`` is the last doubly signed contract, or the first one."""

    version: Literal[1] = 1
    site: str
    service: Literal["leader", "helper"]
    service_key: Hex32
    number: int
    allowed: BudgetTerms
    in_force: BudgetTerms


def read_raise(signed: SignedRaise, officers: Sequence[VerifyKey]) -> BudgetRaise:
    """A raise that two different officers signed.

    Raises:
        ProblemError: ``bad-signature``: an unknown signer, twice the same officer, or two different documents.
    """
    signers, documents = [], []
    for jws in (signed.first, signed.second):
        key, document = _signer(jws, officers)
        signers.append(key)
        documents.append(document)
    if signers[0] == signers[1]:
        raise ProblemError("bad-signature", "expected two different officers under a raise, got the same one twice")
    if documents[0] != documents[1]:
        raise ProblemError("bad-signature", "the two officers signed different documents")
    if not documents[0].after.beyond(documents[0].before):
        raise ProblemError("malformed", "expected a raise, got terms that allow nothing more: no officer is needed")
    return documents[0]


def check_logged(logged: LoggedRaise, leader_key: VerifyKey) -> None:
    """Return if a raise stands in the leader's log, as the leader itself signed it.

    Raises:
        ProblemError: ``bad-signature``.
    """
    try:
        seen = Checkpoint.model_validate(verify_document(logged.checkpoint, CHECKPOINT_TYPE, (leader_key,)))
        leaf = leaf_hash(log_entry(RAISE, logged.signed.canonical()))
        path = [bytes.fromhex(node) for node in logged.inclusion.path]
        verify_inclusion(leaf, logged.inclusion.index, seen.size, path, bytes.fromhex(seen.root))
    except (CryptoError, ValidationError) as error:
        raise ProblemError("bad-signature", f"the raise does not stand in the leader's log: {error}") from None


def _signer(jws: str, officers: Sequence[VerifyKey]) -> tuple[VerifyKey, BudgetRaise]:
    for key in officers:
        try:
            return key, BudgetRaise.model_validate(verify_document(jws, BUDGET_TYPE, (key,)))
        except SignatureInvalid:
            continue
        except ValidationError:
            raise ProblemError("malformed", "expected the fields of BudgetRaise in the signed document") from None
    raise ProblemError("bad-signature", "a signature under the raise is not of a known officer")
