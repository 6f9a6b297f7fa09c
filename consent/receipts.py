"""Consent receipts: one act of choice, signed by the device.

A receipt is a JSON-LD document in terms of the W3C Data Privacy Vocabulary (DPV), after ISO/IEC TS 27560:2023 and its
DPV profile (``dpv-27560#receipt``), carried as a JWS. What the standard asks for and the notice or the registry says
already (categories of data, recipients, storage) is given by reference: the notice's hash binds every word that was
shown, and a purpose's id and version name its declaration. docs/consent-receipts.md maps every field.

Two things are said apart, because a lost message must never widen consent:

* ``chosen``: the purposes that this act decides, and
* ``granted``: everything that stands granted after it. What is missing there has ended, whatever was received before.

``epoch`` counts changes of what is granted. A refusal changes nothing that was granted, keeps the epoch and stays at
home, so that its existence does not show in a gap of numbers.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from consent.errors import ReceiptInvalid
from consent.instants import LATEST_SECONDS, parse_instant, write_instant
from consent.registry import DPV, LANGUAGES, Language
from privacy.crypto import CryptoError, SigningKey, VerifyKey, digest, sign_document, verify_document

RECEIPT_TYP: Final = "hearthside-receipt+jwt"
RECEIPT_VERSION: Final = 1
DEFAULT_VALID_DAYS: Final = 180
MAXIMUM_VALID_DAYS: Final = 395
MAXIMUM_RECEIPT_CHARACTERS: Final = 16_384
MAXIMUM_NAME_CHARACTERS: Final = 253
DAY_SECONDS: Final = 86_400

Kind = Literal["grant", "refusal", "withdrawal"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_STATUS: Final[dict[Kind, str]] = {
    "grant": "dpv:ConsentGiven",
    "refusal": "dpv:ConsentRefused",
    "withdrawal": "dpv:ConsentWithdrawn",
}
_KIND_OF: Final = {status: kind for kind, status in _STATUS.items()}
# What is expected, spelt once: a receipt is checked thousands of times a second, and hardly ever refused.
_VERSION: Final = f"receipt version {RECEIPT_VERSION}"
_KIND: Final = f"a kind in {KINDS}"
_LANGUAGE: Final = f"a language in {LANGUAGES}"
_DAYS: Final = f"1 to {MAXIMUM_VALID_DAYS} days"
_NOTICE: Final = "urn:hearthside:notice:"
_PURPOSE: Final = "urn:hearthside:purpose:"
_PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#receipt"
_WITHDRAWAL: Final = "the agent's own page, or: hearthside-agent consent withdraw"
_CONTEXT: Final = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": DPV,
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "hearthside": "urn:hearthside:terms:1:",
    "loc": "https://w3id.org/dpv/loc#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """One act of choice by one person, for one site and one leader.

    Attributes:
        device_key: the key that signs; made for this leader alone.
        leader: fingerprint of the leader that it is addressed to.
        site: the site's origin or name.
        person: pseudonym of the profile on this device; never an account.
        kind: grant, refusal, or withdrawal of a grant.
        chosen: purposes that this act decides, sorted, at least one.
        granted: every purpose that stands granted after this act, sorted.
        purpose_versions: (purpose, version) for each in ``chosen`` and ``granted``, sorted.
        notice_hash: digest of the notice that was shown (32 bytes).
        language: the language of that notice.
        epoch: number of the last change of what is granted, this one included.
        issued_at: Unix seconds by the device's clock.
        gpc: Global Privacy Control was known to be on when the choice was made.
        valid_days: how long a grant holds before the person is asked again, 1 to 395.
        version: version of this structure.
    """

    device_key: VerifyKey
    leader: str
    site: str
    person: str
    kind: Kind
    chosen: tuple[str, ...]
    granted: tuple[str, ...]
    purpose_versions: tuple[tuple[str, int], ...]
    notice_hash: bytes
    language: Language
    epoch: int
    issued_at: int
    gpc: bool
    valid_days: int = DEFAULT_VALID_DAYS
    version: int = RECEIPT_VERSION

    def __post_init__(self) -> None:
        """Refuse a receipt that contradicts itself.

        Raises:
            ReceiptInvalid: with code ``malformed``.
        """
        for expected, holds in self._expectations():
            if not holds:
                raise ReceiptInvalid("malformed", f"expected {expected}")

    def _expectations(self) -> tuple[tuple[str, bool], ...]:
        chosen, granted = set(self.chosen), set(self.granted)
        names = (self.leader, self.site, self.person)
        return (
            ("a yes or a no on Global Privacy Control", isinstance(self.gpc, bool)),
            (_VERSION, self.version == RECEIPT_VERSION),
            (_KIND, self.kind in KINDS),
            ("at least one chosen purpose", bool(chosen)),
            ("sorted purposes, each once", _sorted_once(self.chosen) and _sorted_once(self.granted)),
            ("a grant to grant what it chose", self.kind != "grant" or chosen <= granted),
            ("a refusal or withdrawal not to grant what it declined", self.kind == "grant" or not chosen & granted),
            (
                "one version for each purpose",
                tuple(p for p, _ in self.purpose_versions) == tuple(sorted(chosen | granted)),
            ),
            ("versions of at least 1", all(_is_count(v) and v >= 1 for _, v in self.purpose_versions)),
            ("a notice hash of 32 bytes", len(self.notice_hash) == 32),  # noqa: PLR2004  # SHA-256
            (_LANGUAGE, self.language in LANGUAGES),
            ("an epoch from 1 below 2^53", _is_count(self.epoch) and (self.kind != "refusal") <= self.epoch < 2**53),
            ("a time in Unix seconds", _is_count(self.issued_at) and self.issued_at <= LATEST_SECONDS),
            (
                _DAYS,
                _is_count(self.valid_days) and 1 <= self.valid_days <= MAXIMUM_VALID_DAYS,
            ),
            ("names of 1 to 253 characters", all(_is_name(name) for name in (*names, *self.chosen, *self.granted))),
        )

    @property
    def expires_at(self) -> int:
        """Unix seconds from which a grant in this receipt no longer holds."""
        return self.issued_at + self.valid_days * DAY_SECONDS

    @property
    def identifier(self) -> str:
        """The record's id. A grant or withdrawal has its epoch to itself; refusals in one second differ in purposes."""
        refused = f":{'+'.join(self.chosen)}" if self.kind == "refusal" else ""
        return f"urn:hearthside:receipt:{self.device_key.fingerprint}:{self.epoch}:{self.issued_at}{refused}"

    def document(self) -> dict[str, Any]:
        """The JSON-LD document that is signed."""
        versions = dict(self.purpose_versions)
        return {
            "@context": dict(_CONTEXT),
            "@type": "dpv:ConsentReceipt",
            "dct:conformsTo": [{"@id": _PROFILE}, {"@id": f"urn:hearthside:receipt:{self.version}"}],
            "dct:identifier": self.identifier,
            "dpv:hasDataSubject": {
                "@type": "dpv:DataSubject",
                "dct:identifier": self.person,
                "hearthside:deviceKey": {
                    "hearthside:fingerprint": self.device_key.fingerprint,
                    "hearthside:raw": _b64(self.device_key.raw),
                },
            },
            "dpv:hasDataController": {
                "@type": "dpv:DataController",
                "dct:identifier": self.leader,
                "dpv:hasContact": self.site,
            },
            "dpv:hasService": {"@type": "dpv:Service", "dct:identifier": self.site},
            "dpv:hasNotice": {
                "@id": f"{_NOTICE}{self.notice_hash.hex()}",
                "@type": "dpv:ConsentNotice",
                "dct:language": self.language,
            },
            "dpv:hasLegalBasis": {"@id": "eu-gdpr:A6-1-a"},
            "dpv:hasJurisdiction": {"@id": "loc:EU"},
            "dpv:hasConsentControl": {"@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": _WITHDRAWAL},
            "dpv:hasProcess": [
                {"@type": "dpv:Process", "dpv:hasPurpose": _purpose(purpose, versions[purpose])}
                for purpose in self.chosen
            ],
            "dpv:hasConsentStatus": {
                "@type": _STATUS[self.kind],
                "dpv:isIndicatedAtTime": write_instant(self.issued_at),
                "dpv:isIndicatedBy": {"@id": "dpv:DataSubject"},
                "dpv:hasDuration": {"@type": "dpv:TemporalDuration", "rdf:value": f"P{self.valid_days}D"},
            },
            "hearthside:epoch": self.epoch,
            "hearthside:gpc": self.gpc,
            "hearthside:standing": [_purpose(purpose, versions[purpose]) for purpose in self.granted],
        }

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Receipt:
        """Read a document; it must be exactly what ``document()`` writes.

        Raises:
            ReceiptInvalid: with code ``malformed``.
        """
        try:
            receipt = _read(document)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, binascii.Error, CryptoError) as error:
            raise ReceiptInvalid(
                "malformed", f"expected a consent receipt, a field is amiss ({type(error).__name__})"
            ) from None
        if receipt.document() != document:
            raise ReceiptInvalid("malformed", "expected the exact form of a receipt, got extra or differing fields")
        return receipt


