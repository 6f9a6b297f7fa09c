"""TC strings of the IAB Europe Transparency and Consent Framework, version 2.

Field tables after "Transparency and Consent String with Global Vendor & CMP List Formats" (IAB Tech Lab): the core
segment always comes first; DisclosedVendors, AllowedVendors and PublisherTC follow in any order, each at most once.
The text in force (v2.3) makes DisclosedVendors mandatory and knows no global scope.

A TC string tells what some consent platform recorded about some vendors. It is imported to be shown and to be weighed,
and is never a consent to anything here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from consent.instants import CLOCK_SKEW_SECONDS
from consent.signals.bits import Bits, check_length, positions, write_instant
from consent.signals.errors import SignalMalformed, SignalUnsupported
from consent.signals.reading import Reading, verdict
from consent.signals.vendors import PURPOSES, Restriction, restrictions, vendor_list

VERSION: Final = 2
LAST_CMP: Final = 4_095
FRAMEWORK_PUBLISHED: Final = dt.datetime(2018, 4, 1, tzinfo=dt.UTC)
"""The month in which the framework's first version was released: no string of any version is older."""
_SPECIAL_FEATURES: Final = 12
_SEGMENTS: Final = {1: "DisclosedVendors", 2: "AllowedVendors", 3: "PublisherTC"}
_TYPE_BITS: Final = 3


@dataclass(frozen=True, slots=True)
class Metadata:
    """Who made a string, when and in which language: the same fields in the TCF of Europe and of Canada."""

    created: dt.datetime
    updated: dt.datetime
    cmp: int
    cmp_version: int
    screen: int
    language: str
    vendor_list: int
    policy: int


@dataclass(frozen=True, slots=True)
class Core:
    """The core segment. Flags stand for ids 1, 2, 3, ..."""

    made: Metadata
    service_specific: bool
    non_standard_texts: bool
    special_features: list[bool]
    purpose_consents: list[bool]
    purpose_interests: list[bool]
    purpose_one: bool
    country: str
    vendor_consents: list[int]
    vendor_interests: list[int]
    restrictions: list[Restriction]


@dataclass(frozen=True, slots=True)
class PublisherPurposes:
    """What the publisher established for itself."""

    consents: tuple[bool, ...] = ()
    interests: tuple[bool, ...] = ()
    custom_consents: tuple[bool, ...] = ()
    custom_interests: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class TcString:
    """A whole string; None stands for a segment that is not there."""

    core: Core
    disclosed: list[int] | None
    allowed: list[int] | None
    publisher: PublisherPurposes | None


def read_tcf(text: str, now: int | None = None) -> Reading:
    """Decode a TC string and say whether the framework in force accepts it.

    Args:
        text: the string as a page or request carries it.
        now: Unix seconds, to refuse a string from the future; None where no clock can be trusted.

    Raises:
        SignalMalformed: not a TC string, damaged, or of no registered platform (CmpId 0).
        SignalUnsupported: another version, such as v1 (retired in 2020).
    """
    found = decode_tcf(text)
    made = found.core.made
    if made.cmp == 0:
        raise SignalMalformed("Core.CmpId", f"a registered platform, 1 to {LAST_CMP}", 0)
    accepted, reason = verdict(
        objections(found, now), "valid under TCF v2.3 for the vendors that it names; no consent to any purpose here"
    )
    return Reading("tcf", accepted, reason, _fields(found))


def objections(found: TcString, now: int | None = None) -> list[str]:
    """Why the specification in force does not stand behind a string that decodes."""
    checks = (
        (found.disclosed is None, "no DisclosedVendors segment, which TCF v2.3 requires"),
        (not found.core.service_specific, "IsServiceSpecific is 0: the global scope no longer exists"),
    )
    return [text for holds, text in checks if holds] + metadata_objections(found.core.made, now)


def metadata_objections(made: Metadata, now: int | None) -> list[str]:
    """What a string's head alone has against it, in Europe and in Canada."""
    future = now is not None and made.updated.timestamp() > now + CLOCK_SKEW_SECONDS
    checks = ((made.cmp == 0, "CmpId is 0: no registered platform made it"), (future, "LastUpdated is in the future"))
    return [text for holds, text in checks if holds]


def decode_tcf(text: str) -> TcString:
    """Read every segment and field, strictly.

    Raises:
        SignalMalformed: see ``Bits``; also a segment of an unknown type, or twice.
        SignalUnsupported: another version.
    """
    check_length(text, "TC string")
    _check_version(text)
    core, *others = text.split(".")
    segments: dict[str, Any] = {"Core": _core(Bits(core, "Core"))}
    for other in others:
        kind = segment_kind(other)
        if kind in segments:
            raise SignalMalformed(kind, "each segment once", "it twice")
        segments[kind] = _read_segment(Bits(other, kind), kind)
    return TcString(
        segments["Core"],
        segments.get("DisclosedVendors"),
        segments.get("AllowedVendors"),
        segments.get("PublisherTC"),
    )


