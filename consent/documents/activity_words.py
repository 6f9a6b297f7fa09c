"""Fixed phrases of the record of processing activities, in each language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consent.documents.facts import HelperRole
from consent.registry import Language


@dataclass(frozen=True, slots=True)
class ActivityWords:
    """The record's headings and phrases. Braces are filled in from the facts.

    ``fields`` and ``office_fields`` are the letters of Art. 30(1) and (2), in their order.
    """

    title: str
    office_title: str
    dated: str
    activity: str
    field: str
    entry: str
    fields: tuple[str, ...]
    office_fields: tuple[str, ...]
    controller: str
    representative: str
    officer: str
    office: str
    roles: tuple[tuple[HelperRole, str], ...]
    authority_note: str
    on_basis: str
    off_until: str
    subjects: str
    recipients: str
    page: str
    hosting: str
    no_transfers: str
    device_days: str
    device_title: str
    device_purpose: str
    device_subjects: str
    device_recipients: str
    device_limits: str
    proof_title: str
    proof_purpose: str
    proof_data: str
    proof_recipients: str
    proof_days: str
    measures: tuple[str, ...]
    office_work: tuple[str, ...]
    office_measures: tuple[str, ...]


ACTIVITY_WORDS: Final[dict[Language, ActivityWords]] = {
    "en": ActivityWords(
        title="Record of processing activities (GDPR Art. 30(1)): {site}",
        office_title="Record of processing activities (GDPR Art. 30(2)): {operator}",
        dated="As of {date}. It covers Hearthside on {site}; the operator keeps its other activities elsewhere.",
        activity="activity",
        field="field",
        entry="entry",
        fields=(
            "(a) controller, representative, data protection officer",
            "(b) purpose",
            "(c) data subjects and personal data",
            "(d) recipients",
            "(e) transfers to third countries",
            "(f) time limits for erasure",
            "(g) security measures",
        ),
        office_fields=(
            "(a) processor, controller, representative, data protection officer",
            "(b) categories of processing",
            "(c) transfers to third countries",
            "(d) security measures",
        ),
        controller="Controller: {name}, {address}, {contact}.",
        representative="Representative: {representative}.",
        officer="Data protection officer: {officer}.",
        office="Privacy office: {operator}, {address}, {contact} ({role}).",
        roles=(("processor", "processor"), ("joint_controller", "joint controller, Art. 26")),
        authority_note="Supervisory authority: {name}, {contact}.",
        on_basis="Legal basis: consent ({basis}).",
        off_until="Off until granted. No automated decision with legal effect.",
        subjects="Visitors of the site who said yes to this use.",
        recipients="Recipients: {recipients}. Nobody else.",
        page="What a page shows is seen by that page.",
        hosting="Hosting of the leader: {hosting}.",
        no_transfers="None.",
        device_days="On the device: what is recorded for it, {days} days.",
        device_title="Keep choices, keys, reports and the count of the budget on the device",
        device_purpose="Carry out what the person chose; know them again; show them which releases they may be in; "
        "keep what is released about them within the budget. Legal basis: what the person asked for (ePrivacy "
        "Directive Art. 5(3), exempt as necessary for it), and GDPR Art. 6(1)(c) with Art. 5(2), 7 and 25.",
        device_subjects="Whoever answered or said who they are, and whose name somebody entered, children among them.",
        device_recipients="Recipients: nobody; it stays on the device and in the browser. What is sent is listed with "
        "each use, and with the proof of consent.",
        device_limits="As said under (c).",
        proof_title="Keep proof of consent",
        proof_purpose="Show that a person said yes, and what was taken back (Art. 7(1), 5(2)); know which devices may "
        "report. Legal basis: GDPR Art. 6(1)(c).",
        proof_data="Visitors whose device was enrolled. The device's public key, when it was enrolled, a pseudonym; "
        "each yes and each yes taken back, signed, with its time, the notice's digest and language, and whether "
        "Global Privacy Control was on. No name, no account, no address. A no that takes nothing back stays on the "
        "device.",
        proof_recipients="Recipients: the site's operator. Nobody else.",
        proof_days="At the operator: {receipts_days} days after the last yes ended and the last answer, or after the "
        "enrolment where there was no answer; then the leader deletes it (its setting receipt_retention_days).",
        measures=(
            "What was recorded stays on the device, in an encrypted store.",
            "Reports are masked; the leader holds no mask, and the helper holds masks but no masked report.",
            "Both services add noise before a sum exists in clear; the device charges its own budget first.",
            "No round without an officer's signed approval; signed openings, one answer per round.",
            "Masked reports and a round's keys are destroyed when the round is over.",
            (
                "Enrolments, reports and choices are signed by the device, openings, answers and approvals by who "
                "gives them; the leader countersigns choices."
            ),
        ),
        office_work=(
            "Hold the random numbers that mask reports, sealed to a round's key; add them up for one batch a round.",
            "Add noise; refuse batches that are too small, repeated, expired or not approved.",
            "Leave out reports that are taken back, and sign what became of each. No content of a report is ever seen.",
        ),
        office_measures=(
            "A fresh key for each round, destroyed with the answer or when its time is over.",
            "Noise from a stored secret, never drawn again; its own budget, charged before anything is opened.",
            "Stores under wrapping keys in files of their own; a restored back-up is noticed.",
            "Officers sign decisions with their own keys; a log that cannot be rewritten unseen.",
        ),
    ),
    "de": ActivityWords(
        title="Verzeichnis von Verarbeitungstätigkeiten (DSGVO Art. 30 Abs. 1): {site}",
        office_title="Verzeichnis von Verarbeitungstätigkeiten (DSGVO Art. 30 Abs. 2): {operator}",
        dated="Stand: {date}. Es umfasst Hearthside auf {site}; die übrigen Tätigkeiten führt der Betreiber an anderer "
        "Stelle.",
        activity="Tätigkeit",
        field="Feld",
        entry="Eintrag",
        fields=(
            "a) Verantwortlicher, Vertretung, Datenschutzbeauftragter",
            "b) Zweck",
            "c) betroffene Personen und personenbezogene Daten",
            "d) Empfänger",
            "e) Übermittlung in Drittländer",
            "f) Löschfristen",
            "g) Sicherheitsmaßnahmen",
        ),
        office_fields=(
            "a) Auftragsverarbeiter, Verantwortlicher, Vertretung, Datenschutzbeauftragter",
            "b) Kategorien von Verarbeitungen",
            "c) Übermittlung in Drittländer",
            "d) Sicherheitsmaßnahmen",
        ),
        controller="Verantwortlich: {name}, {address}, {contact}.",
        representative="Vertretung: {representative}.",
        officer="Datenschutzbeauftragter: {officer}.",
        office="Datenschutzstelle: {operator}, {address}, {contact} ({role}).",
        roles=(("processor", "Auftragsverarbeiter"), ("joint_controller", "gemeinsam verantwortlich, Art. 26")),
        authority_note="Aufsichtsbehörde: {name}, {contact}.",
        on_basis="Rechtsgrundlage: Einwilligung ({basis}).",
        off_until="Aus bis zur Einwilligung. Keine automatische Entscheidung mit rechtlicher Wirkung.",
        subjects="Besucher der Website, die zu dieser Nutzung Ja gesagt haben.",
        recipients="Empfänger: {recipients}. Niemand sonst.",
        page="Was eine Seite zeigt, sieht diese Seite.",
        hosting="Bereitstellung des Servers: {hosting}.",
        no_transfers="Keine.",
        device_days="Auf dem Gerät: was dafür aufgezeichnet wird, {days} Tage.",
        device_title="Entscheidungen, Schlüssel, Berichte und den Verbrauch des Budgets auf dem Gerät aufbewahren",
        device_purpose="Ausführen, was der Mensch gewählt hat; ihn wiedererkennen; ihm zeigen, in welchen "
        "Veröffentlichungen er stecken kann; was über ihn veröffentlicht wird, im Budget halten. Rechtsgrundlage: was "
        "der Mensch verlangt hat (TDDDG § 25 Abs. 2 Nr. 2, dafür unbedingt erforderlich), und DSGVO Art. 6 Abs. 1 "
        "Buchst. c mit Art. 5 Abs. 2, Art. 7 und Art. 25.",
        device_subjects="Wer geantwortet oder gesagt hat, wer er ist, und wessen Namen jemand eingegeben hat, auch "
        "Kinder.",
        device_recipients="Empfänger: niemand; es bleibt auf dem Gerät und im Browser. Was gesendet wird, steht bei "
        "jeder Nutzung und beim Nachweis der Einwilligungen.",
        device_limits="Wie unter c) gesagt.",
        proof_title="Einwilligungen nachweisen",
        proof_purpose="Zeigen, dass jemand Ja gesagt hat und was zurückgenommen wurde (Art. 7 Abs. 1, Art. 5 Abs. 2); "
        "wissen, welche Geräte berichten dürfen. Rechtsgrundlage: DSGVO Art. 6 Abs. 1 Buchst. c.",
        proof_data="Besucher, deren Gerät angemeldet wurde. Der öffentliche Schlüssel des Geräts, wann es angemeldet "
        "wurde, ein Pseudonym; jedes Ja und jedes zurückgenommene Ja, unterschrieben, mit Zeit, Prüfwert und Sprache "
        "des Hinweises und ob Global Privacy Control an war. Kein Name, kein Konto, keine Adresse. Ein Nein, das "
        "nichts zurücknimmt, bleibt auf dem Gerät.",
        proof_recipients="Empfänger: der Betreiber der Website. Niemand sonst.",
        proof_days="Beim Betreiber: {receipts_days} Tage, nachdem das letzte Ja geendet hat und nach der letzten "
        "Antwort, ohne Antwort nach der Anmeldung; dann löscht es der Server (Einstellung receipt_retention_days).",
        measures=(
            "Was aufgezeichnet wurde, bleibt auf dem Gerät, in einem verschlüsselten Speicher.",
            "Berichte sind maskiert; der Betreiber hat keine Maske, die Datenschutzstelle Masken, aber keinen Bericht.",
            (
                "Beide Dienste fügen Rauschen hinzu, bevor es eine lesbare Summe gibt; das Gerät belastet zuerst sein "
                "eigenes Budget."
            ),
            "Keine Runde ohne unterschriebene Freigabe; unterschriebene Eröffnungen, eine Antwort je Runde.",
            "Maskierte Berichte und die Schlüssel einer Runde werden mit ihrem Ende vernichtet.",
            (
                "Anmeldungen, Berichte und Entscheidungen unterschreibt das Gerät, Eröffnungen, Antworten und "
                "Freigaben, wer sie gibt; der Betreiber zeichnet Entscheidungen gegen."
            ),
        ),
        office_work=(
            (
                "Die Zufallszahlen halten, die Berichte maskieren, verschlossen für den Schlüssel einer Runde, und "
                "sie für einen Stapel je Runde aufsummieren."
            ),
            "Rauschen hinzufügen; Stapel ablehnen, die zu klein, wiederholt, abgelaufen oder nicht freigegeben sind.",
            (
                "Zurückgenommene Berichte weglassen und unterschreiben, was aus jedem wurde. Der Inhalt eines Berichts "
                "wird nie sichtbar."
            ),
        ),
        office_measures=(
            "Ein neuer Schlüssel je Runde, vernichtet mit der Antwort oder wenn seine Zeit um ist.",
            "Rauschen aus einem gespeicherten Geheimnis, nie neu gezogen; ein eigenes Budget, belastet vor dem Öffnen.",
            "Speicher unter Schlüsseln in eigenen Dateien; eine zurückgespielte Sicherung fällt auf.",
            (
                "Entscheidungen unterschreiben Menschen mit eigenen Schlüsseln; ein Protokoll, das sich nicht "
                "unbemerkt umschreiben lässt."
            ),
        ),
    ),
}
