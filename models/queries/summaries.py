"""What a study asks, in plain words that a machine wrote: the same for officer, analyst and device.

Everything is read from the study's own fields, so it cannot promise what the study does not do; the analyst's own
``summary`` stands beside it and is the analyst's. English and German, as the texts of consent.
"""

from __future__ import annotations

from typing import Final, Literal

from consent.purposes import PURPOSES
from consent.registry import Language
from models.wire.message import Message
from models.wire.studies import CoverageQuery, PersonasQuery, Study, TransitionsQuery

_NAMED: Final = 6
"""So many names are read out before the rest is counted."""


class PlainSummary(Message):
    """A study in sentences.

    Attributes:
        language: of the sentences.
        asked: what each device computes at home.
        whom: whose devices are asked.
        known: what leader and public learn at the end.
        sent: what leaves a device.
        sampling: how many of the reports are real.
        noise: what hides one device in the sum.
        cohort: how many reports a round needs.
        cost: the most that it takes of a device's budget.
        purpose: the purpose as people read it when they consent.
    """

    language: Literal["en", "de"]
    asked: str
    whom: str
    known: str
    sent: str
    sampling: str
    noise: str
    cohort: str
    cost: str
    purpose: str

    def text(self) -> str:
        """In one paragraph: what is asked, of whom, what leaves a device, what hides it, what it costs."""
        parts = (self.asked, self.whom, self.known, self.sent, self.sampling, self.noise, self.cohort, self.cost)
        return " ".join(parts)


def summarise(study: Study, language: Language = "en", epsilon: float | None = None) -> PlainSummary:
    """Say what a study asks, of whom, what leaves a device, and what it costs.

    Args:
        study: what is asked.
        language: English or German.
        epsilon: the filter's figure for all rounds at the study's delta (device level, zero-out), where whoever shows
            the text has priced it; else only the study's own limit is named.
    """
    words = _german if language == "de" else _english
    return words(study, epsilon)


def purpose_title(purpose_id: str, language: Language = "en") -> str:
    """A purpose's title as people read it; its id where it is none of ours."""
    known = PURPOSES.find(purpose_id)
    return known.text(language).title if known is not None else purpose_id


def _english(study: Study, epsilon: float | None) -> PlainSummary:
    plan, purpose = study.plan, purpose_title(study.purpose)
    rounds = "one round" if study.rounds == 1 else f"{study.rounds:,} rounds"
    priced = "" if epsilon is None else f"takes epsilon {epsilon:.3g} of a device's budget and "
    return PlainSummary(
        language="en",
        asked=_asked_en(study),
        whom=f"Asked are devices on {study.site} whose owner allowed “{purpose}”, in {rounds}.",
        known=_known_en(study),
        sent=(
            f"What leaves a device in a round: {plan.dimension:,} numbers, masked: {plan.parameters().packed_bytes:,} "
            "bytes that look random to leader and helper alike."
        ),
        sampling="Every report is real."
        if plan.sampling_rate >= 1
        else (
            f"In each round every device flips a hidden coin: {plan.sampling_rate:.4g} of the reports are real, the "
            "others empty. Both look the same to everyone."
        ),
        noise=(
            f"Leader and helper each add noise whose standard deviation is {plan.noise_multiplier:g} times the most "
            "that one device can contribute."
        ),
        cohort=(
            f"A round with fewer than {plan.minimum_cohort:,} reports is refused; at most {plan.maximum_cohort:,} are "
            "summed."
        ),
        cost=(
            f"It {priced}may take at most {study.epsilon_cap:g}, at delta {study.delta:g} (per device; one device's "
            "data replaced by none)."
        ),
        purpose=purpose,
    )


def _asked_en(study: Study) -> str:
    query = study.query
    if isinstance(query, TransitionsQuery):
        kinds = f"{len(query.categories)} kinds of page ({_listed(query.categories, 'and', 'more')})"
        moves = f"Each device counts how often its visits went from each of {kinds} to each other one"
        return moves + ("." if not query.dwell_edges_seconds else ", and how long pages stayed in view.")
    if isinstance(query, CoverageQuery):
        asked = ", ".join(purpose_title(name) for name in query.purposes)
        return (
            f"Each device counts itself in one of {len(query.visit_edges) + 1} bands by its number of visits, and says "
            f"for each of these uses whether its owner granted it: {asked}."
        )
    if isinstance(query, PersonasQuery):
        return (
            f"Each device finds which of {query.clusters} group averages is nearest to its own summary of "
            f"{len(query.features.names)} figures, and reports how far it is from it."
        )
    return (
        "Each device improves a small shared model on its own visits: a model that estimates, on the device, whether "
        "a visit leads to a purchase. It reports the change, cut to a fixed length."
    )


