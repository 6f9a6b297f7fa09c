"""The kinds of personal data that the purposes use, in terms of the W3C Data Privacy Vocabulary and in plain words."""

from __future__ import annotations

from typing import Final

from consent.registry import DPV, DPV_PERSONAL_DATA, DataCategory

BROWSING: Final = DataCategory(
    DPV_PERSONAL_DATA + "BrowsingBehavior",
    (
        ("en", "what you look at and click on this site"),
        ("de", "was Sie auf dieser Website ansehen und anklicken"),
    ),
)
VISITS: Final = DataCategory(
    DPV_PERSONAL_DATA + "ServiceConsumptionBehavior",
    (
        ("en", "when and how much you use this site"),
        ("de", "wann und wie viel Sie diese Website nutzen"),
    ),
)
PURCHASES: Final = DataCategory(
    DPV_PERSONAL_DATA + "Purchase",
    (
        ("en", "what you put into the cart and buy on this site"),
        ("de", "was Sie auf dieser Website in den Warenkorb legen und kaufen"),
    ),
)
SHOWN: Final = DataCategory(
    DPV + "GeneratedPersonalData",
    (
        ("en", "which variant of a page your device drew"),
        ("de", "welche Fassung einer Seite Ihr Gerät ausgelost hat"),
    ),
)
CONCLUSIONS: Final = DataCategory(
    DPV + "InferredPersonalData",
    (
        ("en", "what your device concludes from it, such as a kind of visitor"),
        ("de", "was Ihr Gerät daraus schließt, etwa eine Besuchergruppe"),
    ),
)
CHOICES: Final = DataCategory(
    DPV_PERSONAL_DATA + "PrivacyPreference",
    (
        ("en", "your own answers to these questions"),
        ("de", "Ihre Antworten auf diese Fragen"),
    ),
)