def sign_receipt(key: SigningKey, receipt: Receipt) -> str:
    """Sign a receipt with the key that it names; returns compact JWS. Run by the device.

    Raises:
        ReceiptInvalid: the receipt names another key.
    """
    if receipt.device_key != key.verify_key:
        raise ReceiptInvalid(
            "wrong_device", f"expected key {receipt.device_key.fingerprint}, got {key.verify_key.fingerprint}"
        )
    return sign_document(key, RECEIPT_TYP, receipt.document())


def verify_receipt(jws: str, device_key: VerifyKey) -> Receipt:
    """Return the receipt that this device signed. Run by device and leader; needs no network.

    Raises:
        ReceiptInvalid: oversized, forged, edited, of another type or malformed.
    """
    if len(jws) > MAXIMUM_RECEIPT_CHARACTERS:
        raise ReceiptInvalid("malformed", f"expected at most {MAXIMUM_RECEIPT_CHARACTERS} characters, got {len(jws)}")
    try:
        document = verify_document(jws, RECEIPT_TYP, (device_key,))
    except (CryptoError, RecursionError) as error:  # a hostile header may nest deeper than the parser goes
        raise ReceiptInvalid("signature_invalid", str(error)) from None
    receipt = Receipt.parse(document)
    if receipt.device_key != device_key:
        raise ReceiptInvalid("wrong_device", "expected the receipt to name the key that signed it")
    return receipt


