"""Two people behind one agent: what one of them is shown, and takes along, tells nothing of the other."""

import asyncio
import csv
import io
import json
import os
import re
import zipfile

import httpx
import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.consenting import ConsentKeeper
from client_agent.erasing import erase_person
from client_agent.errors import NotEnrolled
from client_agent.exporting import csv_zip_pieces, json_pieces, text_pieces
from client_agent.federation.budgets import inspect
from client_agent.gateway.sessions import Sessions
from client_agent.household import StoredHousehold
from client_agent.keys import FileKeyring
from client_agent.pages.people import PeoplePage
from client_agent.pages.view import Shown, facts
from client_agent.people import PeopleKeeper
from client_agent.rights import gather
from client_agent.store import BrowserRecord, PersonRecord
from consent import NO_SIGNALS
from models.events import Event
from tests.client_agent.test_federation import VECTOR, only_round, take_part
from tests.client_agent.test_people import SITE
from tests.client_agent.world import START_MS, federate, populate

ANNA, BEN = "person-0", "person-1"
BENS = "bens-own-3f5d"
HIS_MS = START_MS - 7_654_321
"""A time of day that nothing of Anna's has."""


@pytest.fixture
def two(world, store):
    """Anna allowed measurement; Ben all three uses, was asked alone for two of them, and withdrew with nobody there."""
    anna, ben = populate(world, store, 2)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    federation = federate(world, store)
    world.open_round(world.study(plan={"sampling_rate": 1.0}))
    take_part(world, federation, only_round(federation), VECTOR)
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 2
    world.clock.advance(7.0)
    keeper.grant(ben, ["persona", "intent"])
    event = Event(f"{BENS}-event", "page_view", HIS_MS, SITE, path=f"/{BENS}", title=BENS)
    store.insert_events(ben, [(event.event_id, event.at_ms, json.dumps(event.document()))])
    store.people.put(PersonRecord(BEN, "adult", b"s" * 16, b"d" * 32, 3, HIS_MS))
    store.browsers.put(BrowserRecord(b"p" * 32, b"q" * 32, BEN, True, HIS_MS, HIS_MS, HIS_MS, b"r" * 32))
    store.gpc.add([(ben, "use", "persona")] * 4_241, START_MS // 1_000)
    with store.transaction():  # as further rounds for Ben alone leave it
        store.tallies.add({("persona", "sent_reports"): 86_753, ("persona", "sent_bytes"): 777_777_777})
        store._database.run(
            "INSERT INTO rounds (study_hash, round, opening, purpose, closes_at_ms, study_id, title)"
            " VALUES (?, 4242, x'', 'persona', ?, ?, ?)",
            (b"h" * 32, HIS_MS, f"{BENS}-study", f"{BENS} title"),
        )
        store.contributions.note_sending([(ben, b"h" * 32, 4242, b"i" * 32, 98_765_432)], HIS_MS)
        store._database.run("INSERT INTO taken_back (report_id, token) VALUES (?, ?)", (b"i" * 32, b"t" * 32))
    keeper.withdraw(ben, ["persona"])
    return anna, ben


def needles(store, who: str, person: str) -> dict[str, str]:
    """What would tell of a person in somebody else's export: ids, times, counts, keys and texts."""
    record = store.participants.get(who)
    receipts = store.consents.receipts_of(who)
    found = {"pseudonym": who, "name": f'"{person}"', "planted": BENS, "time": str(HIS_MS), "of day": "20:05:45"}
    found |= {"gpc": "4241", "tally": "86753", "tallied bytes": "777777777", "sent bytes": "98765432", "round": "4242"}
    found |= {"study": (b"h" * 32).hex(), "report": (b"i" * 32).hex(), "device": record.device_id.hex()}
    found |= {f"receipt {n}": receipt.jws for n, receipt in enumerate(receipts)}
    found |= {f"digest {n}": receipt.digest.hex() for n, receipt in enumerate(receipts)}
    return found


def told(store, world, person: str) -> str:
    """Everything that a person can take along or read: JSON, every CSV file, the text, and the facts on the page."""
    export = gather(store, world.pins, person, world.clock)
    with zipfile.ZipFile(io.BytesIO(b"".join(csv_zip_pieces(export)))) as archive:
        tables = "".join(archive.read(name).decode("utf-8-sig") for name in archive.namelist())
    visitor = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None).visitor(person)
    page = facts(visitor, NO_SIGNALS, Shown(SITE, "http://s", "en", "device", "form"))
    shown = re.sub(" at 0x[0-9a-f]+", "", repr(page))
    return "\n".join(["".join(json_pieces(export)), tables, "".join(text_pieces(export)), shown])


