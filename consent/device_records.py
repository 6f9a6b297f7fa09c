"""What the agent and a browser keep on a person's side, and for how long, in plain words: the notice's own list.

The agent has a list of its tables (``client_agent.store.holdings``). It stands above this package, which cannot read
it; so each entry names the tables that it tells of, and a test compares the two lists: a table that no sentence tells
of fails it, and so does a sentence about an erasure that the agent does not keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from consent.registry import Language

RecordId = Literal[
    "events", "answers", "signal", "waiting", "sent", "key", "name", "browsers", "taken_back", "spent", "farewells",
    "counts", "settings",
]  # fmt: skip
BrowserItem = Literal["site_cookie", "page_cookie", "queue", "usual_page"]

EVENTS_DAYS: Final = 30
LASTING_COOKIE_DAYS: Final = 180
IDLE_COOKIE_DAYS: Final = 30
SESSION_COOKIE_HOURS: Final = 12
QUEUE_DAYS: Final = 7
FIGURES: Final[dict[str, int]] = {
    "events_days": EVENTS_DAYS,
    "lasting_days": LASTING_COOKIE_DAYS,
    "idle_days": IDLE_COOKIE_DAYS,
    "session_hours": SESSION_COOKIE_HOURS,
    "queue_days": QUEUE_DAYS,
}
"""The agent's own figures, as it is shipped; a test compares them with its code."""


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """One kind of thing that the agent's store holds.

    Attributes:
        id: its name here.
        tables: the store's tables that it tells of.
        erased: whether an erasure of the person deletes it.
        words: what it is and how long it stays, by language.
    """

    id: RecordId
    tables: tuple[str, ...]
    erased: bool
    words: tuple[tuple[Language, str], ...]

    def text(self, language: Language) -> str:
        """The words in one language, with their figures."""
        return dict(self.words)[language].format(**FIGURES)


@dataclass(frozen=True, slots=True)
class BrowserRecord:
    """One thing that is stored in a browser (ePrivacy Directive Art. 5(3)): what for, and for how long.

    Attributes:
        id: its name here.
        name: its name in the browser.
        words: where it is, what for and how long, by language.
    """

    id: BrowserItem
    name: str
    words: tuple[tuple[Language, str], ...]

    def text(self, language: Language) -> str:
        """The words in one language, with their figures."""
        return dict(self.words)[language].format(name=self.name, **FIGURES)


def _both(en: str, de: str) -> tuple[tuple[Language, str], ...]:
    return (("en", en), ("de", de))


