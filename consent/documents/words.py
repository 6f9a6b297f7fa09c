"""Fixed phrases of the privacy notice and of the figures that several documents share, in each language."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from consent.documents.facts import Facts
from consent.explanations import EXPLANATIONS
from consent.registry import Language, LegalReference, Purpose, ServerRecord


@dataclass(frozen=True, slots=True)
class NoticeWords:
    """The privacy notice's headings and phrases. Braces are filled in from the facts."""

    title: str
    dated: str
    controller: str
    contact: str
    representative: str
    officer: str
    short: str
    in_short: tuple[str, ...]
    purposes: str
    purposes_lead: str
    data: str
    reads: str
    leaves: str
    basis: str
    recipients: str
    kept: str
    refusal: str
    sights: str
    sights_columns: tuple[str, str]
    transfers: str
    no_transfers: str
    hosting: str
    helper: str
    retention: str
    retention_device: str
    device: str
    device_erased: str
    device_left: str
    browser: str
    browser_lead: str
    retention_receipt: str
    budget: str
    rights: str
    rights_columns: tuple[str, str, str]
    withdrawal: str
    complaint: str
    complaint_at: str
    duty: str
    automated: str
    source: str
    source_text: str
    modes: str
    people: str
    signal: str


NOTICE_WORDS: Final[dict[Language, NoticeWords]] = {
    "en": NoticeWords(
        title="Privacy notice: {site}",
        dated="As of {date}. It covers Hearthside on this site, and nothing else that the site does (GDPR Art. 13).",
        controller="Who is responsible",
        contact="Contact: {contact}",
        representative="Representative in the Union: {representative}",
        officer="Data protection officer: {officer}",
        short="In short",
        in_short=(
            (
                "What is recorded of what you do on this site stays with a program called the agent. Before you say "
                "yes, nothing of what you do is recorded."
            ),
            (
                "Where something of it leaves, it leaves as masked numbers that only make sense added up over many "
                "devices. Beside them your device sends its public key, each yes, and each yes that you take back."
            ),
            (
                "You can take back every yes in one step, see what is kept about you, take it with you, and erase it. "
                "What stays then is said below."
            ),
        ),
        purposes="What for",
        purposes_lead="Each of these uses is off until you switch it on, and each can be switched on alone.",
        data="Data: {data}.",
        reads="Read on the device: {reads}",
        leaves="Leaves the device: {leaves}",
        basis="Legal basis: your consent ({basis}).",
        recipients="Recipients: {recipients}.",
        kept="Kept on the device: what is recorded for it, {days} days.",
        refusal="If you say no: {refusal}",
        sights="Who can see what",
        sights_columns=("who", "what"),
        transfers="Transfers outside the European Union",
        no_transfers="There are none.",
        hosting="The operator's server is hosted by {hosting}.",
        helper="The privacy office is run by {operator}, {address} ({contact}).",
        retention="How long anything is kept",
        retention_device="{title}: what is recorded for it, {days} days on the device; then it is deleted there.",
        device="What the agent keeps on the device",
        device_erased="This is deleted when you erase everything about you:",
        device_left="This stays after that, or comes with it:",
        browser="What is stored in your browser",
        browser_lead="Only for what you ask for (ePrivacy Directive Art. 5(3)): to know this browser once you said "
        "who you are, and to hand over what you allowed. The port and, under https, a prefix are part of a cookie's "
        "name.",
        retention_receipt="A yes holds for {valid_days} days; then you are asked again.",
        budget="How much the results can say about you",
        rights="Your rights",
        rights_columns=("right", "law", "how to use it"),
        withdrawal="Taking a yes back",
        complaint="Complaints",
        complaint_at="Here: {name}, {contact}.",
        duty="Must you say yes?",
        automated="Automated decisions",
        source="Where the data comes from",
        source_text="From what happens on this site's pages in your browser. No data about you is bought or brought "
        "in from elsewhere, and none is sold.",
        modes="Where the agent runs",
        people="Children, people whom it does not know, private windows",
        signal="Global Privacy Control",
    ),
    "de": NoticeWords(
        title="Datenschutzhinweise: {site}",
        dated="Stand: {date}. Sie gelten für Hearthside auf dieser Website und für nichts anderes, was die Website tut "
        "(DSGVO Art. 13).",
        controller="Wer verantwortlich ist",
        contact="Kontakt: {contact}",
        representative="Vertretung in der Union: {representative}",
        officer="Datenschutzbeauftragte oder Datenschutzbeauftragter: {officer}",
        short="Kurz gesagt",
        in_short=(
            (
                "Was von Ihrem Tun auf dieser Website aufgezeichnet wird, bleibt bei einem Programm, dem Agenten. "
                "Bevor Sie Ja sagen, wird nichts davon aufgezeichnet."
            ),
            (
                "Wo etwas davon das Gerät verlässt, sind es maskierte Zahlen, die nur als Summe über viele Geräte "
                "einen Sinn ergeben. Außerdem sendet Ihr Gerät seinen öffentlichen Schlüssel, jedes Ja und jedes "
                "zurückgenommene Ja."
            ),
            (
                "Sie können jedes Ja in einem Schritt zurücknehmen, sehen, was über Sie aufbewahrt wird, es mitnehmen "
                "und löschen. Was dann bleibt, steht unten."
            ),
        ),
        purposes="Wofür",
        purposes_lead="Jede dieser Nutzungen ist aus, bis Sie sie einschalten; Sie können jede einzeln erlauben.",
        data="Daten: {data}.",
        reads="Auf dem Gerät gelesen: {reads}",
        leaves="Verlässt das Gerät: {leaves}",
        basis="Rechtsgrundlage: Ihre Einwilligung ({basis}).",
        recipients="Empfänger: {recipients}.",
        kept="Auf dem Gerät aufbewahrt: was dafür aufgezeichnet wird, {days} Tage.",
        refusal="Wenn Sie Nein sagen: {refusal}",
        sights="Wer was sehen kann",
        sights_columns=("wer", "was"),
        transfers="Übermittlung in Länder außerhalb der Europäischen Union",
        no_transfers="Es gibt keine.",
        hosting="Den Server des Betreibers stellt {hosting} bereit.",
        helper="Die Datenschutzstelle betreibt {operator}, {address} ({contact}).",
        retention="Wie lange etwas aufbewahrt wird",
        retention_device="{title}: was dafür aufgezeichnet wird, {days} Tage auf dem Gerät; dann wird es gelöscht.",
        device="Was der Agent auf dem Gerät aufbewahrt",
        device_erased="Das wird gelöscht, wenn Sie alles über sich löschen:",
        device_left="Das bleibt danach oder kommt hinzu:",
        browser="Was in Ihrem Browser gespeichert wird",
        browser_lead="Nur für das, was Sie verlangen (TDDDG § 25, nach ePrivacy-Richtlinie Art. 5 Abs. 3): um diesen "
        "Browser zu erkennen, sobald Sie gesagt haben, wer Sie sind, und um zu übergeben, was Sie erlaubt haben. Der "
        "Port und, unter https, ein Vorsatz gehören zum Namen eines Cookies.",
        retention_receipt="Ein Ja gilt {valid_days} Tage; dann werden Sie erneut gefragt.",
        budget="Wie viel die Ergebnisse über Sie sagen können",
        rights="Ihre Rechte",
        rights_columns=("Recht", "Gesetz", "so nutzen Sie es"),
        withdrawal="Ein Ja zurücknehmen",
        complaint="Beschwerden",
        complaint_at="Zuständig ist: {name}, {contact}.",
        duty="Müssen Sie Ja sagen?",
        automated="Automatische Entscheidungen",
        source="Woher die Daten stammen",
        source_text="Aus dem, was auf den Seiten dieser Website in Ihrem Browser geschieht. Daten über Sie werden "
        "nicht zugekauft, nicht von anderswo geholt und nicht verkauft.",
        modes="Wo der Agent läuft",
        people="Kinder, Unbekannte, private Fenster",
        signal="Global Privacy Control",
    ),
}