def test_nothing_that_one_person_is_shown_tells_of_the_other(world, store, two):
    """Ids, counts, times, purposes, studies: Ben's are in all that Ben is shown, and in nothing that Anna is."""
    anna, ben = two
    of_ben = needles(store, ben, BEN)
    text = told(store, world, ANNA)
    assert {name for name, needle in of_ben.items() if needle in text} == set()
    bens = told(store, world, BEN)
    missing = {name for name, needle in of_ben.items() if needle not in bens}
    assert missing == {"tally", "tallied bytes"}, "which are of everybody together, and so in nobody's"
    assert anna not in bens


def test_what_left_and_what_waits_is_counted_for_the_person(world, store, two):
    """Anna sent one report for one use and nothing waits for her; Ben's second use, and what waits, are Ben's."""
    anna, _ = two
    first, second = (
        json.loads("".join(json_pieces(gather(store, world.pins, name, world.clock)))) for name in (ANNA, BEN)
    )
    (size,) = store._database.fetch("SELECT size_bytes FROM contributions WHERE participant_id = ?", (anna,))[0]
    assert size > 1_000
    assert first["sent"] == [{"purpose": "measurement", "reports": 1, "size_bytes": size}]
    assert {row["purpose"]: row["reports"] for row in second["sent"]} == {"measurement": 1, "persona": 1}
    assert [row["number"] for row in first["waiting"]] == [0, 0]
    assert [row["number"] for row in second["waiting"]] == [2, 1]
    home = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None)
    assert [(row.purpose, row.reports, row.size_bytes) for row in home.visitor(ANNA).sent()] == [
        ("measurement", 1, size)
    ]


@pytest.mark.usefixtures("two")
def test_the_status_counts_for_the_person_and_names_what_is_the_devices(world, store):
    """Anna's figures are hers, Ben's his; those of everybody together stand apart and say so."""
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    said = {}
    for name in (ANNA, BEN):
        done = CliRunner().invoke(cli.app, ["status", "--json", "--dir", str(folder), "--person", name])
        said[name] = json.loads(done.stdout)
    assert [(said[name]["person"], said[name]["receipts_waiting"]) for name in (ANNA, BEN)] == [(ANNA, 0), (BEN, 2)]
    assert {purpose: row["reports"] for purpose, row in said[ANNA]["sent"].items()} == {"measurement": 1}
    assert {purpose: row["reports"] for purpose, row in said[BEN]["sent"].items()} == {"measurement": 1, "persona": 1}
    everybodys = said[ANNA]["device"]
    assert everybodys == said[BEN]["device"]
    assert everybodys["receipts_waiting"] == 2
    assert "everybody" in everybodys["counts"]
    assert everybodys["sent"] != said[BEN]["sent"]
    own = json.dumps({name: value for name, value in said[ANNA].items() if name != "device"})
    assert "86753" not in own
    assert "777777777" not in own


@pytest.mark.usefixtures("two")
def test_an_erasure_is_nobody_elses_to_see(world, store):
    """What Anna is shown is the same, but for the time of reading, before and after Ben is erased, offline."""
    before = told(store, world, ANNA)
    world.down = True
    erase_person(store, world.pins, BEN, world.clock)
    assert len(store.outbox) == 1
    after = told(store, world, ANNA)
    assert [(a, b) for a, b in zip(before.split(), after.split(), strict=True) if a != b] == []


def test_no_count_of_the_device_outlives_an_erasure(world, store, two):
    """How many reports, nulls among them, were somebody's cannot be told apart, so that the counts begin again."""
    assert store.tallies.all()
    erase_person(store, world.pins, BEN, world.clock)
    assert store.tallies.all() == {}
    assert inspect(store, BEN, world.clock).spent_epsilon > 0, "the spend stays"
    assert len(store.contributions.releases_of(two[0])) == 1, "and what Anna sent is still known to her"


# Who has no profile


