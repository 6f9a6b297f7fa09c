"""The documents: made from the registry and the operator's facts alone, complete, in step with what is committed."""

import ast
import csv
import dataclasses
import datetime as dt
import io
import itertools
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import LANGUAGES, POLICY_UPDATED, PURPOSES, Registry
from consent.documents import Facts, example_facts, generate, read_facts
from consent.documents.assessment import OPEN
from consent.documents.label import label_document
from consent.documents.pages import DARK, LIGHT
from consent.documents.risks import LIMITS, QUESTIONS, RISKS
from consent.errors import FactsInvalid
from consent.explanations import EXPLANATIONS
from consent.notices import MODES
from consent.purposes import EXPERIMENTS, PERSONALISATION
from consent.receipts import DEFAULT_VALID_DAYS
from consent.registry import PurposeText
from consent.signals.gpc import parse_well_known_gpc
from consent.wording import WORDING
from tests.conftest import ROOT

COMMITTED = ROOT / "docs" / "consent"
FACTS = read_facts(example_facts())
MADE = generate(FACTS)
ABOUT_PURPOSES = sorted(set(MADE) - {".well-known/gpc.json"})
OFFICE = "record-of-processing-helper"
EXTRA = dataclasses.replace(
    PURPOSES.find(EXPERIMENTS),
    id="fraud",
    texts=tuple(
        (
            language,
            PurposeText(*(f"{word} {language}" for word in ("Unheardof title", "why", "readwhat", "leaveshow", "no"))),
        )
        for language in LANGUAGES
    ),
    retention_days=17,
)
WITH_EXTRA = generate(FACTS, Registry([*PURPOSES, EXTRA]))


def language_of(name):
    """The language of a document by its name; the page of purposes has all, and English is looked for."""
    return "de" if ".de." in name else "en"


def told(text):
    """A document's text without markup, as a reader has it."""
    return " ".join(re.sub(r"<[^>]+>|\\\\", " ", text).replace("&#x27;", "'").replace("&amp;", "&").split())


@cache
def names_of(path: Path) -> frozenset[str]:
    """Names of the tests of a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("name", sorted(MADE))
def test_the_committed_documents_are_the_generated_ones(name):
    """A drift between registry, wording and documents fails here; docs/consent.md has the command that renews them."""
    facts = read_facts((COMMITTED / "facts.toml").read_text(encoding="utf-8"))
    assert (COMMITTED / name).read_text(encoding="utf-8") == generate(facts)[name]


def test_nothing_else_lies_beside_the_committed_documents():
    """A document that is no longer made does not stay behind to be believed."""
    lying = {path.relative_to(COMMITTED).as_posix() for path in COMMITTED.rglob("*") if path.is_file()}
    assert lying == {*MADE, "facts.toml"}
    assert (COMMITTED / "facts.toml").read_text(encoding="utf-8") == example_facts()


def test_the_committed_operator_is_clearly_an_example():
    """No name or address of the example could belong to anybody (RFC 2606)."""
    for name in ("controller_name", "helper_operator", "authority_name"):
        assert getattr(FACTS, name).startswith("Example ")
    for name in ("site", "controller_contact", "officer_contact", "authority_contact", "helper_contact"):
        assert getattr(FACTS, name).endswith("example.org")


@pytest.mark.parametrize("name", ABOUT_PURPOSES)
def test_an_added_purpose_is_in_every_document(name):
    """Title and retention of a purpose that nobody wrote a document for are in each of them."""
    text = told(WITH_EXTRA[name])
    assert EXTRA.text(language_of(name)).title in text
    assert name.startswith(OFFICE) or re.search(r"\b17\b", text), "its retention is missing"
    assert EXTRA.text(language_of(name)).title not in told(MADE[name]), "the test could not fail"


@pytest.mark.parametrize("name", ABOUT_PURPOSES)
def test_every_purpose_its_data_and_its_recipients_are_in_every_document(name):
    """Titles, categories of data and who receives anything, in the document's own language."""
    language, text = language_of(name), told(MADE[name])
    for purpose in PURPOSES:
        if name.startswith(OFFICE) and "helper" not in purpose.recipients:
            assert purpose.text(language).title not in text
            continue
        assert purpose.text(language).title in text
        for category in purpose.categories if not name.startswith(OFFICE) else ():
            words = category.text(language)
            assert words in text or words[0].upper() + words[1:] in text
    named = dict(EXPLANATIONS[language].recipients)
    sights = {sight.viewer: sight.name for sight in EXPLANATIONS[language].sights}
    for recipient in ("leader", "helper") if not name.startswith(OFFICE) else ():
        assert named[recipient] in text or sights[recipient] in text


