"""What a person may want to know beyond the choice itself: who can see what, and each right with the way to use it.

The privacy notice, the label and the agent's own page take their words from here, so that they say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from consent.registry import Language, Recipient, ServerRecord
from consent.wording import Mode

Viewer = Literal["device", "box", "page", "leader", "helper", "both", "reader", "network"]
"""Who might see anything: ``box`` stands for whoever runs it, ``both`` for leader and helper together."""
RightId = Literal["withdraw", "access", "portability", "erasure", "objection", "rectification", "restriction"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one party can see.

    Attributes:
        viewer: which party.
        name: what a person calls it.
        sees: everything that it sees, in a sentence or two.
    """

    viewer: Viewer
    name: str
    sees: str


@dataclass(frozen=True, slots=True)
class Right:
    """One right, and how it is used here.

    Attributes:
        id: which right.
        title: its name in plain words.
        article: where the law gives it.
        how: where the button or the command is, and what happens.
    """

    id: RightId
    title: str
    article: str
    how: str


@dataclass(frozen=True, slots=True)
class Explanations:
    """All explanations in one language. ``{receipts_days}`` in a record's words is the operator's figure."""

    sights: tuple[Sight, ...]
    boxes: tuple[tuple[Mode, Sight], ...]
    recipients: tuple[tuple[Recipient, str], ...]
    records: tuple[tuple[ServerRecord, str], ...]
    rights: tuple[Right, ...]
    complaint: str
    refusal: str
    automated: str
    undone: str
    children: str
    guests: str
    private_window: str


