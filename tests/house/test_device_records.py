"""The notice's list of what the device and the browser keep is the agent's own list, table by table and day by day."""

import re

from aggregator.settings import HelperSettings
from client_agent.gateway import cookies, seals, sessions
from client_agent.store.holdings import KEPT, PERSONAL
from consent.device_records import BROWSER_RECORDS, DEVICE_RECORDS, FIGURES
from consent.documents import example_facts, generate, read_facts
from consent.documents.label import label_document
from consent.explanations import EXPLANATIONS
from consent.registry import LANGUAGES
from models.events import PROFILE_DAYS
from tests.conftest import ROOT

DAY_MS = 86_400_000
TABLES = [table for record in DEVICE_RECORDS for table in record.tables]
STARTS_ANEW = {"tallies"}
"""Tables of everybody together, which an erasure of anybody empties: ``test_rights_of_two`` holds that."""


def test_every_table_of_the_agent_is_told_of_once():
    """A table that is added fails this until a sentence of the notice tells of it; one that is gone does, too."""
    assert sorted(TABLES) == sorted({*(holding.table for holding in PERSONAL), *KEPT})


def test_what_is_said_of_an_erasure_is_what_it_does():
    """A sentence in the list of what is deleted is about tables that an erasure empties, and the others are not."""
    emptied = {holding.table for holding in PERSONAL} | STARTS_ANEW
    for record in DEVICE_RECORDS:
        assert {table in emptied for table in record.tables} == {record.erased}, record.id


def test_the_figures_are_those_of_the_agent():
    """Days and hours in the notice are the code's constants."""
    assert FIGURES == {
        "events_days": PROFILE_DAYS,
        "lasting_days": cookies.LASTING_SECONDS // 86_400,
        "idle_days": sessions.LASTING_IDLE_MS // DAY_MS,
        "session_hours": sessions.OTHERS_IDLE_MS // 3_600_000,
        "queue_days": seals.QUEUED_MS // DAY_MS,
    }
    assert FIGURES["lasting_days"] * DAY_MS == sessions.LASTING_MS
    assert HelperSettings.model_fields["withdrawal_retention_seconds"].default == 2 * 86_400
    assert "two days at least" in dict(EXPLANATIONS["en"].records)["masked_report"]


def test_everything_that_the_browser_stores_is_named():
    """Both cookies by the names that the gateway gives them, and every storage that the page's script opens."""
    assert cookies.cookie_name("http://shop.example", "site") == BROWSER_RECORDS[0].name
    assert cookies.cookie_name("http://shop.example", "page") == BROWSER_RECORDS[1].name
    scripts = (ROOT / "client_agent").rglob("*.js")
    text = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    assert "localStorage" not in text
    assert "document.cookie" not in text
    stores = set(re.findall(r"(?:sessionStorage\.\w+|indexedDB\.\w+|caches\.open)\(([A-Z]+)", text))
    named = {name for constant in stores for name in re.findall(rf"const {constant} = '([^']+)'", text)}
    assert named == {name for item in BROWSER_RECORDS[2:] for name in item.name.split(", ")}


def test_every_entry_is_in_notice_record_and_label_in_every_language():
    """The list is told where a person, a register and a machine look for it."""
    facts = read_facts(example_facts())
    made = generate(facts)
    for language in LANGUAGES:
        notice, record = (made[f"{name}.{language}.md"] for name in ("privacy-notice", "record-of-processing"))
        for entry in (*DEVICE_RECORDS, *BROWSER_RECORDS):
            assert entry.text(language) in notice
            assert entry.text(language) in record
            assert "{" not in entry.text(language)
        label = label_document(facts, language)
        assert set(label["device"]) == {entry.id for entry in DEVICE_RECORDS}
        assert set(label["browser"]) == {entry.id for entry in BROWSER_RECORDS}