def _known_en(study: Study) -> str:
    query = study.query
    if isinstance(query, TransitionsQuery):
        return "One noisy table for all participants together. No device's own moves."
    if isinstance(query, CoverageQuery):
        return (
            "Roughly, for each band, which share granted each use. Not who granted what, and nothing about people who "
            "refused measurement."
        )
    if isinstance(query, PersonasQuery):
        return "The group averages and roughly how many are near each. Not who is in which group."
    return f"The shared model of {study.plan.dimension:,} parameters. Not what any one device would have made of it."


def _german(study: Study, epsilon: float | None) -> PlainSummary:
    plan, purpose = study.plan, purpose_title(study.purpose, "de")
    rounds = "einer Runde" if study.rounds == 1 else f"{_ganz(study.rounds)} Runden"
    priced = "" if epsilon is None else f"nimmt Epsilon {_zahl(epsilon, '.3g')} vom Budget eines Geräts und "
    return PlainSummary(
        language="de",
        asked=_asked_de(study),
        whom=f"Gefragt werden Geräte auf {study.site}, deren Besitzer „{purpose}“ erlaubt haben, in {rounds}.",
        known=_known_de(study),
        sent=(
            f"Was ein Gerät in einer Runde verlässt: {_ganz(plan.dimension)} Zahlen, maskiert: "
            f"{_ganz(plan.parameters().packed_bytes)} Byte, die für Leader und Helper wie Zufall aussehen."
        ),
        sampling="Jeder Bericht ist echt."
        if plan.sampling_rate >= 1
        else (
            f"In jeder Runde wirft jedes Gerät eine verborgene Münze: {_zahl(plan.sampling_rate, '.4g')} der Berichte "
            "sind echt, die übrigen leer. Für alle anderen sehen beide gleich aus."
        ),
        noise=(
            "Leader und Helper fügen jeweils Rauschen hinzu, dessen Standardabweichung das "
            f"{_zahl(plan.noise_multiplier, 'g')}-Fache dessen ist, was ein Gerät höchstens beiträgt."
        ),
        cohort=(
            f"Eine Runde mit weniger als {_ganz(plan.minimum_cohort)} Berichten wird abgelehnt; summiert werden "
            f"höchstens {_ganz(plan.maximum_cohort)}."
        ),
        cost=(
            f"Sie {priced}darf höchstens {_zahl(study.epsilon_cap, 'g')} nehmen, bei Delta {_zahl(study.delta, 'g')} "
            "(je Gerät; die Daten eines Geräts durch keine ersetzt)."
        ),
        purpose=purpose,
    )


def _asked_de(study: Study) -> str:
    query = study.query
    if isinstance(query, TransitionsQuery):
        kinds = f"{len(query.categories)} Arten von Seiten ({_listed(query.categories, 'und', 'weitere')})"
        moves = f"Jedes Gerät zählt, wie oft seine Besuche von jeder von {kinds} zu jeder anderen führten"
        return moves + ("." if not query.dwell_edges_seconds else ", und wie lange Seiten zu sehen waren.")
    if isinstance(query, CoverageQuery):
        asked = ", ".join(purpose_title(name, "de") for name in query.purposes)
        return (
            f"Jedes Gerät zählt sich nach der Zahl seiner Besuche in einer von {len(query.visit_edges) + 1} Stufen und "
            f"sagt zu jeder dieser Verwendungen, ob sie erlaubt wurde: {asked}."
        )
    if isinstance(query, PersonasQuery):
        return (
            f"Jedes Gerät findet heraus, welchem von {query.clusters} Gruppenmittelwerten seine eigene Zusammenfassung "
            f"aus {len(query.features.names)} Zahlen am nächsten liegt, und meldet den Abstand dazu."
        )
    return (
        "Jedes Gerät verbessert ein kleines gemeinsames Modell an seinen eigenen Besuchen: ein Modell, das auf dem "
        "Gerät schätzt, ob ein Besuch zu einem Kauf führt. Es meldet die Änderung, auf eine feste Länge gekürzt."
    )


def _known_de(study: Study) -> str:
    query = study.query
    if isinstance(query, TransitionsQuery):
        return "Bekannt wird eine verrauschte Tabelle für alle zusammen, nicht die Wege eines einzelnen Geräts."
    if isinstance(query, CoverageQuery):
        return (
            "Bekannt wird ungefähr, welcher Anteil je Stufe welche Verwendung erlaubt hat: nicht, wer was erlaubt hat, "
            "und nichts über Menschen, die die Messung ablehnen."
        )
    if isinstance(query, PersonasQuery):
        return (
            "Bekannt werden die Mittelwerte der Gruppen und ungefähr, wie viele jeweils nahe sind: nicht, wer in "
            "welcher Gruppe ist."
        )
    return (
        f"Bekannt wird das gemeinsame Modell mit {_ganz(study.plan.dimension)} Werten, nicht, was ein einzelnes Gerät "
        "daraus gemacht hätte."
    )


def _listed(names: tuple[str, ...], joined: str, rest: str) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} {joined} {len(names) - _NAMED} {rest}"


def _ganz(value: int) -> str:
    return f"{value:,}".replace(",", ".")


def _zahl(value: float, form: str) -> str:
    return format(value, form).replace(".", ",")