@pytest.mark.parametrize("name", [name for name in ABOUT_PURPOSES if not name.startswith(("privacy-label", OFFICE))])
def test_each_purpose_names_its_own_recipients(name):
    """Leader and helper stand once for every purpose that reaches them, not once for all."""
    names, text = dict(EXPLANATIONS[language_of(name)].recipients), told(MADE[name])
    for recipient in ("leader", "helper"):
        reached = [purpose for purpose in PURPOSES if recipient in purpose.recipients]
        assert text.count(names[recipient]) >= len(reached)


@pytest.mark.parametrize("name", [name for name in ABOUT_PURPOSES if "record" in name or "notice" in name])
def test_what_leaves_is_told_in_the_purposes_own_words(name):
    """Records and notices say what leaves as the choice itself says it."""
    for purpose in PURPOSES:
        if not (name.startswith(OFFICE) and purpose.id == PERSONALISATION):
            assert purpose.text(language_of(name)).leaves in told(MADE[name]).replace('""', '"')


def test_documents_are_a_function_of_their_input():
    """The same facts make the same bytes; one language leaves the other out."""
    assert generate(read_facts(example_facts())) == MADE
    german = generate(FACTS, languages=("de",))
    assert all(MADE[name] == text for name, text in german.items())
    assert not any(".en." in name for name in german if name != "impact-assessment.en.md")


class TestPrivacyNotice:
    """The notice of GDPR Art. 13."""

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_it_names_everybody_whom_a_person_may_want_to_reach(self, language):
        """Controller, officer, authority and privacy office, with their contacts, as the facts have them."""
        text = MADE[f"privacy-notice.{language}.md"]
        for fact in ("controller", "officer", "authority", "helper"):
            assert getattr(FACTS, f"{fact}_contact") in text
        for fact in (FACTS.controller_name, FACTS.controller_address, FACTS.helper_operator, FACTS.authority_name):
            assert fact in text

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_it_has_each_right_with_the_way_to_use_it(self, language):
        """Withdrawal, access, portability, erasure, objection, correction, restriction, complaint; no decision."""
        text = MADE[f"privacy-notice.{language}.md"]
        for right in EXPLANATIONS[language].rights:
            assert f"| {right.title} | {right.article} | {right.how} |" in text
        for sentence in ("complaint", "automated", "refusal", "undone", "children", "guests", "private_window"):
            assert getattr(EXPLANATIONS[language], sentence) in text

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_an_epsilon_names_its_unit_and_its_neighbours(self, language):
        """Wherever the contract's epsilon stands, device and zero-out stand with it."""
        units = {"en": ("device level", "per device"), "de": ("ebene: das gerät", "je gerät", "device level")}
        stated = [name for name in MADE if f".{language}." in name and re.search("psilon|ε", MADE[name])]
        assert len(stated) >= 4
        for name in stated:
            text = MADE[name].lower()
            assert "zero-out" in text, name
            assert any(unit in text for unit in units[language]), name

    def test_both_languages_have_the_same_parts(self):
        """Headings, bullets and rows agree line by line."""
        kinds = [
            [re.match(r"#*|-|\||>", line).group(0) for line in MADE[f"privacy-notice.{language}.md"].splitlines()]
            for language in LANGUAGES
        ]
        assert kinds[0] == kinds[1]

    @pytest.mark.parametrize("mode", MODES)
    def test_it_says_where_the_agent_runs(self, mode):
        """Three modes, three notices: whom one has to trust is another each time."""
        notices = {generate(dataclasses.replace(FACTS, mode=m))["privacy-notice.en.md"] for m in MODES}
        assert len(notices) == len(MODES)
        assert ("trust the site" in generate(dataclasses.replace(FACTS, mode=mode))["privacy-notice.en.md"]) == (
            mode == "site_edge"
        )

    def test_transfers_and_hosting_are_told_where_there_are_any(self):
        """An empty fact says that there are none; a filled one is quoted, in notice and record."""
        abroad = dataclasses.replace(FACTS, transfers="To Freedonia, under clauses.", hosting="Cloud of Freedonia")
        for name in ("privacy-notice.de.md", "record-of-processing.en.csv", "record-of-processing.de.md"):
            assert "Freedonia" not in MADE[name]
            made = generate(abroad)[name]
            assert "To Freedonia, under clauses." in made
            assert "Cloud of Freedonia" in made


