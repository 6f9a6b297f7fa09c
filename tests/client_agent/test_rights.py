"""Access and portability: everything is exported or says why not, and what is exported can be read back."""

import ast
import csv
import io
import json
import random
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.consenting import ConsentKeeper
from client_agent.errors import NotEnrolled
from client_agent.export_columns import COLUMNS, SECTIONS, instant
from client_agent.exporting import csv_zip_pieces, json_pieces, text_pieces
from client_agent.keys import FileKeyring
from client_agent.profiles import stored_events
from client_agent.rights import gather
from client_agent.store.holdings import FACTS, FILES, KEPT, KEYRING, PERSONAL
from client_agent.summaries import summarise
from models.events import Event, build_profile, parse_event
from models.personalisation import profile_facts
from tests.client_agent.test_erasing_for_good import NAME, plant
from tests.client_agent.world import START_MS, make_store, populate

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-77d0"
FORMULA = "=HYPERLINK(1)"


def exported(world, store, person=NAME, **options) -> dict:
    text = "".join(json_pieces(gather(store, world.pins, person, world.clock, **options)))
    return json.loads(text)


def view(name: str, at_ms: int = START_MS, **fields) -> tuple[str, int, str]:
    event = Event(name, "page_view", at_ms, "shop.example", **fields)
    return name, at_ms, json.dumps(event.document())


def columns_of(store, table: str) -> set[str]:
    return {row[1] for row in store._database.fetch(f"PRAGMA table_info({table})")}


