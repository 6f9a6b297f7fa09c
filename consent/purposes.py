"""The purposes that Hearthside asks consent for, in English and German. All are off until a person grants them.

Raise a purpose's ``version`` whenever its meaning changes: an old receipt never covers a new version, so everyone is
asked again. The registry's hash changes with any word; it is bound into every seal as the policy hash.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from consent.categories import BROWSING, CHOICES, CONCLUSIONS, PURCHASES, SHOWN, VISITS
from consent.registry import DPV, RECIPIENTS_OF, RECORDS_OF, DataCategory, Leaves, Purpose, PurposeText, Registry

PERSONA: Final = "persona"
INTENT: Final = "intent"
CHURN: Final = "churn"
NEXT_ACTION: Final = "next_action"
MEASUREMENT: Final = "measurement"
EXPERIMENTS: Final = "experiments"
PERSONALISATION: Final = "personalisation"

_MASKED_EN = (
    "It leaves only masked; two separate services add it up with those of many others, and each adds noise before "
    "anyone sees the total."
)
_MASKED_DE = (
    "Er verlässt das Gerät nur maskiert; zwei getrennte Dienste summieren ihn mit denen vieler anderer auf und fügen "
    "jeweils Rauschen hinzu, bevor jemand die Summe sieht."
)
_NO_EN = "Nothing changes for you."
_NO_DE = "Für Sie ändert sich nichts."
_BROWSING = ("page_view", "product_view", "click", "scroll", "dwell", "session")


def _purpose(
    purpose_id: str,
    *,
    version: int,
    en: PurposeText,
    de: PurposeText,
    signals: tuple[str, ...],
    leaves: Leaves,
    days: int,
    categories: tuple[DataCategory, ...],
    vocabulary: str,
) -> Purpose:
    return Purpose(
        purpose_id,
        version,
        (("en", en), ("de", de)),
        signals,
        leaves,
        days,
        categories,
        vocabulary=DPV + vocabulary,
        recipients=RECIPIENTS_OF[leaves],
        records=RECORDS_OF[leaves],
    )


PURPOSES: Final = Registry(
    (
        _purpose(
            PERSONALISATION,
            version=1,
            en=PurposeText(
                "Fit this site to you, on your device",
                "Your device chooses which variant of a page you see, from what you did on this site.",
                "Pages and products you viewed, clicks, scrolling, time spent and purchases on this site.",
                "Nothing but your signed answer is sent for this. But what a page shows you is visible to that page, "
                "and the site can guess from it which group you were counted to.",
                "You see the site's usual pages. Nothing else changes.",
            ),
            de=PurposeText(
                "Diese Website an Sie anpassen, auf Ihrem Gerät",
                "Ihr Gerät wählt anhand Ihres Verhaltens auf dieser Website aus, welche Fassung einer Seite Sie sehen.",
                "Angesehene Seiten und Produkte, Klicks, Scrollen, Verweildauer und Käufe auf dieser Website.",
                "Dafür wird nichts gesendet als Ihre unterschriebene Antwort. Was eine Seite Ihnen zeigt, sieht "
                "jedoch auch diese Seite; daraus lässt sich schließen, welcher Gruppe Sie zugeordnet wurden.",
                "Sie sehen die üblichen Seiten der Website. Sonst ändert sich nichts.",
            ),
            signals=(*_BROWSING, "cart", "purchase"),
            leaves="nothing",
            days=30,
            categories=(BROWSING, PURCHASES, CONCLUSIONS),
            vocabulary="ServicePersonalisation",
        ),
        _purpose(
            PERSONA,
            version=1,
            en=PurposeText(
                "Find typical kinds of visitors",
                "Helps to describe a few typical kinds of visitors, so that pages can be made for each kind.",
                "A summary of the kinds of pages and products you viewed and how long you stayed.",
                f"Your share of the averages of each kind. {_MASKED_EN}",
                _NO_EN,
            ),
            de=PurposeText(
                "Typische Besuchergruppen finden",
                "Hilft, einige typische Arten von Besuchern zu beschreiben, damit es für jede passende Seiten gibt.",
                "Eine Zusammenfassung der Arten von Seiten und Produkten, die Sie ansahen, und wie lange Sie blieben.",
                f"Ihr Anteil an den Mittelwerten jeder Gruppe. {_MASKED_DE}",
                _NO_DE,
            ),
            signals=_BROWSING,
            leaves="masked_sum",
            days=30,
            categories=(BROWSING, CONCLUSIONS),
            vocabulary="Personalisation",
        ),
        _purpose(
            INTENT,
            version=1,
            en=PurposeText(
                "Learn to recognise an intent to buy",
                "Your device helps to train a small shared model that estimates whether a visit leads to a purchase.",
                "A summary of each visit: kinds of pages, time spent, and whether you bought something.",
                f"A change to the shared model, learned on your device. {_MASKED_EN}",
                _NO_EN,
            ),
            de=PurposeText(
                "Kaufabsicht erkennen lernen",
                "Ihr Gerät hilft, ein kleines gemeinsames Modell zu trainieren, das schätzt, ob ein Besuch zu einem "
                "Kauf führt.",
                "Eine Zusammenfassung jedes Besuchs: Arten von Seiten, Verweildauer und ob Sie etwas gekauft haben.",
                f"Ihr Beitrag zum gemeinsamen Modell, auf Ihrem Gerät gelernt. {_MASKED_DE}",
                _NO_DE,
            ),
            signals=(*_BROWSING, "cart", "purchase"),
            leaves="masked_sum",
            days=30,
            categories=(BROWSING, PURCHASES),
            vocabulary="OptimisationForController",
        ),
        _purpose(
            CHURN,
            version=1,
            en=PurposeText(
                "Learn when visitors stop coming back",
                "Your device helps to train a small shared model that estimates whether a visitor will return.",
                "When you visited this site, and a summary of those visits.",
                f"A change to the shared model, learned on your device. {_MASKED_EN}",
                _NO_EN,
            ),
            de=PurposeText(
                "Lernen, wann Besucher nicht wiederkommen",
                "Ihr Gerät hilft, ein kleines gemeinsames Modell zu trainieren, das schätzt, ob jemand wiederkommt.",
                "Wann Sie diese Website besucht haben, und eine Zusammenfassung dieser Besuche.",
                f"Ihr Beitrag zum gemeinsamen Modell, auf Ihrem Gerät gelernt. {_MASKED_DE}",
                _NO_DE,
            ),
            signals=("session", "page_view", "dwell", "purchase"),
            leaves="masked_sum",
            days=30,
            categories=(VISITS, PURCHASES),
            vocabulary="CustomerRelationshipManagement",
        ),
        _purpose(
            NEXT_ACTION,
            version=1,
            en=PurposeText(
                "Learn which step usually comes next",
                "Your device helps to train a small shared model of which kind of page usually follows which.",
                "The order of the kinds of pages you viewed within a visit.",
                f"A change to the shared model, learned on your device. {_MASKED_EN}",
                _NO_EN,
            ),
            de=PurposeText(
                "Lernen, welcher Schritt meist folgt",
                "Ihr Gerät hilft, ein kleines gemeinsames Modell zu trainieren, welche Art von Seite meist auf welche "
                "folgt.",
                "Die Reihenfolge der Arten von Seiten, die Sie während eines Besuchs ansahen.",
                f"Ihr Beitrag zum gemeinsamen Modell, auf Ihrem Gerät gelernt. {_MASKED_DE}",
                _NO_DE,
            ),
            signals=("page_view", "product_view", "click", "session"),
            leaves="masked_sum",
            days=30,
            categories=(BROWSING,),
            vocabulary="OptimiseUserInterface",
        ),
        _purpose(
            MEASUREMENT,
            version=2,
            en=PurposeText(
                "Count how the site is used",
                "Helps to count how visitors move between kinds of pages, how long they stay, and which share of them "
                "said yes to each use.",
                "The kinds of pages you viewed, in which order, and the time spent on each; how much you use this "
                "site; and which of the uses on this page you said yes to.",
                "Your part of the counts (also of which of these uses people say yes to, by how much they use the "
                f"site). {_MASKED_EN}",
                _NO_EN,
            ),
            de=PurposeText(
                "Zählen, wie die Website genutzt wird",
                "Hilft zu zählen, wie Besucher zwischen Arten von Seiten wechseln, wie lange sie bleiben und welcher "
                "Anteil von ihnen zu welcher Nutzung Ja gesagt hat.",
                "Die Arten von Seiten, die Sie ansahen, deren Reihenfolge und die jeweilige Verweildauer; wie viel "
                "Sie diese Website nutzen; und zu welchen der Nutzungen auf dieser Seite Sie Ja gesagt haben.",
                "Ihr Anteil an den Zählungen (auch daran, zu welchen dieser Nutzungen Menschen Ja sagen, je nachdem "
                f"wie viel sie die Website nutzen). {_MASKED_DE}",
                _NO_DE,
            ),
            signals=("page_view", "product_view", "scroll", "dwell", "session"),
            leaves="masked_sum",
            days=30,
            categories=(BROWSING, VISITS, CHOICES),
            vocabulary="ServiceUsageAnalytics",
        ),
        _purpose(
            EXPERIMENTS,
            version=1,
            en=PurposeText(
                "Compare variants of a page",
                "Helps to learn which of two or more variants of a page works better. Your device draws the variant.",
                "Which variant you were shown, and what you did afterwards on this site.",
                f"Your part of each variant's counts. {_MASKED_EN}",
                _NO_EN,
            ),
            de=PurposeText(
                "Fassungen einer Seite vergleichen",
                "Hilft herauszufinden, welche von mehreren Fassungen einer Seite besser wirkt. Ihr Gerät lost die "
                "Fassung aus.",
                "Welche Fassung Ihnen gezeigt wurde und was Sie danach auf dieser Website taten.",
                f"Ihr Anteil an den Zählungen jeder Fassung. {_MASKED_DE}",
                _NO_DE,
            ),
            signals=("exposure", "page_view", "click", "cart", "purchase"),
            leaves="masked_sum",
            days=30,
            categories=(BROWSING, PURCHASES, SHOWN),
            vocabulary="ImproveExistingProductsAndServices",
        ),
    )
)
"""The installed registry: seven purposes, on-device personalisation first."""

POLICY_UPDATED: Final = dt.date(2026, 11, 22)
"""When the installed purposes, or what Global Privacy Control does to them, last changed: the date in ``gpc.json``."""


def registry_hash(registry: Registry = PURPOSES) -> bytes:
    """The policy hash (32 bytes) that device and helper bind into every seal."""
    return registry.hash