@pytest.fixture
def nameless(world, store):
    """A child and an adult who was never enrolled, each with a browser, beside somebody with a profile."""
    populate(world, store, 1)
    keeper = PeopleKeeper(store, world.pins, world.clock, os.urandom)
    for number, (name, kind) in enumerate((("tim", "child"), ("ute", "adult"))):
        keeper.add(name, kind)
        page = bytes([number]) * 32
        store.browsers.put(BrowserRecord(page, None, name, False, START_MS + number, START_MS, START_MS, page))
    return keeper


@pytest.mark.parametrize(("name", "kind", "at_ms"), [("tim", "child", START_MS), ("ute", "adult", START_MS + 1)])
@pytest.mark.usefixtures("nameless")
def test_who_has_no_profile_sees_their_name_and_erases_it(world, store, name, kind, at_ms):
    """A name, a kind and the times of a browser are held, exported and erased; others' are left."""
    document = json.loads("".join(json_pieces(gather(store, world.pins, name, world.clock))))
    assert [(row["name"], row["kind"]) for row in document["people"]] == [(name, kind)]
    assert [row["created_at_ms"] for row in document["browsers"]] == [at_ms]
    filled = {section for section, rows in document.items() if isinstance(rows, list) and rows}
    assert filled == {"people", "browsers", "waiting", "context", "withheld"}
    assert [row["number"] for row in document["waiting"]] == [0, 0]
    export = gather(store, world.pins, name, world.clock)
    change = store.people.last_change()
    erase_person(store, world.pins, name, world.clock)
    assert store.people.get(name) is None
    assert store.browsers.of(name) == []
    assert store.people.last_change() > change, "which other processes notice"
    assert store.traces == "pages"
    assert len(store.outbox) == 0
    assert len(store.people.all()) == 2
    for gone in (lambda: gather(store, world.pins, name, world.clock), lambda: "".join(json_pieces(export))):
        with pytest.raises(NotEnrolled):
            gone()
    with pytest.raises(NotEnrolled):
        erase_person(store, world.pins, name, world.clock)


@pytest.mark.parametrize("name", ["tim", "ute"])
@pytest.mark.usefixtures("nameless")
def test_who_has_no_profile_has_a_page_for_their_rights(world, store, name):
    """From the page that asks who is here: see it, take it along, erase it; and no more."""
    home = StoredHousehold(store, world.pins, world.clock, lambda: None, lambda: None)
    origin = "http://page"
    app = PeoplePage(Sessions(home, os.urandom), "http://site", origin).application()
    asyncio.run(_use_the_page(app, origin, name, lambda: store.people.get(name)))


async def _use_the_page(app, origin, name, known):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=origin) as client:
        own = {"origin": origin}
        assert (await client.get("/export.json")).status_code == 401, "nobody has said who they are"
        chosen = await client.post("/people/choose", data={"name": name}, headers=own)
        cookie = chosen.headers["set-cookie"].split(";")[0]
        client.headers["cookie"] = cookie
        assert "/erase-everything" in (await client.get("/")).text
        assert [row["name"] for row in (await client.get("/export.json")).json()["people"]] == [name]
        assert name in (await client.get("/everything")).text
        assert zipfile.is_zipfile(io.BytesIO((await client.get("/export.zip")).content))
        for path in ("/consent-record.json", "/consent", "/erase"):
            assert (await client.get(path)).status_code == 401, path
        sure = {"sure": "yes", "person": "another form"}
        assert (await client.post("/erase-everything", data=sure, headers=own)).status_code == 303
        assert known() is not None, "a form of another page erases nobody"
        form = (await client.get("/erase-everything")).text.split('name="person" value="')[1].split('"')[0]
        done = await client.post("/erase-everything", data=sure | {"person": form}, headers=own)
        assert done.status_code == 200
        assert known() is None
        assert (await client.get("/export.json")).status_code == 401