def tables_of(store) -> set[str]:
    return {row[0] for row in store._database.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")}


def constants(tree: ast.Module) -> dict[str, str]:
    """The module's own constants by name, several on one line too."""
    found = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if several else [(target, node.value)]
            found |= {name.id: value.value for name, value in pairs if isinstance(value, ast.Constant)}
    return found


def written_names(method: str, receiver: str) -> set[str]:
    """What is given first to a method of something called so, anywhere in the agent, with constants resolved."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "client_agent").rglob("*.py")]
    shared = {name: value for tree in trees for name, value in constants(tree).items() if not name.startswith("_")}
    found = set()
    for tree in trees:
        known = shared | constants(tree)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == method:
                owner = call.func.value
                named = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if receiver in named and call.args:
                    first = call.args[0]
                    found.add(
                        first.value if isinstance(first, ast.Constant) else known.get(getattr(first, "id", "?"), "?")
                    )
    return found


# Nothing is forgotten


def test_every_table_is_exported_or_says_why_not(store):
    """A table that is added, or a column, fails here until it is listed: as personal, or as kept for a reason."""
    personal = {holding.table: holding for holding in PERSONAL}
    assert tables_of(store) - {"sqlite_stat1"} <= personal.keys() | KEPT.keys()
    assert not personal.keys() & KEPT.keys()
    assert personal.keys() | KEPT.keys() <= tables_of(store) | {"sqlite_sequence"}, "and nothing that is not there"
    for table, holding in personal.items():
        listed = [*holding.columns, *holding.withheld]
        assert sorted(listed) == sorted(columns_of(store, table)), table
        assert all(holding.withheld.values()), "each with a reason"


def test_every_table_with_a_personal_column_is_personal(store):
    """What names a participant or a person is about somebody, and cannot be listed as kept."""
    for table in tables_of(store):
        if columns_of(store, table) & {"participant_id", "person"}:
            assert table in {holding.table for holding in PERSONAL}, table


def test_every_named_value_and_keyring_entry_is_listed():
    """The source is searched for what is ever put into facts and into the keyring."""
    facts = written_names("put", "facts") | written_names("count", "facts")
    assert {"pins", "ledger-owners", "consents-change"} <= facts, "the search finds what is known to be there"
    assert facts - PASSED_ON <= FACTS.keys()
    entries = written_names("write", "keyring")
    assert {"store-key", "ledger-mirror"} <= entries
    assert entries - PASSED_ON <= KEYRING.keys()


PASSED_ON = {"?"}
"""A name that a caller gave, which is found where it did."""


def test_a_store_that_was_really_used_holds_nothing_else(world, store):
    """After a life with studies and erasure: the facts, keyring entries and files are those that are listed."""
    from client_agent.erasing import erase_person

    plant(world, store, 20)
    erase_person(store, world.pins, "person-2", world.clock)
    folder = store._database.path.parent
    assert {row[0] for row in store._database.fetch("SELECT name FROM facts")} <= FACTS.keys()
    assert set(json.loads((folder / "keys.json").read_text())) <= KEYRING.keys()
    assert {path.name for path in folder.iterdir()} <= FILES.keys()


def test_every_exported_column_is_really_in_the_export(world, store):
    """A value of its own in each column of each personal table, as far as a column takes it, comes out again."""
    who = populate(world, store, 1)[0]
    planted = {}
    for holding in PERSONAL:
        whose = {"participant_id": who, "person": NAME, "name": NAME}[holding.whose]
        for number, column in enumerate(holding.columns):
            taken = column == holding.whose or (holding.table, column) in SHAPED
            if not taken:
                planted[holding.table, column] = plant_cell(store, holding, whose, column, number)
    text = "".join(json_pieces(gather(store, world.pins, NAME, world.clock)))
    missing = {place for place, value in planted.items() if value not in text}
    assert not missing
    assert len(planted) > 20


SHAPED = {
    ("consent_rows", "position"), ("consent_rows", "body"), ("consent_evidence", "body"),
    ("events", "at_ms"), ("events", "body"),
    ("participants", "person"), ("participants", "leader"), ("participants", "site"), ("people", "kind"),
    ("browsers", "lasting"), ("consent_heads", "fault"), ("gpc_applications", "day"),
    ("reports", "study_hash"), ("contributions", "study_hash"), ("reports", "round"), ("contributions", "round"),
}  # fmt: skip
"""Columns that take no other value than their own kind; what they hold is asserted by the other tests."""


def plant_cell(store, holding, whose, column, number) -> str:
    """Put a value of its own into one column of the person's row, made if there is none; as the export spells it."""
    database, table = store._database, holding.table
    kinds = {row[1]: (row[2], row[3]) for row in database.fetch(f"PRAGMA table_info({table})")}
    if not database.fetch(f"SELECT 1 FROM {table} WHERE {holding.whose} = ?", (whose,)):
        empty = {"TEXT": "adult" if table == "people" else "", "INTEGER": 1, "BLOB": b"h" * 32}
        names = [name for name, (_, needed) in kinds.items() if needed or name == holding.whose]
        values = [whose if name == holding.whose else empty[kinds[name][0]] for name in names]
        database.run(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", values)
    if table == "contributions":
        database.run("INSERT OR IGNORE INTO rounds (study_hash, round, opening, purpose, closes_at_ms)"
                     " SELECT study_hash, round, x'', 'measurement', 0 FROM contributions")  # fmt: skip
    kind = kinds[column][0]
    value = {
        "TEXT": f"{CANARY}-{table}-{column}",
        "INTEGER": 10**11 + 7919 * number,
        "BLOB": bytes([number + 65]) * 16,
    }[kind]
    database.run(f"UPDATE {table} SET {column} = ? WHERE {holding.whose} = ?", (value, whose))
    return value.hex() if isinstance(value, bytes) else str(value)


# What is in it


def test_the_export_holds_what_a_person_may_know(world, store):
    """Choices, receipts with their confirmations, events, figures and what left; no secret, no coin, no budget."""
    who, _ = plant(world, store, 6)
    seed = store.participants.get(who).seed
    document = exported(world, store, addresses=Addresses("http://l", "http://h"))
    assert (document["format"], document["version"]) == ("hearthside-export", 2)
    assert list(document)[5:] == list(SECTIONS)
    (site,) = document["sites"]
    assert (site["site"], site["signing_key_exists"], site["pseudonym"]) == ("shop.example", True, who)
    assert {row["purpose"]: row["allowed"] for row in document["purposes"]}["measurement"] is True
    assert [row["state"] for row in document["receipts"]] == ["confirmed", "home"]
    assert document["receipts"][0]["countersignature"]
    assert len(document["contributions"]) == 1
    assert document["contributions"][0]["outcome"] == "standing"
    assert next(row["value"] for row in document["profile"] if row["feature"] == "page_views") > 0
    text = json.dumps(document)
    token = store._database.fetch("SELECT token FROM reports WHERE participant_id = ?", (who,))[0][0]
    for secret in (seed.hex(), token.hex(), repr(seed)):
        assert secret not in text
    for told in ("null_reports", "over_budget", "spent", "epsilon"):
        assert told not in text
    assert "person-1" not in text, "nor anything of the others"


def test_an_export_tells_no_coin(world, store):
    """Two people, one whose report is real and one whose report is null: their exports differ in nothing else."""
    from tests.client_agent.test_federation import VECTOR, only_round
    from tests.client_agent.world import federate

    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study())
    verified = only_round(federation)
    reserved = federation.reserve_all(verified)
    for reservation, heads in zip(reserved, (True, False), strict=True):
        reservation.heads = heads
    assert federation.answer(reserved[0], federation.encode_answer(verified, VECTOR))
    federation.finalise(verified, reserved)
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 2
    shapes = [shape(exported(world, store, person)) for person in ("person-0", "person-1")]
    assert shapes[0] == shapes[1]


def shape(document: dict) -> dict:
    """A document with every random text replaced by its length."""
    vary = {"pseudonym", "person", "device_id", "public_key", "key_fingerprint", "receipt", "countersignature",
            "digest", "content", "report_id", "head", "slot_at_ms", "slot_at", "sent_at_ms", "sent_at"}  # fmt: skip
    return {
        name: [{k: (len(v) if isinstance(v, str) else 0) if k in vary else v for k, v in row.items()} for row in rows]
        for name, rows in document.items()
        if isinstance(rows, list)
    }


def test_nobody_of_this_name_is_refused(world, store):
    """A name that is not here is an error, not an empty export."""
    with pytest.raises(NotEnrolled):
        gather(store, world.pins, "nobody", world.clock)


def test_visits_one_by_one_give_the_profile_of_all_events(world, store):
    """The streamed summary is the profile that pages are decided by, whatever the order of arrival."""
    (who,) = populate(world, store, 1)
    draw = random.Random(3)
    rows = [
        view(f"e{at}", START_MS - draw.randrange(40 * 86_400_000), category=draw.choice("ab"), price=draw.random())
        for at in range(2_500)
    ]
    store.insert_events(who, rows)
    profile = build_profile(stored_events(store, who, START_MS), START_MS)
    streamed = dict(summarise(store, who, START_MS).facts())
    expected = profile_facts(profile, ["a", "b"])
    for shares in ("dwell_share", "page_share"):
        assert streamed.pop(shares) == pytest.approx(expected.pop(shares))
    assert streamed == pytest.approx(expected)


# Portability


def test_exported_events_parse_again_and_are_all_there(world, store):
    """Both formats give back every event as the vocabulary reads it, in the order of arrival, over many chunks."""
    who = populate(world, store, 2)[0]
    store.insert_events(who, [view(f"e{at}", title=f'Größe {at}, "x"\u2603') for at in range(2_503)])
    known = [parse_event(json.loads(body)) for _, body in store.events_of(who)]
    export = gather(store, world.pins, NAME, world.clock)
    rows = json.loads("".join(json_pieces(export)))["events"]
    assert [parse_event(row["event"]) for row in rows] == known
    assert rows[0]["at"] == "2023-11-14T22:13:20.000Z"
    archive = io.BytesIO(b"".join(csv_zip_pieces(export)))
    rows = list(read_csv(archive, "events.csv"))
    assert [parse_event(json.loads(row["event"])) for row in rows] == known


def read_csv(archive: io.BytesIO, name: str):
    with zipfile.ZipFile(archive) as held:
        assert held.testzip() is None
        return list(csv.DictReader(io.StringIO(held.read(name).decode("utf-8-sig"), newline="")))


def test_the_zip_explains_every_column(world, store):
    """One file a section with the documented columns, and a README that says what each of them is."""
    populate(world, store, 1)
    archive = io.BytesIO(b"".join(csv_zip_pieces(gather(store, world.pins, NAME, world.clock))))
    with zipfile.ZipFile(archive) as held:
        assert set(held.namelist()) == {*(f"{name}.csv" for name in SECTIONS), "README.txt"}
        readme = held.read("README.txt").decode()
        for name, columns in COLUMNS.items():
            raw = held.read(f"{name}.csv")
            assert raw.startswith(b"\xef\xbb\xbf")
            assert raw.decode("utf-8-sig").split("\r\n")[0].split(",") == list(columns)
            assert all(f"{column}: {about}" in readme for column, about in columns.items())


def test_no_cell_of_the_csv_is_a_formula(world, store):
    """A page that names itself after a formula does not run in the spreadsheet of who takes their data along."""
    (who,) = populate(world, store, 1)
    body = json.dumps({"kind": FORMULA, "path": "@SUM(1)"})
    store.insert_events(who, [("e1", 1, body)])
    archive = io.BytesIO(b"".join(csv_zip_pieces(gather(store, world.pins, NAME, world.clock))))
    (row,) = read_csv(archive, "events.csv")
    assert (row["kind"], row["path"]) == (f"\u2019{FORMULA}", "\u2019@SUM(1)")
    for name in SECTIONS:
        for cells in read_csv(archive, f"{name}.csv"):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells.values())
    assert exported(world, store)["events"][0]["kind"] == FORMULA