_REFERENCES: Final[dict[Language, dict[LegalReference, str]]] = {
    "en": {
        "GDPR Art. 6(1)(a)": "GDPR Art. 6(1)(a)",
        "ePrivacy Directive Art. 5(3)": "ePrivacy Directive Art. 5(3)",
    },
    "de": {
        "GDPR Art. 6(1)(a)": "DSGVO Art. 6 Abs. 1 Buchst. a",
        "ePrivacy Directive Art. 5(3)": "TDDDG § 25 Abs. 1, nach ePrivacy-Richtlinie Art. 5 Abs. 3",
    },
}
_BUDGET: Final[dict[Language, tuple[str, str, str]]] = {
    "en": (
        (
            "Everything that is released about one device in any {days} days, taken together, is differentially "
            "private with epsilon {epsilon} and delta {delta}. Device level: all data of one device key, behind a "
            "gateway of one person. Zero-out: it is compared with the same results where that data is replaced by "
            "none and the device still reports."
        ),
        (
            "In plain words: through your taking part, the odds of any conclusion from the results change by at most "
            "a factor of {factor}, but for a chance of about {delta}. The device itself keeps count and stops in time."
        ),
        "With two devices both figures hold for each of them; together they allow more.",
    ),
    "de": (
        (
            "Alles, was über ein Gerät in beliebigen {days} Tagen veröffentlicht wird, ist zusammengenommen "
            "differenziell privat mit Epsilon {epsilon} und Delta {delta}. Ebene: das Gerät, also alle Daten eines "
            "Geräteschlüssels, hinter einem Gateway die eines Menschen. Vergleich: dieselben Ergebnisse, wenn diese "
            "Daten durch keine ersetzt sind und das Gerät dennoch berichtet (zero-out)."
        ),
        (
            "In einfachen Worten: Durch Ihre Teilnahme ändern sich die Chancen jedes Schlusses aus den Ergebnissen "
            "höchstens um den Faktor {factor}, außer mit einer Wahrscheinlichkeit von etwa {delta}. Das Gerät selbst "
            "zählt mit und hört rechtzeitig auf."
        ),
        "Mit zwei Geräten gelten beide Zahlen für jedes; zusammen erlauben sie mehr.",
    ),
}