@pytest.mark.parametrize("name", ["tim", "ute"])
@pytest.mark.usefixtures("nameless")
def test_the_commands_work_for_who_has_no_profile(world, store, monkeypatch, name):
    """Export and erase take any name of the household; nothing is said about a spend that never was."""
    from typer.testing import CliRunner

    from client_agent import cli
    from client_agent.agent import Addresses, set_up
    from client_agent.keys import FileKeyring

    monkeypatch.setattr("client_agent.clocks.SystemClock", lambda: world.clock)
    monkeypatch.setattr("client_agent.agent.LeaderConnection", lambda _: world.connections()[0])
    monkeypatch.setattr("client_agent.agent.HelperConnection", lambda _: world.connections()[1])
    place = store._database.path.parent
    set_up(place, world.pins, Addresses("http://l", "http://h"), FileKeyring(place)).store.close()
    base = ["--dir", str(place), "--person", name]
    assert json.loads(CliRunner().invoke(cli.app, ["export", *base]).stdout)["people"][0]["name"] == name
    done = CliRunner().invoke(cli.app, ["erase", "--yes", *base])
    assert done.exit_code == 0, done.output
    assert f"erased {name}\n" in done.stdout
    assert store.people.get(name) is None
    assert CliRunner().invoke(cli.app, ["export", *base]).exit_code != 0


# Spreadsheets

FORMULAS = ("=1+1+C1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\uff1d1+1", "\uff20SUM(1)")
BEFORE = (
    "",
    "/x;",
    "a,",
    "a|",
    "a\t",
    "a\n",
    "a\r\n",
    ';"',
    ',""',
    "; ",
    ";'",
    ";\u00a0",
    ";\\",
    "|`",
    ";\ufeff",
    ';"" \'',
)
RISKY = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def dialects():
    for delimiter in ",;\t|":
        yield {"delimiter": delimiter}
        yield {"delimiter": delimiter, "skipinitialspace": True}
        yield {"delimiter": delimiter, "quotechar": "'"}
        yield {"delimiter": delimiter, "doublequote": False, "escapechar": "\\"}
        yield {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}


def is_number(cell: str) -> bool:
    """A negative number starts with a sign and is no formula; JSON may go on behind it."""
    try:
        float(cell.strip(' "]}'))
    except ValueError:
        return False
    return True


def test_no_dialect_makes_a_formula_of_any_text(world, store):
    """Formulas at the start, in the middle, behind quotes, in JSON: split at any delimiter, quoted or not."""
    (who,) = populate(world, store, 1)
    texts = [f"{before}{formula};y" for before in BEFORE for formula in FORMULAS]
    bodies = [{"kind": text, "path": f"/{text}", "deep": [{text: [text, -5, text]}]} for text in texts]
    store.insert_events(who, [(f"e{n}", n, json.dumps(body)) for n, body in enumerate(bodies)])
    export = gather(store, world.pins, "person-0", world.clock)
    with zipfile.ZipFile(io.BytesIO(b"".join(csv_zip_pieces(export)))) as archive:
        raw = archive.read("events.csv").decode("utf-8-sig")
        readme = archive.read("README.txt").decode()
    found = []
    for dialect in dialects():
        for text in (io.StringIO(raw, newline=None), raw.splitlines()):
            cells = [cell for row in csv.reader(text, **dialect) for cell in row]
            assert len(cells) > len(texts)
            found += [(dialect, cell) for cell in cells if cell.startswith(RISKY) and not is_number(cell)]
    assert found == []
    rows = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert [json.loads(row["event"]) for row in rows] == bodies, "JSON cells lose nothing"
    document = json.loads("".join(json_pieces(export)))
    assert [row["kind"] for row in document["events"]] == [body["kind"] for body in bodies], "nor does the JSON"
    assert "(\u2019)" in readme
    assert all(row["kind"].replace("\u2019", "") == body["kind"] for row, body in zip(rows, bodies, strict=True))


def test_an_ordinary_text_is_written_as_it_is(world, store):
    """What no program takes for a formula has nothing put into it."""
    (who,) = populate(world, store, 1)
    plain = ["/a-b/c?d=1&e=2;f", "Größe 5+1, rot - neu; 3 | 4", "ich@example.org", "2023-11-14T22:13:20Z", "a\nb\r\nc"]
    store.insert_events(who, [(f"e{n}", n, json.dumps({"kind": text})) for n, text in enumerate(plain)])
    export = gather(store, world.pins, "person-0", world.clock)
    with zipfile.ZipFile(io.BytesIO(b"".join(csv_zip_pieces(export)))) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("events.csv").decode("utf-8-sig"), newline="")))
    assert [row["kind"] for row in rows] == plain
