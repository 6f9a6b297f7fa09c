"""The privacy label: one card that says what is recorded, what leaves, how long, the budget, and who sees what.

As HTML without a script and as JSON, from the same values. Made to be shown beside the choice and printed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from consent.device_records import BROWSER_RECORDS, DEVICE_RECORDS
from consent.documents.facts import Facts
from consent.documents.pages import COLOURS, html_file
from consent.documents.words import number, server_records, small
from consent.explanations import EXPLANATIONS, sights
from consent.purposes import PURPOSES
from consent.registry import Language, Leaves, Purpose, Registry
from consent.wording import WORDING, Mode

LABEL_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class LabelWords:
    """The label's phrases in one language."""

    title: str
    description: str
    off: str
    off_more: str
    raw: str
    raw_more: str
    budget: str
    budget_more: str
    kept: str
    kept_more: str
    uses: str
    use: str
    leaves: str
    days: str
    forms: tuple[tuple[Leaves, str], ...]
    recorded: str
    beside: str
    sights: str
    servers: str
    decided: str
    asked: str
    source: str


WORDS: Final[dict[Language, LabelWords]] = {
    "en": LabelWords(
        title="Privacy label",
        description="What Hearthside records, what leaves the device, how long anything is kept, and who sees what.",
        off="Off",
        off_more="until you say yes",
        raw="None",
        raw_more="of the raw data leaves the device",
        budget="ε {epsilon}",
        budget_more="privacy budget per device in any {days} days (zero-out), δ {delta}",
        kept="{days} days",
        kept_more="kept on the device of what is recorded",
        uses="Uses that you can allow, each alone",
        use="use",
        leaves="leaves the device",
        days="kept",
        forms=(("nothing", "nothing"), ("masked_sum", "masked, in a noisy sum")),
        recorded="Recorded on the device, after a yes",
        beside="What else stays on the device (answers, a list of reports, the count of the budget), and what is "
        "stored in the browser, is in the privacy notice.",
        sights="Who sees what",
        servers="Kept by the servers",
        decided="Automated decisions",
        asked="Questions: {contact}. Complaints: {authority}.",
        source="{origin}. Made from the registry of purposes {hash}.",
    ),
    "de": LabelWords(
        title="Datenschutz auf einen Blick",
        description="Was Hearthside aufzeichnet, was das Gerät verlässt, wie lange etwas bleibt und wer was sieht.",
        off="Aus",
        off_more="bis Sie Ja sagen",
        raw="Keine",
        raw_more="Rohdaten verlassen das Gerät",
        budget="ε {epsilon}",
        budget_more="Budget je Gerät in beliebigen {days} Tagen (zero-out), δ {delta}",
        kept="{days} Tage",
        kept_more="bleibt Aufgezeichnetes auf dem Gerät",
        uses="Nutzungen, die Sie einzeln erlauben können",
        use="Nutzung",
        leaves="verlässt das Gerät",
        days="bleibt",
        forms=(("nothing", "nichts"), ("masked_sum", "maskiert, in verrauschter Summe")),
        recorded="Auf dem Gerät aufgezeichnet, nach einem Ja",
        beside="Was sonst auf dem Gerät bleibt (Antworten, eine Liste der Berichte, der Verbrauch des Budgets) und was "
        "im Browser gespeichert wird, steht in den Datenschutzhinweisen.",
        sights="Wer sieht was",
        servers="Bei den Diensten aufbewahrt",
        decided="Automatische Entscheidungen",
        asked="Fragen: {contact}. Beschwerden: {authority}.",
        source="{origin}. Erzeugt aus dem Verzeichnis der Zwecke {hash}.",
    ),
}


