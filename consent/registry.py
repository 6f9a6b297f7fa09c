"""What a purpose is, and the registry that holds all of them.

The registry is the one source from which the notice, the visitor's page, the documents and the policy hash in every
seal are generated. It is a value: tests and later versions build their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from consent.errors import RegistryInvalid
from privacy.crypto import canonical_json, digest

Language = Literal["en", "de"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

Leaves = Literal["nothing", "masked_sum"]
"""In what form anything leaves the device: not at all, or as a masked share of a noisy sum over many devices."""

LegalBasis = Literal["consent"]
"""GDPR Art. 6(1)(a), and Art. 5(3) of the ePrivacy Directive for reading and storing on the device."""


@dataclass(frozen=True, slots=True)
class PurposeText:
    """A purpose in one language, in plain words.

    Attributes:
        title: a few words, as shown beside the choice.
        explanation: what it is for.
        reads: what is read on the device.
        leaves: what leaves the device, and in what form.
    """

    title: str
    explanation: str
    reads: str
    leaves: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose that a person can grant, refuse or withdraw.

    Attributes:
        id: the name in receipts, studies and ledgers.
        version: starts at 1; any change of meaning raises it, and everyone is asked again.
        texts: one per language, in the order of ``LANGUAGES``.
        signals: the kinds of event that it reads.
        leaves: the form in which anything leaves the device.
        retention_days: how long the device keeps what it derived for this purpose.
        legal_basis: consent, always.
        default: off, always.
    """

    id: str
    version: int
    texts: tuple[tuple[Language, PurposeText], ...]
    signals: tuple[str, ...]
    leaves: Leaves
    retention_days: int
    legal_basis: LegalBasis = "consent"
    default: Literal[False] = False

    def text(self, language: Language) -> PurposeText:
        """The wording in one language."""
        return dict(self.texts)[language]

    def document(self) -> dict[str, Any]:
        """Everything about the purpose as JSON: the input of the registry's hash."""
        return {
            "id": self.id,
            "version": self.version,
            "texts": {
                language: {"title": t.title, "explanation": t.explanation, "reads": t.reads, "leaves": t.leaves}
                for language, t in self.texts
            },
            "signals": list(self.signals),
            "leaves": self.leaves,
            "retention_days": self.retention_days,
            "legal_basis": self.legal_basis,
            "default": self.default,
        }


class Registry:
    """All purposes, in the order in which they are shown. Immutable; compared by hash.

    Attributes:
        hash: SHA-256 over the canonical JSON of every purpose (32 bytes): the policy hash bound into every seal.
    """

    __slots__ = ("_by_id", "hash", "purposes")

    def __init__(self, purposes: Iterable[Purpose]) -> None:
        """Check and index the purposes.

        Raises:
            RegistryInvalid: an id declared twice, a missing language, or an impossible version or retention.
        """
        self.purposes: Final = tuple(purposes)
        for purpose in self.purposes:
            _check(purpose)
        self._by_id: Final = {purpose.id: purpose for purpose in self.purposes}
        if len(self._by_id) != len(self.purposes):
            raise RegistryInvalid("expected each purpose once, got an id that is declared twice")
        self.hash: Final = digest("purposes", canonical_json([purpose.document() for purpose in self.purposes]))

    def find(self, purpose: str) -> Purpose | None:
        """The purpose of this id, or None if it is not declared."""
        return self._by_id.get(purpose)

    def __iter__(self) -> Iterator[Purpose]:
        return iter(self.purposes)

    def __len__(self) -> int:
        return len(self.purposes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registry) and other.hash == self.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"Registry({len(self.purposes)} purposes, {self.hash.hex()[:12]})"


def _check(purpose: Purpose) -> None:
    languages = tuple(language for language, _ in purpose.texts)
    if languages != LANGUAGES:
        raise RegistryInvalid(f"purpose {purpose.id!r}: expected texts in {LANGUAGES}, got {languages}")
    if any(not part for _, t in purpose.texts for part in (t.title, t.explanation, t.reads, t.leaves)):
        raise RegistryInvalid(f"purpose {purpose.id!r}: expected every text to be filled in")
    if purpose.version < 1 or purpose.retention_days < 1 or not purpose.signals:
        raise RegistryInvalid(f"purpose {purpose.id!r}: expected version and retention of at least 1, and a signal")