def test_an_export_is_written_in_pieces(world, store):
    """However many events there are, no piece holds more than a little over its share of them."""
    (who,) = populate(world, store, 1)
    store.insert_events(who, [view(f"e{at}", title="x" * 200) for at in range(6_000)])
    export = gather(store, world.pins, NAME, world.clock)
    sizes = [len(piece) for piece in json_pieces(export)]
    assert sum(sizes) > 1_500_000
    assert max(sizes) < 70_000


def test_the_text_is_for_reading(world, store):
    """Short sections are whole, long ones say how much more there is, and control characters do not get through."""
    (who,) = populate(world, store, 1)
    store.insert_events(who, [("bad", 1, json.dumps({"kind": "\x1b[31mred"})), *(view(f"e{at}") for at in range(40))])
    text = "".join(text_pieces(gather(store, world.pins, NAME, world.clock)))
    assert "29 more of 41" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("at_ms", [None, 10**18, -(10**18), 10**400])
def test_a_time_that_no_calendar_has_is_no_time(at_ms):
    """A damaged row does not stop an export."""
    assert instant(at_ms) is None


# The command


@pytest.fixture
def folder(world, store, monkeypatch):
    monkeypatch.setattr("client_agent.clocks.SystemClock", lambda: world.clock)
    populate(world, store, 1)
    place = store._database.path.parent
    set_up(place, world.pins, Addresses("http://l", "http://h"), FileKeyring(place)).store.close()
    return place


def test_the_command_writes_each_format(folder, tmp_path):
    """JSON to the terminal as ever; a zip or a text into a file that only its owner reads."""
    base = ["export", "--dir", str(folder), "--person", NAME]
    assert json.loads(CliRunner().invoke(cli.app, base).stdout)["person"] == NAME
    for form in ("json", "csv", "text"):
        out = tmp_path / form
        done = CliRunner().invoke(cli.app, [*base, "--format", form, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert out.stat().st_mode & 0o777 == 0o600
    assert zipfile.is_zipfile(tmp_path / "csv")
    assert (tmp_path / "text").read_text().startswith("Everything that this agent holds about person-0")


def test_a_reader_sees_what_another_process_erased_as_gone(world, store, folder):
    """An export that is read after an erasure says so instead of inventing."""
    from client_agent.erasing import erase_person

    export = gather(store, world.pins, NAME, world.clock)
    other = make_store(folder)
    ConsentKeeper(other, world.pins, world.clock)
    erase_person(other, world.pins, NAME, world.clock)
    other.close()
    with pytest.raises(NotEnrolled):
        list(json_pieces(export))