DEVICE_RECORDS: Final[tuple[DeviceRecord, ...]] = (
    DeviceRecord(
        "events",
        ("events",),
        erased=True,
        words=_both(
            "What happened on the site's pages, for uses that you allow: {events_days} days; then, or once no use that "
            "you allow reads it, it is deleted. The agent looks once a day while it runs; after your no, at once.",
            "Was auf den Seiten der Website geschah, für Nutzungen, die Sie erlauben: {events_days} Tage; danach, oder "
            "sobald keine erlaubte Nutzung es mehr liest, wird es gelöscht. Der Agent sieht täglich nach, solange er "
            "läuft; nach Ihrem Nein sofort.",
        ),
    ),
    DeviceRecord(
        "answers",
        ("receipts", "consent_rows", "consent_heads", "consent_evidence", "consent_changes"),
        erased=True,
        words=_both(
            "Your signed answers (each yes, each no, each yes taken back), when you gave them, and what the operator "
            "signed to them: until you erase them.",
            "Ihre unterschriebenen Antworten (jedes Ja, jedes Nein, jedes zurückgenommene Ja), wann Sie sie gaben und "
            "was der Betreiber dazu unterschrieben hat: bis Sie sie löschen.",
        ),
    ),
    DeviceRecord(
        "signal",
        ("gpc_applications",),
        erased=True,
        words=_both(
            "On which days, and how often, Global Privacy Control kept a use from working: until you erase it.",
            "An welchen Tagen und wie oft Global Privacy Control eine Nutzung verhindert hat: bis Sie es löschen.",
        ),
    ),
    DeviceRecord(
        "waiting",
        ("reports",),
        erased=True,
        words=_both(
            "Reports that wait to be sent, and the secrets that take reports back: until their round is over and "
            "nothing of it could be opened any more, or you take the yes back.",
            "Berichte, die auf das Senden warten, und die Geheimnisse, mit denen Berichte zurückgenommen werden: bis "
            "ihre Runde vorbei ist und sich nichts davon mehr öffnen ließe, oder Sie das Ja zurücknehmen.",
        ),
    ),
    DeviceRecord(
        "sent",
        ("contributions",),
        erased=True,
        words=_both(
            "The list of reports that were sent for you: study, round, time, and what both services signed about them; "
            "you see there which releases you may be part of. Until you erase it.",
            "Die Liste der Berichte, die für Sie gesendet wurden: Studie, Runde, Zeit und was beide Dienste dazu "
            "unterschrieben haben; daran sehen Sie, in welchen Veröffentlichungen Sie stecken können. Bis Sie sie "
            "löschen.",
        ),
    ),
    DeviceRecord(
        "key",
        ("participants",),
        erased=True,
        words=_both(
            "A random pseudonym and a signing key of your own for this site, and when it was enrolled: until you erase "
            "them.",
            "Ein zufälliges Pseudonym und ein eigener Signaturschlüssel für diese Website, und wann er angemeldet "
            "wurde: bis Sie sie löschen.",
        ),
    ),
    DeviceRecord(
        "name",
        ("people",),
        erased=True,
        words=_both(
            "The name by which you are known there, whether you are an adult or a child, and, where you chose a PIN, a "
            "salted digest of it and the wrong attempts since the last right one: until you are erased or removed.",
            "Der Name, unter dem man Sie dort kennt, ob Sie erwachsen oder ein Kind sind und, wenn Sie eine PIN "
            "gewählt haben, ein gesalzener Prüfwert davon und die Fehlversuche seit der letzten richtigen: bis Sie "
            "gelöscht oder entfernt werden.",
        ),
    ),
    DeviceRecord(
        "browsers",
        ("browsers",),
        erased=True,
        words=_both(
            "Which browsers you said are yours: digests of their cookies, a secret each, when you said so and when "
            "each was last used. A browser counts for {idle_days} days after its last use and {lasting_days} at most; "
            "one that you did not ask to be remembered, for {session_hours} hours after. The entry is deleted when "
            "somebody next says who they are, or you leave, or are erased.",
            "Welche Browser Sie als Ihre bezeichnet haben: Prüfwerte ihrer Cookies, je ein Geheimnis, wann Sie das "
            "sagten und wann jeder zuletzt benutzt wurde. Ein Browser gilt {idle_days} Tage nach der letzten Nutzung, "
            "höchstens {lasting_days}; einer, der nicht gemerkt werden soll, noch {session_hours} Stunden. Der Eintrag "
            "wird gelöscht, wenn wieder jemand sagt, wer er ist, oder Sie sich abmelden oder gelöscht werden.",
        ),
    ),
    DeviceRecord(
        "taken_back",
        ("taken_back",),
        erased=False,
        words=_both(
            "Which reports are to be taken back at the privacy office, without your name: until it has heard of them.",
            "Welche Berichte bei der Datenschutzstelle zurückzunehmen sind, ohne Ihren Namen: bis sie davon gehört "
            "hat.",
        ),
    ),
    DeviceRecord(
        "farewells",
        ("outbox",),
        erased=False,
        words=_both(
            "After an erasure, the signed withdrawal that the operator has yet to confirm, under your pseudonym and "
            "without your name or key: until the operator confirms it; if it never does, without end.",
            "Nach einer Löschung der unterschriebene Widerruf, den der Betreiber noch nicht bestätigt hat, unter Ihrem "
            "Pseudonym, ohne Ihren Namen oder Schlüssel: bis der Betreiber ihn bestätigt; tut er das nie, ohne Ende.",
        ),
    ),
    DeviceRecord(
        "spent",
        ("ledger_rows", "ledger_heads"),
        erased=False,
        words=_both(
            "How much of your privacy budget was spent and when, under a second pseudonym; until an erasure also for "
            "which studies. Without end, also after an erasure: a limit that could be erased would be none. Whoever "
            "has this store open can test whether a name that they guess was here, and then sees what it spent.",
            "Wie viel Ihres Privatsphäre-Budgets wann verbraucht wurde, unter einem zweiten Pseudonym; bis zu einer "
            "Löschung auch für welche Studien. Ohne Ende, auch nach einer Löschung: Eine Grenze, die sich löschen "
            "ließe, wäre keine. Wer diesen Speicher geöffnet hat, kann prüfen, ob ein Name, den er rät, hier war, und "
            "sieht dann dessen Verbrauch.",
        ),
    ),
    DeviceRecord(
        "counts",
        ("tallies",),
        erased=True,
        words=_both(
            "How many reports and bytes left by use, of everybody behind the agent together: until somebody here is "
            "erased; then the count starts anew.",
            "Wie viele Berichte und Bytes je Nutzung gesendet wurden, von allen hinter dem Agenten zusammen: bis hier "
            "jemand gelöscht wird; dann beginnt die Zählung neu.",
        ),
    ),
    DeviceRecord(
        "settings",
        ("rounds", "consent_buckets", "clock_marks", "facts", "sqlite_sequence"),
        erased=False,
        words=_both(
            "The rounds that it was asked to take part in, the services' keys, counters, and marks by which it notices "
            "a copied store or a turned clock; nothing of it is about one person. Without end.",
            "Die Runden, zu denen er gefragt wurde, die Schlüssel der Dienste, Zähler und Marken, an denen er einen "
            "kopierten Speicher oder eine verstellte Uhr bemerkt; nichts davon betrifft einen einzelnen Menschen. Ohne "
            "Ende.",
        ),
    ),
)
"""Everything in the agent's store; the notice tells first what an erasure deletes, then what it leaves."""

