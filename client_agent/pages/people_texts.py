"""What the page that asks who is here says, in each language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consent.registry import Language


@dataclass(frozen=True, slots=True)
class PeopleText:
    """The words of one language, beside those of every page; ``{name}``, ``{site}`` and ``{seconds}`` are put in."""

    title: str
    lead: str
    nothing_yet: str
    here_as: str
    here_child: str
    here_without_profile: str
    kept: str
    kept_see: str
    kept_take: str
    kept_erase: str
    own_page: str
    leave: str
    locked: str
    me: str
    child: str
    adult: str
    with_pin: str
    pin: str
    lasting: str
    lasting_hint: str
    guest_title: str
    guest_text: str
    guest: str
    said_late: str
    said_left: str
    said_stale: str
    wrong_pin: str
    wait: str
    refused: str
    limits_title: str
    limits: tuple[str, ...]


PEOPLE_TEXTS: Final[dict[Language, PeopleText]] = {
    "en": PeopleText(
        title="Who is here?",
        lead="Everybody behind this agent has a profile of their own on {site}: what one person allows, collects or "
        "deletes is nobody else’s.",
        nothing_yet="Until you say who you are, nothing of your visit is kept, here or in this browser.",
        here_as="In this browser you are {name}.",
        here_child="In this browser you are {name}. Nothing is collected about you, and nothing is chosen for you: the "
        "site looks as it does for everybody.",
        here_without_profile="In this browser you are {name}. You have no profile yet, so nothing is collected. "
        "Whoever runs this agent can enrol you: hearthside-agent person enrol",
        kept="What this agent knows of you is your name, whether you are a child, and when a browser said it is yours.",
        kept_see="See it",
        kept_take="Take it along (JSON)",
        kept_erase="Erase it",
        own_page="Your own page",
        leave="Leave this browser",
        locked="It has been a while: please give your PIN again to see your page.",
        me="This is me",
        child="A child: no profile, whatever anybody allows",
        adult="A profile of their own",
        with_pin="A profile of their own, behind a PIN",
        pin="PIN",
        lasting="Remember me in this browser",
        lasting_hint="A browser that does not remember you forgets when you close it. In a private window nothing "
        "stays in the browser either way; what you do in it after you said who you are counts as yours.",
        guest_title="Somebody else, or nobody in particular",
        guest_text="No profile, no cookie, no line in a log: nothing of the visit is kept, here or in this browser.",
        guest="Just look around",
        said_late="That took longer than a minute. Please say once more who you are.",
        said_left="You have left this browser. Nothing is collected here until somebody says who they are.",
        said_stale="That page was somebody else’s, so your answer was not recorded. Please look again.",
        wrong_pin="That is not the PIN.",
        wait="The next try is looked at in {seconds} seconds.",
        refused="Nobody of this name is here. Please choose again.",
        limits_title="What this does not protect from",
        limits=(
            "Without a PIN, whoever uses this browser can say that they are you.",
            "Whoever uses your account on this device, or runs this box, can read everything on it.",
            "The names above are shown to everybody who can open this page.",
        ),
    ),
    "de": PeopleText(
        title="Wer ist hier?",
        lead="Alle, die diesen Agenten nutzen, haben auf {site} ein eigenes Profil: Was eine Person erlaubt, sammelt "
        "oder löscht, betrifft niemanden sonst.",
        nothing_yet="Bis Sie sagen, wer Sie sind, wird von Ihrem Besuch nichts aufbewahrt, weder hier noch im Browser.",
        here_as="In diesem Browser sind Sie {name}.",
        here_child="In diesem Browser bist du {name}. Über dich wird nichts gesammelt, und nichts wird für dich "
        "ausgewählt: Die Website sieht aus wie für alle.",
        here_without_profile="In diesem Browser sind Sie {name}. Sie haben noch kein Profil, darum wird nichts "
        "gesammelt. Wer diesen Agenten betreibt, kann Sie anmelden: hearthside-agent person enrol",
        kept="Dieser Agent kennt nur diesen Namen, ob er der eines Kindes ist, und wann sich ein Browser damit "
        "gemeldet hat.",
        kept_see="Ansehen",
        kept_take="Mitnehmen (JSON)",
        kept_erase="Löschen",
        own_page="Ihre eigene Seite",
        leave="Diesen Browser verlassen",
        locked="Es ist eine Weile her: Bitte geben Sie Ihre PIN noch einmal ein, um Ihre Seite zu sehen.",
        me="Das bin ich",
        child="Ein Kind: kein Profil, was auch immer jemand erlaubt",
        adult="Ein eigenes Profil",
        with_pin="Ein eigenes Profil hinter einer PIN",
        pin="PIN",
        lasting="In diesem Browser merken",
        lasting_hint="Ein Browser, der sich Sie nicht merkt, vergisst es, wenn Sie ihn schließen. In einem privaten "
        "Fenster bleibt so oder so nichts im Browser; was Sie darin tun, nachdem Sie gesagt haben, wer Sie sind, "
        "zählt zu Ihnen.",
        guest_title="Jemand anderes, oder niemand Bestimmtes",
        guest_text="Kein Profil, kein Cookie, keine Zeile in einem Protokoll: Vom Besuch wird nichts aufbewahrt, weder "
        "hier noch im Browser.",
        guest="Nur umsehen",
        said_late="Das hat länger als eine Minute gedauert. Bitte sagen Sie noch einmal, wer Sie sind.",
        said_left="Sie haben diesen Browser verlassen. Hier wird nichts gesammelt, bis jemand sagt, wer er ist.",
        said_stale="Das war die Seite einer anderen Person, Ihre Antwort wurde darum nicht übernommen. Bitte sehen Sie "
        "noch einmal nach.",
        wrong_pin="Das ist nicht die PIN.",
        wait="Der nächste Versuch wird in {seconds} Sekunden geprüft.",
        refused="Niemand hier heißt so. Bitte wählen Sie noch einmal.",
        limits_title="Wovor das nicht schützt",
        limits=(
            "Ohne PIN kann jede Person an diesem Browser sagen, sie sei Sie.",
            "Wer Ihr Benutzerkonto auf diesem Gerät nutzt oder diese Box betreibt, kann alles darauf lesen.",
            "Die Namen oben sieht jede Person, die diese Seite öffnen kann.",
        ),
    ),
}