class TestRecord:
    """The record of processing activities of GDPR Art. 30."""

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_every_field_of_every_activity_is_filled_in(self, language):
        """One row a purpose, one for the device and one for the proof of consent; letters (a) to (g), none empty."""
        rows = list(csv.DictReader(io.StringIO(MADE[f"record-of-processing.{language}.csv"])))
        assert [column[0:3].strip("() ") for column in list(rows[0])[1:]] == list("abcdefg")
        assert len(rows) == len(PURPOSES) + 2
        assert all(value.strip() for row in rows for value in row.values())

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_the_office_has_a_record_of_its_own_as_a_processor(self, language):
        """Letters (a) to (d) for each purpose that it works for; a joint controller has none, and is named at (a)."""
        rows = list(csv.DictReader(io.StringIO(MADE[f"{OFFICE}.{language}.csv"])))
        assert [column[0:3].strip("() ") for column in list(rows[0])[1:]] == list("abcd")
        assert len(rows) == len([purpose for purpose in PURPOSES if "helper" in purpose.recipients])
        joint = generate(dataclasses.replace(FACTS, helper_role="joint_controller"))
        assert not any(name.startswith(OFFICE) for name in joint)
        (first, *_) = csv.DictReader(io.StringIO(joint[f"record-of-processing.{language}.csv"]))
        assert FACTS.helper_operator in list(first.values())[1]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_text_and_table_say_the_same(self, language):
        """The Markdown has every entry of the CSV."""
        page = MADE[f"record-of-processing.{language}.md"]
        for row in csv.DictReader(io.StringIO(MADE[f"record-of-processing.{language}.csv"])):
            assert all(value in page for value in row.values())