def segment_kind(text: str) -> str:
    """The name of a segment after the core, from its first three bits.

    Raises:
        SignalMalformed: a type that does not exist.
    """
    kind = Bits(text[:1], "segment").integer(_TYPE_BITS, "SegmentType")
    if kind not in _SEGMENTS:
        raise SignalMalformed("segment.SegmentType", "1, 2 or 3", kind)
    return _SEGMENTS[kind]


def metadata(bits: Bits, version: int) -> Metadata:
    """The head of a core segment.

    Raises:
        SignalMalformed: dates that cannot be: before the framework, or an update before the creation.
        SignalUnsupported: another version.
    """
    got = bits.integer(6, "Version")
    if got != version:
        raise SignalUnsupported("Core.Version", f"{version}", got)
    created, updated = bits.instant("Created"), bits.instant("LastUpdated")
    for field, instant in (("Created", created), ("LastUpdated", updated)):
        if instant < FRAMEWORK_PUBLISHED:
            raise bits.fault(field, f"a time since {FRAMEWORK_PUBLISHED:%Y-%m-%d}", write_instant(instant)[:10])
    if updated < created:
        raise bits.fault("LastUpdated", f"no time before Created {write_instant(created)}", write_instant(updated))
    return Metadata(
        created,
        updated,
        bits.integer(12, "CmpId"),
        bits.integer(12, "CmpVersion"),
        bits.integer(6, "ConsentScreen"),
        bits.letters("ConsentLanguage"),
        bits.integer(12, "VendorListVersion"),
        bits.integer(6, "TcfPolicyVersion"),
    )


def publisher_purposes(bits: Bits) -> PublisherPurposes:
    """The fields of a publisher's segment after its type; Europe and Canada have the same."""
    consents = bits.flags(PURPOSES, "PubPurposesConsent")
    interests = bits.flags(PURPOSES, "PubPurposesLITransparency")
    custom = bits.integer(6, "NumCustomPurposes")
    customs = (bits.flags(custom, "CustomPurposesConsent"), bits.flags(custom, "CustomPurposesLITransparency"))
    return PublisherPurposes(tuple(consents), tuple(interests), tuple(customs[0]), tuple(customs[1]))


def _check_version(text: str) -> None:
    """Before anything else, so that a string of v1 is told so whatever else is wrong with it as one of v2."""
    got = Bits(text[:1], "Core").integer(6, "Version")
    if got != VERSION:
        raise SignalUnsupported("Core.Version", f"{VERSION}", got)


def _core(bits: Bits) -> Core:
    core = Core(
        made=metadata(bits, VERSION),
        service_specific=bits.boolean("IsServiceSpecific"),
        non_standard_texts=bits.boolean("UseNonStandardTexts"),
        special_features=bits.flags(_SPECIAL_FEATURES, "SpecialFeatureOptIns"),
        purpose_consents=bits.flags(PURPOSES, "PurposesConsent"),
        purpose_interests=bits.flags(PURPOSES, "PurposesLITransparency"),
        purpose_one=bits.boolean("PurposeOneTreatment"),
        country=bits.letters("PublisherCC"),
        vendor_consents=vendor_list(bits, "VendorConsent"),
        vendor_interests=vendor_list(bits, "VendorLegitimateInterest"),
        restrictions=restrictions(bits, "PubRestrictions"),
    )
    bits.finish()
    return core


def _read_segment(bits: Bits, kind: str) -> list[int] | PublisherPurposes:
    bits.integer(_TYPE_BITS, "SegmentType")
    read = publisher_purposes(bits) if kind == "PublisherTC" else vendor_list(bits, kind)
    bits.finish()
    return read


def _fields(found: TcString) -> dict[str, Any]:
    """Every field under the name that the reference decoder for TC strings gives it."""
    core, made = found.core, found.core.made
    publisher = found.publisher or PublisherPurposes()
    return {
        "version": VERSION,
        "created": write_instant(made.created),
        "lastUpdated": write_instant(made.updated),
        "cmpId": made.cmp,
        "cmpVersion": made.cmp_version,
        "consentScreen": made.screen,
        "consentLanguage": made.language,
        "vendorListVersion": made.vendor_list,
        "policyVersion": made.policy,
        "isServiceSpecific": core.service_specific,
        "useNonStandardTexts": core.non_standard_texts,
        "purposeOneTreatment": core.purpose_one,
        "publisherCountryCode": core.country,
        "specialFeatureOptins": positions(core.special_features),
        "purposeConsents": positions(core.purpose_consents),
        "purposeLegitimateInterests": positions(core.purpose_interests),
        "vendorConsents": core.vendor_consents,
        "vendorLegitimateInterests": core.vendor_interests,
        "vendorsDisclosed": found.disclosed or [],
        "vendorsAllowed": found.allowed or [],
        "publisherConsents": positions(publisher.consents),
        "publisherLegitimateInterests": positions(publisher.interests),
        "numCustomPurposes": len(publisher.custom_consents),
        "publisherCustomConsents": positions(publisher.custom_consents),
        "publisherCustomLegitimateInterests": positions(publisher.custom_interests),
        "publisherRestrictions": [
            {"purposeId": one.purpose, "restrictionType": one.kind, "vendors": one.vendors} for one in core.restrictions
        ],
    }
