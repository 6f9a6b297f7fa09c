"""The policy: one pure function that all four gates ask.

``decide`` is total: whatever it is given, it answers, and what it does not understand is refused. It is explained:
each answer names its rule and, where there is one, the receipt. It reads no clock; ``now`` is the later of the clocks
that can be trusted at the gate, and never before ``state.seen_at``, the latest time that the device remembers: a clock
that is turned back prolongs no grant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from consent.instants import CLOCK_SKEW_SECONDS
from consent.purposes import PURPOSES
from consent.registry import Purpose, Registry
from consent.signals.facts import Signals
from consent.state import ConsentState, Declined, Grant

Gate = Literal["collect", "use", "contribute", "accept"]
"""Where consent is checked: storing an event, reading it, sending a report (device); taking it in (leader)."""
GATES: Final[tuple[Gate, ...]] = get_args(Gate)
_LEAVING: Final = frozenset({"contribute", "accept"})
_ALL: Final = frozenset(GATES)

Rule = Literal[
    "granted",
    "unknown_gate",
    "unknown_purpose",
    "nothing_leaves",
    "child",
    "person_unknown",
    "ledger_faulty",
    "not_granted",
    "declined",
    "purpose_changed",
    "expired",
    "clock_before_receipt",
    "gpc_opt_out",
]

RULES: Final[dict[Rule, str]] = {
    "granted": "The person granted this purpose in its present version.",
    "unknown_gate": "There is no such gate.",
    "unknown_purpose": "No such purpose is declared.",
    "nothing_leaves": "By its declaration nothing leaves the device for this purpose.",
    "child": "The person here is a child; children get no profile, whatever was granted.",
    "person_unknown": "Nobody has said who is here: a guest, a private window, or another browser.",
    "ledger_faulty": "The consent ledger does not verify, so no consent follows from it.",
    "not_granted": "The person never granted this purpose; every purpose is off by default.",
    "declined": "The person's latest choice on this purpose was no.",
    "purpose_changed": "The purpose has changed since it was granted; the person has to be asked again.",
    "expired": "The grant is too old; the person has to be asked again.",
    "clock_before_receipt": "The clock shows a time before the grant was given, so its age cannot be known.",
    "gpc_opt_out": "Global Privacy Control is on, and the person has not chosen otherwise for this site since.",
}
"""What each rule says, in the order in which they are asked."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer, and why.

    Attributes:
        allowed: whether the gate opens.
        rule: the rule that decided; ``RULES`` says it in words.
        receipt: digest of the receipt that the answer rests on (32 bytes); None where there is none.
        gate: the gate that asked.
        purpose: the purpose that was asked for.
    """

    allowed: bool
    rule: Rule
    receipt: bytes | None
    gate: str
    purpose: str

    def explain(self) -> str:
        """One line for a person or a log; names no person."""
        resting = f" Receipt {self.receipt.hex()[:16]}." if self.receipt else ""
        return f"{self.gate} for {self.purpose}: {'yes' if self.allowed else 'no'}. {RULES[self.rule]}{resting}"


def decide(
    gate: Gate, purpose: str, state: ConsentState, signals: Signals, now: int, registry: Registry = PURPOSES
) -> Decision:
    """Say whether a gate opens. Run by the device (collect, use, contribute) and the leader (accept).

    Args:
        gate: who asks.
        purpose: the purpose's id.
        state: what stands, from the device's ledger or from the leader's.
        signals: what accompanies this moment.
        now: Unix seconds, the later of the clocks that can be trusted: at *collect* and *use* the machine's, at
            *contribute* also the round's opening, which the helper signed, at *accept* the leader's.
        registry: the purposes as installed.
    """
    rule, receipt = _rule(gate, purpose, state, signals, now, registry)
    return Decision(rule == "granted", rule, receipt, str(gate), str(purpose))


def withheld_by_gpc(
    gate: Gate, state: ConsentState, signals: Signals, now: int, registry: Registry = PURPOSES
) -> tuple[str, ...]:
    """Purposes for which Global Privacy Control alone shuts a gate that a grant would open: what is to be recorded."""
    if not signals.gpc and not state.gpc_seen:
        return ()
    answers = (decide(gate, held.purpose, state, signals, now, registry) for held in state.granted)
    return tuple(answer.purpose for answer in answers if answer.rule == "gpc_opt_out")


def ask_again(state: ConsentState, now: int, registry: Registry = PURPOSES) -> tuple[str, ...]:
    """Purposes on which the person has no standing answer: never asked, changed since, or expired.

    A refusal is an answer: it stands until the purpose changes.
    """
    now = max(now, state.seen_at)
    return tuple(purpose.id for purpose in registry if not _is_answered(purpose, state, now))


def lapsed(state: ConsentState, now: int, registry: Registry = PURPOSES) -> tuple[Grant | Declined, ...]:
    """Answers that no longer stand, because their purpose has changed since or the yes is too old.

    What was never answered is not among them, and no refusal of a purpose in its present version.
    """
    answers = (state.grant_of(name) or state.declined_of(name) for name in ask_again(state, now, registry))
    return tuple(answer for answer in answers if answer is not None)


def _is_answered(purpose: Purpose, state: ConsentState, now: int) -> bool:
    no, yes = state.declined_of(purpose.id), state.grant_of(purpose.id)
    if no is not None and no.version == purpose.version:
        return True
    return yes is not None and yes.answers(purpose.version, now)


def _rule(
    gate: str, purpose: str, state: ConsentState, signals: Signals, now: int, registry: Registry
) -> tuple[Rule, bytes | None]:
    if not isinstance(gate, str) or gate not in _ALL:
        return "unknown_gate", None
    if not isinstance(state, ConsentState):
        return "ledger_faulty", None
    declared = registry.find(purpose) if isinstance(purpose, str) else None
    if declared is None:
        return "unknown_purpose", None
    if declared.leaves == "nothing" and gate in _LEAVING:
        return "nothing_leaves", None
    if not isinstance(signals, Signals) or signals.subject != "known":
        return ("child" if getattr(signals, "subject", None) == "child" else "person_unknown"), None
    return _rule_of_choices(declared, state, signals, now)


def _rule_of_choices(  # noqa: PLR0911  # a list of rules, each with its way out, read from top to bottom
    purpose: Purpose, state: ConsentState, signals: Signals, now: int
) -> tuple[Rule, bytes | None]:
    if state.fault is not None:
        return "ledger_faulty", None
    grant = state.grant_of(purpose.id)
    if grant is None:
        declined = state.declined_of(purpose.id)
        return ("declined", declined.receipt) if declined else ("not_granted", None)
    if grant.version != purpose.version:
        return "purpose_changed", grant.receipt
    if not isinstance(now, int | float):
        return "clock_before_receipt", grant.receipt
    now = max(now, state.seen_at)
    if not now < grant.expires_at:
        return "expired", grant.receipt
    if not now >= grant.issued_at - CLOCK_SKEW_SECONDS:
        return "clock_before_receipt", grant.receipt
    if (signals.gpc or state.gpc_seen) and not grant.despite_gpc:
        return "gpc_opt_out", grant.receipt
    return "granted", grant.receipt