BROWSER_RECORDS: Final[tuple[BrowserRecord, ...]] = (
    BrowserRecord(
        "site_cookie",
        "hearthside",
        _both(
            "Cookie {name} on the site's address, sent to the agent's own path there alone: it tells the agent, and "
            "not the site, that this browser is yours. Until the browser is closed; where you asked to be remembered, "
            "{lasting_days} days.",
            "Cookie {name} auf der Adresse der Website, nur an den Pfad des Agenten dort gesendet: Er sagt dem "
            "Agenten, nicht der Website, dass dieser Browser Ihrer ist. Bis der Browser geschlossen wird; wenn Sie "
            "gemerkt werden wollten, {lasting_days} Tage.",
        ),
    ),
    BrowserRecord(
        "page_cookie",
        "hearthside-page",
        _both(
            "Cookie {name} on the address of the agent's own page: it opens your page and nobody else's. Equally long.",
            "Cookie {name} auf der Adresse der eigenen Seite des Agenten: Er öffnet Ihre Seite und keine andere. "
            "Ebenso lange.",
        ),
    ),
    BrowserRecord(
        "queue",
        "hearthside, hearthside-queue",
        _both(
            "Events that a page has yet to hand to the agent, in the storages named {name} of the site's address, only "
            "while you allow a use that reads them: sealed so that the agent alone can open them, and not even it "
            "once you take the yes back, leave or are erased. Taken in for {queue_days} days at most, cleared at the "
            "next visit.",
            "Ereignisse, die eine Seite dem Agenten noch nicht übergeben hat, in den Ablagen {name} der Adresse der "
            "Website, nur solange Sie eine Nutzung erlauben, die sie liest: so verschlossen, dass allein der Agent sie "
            "öffnen kann, und auch er nicht mehr, sobald Sie das Ja zurücknehmen, sich abmelden oder gelöscht werden. "
            "Angenommen höchstens {queue_days} Tage, geleert beim nächsten Besuch.",
        ),
    ),
    BrowserRecord(
        "usual_page",
        "hearthside-plain",
        _both(
            "A mark {name}, where you ask a page for its usual content for the whole tab: until the tab is closed. The "
            "mark itself goes nowhere.",
            "Eine Marke {name}, wenn Sie für einen ganzen Tab die üblichen Inhalte verlangen: bis der Tab geschlossen "
            "wird. Die Marke selbst wird nirgends hingesendet.",
        ),
    ),
)
"""Everything that is stored in a browser, each only where it is needed for what the person asked for."""
