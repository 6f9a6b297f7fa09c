"""What a purpose is, and the registry that holds all of them.

The registry is the one source from which the notice, the visitor's page, the documents and the policy hash in every
seal are generated. It is a value: tests and later versions build their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from consent.errors import RegistryInvalid
from privacy.crypto import canonical_json, digest

Language = Literal["en", "de"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

Leaves = Literal["nothing", "masked_sum"]
"""In what form anything leaves the device: not at all, or as a masked share of a noisy sum over many devices."""

Recipient = Literal["leader", "helper"]
"""Who receives anything: the leader (the site's operator) and the helper (the privacy office). Nobody else exists."""
RECIPIENTS_OF: Final[dict[Leaves, tuple[Recipient, ...]]] = {
    "nothing": ("leader",),  # the signed choice alone
    "masked_sum": ("leader", "helper"),
}

ServerRecord = Literal["receipt", "masked_report", "released_sum"]
"""What a server may hold for a purpose: the signed choice; a masked share, until its round is over; the noisy sum."""
RECORDS_OF: Final[dict[Leaves, tuple[ServerRecord, ...]]] = {
    "nothing": ("receipt",),
    "masked_sum": ("receipt", "masked_report", "released_sum"),
}

LegalBasis = Literal["consent"]
LegalReference = Literal["GDPR Art. 6(1)(a)", "ePrivacy Directive Art. 5(3)"]
LEGAL_REFERENCES: Final[tuple[LegalReference, ...]] = get_args(LegalReference)
"""Consent to the processing, and consent to reading and storing on the device."""

DPV: Final = "https://w3id.org/dpv#"
DPV_PERSONAL_DATA: Final = "https://w3id.org/dpv/pd#"
"""Namespaces of the W3C Data Privacy Vocabulary and of its extension for kinds of personal data: those that it gives
its terms itself, without a version, in receipts and documents alike."""


@dataclass(frozen=True, slots=True)
class PurposeText:
    """A purpose in one language, in plain words.

    Attributes:
        title: a few words, as shown beside the choice.
        explanation: what it is for.
        reads: what is read on the device.
        leaves: what leaves the device, and in what form.
        refusal: what follows from saying no.
    """

    title: str
    explanation: str
    reads: str
    leaves: str
    refusal: str


@dataclass(frozen=True, slots=True)
class DataCategory:
    """A kind of personal data, as a vocabulary and as a person calls it.

    Attributes:
        iri: its term in the Data Privacy Vocabulary.
        words: a few words for each language, in the order of ``LANGUAGES``.
    """

    iri: str
    words: tuple[tuple[Language, str], ...]

    def text(self, language: Language) -> str:
        """The words in one language."""
        return dict(self.words)[language]


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose that a person can grant, refuse or withdraw.

    Attributes:
        id: the name in receipts, studies and ledgers.
        version: starts at 1; any change of meaning raises it, and everyone is asked again.
        texts: one per language, in the order of ``LANGUAGES``.
        signals: the kinds of event that it reads.
        leaves: the form in which anything leaves the device.
        retention_days: how long the device keeps what it recorded and derived for this purpose.
        categories: the kinds of personal data that it uses.
        vocabulary: the purpose's term in the Data Privacy Vocabulary.
        recipients: who receives anything at all.
        records: what a server may hold.
        legal_basis: consent, always.
        legal_references: where the law says so.
        automated_decision: whether a decision with legal or similarly significant effect is automated: never.
        default: off, always.
    """

    id: str
    version: int
    texts: tuple[tuple[Language, PurposeText], ...]
    signals: tuple[str, ...]
    leaves: Leaves
    retention_days: int
    categories: tuple[DataCategory, ...]
    vocabulary: str
    recipients: tuple[Recipient, ...]
    records: tuple[ServerRecord, ...]
    legal_basis: LegalBasis = "consent"
    legal_references: tuple[LegalReference, ...] = LEGAL_REFERENCES
    automated_decision: Literal[False] = False
    default: Literal[False] = False

    def text(self, language: Language) -> PurposeText:
        """The wording in one language."""
        return dict(self.texts)[language]

    def meaning(self) -> dict[str, Any]:
        """All that is promised, without the words: it changes with a new version only."""
        return {
            "signals": list(self.signals),
            "leaves": self.leaves,
            "retention_days": self.retention_days,
            "categories": [category.iri for category in self.categories],
            "vocabulary": self.vocabulary,
            "recipients": list(self.recipients),
            "records": list(self.records),
            "legal_basis": self.legal_basis,
            "legal_references": list(self.legal_references),
            "automated_decision": self.automated_decision,
            "default": self.default,
        }

    def wording(self) -> dict[str, Any]:
        """All that is said, by language."""
        return {
            language: {**asdict(text), "categories": [category.text(language) for category in self.categories]}
            for language, text in self.texts
        }

    def document(self) -> dict[str, Any]:
        """Everything about the purpose as JSON: the input of the registry's hash."""
        return {"id": self.id, "version": self.version, "texts": self.wording(), **self.meaning()}


class Registry:
    """All purposes, in the order in which they are shown. Immutable; compared by hash.

    Attributes:
        hash: SHA-256 over the canonical JSON of every purpose (32 bytes): the policy hash bound into every seal.
    """

    __slots__ = ("_by_id", "hash", "purposes")

    def __init__(self, purposes: Iterable[Purpose]) -> None:
        """Check and index the purposes.

        Raises:
            RegistryInvalid: an id declared twice, or a purpose that lacks anything a person must be told; it says what.
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
    for expected, holds in _expectations(purpose):
        if not holds:
            raise RegistryInvalid(f"purpose {purpose.id!r}: expected {expected}")


def _expectations(purpose: Purpose) -> Iterator[tuple[str, bool]]:
    """What must hold, in this order: a later line may rely on an earlier one."""
    spoken = (purpose.texts, *(category.words for category in purpose.categories))
    yield f"texts in {LANGUAGES}", all(tuple(language for language, _ in part) == LANGUAGES for part in spoken)
    yield "an id", bool(purpose.id)
    yield "every text to be filled in", all(map(str.strip, _words(purpose)))
    yield "a version of at least 1", purpose.version >= 1
    yield "a retention of at least one day", purpose.retention_days >= 1
    yield "a signal that it reads", bool(purpose.signals)
    yield "a category of personal data", bool(purpose.categories)
    yield f"categories from {DPV_PERSONAL_DATA} or {DPV}", all(_is_term(c.iri) for c in purpose.categories)
    yield f"a purpose's term from {DPV}", _is_term(purpose.vocabulary, DPV)
    yield "a form in which it leaves", purpose.leaves in RECIPIENTS_OF
    yield (
        f"the recipients {RECIPIENTS_OF[purpose.leaves]} of this form",
        purpose.recipients == RECIPIENTS_OF[purpose.leaves],
    )
    yield (
        f"the servers' records {RECORDS_OF[purpose.leaves]} of this form",
        purpose.records == RECORDS_OF[purpose.leaves],
    )
    yield "consent as the legal basis", purpose.legal_basis == "consent"
    yield f"the references {LEGAL_REFERENCES}", purpose.legal_references == LEGAL_REFERENCES
    yield "no automated decision with legal effect", purpose.automated_decision is False
    yield "to be off until granted", purpose.default is False


def _words(purpose: Purpose) -> Iterator[str]:
    for _, text in purpose.texts:
        yield from asdict(text).values()
    for category in purpose.categories:
        yield from dict(category.words).values()


def _is_term(iri: str, *namespaces: str) -> bool:
    return any(
        iri.startswith(space) and iri.removeprefix(space).isalnum() for space in namespaces or (DPV, DPV_PERSONAL_DATA)
    )