class TestAssessment:
    """The impact-assessment pack of GDPR Art. 35."""

    @pytest.mark.parametrize("risk", RISKS, ids=lambda risk: risk.id)
    def test_every_measure_is_held_by_tests_that_exist(self, risk):
        """A risk without a measure, a measure without a test, a test that nobody wrote: none of them."""
        assert risk.measures
        assert risk.tests
        for test in risk.tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).is_file(), test
            assert name in names_of(ROOT / path), test

    def test_a_test_that_nobody_wrote_would_be_found(self):
        """The check above can fail."""
        assert "test_that_nobody_wrote" not in names_of(Path(__file__))

    def test_it_has_the_four_parts_of_the_law_and_what_is_open(self):
        """Description, necessity, risks, measures; every risk, limit and open question, the latter marked."""
        page = MADE["impact-assessment.en.md"]
        for part in ("Art. 35(7)(a)", "Art. 35(7)(b)", "Art. 35(7)(c) and (d)", "What is not promised"):
            assert part in page
        for risk in RISKS:
            assert all(text in page for text in (risk.what, risk.harm, *risk.measures, *risk.tests, risk.residual))
        for question in QUESTIONS:
            assert f"> **{OPEN}: {question.asks}**" in page
            assert question.because in page

    def test_it_says_all_that_the_project_does_not_promise(self):
        """Each point under "Not promised" in docs/privacy.md is among the limits, and no other."""
        page = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
        _, _, after = page.partition("## Not promised")
        points = re.findall(r"^- \*\*(.+?)\*\*", after.partition("\n## ")[0], re.MULTILINE)
        assert points
        assert [what for what, _ in LIMITS] == points, "docs/privacy.md and consent/documents/risks.py differ"


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def luminance(colour):
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class TestPages:
    """The documents that a browser shows."""

    PAGES = tuple(name for name in MADE if name.endswith(".html"))

    @pytest.mark.parametrize("name", PAGES)
    def test_nothing_runs_and_nothing_is_loaded(self, name):
        """One file: no script, no frame, no picture, no font, no style from elsewhere, no handler."""
        for tag, attributes in Elements(MADE[name]).found:
            assert tag not in {"script", "iframe", "img", "object", "embed", "link", "form", "svg", "base"}
            assert not [key for key in attributes if key.startswith("on") or key in {"src", "href", "style"}]
        assert not re.search(r"url\(|@import|expression\(", MADE[name])

    @pytest.mark.parametrize("name", PAGES)
    def test_a_screen_reader_finds_its_way(self, name):
        """Language, title, one first heading, no level skipped, heads of rows and columns."""
        found = Elements(MADE[name]).found
        tags = [tag for tag, _ in found]
        assert dict(found)["html"]["lang"] == language_of(name)
        assert (tags.count("title"), tags.count("main"), tags.count("h1")) == (1, 1, 1)
        levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert {attributes.get("scope") for tag, attributes in found if tag == "th"} == {"col", "row"}

    @pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
    @pytest.mark.parametrize("ink", ["ink", "quiet", "ember", "good"])
    @pytest.mark.parametrize("ground", ["paper", "card", "note"])
    def test_text_stands_out_from_its_ground(self, colours, ink, ground):
        """A contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
        dark, light = sorted((luminance(colours[ink]), luminance(colours[ground])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5

    def test_facts_are_shown_as_text(self):
        """An ampersand in a name is an ampersand on the page."""
        made = generate(dataclasses.replace(FACTS, controller_name='A & B "Co"'))
        for name in self.PAGES:
            assert "A &amp; B &quot;Co&quot;" in made[name]
            assert "A & B" not in made[name]


class TestLabel:
    """The privacy label."""

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_card_and_document_say_the_same(self, language):
        """Every purpose, figure and viewer of the JSON is on the card."""
        document = json.loads(MADE[f"privacy-label.{language}.json"])
        card = told(MADE[f"privacy-label.{language}.html"])
        assert document == label_document(FACTS, language)
        for purpose in document["purposes"]:
            assert purpose["title"] in card
            assert purpose["default"] is False
        for sight in document["sights"].values():
            assert sight["name"] in card
            assert sight["sees"] in card
        assert all(words in card for words in document["servers"].values())
        assert document["budget"] == {
            "epsilon": 4.0,
            "delta": 1e-6,
            "days": 30,
            "unit": "device level",
            "neighbours": "zero-out",
        }
        assert document["policy_hash"] == PURPOSES.hash.hex()

    @pytest.mark.parametrize("name", [name for name in MADE if "label" in name or "notice" in name])
    @pytest.mark.parametrize("mode", MODES)
    def test_whoever_runs_the_box_is_named_first(self, name, mode):
        """On a box, label and notice do not say that the device alone sees everything."""
        language, text = language_of(name), told(generate(dataclasses.replace(FACTS, mode=mode))[name])
        device, *_ = EXPLANATIONS[language].sights
        boxes = dict(EXPLANATIONS[language].boxes)
        assert (device.sees in text) == (mode == "device")
        assert [box for box, sight in boxes.items() if sight.name in text] == [mode] * (mode != "device")
        assert mode == "device" or dict(WORDING[language].modes)[mode] in text

    def test_retentions_that_differ_are_shown_as_a_range(self):
        """No single figure stands for purposes that are kept for different times."""
        assert "17-30 days" in WITH_EXTRA["privacy-label.en.html"]


def test_the_sites_gpc_document_conforms():
    """It is what a reader of the signal's specification expects; its date is the policy's, or the site's if later."""
    support = parse_well_known_gpc(MADE[".well-known/gpc.json"])
    assert support.honours
    assert support.updated == POLICY_UPDATED > FACTS.updated
    later = dataclasses.replace(FACTS, updated=POLICY_UPDATED + dt.timedelta(1))
    assert parse_well_known_gpc(generate(later)[".well-known/gpc.json"]).updated == later.updated


