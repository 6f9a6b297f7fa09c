"""Why something is left out of "everything the agent knows", in German; the export's own reasons are in English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consent.registry import Language

_LINK: Final = "eine Nummer, die Zeilen in diesem Speicher ordnet; sie sagt nichts über Sie"
_AGAIN: Final = "wann dieses Gerät wieder sendet, was der Betreiber abgelehnt hat; es sagt nichts über Sie"
_PIN: Final = "damit ließe sich eine PIN aus wenigen Ziffern durchprobieren"
_COOKIE: Final = "womit ein Browser sich ausweist; wer es hat, wird für diesen Browser gehalten"
_OUTCOME: Final = "in Worten enthalten, als Ergebnis"
_BYTES: Final = (
    "maskierte Bytes, zufällig für alle ohne den Anteil der Datenschutzstelle; stattdessen ist ihre Größe enthalten"
)
REASONS_DE: Final[Mapping[tuple[str, str | None], str]] = {
    ("receipts", "sequence"): _LINK,
    ("receipts", "clock_segment"): _LINK,
    ("receipts", "refusals"): _AGAIN,
    ("receipts", "due_at"): _AGAIN,
    ("consent_heads", "bucket"): _LINK,
    ("consent_evidence", "sequence"): _LINK,
    ("consent_changes", "participant_id"): _LINK,
    ("consent_changes", "change"): _LINK,
    ("reports", "token"): "ein Geheimnis, das diesen Bericht bei der Datenschutzstelle zurücknimmt; wer es hat, kann "
    "das an Ihrer Stelle tun",
    ("reports", "frame"): _BYTES,
    ("reports", "seal"): _BYTES,
    ("contributions", "taken_back"): _OUTCOME,
    ("contributions", "helper"): _OUTCOME,
    ("events", "sequence"): _LINK,
    ("events", "event_id"): "im ganzen Ereignis enthalten",
    ("participants", "next_seed"): "der geheime Signaturschlüssel, der folgen soll",
    (
        "participants",
        "rotation",
    ): "was beide Schlüssel zum Wechsel unterschrieben haben; es steht danach bei den Antworten",
    ("participants", "rotations"): "wie viele Schlüsselwechsel bei den Antworten stehen",
    ("participants", "seed"): "der geheime Signaturschlüssel; hier steht, dass es ihn gibt, und sein öffentlicher Teil",
    ("people", "pin_salt"): _PIN,
    ("people", "pin_digest"): _PIN,
    ("browsers", "page"): _COOKIE,
    ("browsers", "site"): _COOKIE,
    ("browsers", "secret"): "ein zufälliger Schlüssel; er öffnet, was das Skript der Seite in diesem Browser "
    "versiegelt hat, und sagt selbst nichts",
    ("ledger_rows", None): "der Zähler des Verbrauchs, unter einem Pseudonym; eine Löschung lässt ihn stehen, sonst "
    "ließe sich Budget durch Löschen gewinnen; Ausgaben lassen das Budget aus: eine fehlende Buchung neben einem "
    "Bericht oder ein verbrauchtes Budget verriete, welche Berichte leer waren. Es steht auf der eigenen Seite des "
    "Agenten, und der Befehl status zeigt es",
    ("ledger_heads", None): "die Enden der Zähler des Verbrauchs, unter denselben Pseudonymen",
    (
        "tallies",
        None,
    ): "was dieses Gerät je Nutzung zählt, für alle dahinter zusammen: in niemandes Ausgabe, denn "
    "diese zählt Ihre eigenen Berichte; die Zahlen beginnen wieder bei 0, wenn jemand gelöscht wird",
    ("rounds", None): "welche Fragen dieses Gerät gesehen hat, wer auch immer sie beantwortet hat",
    ("taken_back", None): "Berichte, die bei der Datenschutzstelle zurückzunehmen sind: kein Name, keine Person; "
    "gelöscht, sobald sie davon gehört hat",
    ("outbox", None): "signierte Widerrufe von Personen, die gelöscht wurden, ohne Namen und Schlüssel, also "
    "niemandes; gelöscht, sobald sie bestätigt sind",
    ("consent_buckets", None): "Prüfsummen über die Enden der Einwilligungsverzeichnisse, die ohne diese nichts sagen",
    ("clock_marks", None): "die späteste Zeit, die dieses Gerät gesehen hat",
    ("facts", None): "benannte Werte des Agenten, keiner davon über eine Person",
    ("sqlite_sequence", None): "gehört SQLite selbst",
}
"""By table and column; without a column, of the whole table."""


def withheld_reason(table: str, column: str | None, reason: str, language: Language) -> str:
    """Why something is left out; the export's own words where there are no others.

    Args:
        table: where it is kept.
        column: which part of it; None for all.
        reason: as the export gives it.
        language: of the page.
    """
    return REASONS_DE.get((table, column), reason) if language == "de" else reason