def receipt_digest(jws: str) -> bytes:
    """SHA-256 over the signed receipt (32 bytes): its name in ledgers, countersignatures and decisions."""
    return digest("consent-receipt", jws.encode("utf-8"))


def _read(document: dict[str, Any]) -> Receipt:
    subject, status, notice = (
        document["dpv:hasDataSubject"],
        document["dpv:hasConsentStatus"],
        document["dpv:hasNotice"],
    )
    chosen = [_read_purpose(process["dpv:hasPurpose"]) for process in document["dpv:hasProcess"]]
    standing = [_read_purpose(purpose) for purpose in document["hearthside:standing"]]
    return Receipt(
        device_key=VerifyKey(base64.urlsafe_b64decode(subject["hearthside:deviceKey"]["hearthside:raw"] + "=")),
        leader=document["dpv:hasDataController"]["dct:identifier"],
        site=document["dpv:hasService"]["dct:identifier"],
        person=subject["dct:identifier"],
        kind=_KIND_OF[status["@type"]],
        chosen=tuple(purpose for purpose, _ in chosen),
        granted=tuple(purpose for purpose, _ in standing),
        purpose_versions=tuple(sorted({**dict(chosen), **dict(standing)}.items())),
        notice_hash=bytes.fromhex(notice["@id"].removeprefix(_NOTICE)),
        language=notice["dct:language"],
        epoch=document["hearthside:epoch"],
        issued_at=parse_instant(status["dpv:isIndicatedAtTime"]),
        gpc=document["hearthside:gpc"],
        valid_days=int(status["dpv:hasDuration"]["rdf:value"][1:-1]),
    )


def _purpose(purpose: str, version: int) -> dict[str, str]:
    return {"@id": f"{_PURPOSE}{purpose}:{version}"}


def _read_purpose(purpose: dict[str, str]) -> tuple[str, int]:
    name, _, version = purpose["@id"].removeprefix(_PURPOSE).rpartition(":")
    return name, int(version)


def _sorted_once(names: tuple[str, ...]) -> bool:
    return list(names) == sorted(set(names))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAXIMUM_NAME_CHARACTERS


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