class TestFacts:
    """The operator's facts."""

    def test_the_example_is_complete_and_says_what_each_field_means(self):
        """Every field, with a comment; read back it is the example."""
        text = example_facts()
        for field in dataclasses.fields(Facts):
            assert f"# {field.metadata['meaning']}" in text
            assert getattr(FACTS, field.name) == field.metadata["example"]

    @pytest.mark.parametrize("field", dataclasses.fields(Facts), ids=lambda field: field.metadata["place"])
    def test_a_missing_fact_is_named(self, field):
        """One clear error that names the field; an optional one may be left out."""
        section, _, key = field.metadata["place"].partition(".")
        cut = re.sub(rf"(\[{section}\][^\[]*?)^{key} = .*\n", r"\1", example_facts(), count=1, flags=re.MULTILINE)
        assert cut != example_facts()
        if field.metadata["optional"]:
            assert getattr(read_facts(cut), field.name) == ""
        else:
            with pytest.raises(FactsInvalid, match=re.escape(f"expected {field.metadata['place']} (")):
                read_facts(cut)

    @pytest.mark.parametrize(
        ("before", "after", "named"),
        [
            ('name = "Example Shop Ltd"', 'name = ""', "controller.name"),
            ('name = "Example Shop Ltd"', 'name = "A<script>"', "controller.name"),
            ('name = "Example Shop Ltd"', 'name = "A|B"', "controller.name"),
            ('name = "Example Shop Ltd"', 'name = "=1+1"', "controller.name"),
            ('name = "Example Shop Ltd"', 'name = "A\\nB"', "controller.name"),
            ('name = "Example Shop Ltd"', "name = 7", "controller.name"),
            ("epsilon = 4.0", "epsilon = 0", "budget.epsilon"),
            ("epsilon = 4.0", "epsilon = nan", "budget.epsilon"),
            ("epsilon = 4.0", "epsilon = true", "budget.epsilon"),
            ("delta = 1e-06", "delta = 1.0", "budget.delta"),
            ("days = 30", "days = 0", "budget.days"),
            ("days = 30", "days = 30.5", "budget.days"),
            ('mode = "device"', 'mode = "cloud"', "site.mode"),
            ('role = "processor"', 'role = "friend"', "helper.role"),
            ("updated = 2026-01-31", 'updated = "soon"', "documents.updated"),
            ("updated = 2026-01-31", "updated = 2026-01-31T00:00:00", "documents.updated"),
            ("[site]", "[site]\ncolour = 'red'", "site.colour"),
            ("[site]", "[site", "TOML"),
        ],
    )
    def test_a_fact_of_another_kind_is_refused_by_name(self, before, after, named):
        """Empty, markup, a formula for a spreadsheet, two lines, another type, an unknown field, no TOML."""
        assert before in example_facts()
        with pytest.raises(FactsInvalid, match=re.escape(named)):
            read_facts(example_facts().replace(before, after, 1))

    @given(text=st.text(max_size=200))
    @settings(max_examples=100)
    def test_any_text_is_read_or_refused(self, text):
        """No input ends in another error."""
        with pytest.raises(FactsInvalid):
            read_facts(text)

    @given(name=st.text(min_size=1, max_size=40))
    @settings(max_examples=60)
    def test_a_name_that_is_accepted_breaks_no_document(self, name):
        """Whatever a name is made of, the CSV keeps its columns, the tables their rows, the pages their elements."""
        try:
            facts = read_facts(example_facts().replace("Example Shop Ltd", name, 1))
        except FactsInvalid:
            return
        made = generate(facts)
        rows = list(csv.reader(io.StringIO(made["record-of-processing.en.csv"])))
        assert {len(row) for row in rows} == {8}
        for page in ("privacy-notice.en.md", "record-of-processing.en.md"):
            assert len(made[page].splitlines()) == len(MADE[page].splitlines())
        for page in TestPages.PAGES:
            assert [tag for tag, _ in Elements(made[page]).found] == [tag for tag, _ in Elements(MADE[page]).found]


class TestGuide:
    """docs/consent.md: what it tells people to press, type and expect is there."""

    PAGE = (ROOT / "docs" / "consent.md").read_text(encoding="utf-8")

    def test_it_lists_every_document(self):
        """Each generated file matches a row of the table, and each row a file."""
        rows = re.findall(r"^\| `([^`]+\.[^`]+)` \|", self.PAGE, re.MULTILINE)
        listed = set()
        for row in rows:
            patterns = [row]
            while any("{" in pattern for pattern in patterns):
                patterns = [
                    pattern.replace(braces, choice, 1)
                    for pattern in patterns
                    for braces in re.findall(r"\{[^}]*\}", pattern)[:1]
                    for choice in braces.strip("{}").split(",")
                ]
            listed |= set(patterns)
        assert listed == set(MADE)

    def test_every_command_that_it_names_exists(self):
        """Whoever types what stands there is not told that there is no such command."""
        import typer

        from client_agent.cli import app

        root = typer.main.get_command(app)
        named = re.findall(r"`hearthside-agent ([a-z]+)(?: ([a-z]+))?", self.PAGE)
        assert len(named) >= 8
        for first, second in named:
            command = root.get_command(None, first)
            assert command is not None, first
            if second and hasattr(command, "get_command"):
                assert command.get_command(None, second) is not None, f"{first} {second}"

    def test_its_figures_are_those_of_the_code(self):
        """The validity of a yes, and the contract that the agent ships with."""
        from client_agent.policy import INSTALLED_CONTRACT

        assert f"holds for {DEFAULT_VALID_DAYS} days" in self.PAGE
        assert f"epsilon {INSTALLED_CONTRACT.epsilon:g} and delta 10^-6 (device level, zero-out)" in self.PAGE
        assert INSTALLED_CONTRACT.delta == FACTS.budget_delta == 1e-6
        assert INSTALLED_CONTRACT.epsilon == FACTS.budget_epsilon