def label_document(facts: Facts, language: Language, registry: Registry = PURPOSES) -> dict[str, Any]:
    """The label for machines. Epsilon and delta are the device's (zero-out), for any ``days`` days."""
    told = EXPLANATIONS[language]
    return {
        "version": LABEL_VERSION,
        "language": language,
        "site": facts.site,
        "updated": facts.updated.isoformat(),
        "controller": {"name": facts.controller_name, "contact": facts.controller_contact},
        "authority": {"name": facts.authority_name, "contact": facts.authority_contact},
        "mode": {"id": facts.mode, "words": _mode(facts, language)},
        "raw_data_leaves": False,
        "budget": {
            "epsilon": facts.budget_epsilon,
            "delta": facts.budget_delta,
            "days": facts.budget_days,
            "unit": "device level",
            "neighbours": "zero-out",
        },
        "purposes": [_purpose(purpose, language) for purpose in registry],
        "device": {record.id: record.text(language) for record in DEVICE_RECORDS},
        "left_after_erasure": [record.id for record in DEVICE_RECORDS if not record.erased],
        "browser": {item.id: item.text(language) for item in BROWSER_RECORDS},
        "servers": server_records(facts, language),
        "sights": {sight.viewer: {"name": sight.name, "sees": sight.sees} for sight in sights(language, facts.mode)},
        "automated_decisions": told.automated,
        "policy_hash": registry.hash.hex(),
    }


def label_json(facts: Facts, language: Language, registry: Registry = PURPOSES) -> str:
    """``label_document`` as text."""
    return json.dumps(label_document(facts, language, registry), indent=2, ensure_ascii=False) + "\n"


def label_html(facts: Facts, language: Language, registry: Registry = PURPOSES) -> str:
    """The label as one HTML file: no script, nothing loaded."""
    words, told = WORDS[language], EXPLANATIONS[language]
    authority = f"{facts.authority_name}, {facts.authority_contact}"
    asked = words.asked.format(contact=facts.controller_contact, authority=authority)
    source = words.source.format(origin=facts.origin, hash=registry.hash.hex()[:12])
    return html_file(
        language,
        f"{words.title}: {facts.site}",
        description=words.description,
        style=COLOURS + _STYLE,
        header=_header(facts, language),
        main="\n".join(
            (
                '<ul class="figures">',
                *(_figure(big, more) for big, more in _figures(facts, language, registry)),
                "</ul>",
                _uses(language, registry),
                _section(words.recorded, _list(_recorded(language, registry)) + f"<p>{escape(words.beside)}</p>"),
                _section(words.sights, _sights(language, facts.mode)),
                _section(words.servers, _list(list(server_records(facts, language).values()))),
                _section(words.decided, f"<p>{escape(told.automated)}</p>"),
            )
        ),
        footer="\n".join(f"<p>{escape(line)}</p>" for line in (asked, source)),
    )


def _header(facts: Facts, language: Language) -> str:
    words, site = WORDS[language], facts.site.partition("://")[2] or facts.site
    lines = (f"<h1>{escape(words.title)}</h1>", f"<p><b>{escape(site)}</b> · {escape(words.description)}</p>")
    mode = () if facts.mode == "device" else (f'<p class="mode">{escape(_mode(facts, language))}</p>',)
    return "\n".join((*lines, *mode))


def _mode(facts: Facts, language: Language) -> str:
    return dict(WORDING[language].modes)[facts.mode]


def _purpose(purpose: Purpose, language: Language) -> dict[str, Any]:
    text = purpose.text(language)
    return {
        "id": purpose.id,
        "version": purpose.version,
        "title": text.title,
        "vocabulary": purpose.vocabulary,
        "categories": [{"iri": each.iri, "words": each.text(language)} for each in purpose.categories],
        "signals": list(purpose.signals),
        "leaves": purpose.leaves,
        "retention_days": purpose.retention_days,
        "recipients": list(purpose.recipients),
        "legal_references": list(purpose.legal_references),
        "default": purpose.default,
    }


def _figures(facts: Facts, language: Language, registry: Registry) -> tuple[tuple[str, str], ...]:
    words = WORDS[language]
    days = sorted({purpose.retention_days for purpose in registry})
    kept = str(days[0]) if len(days) == 1 else f"{days[0]}-{days[-1]}"
    figures = {
        "epsilon": number(facts.budget_epsilon, language),
        "delta": small(facts.budget_delta, language),
        "days": facts.budget_days,
    }
    return (
        (words.off, words.off_more),
        (words.raw, words.raw_more),
        (words.kept.format(days=kept), words.kept_more),
        (words.budget.format(**figures), words.budget_more.format(**figures)),
    )