EXPLANATIONS: Final[dict[Language, Explanations]] = {
    "en": Explanations(
        sights=(
            Sight(
                "device",
                "Your device",
                "Everything that the agent knows. What it recorded never leaves it in readable form, unless you "
                "export it.",
            ),
            Sight(
                "page",
                "The page that you look at",
                "What you do on it, and what it shows you. It can guess from that which group you were counted to.",
            ),
            Sight(
                "leader",
                "The site's operator",
                "That your device takes part, its public key, when it connects and from which network address; what "
                "you said yes to and took back, when, in which language, and whether Global Privacy Control was on; "
                "masked numbers that mean nothing by themselves; the noisy sums.",
            ),
            Sight(
                "helper",
                "The privacy office",
                "The random numbers that mask a report, under no name; that a report is taken back; when your device "
                "asks whether a study was stopped, and from which network address. Nothing that you did.",
            ),
            Sight(
                "both",
                "Operator and privacy office together",
                "If the two pooled what they hold, which they must not, they could read single reports.",
            ),
            Sight("reader", "Whoever reads the results", "Noisy sums over many devices."),
            Sight(
                "network",
                "Whoever watches the network",
                "That your device talks to the site's server and to the privacy office, when and how much.",
            ),
        ),
        boxes=(
            (
                "gateway",
                Sight(
                    "box",
                    "Whoever runs the box in your household or workplace",
                    "Everything that the agent knows about you. It never leaves the box in readable form, unless you "
                    "export it.",
                ),
            ),
            (
                "site_edge",
                Sight(
                    "box",
                    "The site, on the box that it runs",
                    "Everything that the agent knows about you, if it looks. The agent sends none of it on in "
                    "readable form, unless you export it.",
                ),
            ),
        ),
        recipients=(("leader", "the site's operator"), ("helper", "the privacy office")),
        records=(
            (
                "receipt",
                (
                    "At the operator: every yes and every yes taken back, signed, and your device's public key with "
                    "the time of its enrolment, all under a pseudonym: until {receipts_days} days after the last yes "
                    "ended (taken back, or run out) and your last answer; then they are deleted there, within a day "
                    "while its server runs. A no that takes nothing back is never sent."
                ),
            ),
            (
                "masked_report",
                (
                    "Masked reports: until their round is released or given up; then they are deleted at both "
                    "services. That one was taken back: until its round is over, at the privacy office two days at "
                    "least."
                ),
            ),
            ("released_sum", "Released sums: for good. They are noisy sums over many devices and name nobody."),
        ),
        rights=(
            Right(
                "withdraw",
                "Take a yes back",
                "GDPR Art. 7(3)",
                "On the agent's page, press No beside the use; or `hearthside-agent consent withdraw`. One step, in "
                "force on the device at once, even without a network; both services are told as soon as they can be "
                "reached.",
            ),
            Right(
                "access",
                "See what is known about you",
                "GDPR Art. 15",
                "The agent's page shows everything that it knows about you but secrets, and says which those are; "
                "`hearthside-agent export` writes it down. What the operator and the privacy office hold of you is "
                "listed where it is said how long anything is kept; it is under a pseudonym, so show the operator a "
                "receipt to have it looked up.",
            ),
            Right(
                "portability",
                "Take it with you",
                "GDPR Art. 20",
                "`hearthside-agent export` writes what is about you, and nobody else, as JSON and CSV on this device, "
                "without a network.",
            ),
            Right(
                "erasure",
                "Have it erased",
                "GDPR Art. 17",
                "Erase on the agent's page, or `hearthside-agent erase`. It takes back every yes on every site behind "
                "this agent and deletes what is about you there; what it leaves is listed where it is said how long "
                "anything is kept. The operator keeps your signed answers as proof for as long as is said there, and "
                "what is part of a published sum stays in it.",
            ),
            Right(
                "objection",
                "Object to one use",
                "GDPR Art. 21",
                "Say No to that use alone; the others go on as you chose.",
            ),
            Right(
                "rectification",
                "Have it corrected",
                "GDPR Art. 16",
                "What was recorded is what happened on the page, and cannot be edited. You can have it deleted, and "
                "what was concluded from it goes with it.",
            ),
            Right(
                "restriction",
                "Have its use stopped",
                "GDPR Art. 18",
                "Say No to the use: it stops at once. For your signed answers, write to the contact above.",
            ),
        ),
        complaint="You can complain to a data protection authority (GDPR Art. 77).",
        refusal="You need not say yes to anything. Saying no has no consequence but the one named with each use.",
        automated="No decision with legal or similarly significant effect for you is made automatically.",
        undone="How much such a sum can say about you is limited beforehand, and the agent lists the releases that you "
        "may be part of, with what both services signed about each report that you took back.",
        children="Of a child the agent keeps the name and that it is a child, and, where a browser said that the child "
        "is there, that and when. Nothing that a child does is recorded; nothing is concluded or sent.",
        guests="Of somebody whom the agent does not know nothing is recorded, concluded or sent.",
        private_window="A private window is a browser that the agent does not know: nothing is recorded in it unless "
        "somebody says there who they are. The agent knows it no more once the window is closed.",
    ),
    "de": Explanations(
        sights=(
            Sight(
                "device",
                "Ihr Gerät",
                "Alles, was der Agent weiß. Was er aufgezeichnet hat, verlässt es nie in lesbarer Form, außer Sie "
                "exportieren es.",
            ),
            Sight(
                "page",
                "Die Seite, die Sie ansehen",
                "Was Sie auf ihr tun und was sie Ihnen zeigt. Daraus kann sie schließen, welcher Gruppe Sie "
                "zugeordnet wurden.",
            ),
            Sight(
                "leader",
                "Der Betreiber der Website",
                "Dass Ihr Gerät teilnimmt, seinen öffentlichen Schlüssel, wann und von welcher Netzadresse es sich "
                "meldet; wozu Sie Ja gesagt und was Sie zurückgenommen haben, wann, in welcher Sprache und ob Global "
                "Privacy Control an war; maskierte Zahlen, die allein nichts bedeuten; die verrauschten Summen.",
            ),
            Sight(
                "helper",
                "Die Datenschutzstelle",
                "Die Zufallszahlen, die einen Bericht maskieren, unter keinem Namen; dass einer zurückgenommen wird; "
                "wann und von welcher Netzadresse Ihr Gerät fragt, ob eine Studie gestoppt ist. Nichts von dem, was "
                "Sie tun.",
            ),
            Sight(
                "both",
                "Betreiber und Datenschutzstelle gemeinsam",
                "Legten beide zusammen, was sie haben (das dürfen sie nicht), könnten sie einzelne Berichte lesen.",
            ),
            Sight("reader", "Wer die Ergebnisse liest", "Verrauschte Summen über viele Geräte."),
            Sight(
                "network",
                "Wer das Netz beobachtet",
                "Dass Ihr Gerät mit dem Server der Website und der Datenschutzstelle spricht, wann und wie viel.",
            ),
        ),
        boxes=(
            (
                "gateway",
                Sight(
                    "box",
                    "Wer das Gerät in Ihrem Haushalt oder Betrieb betreibt",
                    "Alles, was der Agent über Sie weiß. Es verlässt dieses Gerät nie in lesbarer Form, außer Sie "
                    "exportieren es.",
                ),
            ),
            (
                "site_edge",
                Sight(
                    "box",
                    "Die Website, auf dem Gerät, das sie betreibt",
                    "Alles, was der Agent über Sie weiß, wenn sie nachsieht. Der Agent sendet nichts davon in "
                    "lesbarer Form weiter, außer Sie exportieren es.",
                ),
            ),
        ),
        recipients=(("leader", "der Betreiber der Website"), ("helper", "die Datenschutzstelle")),
        records=(
            (
                "receipt",
                (
                    "Beim Betreiber: jedes Ja und jedes zurückgenommene Ja, unterschrieben, und der öffentliche "
                    "Schlüssel Ihres Geräts mit der Zeit seiner Anmeldung, alles unter einem Pseudonym: bis "
                    "{receipts_days} Tage, nachdem das letzte Ja geendet hat (zurückgenommen oder abgelaufen) und "
                    "nach Ihrer letzten Antwort; dann wird es dort gelöscht, binnen eines Tages, solange sein Server "
                    "läuft. Ein Nein, das nichts zurücknimmt, wird nie gesendet."
                ),
            ),
            (
                "masked_report",
                (
                    "Maskierte Berichte: bis ihre Runde veröffentlicht oder aufgegeben ist; dann werden sie bei "
                    "beiden Diensten gelöscht. Dass einer zurückgenommen wurde: bis seine Runde vorbei ist, bei der "
                    "Datenschutzstelle mindestens zwei Tage."
                ),
            ),
            (
                "released_sum",
                "Veröffentlichte Summen: dauerhaft. Sie sind verrauscht, gehen über viele Geräte und nennen niemanden.",
            ),
        ),
        rights=(
            Right(
                "withdraw",
                "Ein Ja zurücknehmen",
                "DSGVO Art. 7 Abs. 3",
                "Drücken Sie auf der Seite des Agenten Nein neben der Nutzung, oder `hearthside-agent consent "
                "withdraw`. Ein Schritt, auf dem Gerät sofort wirksam, auch ohne Netz; beide Dienste erfahren es, "
                "sobald sie zu erreichen sind.",
            ),
            Right(
                "access",
                "Sehen, was über Sie bekannt ist",
                "DSGVO Art. 15",
                "Die Seite des Agenten zeigt alles, was er über Sie weiß, außer Geheimnissen, und sagt, welche das "
                "sind; `hearthside-agent export` schreibt es auf. Was Betreiber und Datenschutzstelle von Ihnen "
                "haben, steht dort, wo es um die Dauer der Aufbewahrung geht; es ist unter einem Pseudonym abgelegt, "
                "zeigen Sie dem Betreiber also eine Quittung, damit er es heraussuchen kann.",
            ),
            Right(
                "portability",
                "Es mitnehmen",
                "DSGVO Art. 20",
                "`hearthside-agent export` schreibt, was Sie und niemand anderen betrifft, als JSON und CSV auf "
                "diesem Gerät, ohne Netz.",
            ),
            Right(
                "erasure",
                "Es löschen lassen",
                "DSGVO Art. 17",
                "Löschen Sie auf der Seite des Agenten, oder mit `hearthside-agent erase`. Damit nehmen Sie jedes Ja "
                "auf jeder Website hinter diesem Agenten zurück, und dort wird gelöscht, was Sie betrifft; was "
                "bleibt, steht dort, wo es um die Dauer der Aufbewahrung geht. Der Betreiber behält Ihre "
                "unterschriebenen Antworten als Nachweis, solange es dort steht, und was in einer veröffentlichten "
                "Summe steckt, bleibt darin.",
            ),
            Right(
                "objection",
                "Einer Nutzung widersprechen",
                "DSGVO Art. 21",
                "Sagen Sie zu dieser einen Nutzung Nein; die anderen laufen weiter, wie Sie es gewählt haben.",
            ),
            Right(
                "rectification",
                "Es berichtigen lassen",
                "DSGVO Art. 16",
                "Aufgezeichnet ist, was auf der Seite geschah; das lässt sich nicht ändern. Sie können es löschen "
                "lassen, und was daraus geschlossen wurde, verschwindet mit.",
            ),
            Right(
                "restriction",
                "Die Nutzung anhalten lassen",
                "DSGVO Art. 18",
                "Sagen Sie zu der Nutzung Nein: Sie hört sofort auf. Wegen Ihrer unterschriebenen Antworten schreiben "
                "Sie an die oben genannte Adresse.",
            ),
        ),
        complaint="Sie können sich bei einer Datenschutzbehörde beschweren (DSGVO Art. 77).",
        refusal="Sie müssen zu nichts Ja sagen. Ein Nein hat keine Folge außer der, die bei der Nutzung steht.",
        automated="Es gibt keine automatische Entscheidung mit rechtlicher oder ähnlich erheblicher Wirkung für Sie.",
        undone="Wie viel eine solche Summe über Sie sagen kann, ist von vornherein begrenzt, und der Agent nennt die "
        "Veröffentlichungen, in denen Sie stecken können, mit dem, was beide Dienste zu jedem zurückgenommenen "
        "Bericht unterschrieben haben.",
        children="Von einem Kind bewahrt der Agent den Namen und dass es ein Kind ist und, wo ein Browser sagte, dass "
        "das Kind dort ist, dies und wann. Was ein Kind tut, wird nicht aufgezeichnet; nichts wird geschlossen oder "
        "gesendet.",
        guests="Von jemandem, den der Agent nicht kennt, wird nichts aufgezeichnet, geschlossen oder gesendet.",
        private_window="Ein privates Fenster ist ein Browser, den der Agent nicht kennt: In ihm wird nichts "
        "aufgezeichnet, außer jemand sagt dort, wer er ist. Ist es geschlossen, kennt der Agent es nicht mehr.",
    ),
}


def sights(language: Language, mode: Mode) -> tuple[Sight, ...]:
    """Who can see what where the agent runs in this mode; on a box, whoever runs it stands in the device's place."""
    told = EXPLANATIONS[language]
    box = dict(told.boxes).get(mode)
    return told.sights if box is None else (box, *told.sights[1:])
