"""The terms of the W3C Data Privacy Vocabulary (DPV) that are used anywhere: in receipts and in the registry.

Each is in the vocabulary's own lists, github.com/w3c/dpv, versions 2.0 and 2.3 (the file is named beside each). The
namespaces carry no version: those are the ones that the vocabulary gives its terms, and that its guides use.
"""

from __future__ import annotations

DPV = "https://w3id.org/dpv#"
DPV_PERSONAL_DATA = "https://w3id.org/dpv/pd#"

RECEIPT_TERMS = frozenset(
    {
        "ConsentGiven",
        "ConsentNotice",
        "ConsentReceipt",
        "ConsentRefused",
        "ConsentWithdrawn",
        "DataController",
        "DataSubject",
        "Process",
        "Service",
        "TemporalDuration",
        "WithdrawConsent",
        "hasConsentControl",
        "hasConsentStatus",
        "hasContact",
        "hasDataController",
        "hasDataSubject",
        "hasDuration",
        "hasJurisdiction",
        "hasLegalBasis",
        "hasNotice",
        "hasProcess",
        "hasPurpose",
        "hasService",
        "isExercisedAt",
        "isIndicatedAtTime",
        "isIndicatedBy",
    }
)
"""Of dpv.csv: what a receipt may use, and none more than a receipt uses."""
PURPOSE_TERMS = frozenset(
    {
        "CustomerRelationshipManagement",
        "ImproveExistingProductsAndServices",
        "OptimisationForController",
        "OptimiseUserInterface",
        "Personalisation",
        "ServicePersonalisation",
        "ServiceUsageAnalytics",
    }
)
"""Of dpv.csv, module *purposes*: what stands for a purpose."""
DATA_TERMS = frozenset({"GeneratedPersonalData", "InferredPersonalData"})
"""Of dpv.csv, module *personal data*."""
EXTENDED_DATA_TERMS = frozenset({"BrowsingBehavior", "PrivacyPreference", "Purchase", "ServiceConsumptionBehavior"})
"""Of pd.csv, the extension of personal data categories."""

KNOWN = {
    DPV: RECEIPT_TERMS | PURPOSE_TERMS | DATA_TERMS,
    DPV_PERSONAL_DATA: EXTENDED_DATA_TERMS,
    "https://w3id.org/dpv/legal/eu/gdpr#": {"A6-1-a"},  # eu-gdpr.csv of the same place
    "https://w3id.org/dpv/loc#": {"EU"},  # loc.csv
    "https://w3id.org/dpv/schema/dpv-27560#": {"receipt"},  # the profile of consent receipts in the DPV guide
    "http://purl.org/dc/terms/": {"conformsTo", "identifier", "language"},  # DCMI Metadata Terms
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": {"value"},
    "urn:hearthside:terms:1:": {"deviceKey", "epoch", "fingerprint", "gpc", "raw", "standing"},
}
"""Every term by namespace, those of other vocabularies and our own among them."""


def exists(iri: str) -> bool:
    """Whether an IRI is a term of a vocabulary that is used here."""
    space = max((space for space in KNOWN if iri.startswith(space)), key=len, default="")
    return bool(space) and iri.removeprefix(space) in KNOWN[space]
