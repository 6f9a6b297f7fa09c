"""The TCF as sections of the GPP: Europe's (the TC string itself) and Canada's.

Field tables after the GPP's section specifications (IAB Tech Lab, Sections/EEA and Sections/Canada). Absent segments
show as empty ones, as the reference decoder shows them; whether one was there decides what is accepted.
"""

from __future__ import annotations

from typing import Any, Final

from consent.signals.bits import Bits, write_instant
from consent.signals.errors import SignalMalformed
from consent.signals.tcf import (
    Metadata,
    PublisherPurposes,
    decode_tcf,
    metadata,
    metadata_objections,
    objections,
    publisher_purposes,
    segment_kind,
)
from consent.signals.vendors import PURPOSES, Restriction, optimised_list, restrictions

_DISCLOSED: Final = 1
_ALLOWED: Final = 2
_PUBLISHER: Final = 3
_CANADA_VERSION: Final = 1
_NONE: Final = PublisherPurposes(consents=(False,) * PURPOSES, interests=(False,) * PURPOSES)


def read_tcf_europe(text: str, now: int | None) -> tuple[dict[str, Any], list[str]]:
    """Fields of section 2 and what the framework in force has against it.

    Raises:
        SignalMalformed: see ``decode_tcf``.
        SignalUnsupported: another version.
    """
    found = decode_tcf(text)
    core, publisher = found.core, found.publisher or _NONE
    fields = _head(2, core.made, "PolicyVersion") | {
        "IsServiceSpecific": core.service_specific,
        "UseNonStandardStacks": core.non_standard_texts,
        "SpecialFeatureOptins": core.special_features,
        "PurposeConsents": core.purpose_consents,
        "PurposeLegitimateInterests": core.purpose_interests,
        "PurposeOneTreatment": core.purpose_one,
        "PublisherCountryCode": core.country,
        "VendorConsents": core.vendor_consents,
        "VendorLegitimateInterests": core.vendor_interests,
        "PublisherRestrictions": _restricted(core.restrictions),
        "PublisherPurposesSegmentType": _PUBLISHER,
        "PublisherConsents": list(publisher.consents),
        "PublisherLegitimateInterests": list(publisher.interests),
        "NumCustomPurposes": len(publisher.custom_consents),
        "PublisherCustomConsents": list(publisher.custom_consents),
        "PublisherCustomLegitimateInterests": list(publisher.custom_interests),
        "VendorsAllowedSegmentType": _ALLOWED,
        "VendorsAllowed": found.allowed or [],
        "VendorsDisclosedSegmentType": _DISCLOSED,
        "VendorsDisclosed": found.disclosed or [],
    }
    return fields, objections(found, now)


def read_tcf_canada(text: str, now: int | None) -> tuple[dict[str, Any], list[str]]:
    """Fields of section 5 and what speaks against accepting it.

    Raises:
        SignalMalformed: damaged, or a segment that the section does not have.
        SignalUnsupported: another version.
    """
    core, *others = text.split(".")
    bits = Bits(core, "Core")
    made = metadata(bits, _CANADA_VERSION)
    fields = _head(_CANADA_VERSION, made, "TcfPolicyVersion") | _canada_core(bits)
    bits.finish()
    segments: dict[str, Any] = {}
    for other in others:
        kind = segment_kind(other)
        if kind in segments or kind == "AllowedVendors":
            raise SignalMalformed(kind, "DisclosedVendors and PublisherTC, each once", kind)
        segments[kind] = _canada_segment(Bits(other, kind), kind)
    fields |= _canada_publisher(segments.get("PublisherTC", _NONE))
    fields |= {"DisclosedVendorsSegmentType": _DISCLOSED, "DisclosedVendors": segments.get("DisclosedVendors", [])}
    return fields, metadata_objections(made, now)


def _head(version: int, made: Metadata, policy: str) -> dict[str, Any]:
    return {
        "Version": version,
        "Created": write_instant(made.created),
        "LastUpdated": write_instant(made.updated),
        "CmpId": made.cmp,
        "CmpVersion": made.cmp_version,
        "ConsentScreen": made.screen,
        "ConsentLanguage": made.language,
        "VendorListVersion": made.vendor_list,
        policy: made.policy,
    }


def _canada_core(bits: Bits) -> dict[str, Any]:
    return {
        "UseNonStandardStacks": bits.boolean("UseNonStandardStacks"),
        "SpecialFeatureExpressConsent": bits.flags(12, "SpecialFeatureExpressConsent"),
        "PurposesExpressConsent": bits.flags(PURPOSES, "PurposesExpressConsent"),
        "PurposesImpliedConsent": bits.flags(PURPOSES, "PurposesImpliedConsent"),
        "VendorExpressConsent": optimised_list(bits, "VendorExpressConsent"),
        "VendorImpliedConsent": optimised_list(bits, "VendorImpliedConsent"),
        "PubRestrictions": _restricted(restrictions(bits, "PubRestrictions", optimised_list)),
    }


def _canada_segment(bits: Bits, kind: str) -> list[int] | PublisherPurposes:
    bits.integer(3, "SubsectionType")
    read = publisher_purposes(bits) if kind == "PublisherTC" else optimised_list(bits, kind)
    bits.finish()
    return read


def _canada_publisher(publisher: PublisherPurposes) -> dict[str, Any]:
    return {
        "PubPurposesSegmentType": _PUBLISHER,
        "PubPurposesExpressConsent": list(publisher.consents),
        "PubPurposesImpliedConsent": list(publisher.interests),
        "NumCustomPurposes": len(publisher.custom_consents),
        "CustomPurposesExpressConsent": list(publisher.custom_consents),
        "CustomPurposesImpliedConsent": list(publisher.custom_interests),
    }


def _restricted(found: list[Restriction]) -> list[dict[str, Any]]:
    return [{"key": one.purpose, "type": one.kind, "ids": one.vendors} for one in found]
