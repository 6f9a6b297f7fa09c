"""The words around the purposes: what a notice and the generated pages say, in each language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from consent.registry import Language, Leaves

Mode = Literal["device", "gateway", "site_edge"]
"""Where the agent runs: on the visitor's device, on a box of the household, or on a box of the site."""


@dataclass(frozen=True, slots=True)
class Wording:
    """All fixed phrases of one language. ``{site}`` and ``{days}`` are filled in."""

    title: str
    introduction: tuple[str, ...]
    modes: tuple[tuple[Mode, str], ...]
    gpc: str
    signal_rule: str
    withdrawal: str
    rights: str
    accept_all: str
    decline_all: str
    save_selection: str
    retention: str
    leaves: tuple[tuple[Leaves, str], ...]


WORDING: Final[dict[Language, Wording]] = {
    "en": Wording(
        title="Your choices on {site}",
        introduction=(
            (
                "What is recorded of what you do on this site stays with a program called the agent. Each use below "
                "is off until you switch it on. Saying no changes nothing else about the site."
            ),
            (
                "Where something of it leaves, it leaves as noise-like numbers that only make sense added up over "
                "many people. How much such sums can reveal is limited for each person and device over any 30 days. "
                "The site's server does see that this device takes part, when, and what you say yes to."
            ),
        ),
        modes=(
            ("device", "The agent runs on this device."),
            (
                "gateway",
                (
                    "The agent runs on a box in your household or workplace; whoever runs that box can see its data. "
                    "Where it says device here, that box is meant."
                ),
            ),
            (
                "site_edge",
                (
                    "The agent runs on a box of the site itself; you have to trust the site with that box. Where it "
                    "says device here, that box is meant."
                ),
            ),
        ),
        gpc="Your browser sends Global Privacy Control. It counts as no to everything here, unless you say yes below.",
        signal_rule="If your browser sends Global Privacy Control, it counts as no to everything here, and takes back "
        "what you allowed without it. A yes that you give afterwards for this site wins.",
        withdrawal="You can take back any yes at any time, in one step, on the agent's own page. From then on nothing "
        "is recorded or sent for it any more; both services are told, and sign what became of a report that was under "
        "way. What is already part of a published sum cannot be taken out of it again.",
        rights="You can see what the agent keeps about you, take it with you, and erase it; a count of what was spent "
        "of your privacy budget stays. You can complain to a data protection authority.",
        accept_all="Yes to all",
        decline_all="No to all",
        save_selection="Save my selection",
        retention="What is recorded for it is kept on the device for {days} days, and no longer than a use that you "
        "allow reads it.",
        leaves=(
            ("nothing", "Nothing leaves the device."),
            ("masked_sum", "A masked share of a noisy sum over many devices."),
        ),
    ),
    "de": Wording(
        title="Ihre Entscheidungen auf {site}",
        introduction=(
            (
                "Was von Ihrem Tun auf dieser Website aufgezeichnet wird, bleibt bei einem Programm, dem Agenten. "
                "Jede Nutzung unten ist aus, bis Sie sie einschalten. Ein Nein ändert sonst nichts an der Website."
            ),
            (
                "Wo etwas davon das Gerät verlässt, sind es rauschähnliche Zahlen, die nur als Summe über viele "
                "Menschen einen Sinn ergeben. Wie viel solche Summen verraten können, ist je Person und Gerät über "
                "beliebige 30 Tage begrenzt. Der Server der Website sieht aber, dass dieses Gerät teilnimmt, wann, "
                "und wozu Sie Ja sagen."
            ),
        ),
        modes=(
            ("device", "Der Agent läuft auf diesem Gerät."),
            (
                "gateway",
                (
                    "Der Agent läuft auf einem Gerät in Ihrem Haushalt oder Betrieb; wer es betreibt, kann seine "
                    "Daten sehen. Wo hier vom Gerät die Rede ist, ist dieses gemeint."
                ),
            ),
            (
                "site_edge",
                (
                    "Der Agent läuft auf einem Gerät der Website selbst; damit müssen Sie der Website vertrauen. Wo "
                    "hier vom Gerät die Rede ist, ist dieses gemeint."
                ),
            ),
        ),
        gpc="Ihr Browser sendet Global Privacy Control. Das gilt hier als Nein zu allem, außer Sie sagen unten Ja.",
        signal_rule="Sendet Ihr Browser Global Privacy Control, gilt das hier als Nein zu allem und nimmt zurück, was "
        "Sie ohne das Signal erlaubt haben. Ein Ja, das Sie danach für diese Website geben, geht vor.",
        withdrawal="Sie können jedes Ja jederzeit in einem Schritt auf der eigenen Seite des Agenten zurücknehmen. Ab "
        "dann wird dafür nichts mehr aufgezeichnet oder gesendet; beide Dienste erfahren es und unterschreiben, was "
        "aus einem Bericht wurde, der unterwegs war. Was schon in einer veröffentlichten Summe steckt, lässt sich "
        "nicht wieder herausnehmen.",
        rights="Sie können sehen, was der Agent über Sie aufbewahrt, es mitnehmen und löschen; gezählt bleibt, wie "
        "viel von Ihrem Privatsphäre-Budget verbraucht ist. Sie können sich bei einer Datenschutzbehörde beschweren.",
        accept_all="Ja zu allem",
        decline_all="Nein zu allem",
        save_selection="Auswahl speichern",
        retention="Was dafür aufgezeichnet wird, bleibt {days} Tage auf dem Gerät und nicht länger, als eine erlaubte "
        "Nutzung es liest.",
        leaves=(
            ("nothing", "Nichts verlässt das Gerät."),
            ("masked_sum", "Ein maskierter Anteil an einer verrauschten Summe über viele Geräte."),
        ),
    ),
}
