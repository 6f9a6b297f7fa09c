"""What the tables of "everything the agent knows" and their columns are called, in each language.

The export's own names are stable and for programs; these are for reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from client_agent.export_columns import SECTIONS
from consent.registry import LANGUAGES, Language

_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "sites": ("Sites", "Websites"),
    "purposes": ("Uses and your answers", "Nutzungen und Ihre Antworten"),
    "receipts": ("Signed receipts", "Signierte Belege"),
    "choices": ("Ledger of choices", "Verzeichnis der Entscheidungen"),
    "ledgers": ("State of your ledgers", "Stand Ihrer Verzeichnisse"),
    "evidence": ("Rows set aside", "Beiseitegelegte Zeilen"),
    "gpc": ("Global Privacy Control", "Global Privacy Control"),
    "events": ("Collected events", "Gesammelte Ereignisse"),
    "profile": ("Profile", "Profil"),
    "decisions": ("Conclusions", "Schlüsse"),
    "contributions": ("Reports that left", "Berichte, die das Gerät verließen"),
    "reports": ("Reports of open rounds", "Berichte offener Runden"),
    "sent": ("What left, in total", "Was das Gerät verließ, insgesamt"),
    "people": ("You in this household", "Sie in diesem Haushalt"),
    "browsers": ("Your browsers", "Ihre Browser"),
    "waiting": ("Yet to be delivered", "Noch zuzustellen"),
    "context": ("Whom this agent trusts", "Wem dieser Agent vertraut"),
    "withheld": ("What is left out", "Was fehlt"),
}

_ABOUT_DE: Final[Mapping[str, str]] = {
    "sites": "Die Websites, auf denen dieser Agent für Sie spricht, und der Schlüssel, mit dem er dort für Sie "
    "signiert.",
    "purposes": "Was Sie erlaubt haben, Nutzung für Nutzung, wie es jetzt gilt, und die Regel dazu.",
    "receipts": "Ihre signierten Einwilligungsbelege und die signierten Bestätigungen des Betreibers.",
    "choices": "Jede Entscheidung, jede Bestätigung und jedes beobachtete Widerspruchssignal, der Reihe nach "
    "verkettet.",
    "ledgers": "Wo jedes Ihrer Verzeichnisse steht und warum es nicht zählt, falls es nicht zählt.",
    "evidence": "Zeilen aus einem Verzeichnis, das sich nicht prüfen ließ.",
    "gpc": "Was Global Privacy Control einer Website für Sie vorenthielt, je Tag.",
    "events": "Was auf den Seiten der Website gesammelt wurde. Es hat dieses Gerät nie verlassen.",
    "profile": "Die Zahlen, die daraus berechnet werden: Ihr Profil der letzten 30 Tage.",
    "decisions": "Was diese Zahlen jetzt aus Ihnen machen: Persona, Segmente, Werte und was Seiten zeigen würden.",
    "contributions": "Berichte, die für Sie das Gerät verließen, und die Veröffentlichungen, in denen sie sein "
    "können. Leere sind darunter, ungekennzeichnet.",
    "reports": "Für Sie erstellte Berichte, deren Runde nicht vorbei ist. Leere sind darunter, ungekennzeichnet.",
    "sent": "Was für Sie je Nutzung dieses Gerät verließ.",
    "people": "Wie dieser Agent Sie unter den Personen des Haushalts kennt.",
    "browsers": "Die Browser, die dieser Agent für Ihre hält.",
    "waiting": "Was dieses Gerät für Sie noch zustellen muss.",
    "context": "Wem zu vertrauen diesem Agenten aufgegeben wurde.",
    "withheld": "Was diese Ausgabe auslässt, und warum.",
}

_COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "address": ("Address", "Adresse"),
    "allowed": ("Allowed", "Erlaubt"),
    "at": ("When", "Wann"),
    "column": ("Column", "Spalte"),
    "confirmation": ("Privacy office’s signature", "Signatur der Datenschutzstelle"),
    "content": ("Signed text", "Signierter Text"),
    "countersignature": ("Operator’s signature", "Signatur des Betreibers"),
    "created_at": ("First seen", "Zuerst gesehen"),
    "day": ("Day", "Tag"),
    "device_id": ("Device’s name there", "Name des Geräts dort"),
    "digest": ("Fingerprint", "Fingerabdruck"),
    "enrolled_at": ("Enrolled", "Angemeldet"),
    "epoch": ("Changes", "Änderungen"),
    "event": ("Whole event", "Ganzes Ereignis"),
    "failed_at": ("Last wrong PIN", "Letzte falsche PIN"),
    "failures": ("Wrong PINs", "Falsche PINs"),
    "fault": ("Why it does not count", "Warum es nicht zählt"),
    "feature": ("Figure", "Größe"),
    "fingerprint": ("Fingerprint", "Fingerabdruck"),
    "gate": ("Where", "Wo"),
    "head": ("Last row", "Letzte Zeile"),
    "key_fingerprint": ("Your key’s fingerprint", "Fingerabdruck Ihres Schlüssels"),
    "kind": ("Kind", "Art"),
    "lasting": ("Remembered", "Wird erinnert"),
    "leader_fingerprint": ("Operator’s fingerprint", "Fingerabdruck des Betreibers"),
    "leader_key": ("Operator’s key", "Schlüssel des Betreibers"),
    "length": ("Rows", "Zeilen"),
    "name": ("Name", "Name"),
    "number": ("Number", "Anzahl"),
    "opened_at": ("Last PIN", "Letzte PIN"),
    "outcome": ("Outcome", "Ergebnis"),
    "outcome_text": ("What became of it", "Was daraus wurde"),
    "path": ("Page", "Seite"),
    "person": ("Your name here", "Ihr Name hier"),
    "position": ("Place", "Stelle"),
    "pseudonym": ("Your pseudonym", "Ihr Pseudonym"),
    "public_key": ("Public key", "Öffentlicher Schlüssel"),
    "purpose": ("Use", "Nutzung"),
    "reason": ("Why", "Warum"),
    "receipt": ("Receipt", "Beleg"),
    "removal": ("Operator’s word on its removal", "Wort des Betreibers zur Entfernung"),
    "report_id": ("Report", "Bericht"),
    "reports": ("Reports", "Berichte"),
    "role": ("Who", "Wer"),
    "round": ("Round", "Runde"),
    "rule": ("Rule", "Regel"),
    "sent_at": ("Sent", "Gesendet"),
    "signing_key_exists": ("Has a signing key", "Hat einen Signaturschlüssel"),
    "site": ("Site", "Website"),
    "size_bytes": ("Bytes", "Bytes"),
    "slot_at": ("To be sent", "Versand"),
    "state": ("State", "Stand"),
    "study": ("Study’s fingerprint", "Fingerabdruck der Studie"),
    "study_id": ("Study", "Studie"),
    "table": ("Table", "Tabelle"),
    "title": ("Title", "Titel"),
    "used_at": ("Last used", "Zuletzt benutzt"),
    "value": ("Value", "Wert"),
    "what": ("What", "Was"),
    "withheld": ("Times", "Male"),
}


_WAITING_DE: Final[Mapping[str, str]] = {
    "receipts that the leader has not answered": "Belege, die der Betreiber nicht beantwortet hat",
    "reports to be taken back at the helper": "Berichte, die bei der Datenschutzstelle zurückzunehmen sind",
}


def table_title(section: str, language: Language) -> str:
    """What a section is called; the export's own name where there is no other."""
    found = _TITLES.get(section)
    return found[LANGUAGES.index(language)] if found else section


def table_about(section: str, language: Language) -> str:
    """What a section holds, in a sentence."""
    return _ABOUT_DE.get(section, "") if language == "de" else SECTIONS[section]


def column_label(column: str, language: Language) -> str:
    """What a column is called; the export's own name where there is no other."""
    found = _COLUMNS.get(column)
    return found[LANGUAGES.index(language)] if found else column


def waiting_words(what: str, language: Language) -> str:
    """What waits to be delivered; the export's own words where there are no others."""
    return _WAITING_DE.get(what, what) if language == "de" else what