def _figure(big: str, more: str) -> str:
    return f"<li><b>{escape(big)}</b> <span>{escape(more)}</span></li>"


def _uses(language: Language, registry: Registry) -> str:
    words, forms = WORDS[language], dict(WORDS[language].forms)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(purpose.text(language).title)}</th>'
        f'<td class="{purpose.leaves}">{escape(forms[purpose.leaves])}</td>'
        f"<td>{escape(words.kept.format(days=purpose.retention_days))}</td></tr>"
        for purpose in registry
    )
    heads = "".join(f'<th scope="col">{escape(each)}</th>' for each in (words.use, words.leaves, words.days))
    return (
        f"<table><caption>{escape(words.uses)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>\n{rows}\n</tbody></table>"
    )


def _recorded(language: Language, registry: Registry) -> list[str]:
    """Every category that any purpose uses, once, in the registry's order."""
    return list(dict.fromkeys(each.text(language) for purpose in registry for each in purpose.categories))


def _sights(language: Language, mode: Mode) -> str:
    pairs = (
        f"<div><dt>{escape(sight.name)}</dt><dd>{escape(sight.sees)}</dd></div>" for sight in sights(language, mode)
    )
    return f"<dl>{''.join(pairs)}</dl>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _list(items: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


_STYLE: Final = """* { box-sizing: border-box; }
html { background: var(--paper); padding: 1.5rem 1rem; }
body { max-width: 40rem; margin: 0 auto; background: var(--card); color: var(--ink); border: 2px solid var(--ink);
  border-radius: .9rem; padding: 1.4rem 1.6rem 1.1rem;
  font: .95rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
header { border-bottom: .5rem solid var(--ink); padding-bottom: .7rem; }
h1 { font-size: clamp(1.9rem, 7vw, 2.6rem); line-height: 1.05; letter-spacing: -.03em; font-weight: 800; margin: 0; }
header p { margin: .35rem 0 0; color: var(--quiet); } header p b { color: var(--ember); }
header .mode { background: var(--note); color: var(--ink); font-weight: 600; border-radius: .5rem;
  padding: .5rem .8rem; }
.figures { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(4, auto);
  border-bottom: 1px solid var(--ink); }
.figures li { padding: .8rem .9rem .8rem 0; }
.figures li + li { border-left: 1px solid var(--line); padding-left: .9rem; }
.figures b { display: block; font-size: 1.45rem; line-height: 1.2; letter-spacing: -.02em; white-space: nowrap; }
.figures span { display: block; color: var(--quiet); font-size: .82rem; line-height: 1.35; }
table { border-collapse: collapse; width: 100%; border-bottom: .25rem solid var(--ink); }
caption, h2 { text-align: left; font-size: 1rem; font-weight: 750; margin: 0; padding: .8rem 0 .2rem; }
thead th { font-weight: 500; color: var(--quiet); font-size: .82rem; }
th, td { text-align: left; vertical-align: top; padding: .38rem .8rem .38rem 0; }
tbody th { font-weight: 500; } tbody tr { border-top: 1px solid var(--line); }
td { white-space: nowrap; font-variant-numeric: tabular-nums; } td:last-child, th:last-child { padding-right: 0; }
td.nothing { color: var(--good); font-weight: 650; }
section { border-bottom: 1px solid var(--line); padding-bottom: .7rem; }
ul { margin: 0; padding-left: 1.1rem; } section p { margin: 0; }
dl { margin: 0; } dl div { display: grid; grid-template-columns: 11rem 1fr; gap: 0 .9rem; padding: .22rem 0; }
dt { font-weight: 500; } dd { margin: 0; color: var(--quiet); }
footer { font-size: .82rem; color: var(--quiet); padding-top: .7rem; } footer p { margin: .15rem 0; }
@media (max-width: 36rem) {
  html { padding: .75rem; } body { padding: 1.1rem; } .figures { grid-template-columns: 1fr 1fr; }
  .figures li:nth-child(3) { border-left: 0; padding-left: 0; }
  .figures li:nth-child(n + 3) { border-top: 1px solid var(--line); }
  td { white-space: normal; } dl div { grid-template-columns: 1fr; padding: .35rem 0; } }
@media print { html { padding: 0; } }"""