_RAISED: Final = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def references(language: Language, given: tuple[LegalReference, ...]) -> str:
    """The legal references as a lawyer of that language writes them."""
    return "; ".join(_REFERENCES[language][each] for each in given)


def data_of(purpose: Purpose, language: Language) -> str:
    """The kinds of personal data that a purpose uses, in a row."""
    return "; ".join(category.text(language) for category in purpose.categories)


def recipients_of(purpose: Purpose, language: Language) -> str:
    """Who receives anything for a purpose, in a row."""
    names = dict(EXPLANATIONS[language].recipients)
    return ", ".join(names[each] for each in purpose.recipients)


def server_records(facts: Facts, language: Language) -> dict[ServerRecord, str]:
    """What the servers keep and for how long, by record, with the operator's figure."""
    return {record: words.format(receipts_days=facts.receipts_days) for record, words in EXPLANATIONS[language].records}


def budget_sentences(facts: Facts, language: Language) -> tuple[str, ...]:
    """The contract in words: figures, unit (device level) and neighbouring relation (zero-out) in the first."""
    figures = {
        "days": str(facts.budget_days),
        "epsilon": number(facts.budget_epsilon, language),
        "delta": small(facts.budget_delta, language),
        "factor": number(float(f"{math.exp(min(facts.budget_epsilon, 700)):.2g}"), language),
    }
    return tuple(sentence.format(**figures) for sentence in _BUDGET[language])


def number(value: float, language: Language) -> str:
    """A figure with the language's decimal sign."""
    text = f"{value:.6g}"
    return text.replace(".", ",") if language == "de" else text


def small(value: float, language: Language) -> str:
    """A small probability as a power of ten, raised figures included: ten to the minus six, five times that."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    power = "10" + str(int(exponent)).translate(_RAISED)
    return power if float(mantissa) == 1 else f"{number(float(mantissa), language)}\u00b7{power}"
