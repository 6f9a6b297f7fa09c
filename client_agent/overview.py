"""What stands, purpose by purpose: the answer, the rule that gave it, and the receipt that it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from client_agent.confirmations import confirmed_at
from client_agent.store import StoredReceipt
from consent import (
    GATES,
    PURPOSES,
    RULES,
    ConsentState,
    Decision,
    Registry,
    Rule,
    Signals,
    decide,
)
from consent.registry import Language
from privacy.crypto import VerifyKey

_GERMAN: Final[dict[Rule, str]] = {
    "granted": "Sie haben diesem Zweck in seiner heutigen Fassung zugestimmt.",
    "unknown_gate": "Diese Stelle gibt es nicht.",
    "unknown_purpose": "Diesen Zweck gibt es nicht.",
    "nothing_leaves": "Für diesen Zweck verlässt nach seiner Erklärung nichts das Gerät.",
    "child": "Hier ist ein Kind; Kinder bekommen kein Profil, was auch immer erlaubt wurde.",
    "person_unknown": "Niemand hat gesagt, wer hier ist: ein Gast, ein privates Fenster oder ein anderer Browser.",
    "ledger_faulty": "Das Einwilligungsbuch ist nicht schlüssig; daraus folgt keine Einwilligung.",
    "not_granted": "Sie haben nie zugestimmt; jeder Zweck ist von sich aus aus.",
    "declined": "Ihre letzte Entscheidung zu diesem Zweck war nein.",
    "purpose_changed": "Der Zweck hat sich seit Ihrer Zustimmung geändert; Sie müssen neu gefragt werden.",
    "expired": "Die Zustimmung ist zu alt; Sie müssen neu gefragt werden.",
    "clock_before_receipt": "Die Uhr zeigt eine Zeit vor der Zustimmung; deren Alter ist daher nicht bekannt.",
    "gpc_opt_out": "Global Privacy Control ist an, und Sie haben seither für diese Seite nichts anderes gewählt.",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """One purpose.

    Attributes:
        purpose: its id.
        title: its title.
        answer: of the gate that reads what was recorded (``use``).
        words: the rule, in a sentence.
        granted_at: Unix seconds of the grant; None without one, whether or not it still holds.
        expires_at: Unix seconds from which the grant no longer holds; None without one.
        confirmed_at: Unix seconds at which the leader confirmed the receipt; None: not, as far as it is known here.
        gates: what every gate answers.
    """

    purpose: str
    title: str
    answer: Decision
    words: str
    granted_at: int | None
    expires_at: int | None
    confirmed_at: int | None
    gates: tuple[Decision, ...]


def rule_words(rule: Rule, language: Language) -> str:
    """A rule in a sentence."""
    return _GERMAN[rule] if language == "de" else RULES[rule]


def overview(
    state: ConsentState,
    receipts: Iterable[StoredReceipt],
    signals: Signals,
    now: int,
    language: Language = "en",
    registry: Registry = PURPOSES,
) -> tuple[Standing, ...]:
    """Every purpose in the registry's order.

    Args:
        state: what stands.
        receipts: the person's receipts, with the confirmations that came.
        signals: what accompanies this moment.
        now: Unix seconds.
        language: of titles and words.
        registry: the purposes as installed.
    """
    confirmed = confirmations(receipts, state.parties.leader_key)
    return tuple(
        Standing(
            purpose.id,
            purpose.text(language).title,
            answer,
            rule_words(answer.rule, language),
            held.issued_at if held else None,
            held.expires_at if held else None,
            confirmed.get(answer.receipt) if answer.receipt else None,
            tuple(answers.values()),
        )
        for purpose in registry
        for held in (state.grant_of(purpose.id),)
        for answers in ({gate: decide(gate, purpose.id, state, signals, now, registry) for gate in GATES},)
        for answer in (answers["use"],)
    )


def confirmations(receipts: Iterable[StoredReceipt], leader: VerifyKey) -> dict[bytes, int]:
    """When the leader confirmed which receipt (by digest), for every word of it that verifies."""
    told = ((receipt.digest, confirmed_at(receipt.countersignature, receipt.digest, leader)) for receipt in receipts)
    return {digest: at for digest, at in told if at is not None}
