"""What an operator relies on: settings that say what is wrong, a true page, health, metrics, silent logs, files."""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from aggregator.examination import Verdict, examine
from aggregator.exposition import Exposition
from aggregator.key_files import create_key
from aggregator.leader.condition import LeaderCondition
from aggregator.metrics import Metrics
from aggregator.operations_page import families, place
from aggregator.setting_sources import setting_rows, shown, source_of, variable
from aggregator.settings import SETTINGS_FILE, HelperSettings, LeaderSettings, SettingsInvalid
from aggregator.storage.leases import LeaseRow

from .world import World, in_world, vectors

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KINDS = (LeaderSettings, HelperSettings)
_SERIES = re.compile(r"hearthside_[a-z_]+")


def test_the_operations_page_is_what_the_code_says():
    """``make docs`` was run after the last change of a setting or a series."""
    page = (ROOT / "docs" / "operations.md").read_text()
    assert place(page) == page


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_a_meaning_and_every_number_a_unit(kind):
    """No setting is undocumented, and no number is without what it counts."""
    rows = setting_rows(kind)
    assert [row["name"] for row in rows if not row["text"]] == []
    numbers = [row for row in rows if re.fullmatch(r"[0-9.e-]{1,20}", row["default"])]
    assert len(numbers) > 10
    assert [row["name"] for row in numbers if not row["unit"]] == []


@pytest.mark.parametrize(
    ("environment", "stored", "says"),
    [
        ({"HEARTHSIDE_LEADER_BUDGET_EPSILON": "geheim"}, "{}", "(HEARTHSIDE_LEADER_BUDGET_EPSILON); for example"),
        ({"HEARTHSIDE_LEADER_HOST": "geheim"}, "{}", "HEARTHSIDE_LEADER_HOST: there is no such setting; did you mean"),
        ({"HEARTHSIDE_LAEDER_HOSTS": "geheim"}, "{}", "HEARTHSIDE_LAEDER_HOSTS: nobody reads it; did you mean"),
        ({"HEARTHSIDE_LEADER_BUDGET_QUOTAS": "geheim"}, "{}", "setting budget_quotas: expected JSON"),
        ({"HEARTHSIDE_LEADER_TLS_KEY": "geheim"}, "{}", "tls_certificate and tls_key belong together"),
        (
            {},
            '{\n"site": "shop",\n"time_limit_seconds": "geheim"\n}',
            f"{SETTINGS_FILE} line 3); for example time_limit",
        ),
        ({}, '{\n"sites": "geheim"}', "line 2); did you mean site?"),
        ({}, '{"site": geheim}', "is no JSON: line 1"),
        ({}, '["geheim"]', "expected an object"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_where_and_what_would_fit(
    tmp_path, monkeypatch, environment, stored, says
):
    """The line names the setting and its place and never quotes the value, which may be a secret."""
    (tmp_path / SETTINGS_FILE).write_text(stored)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as refusal:
        LeaderSettings.read(tmp_path)
    assert says in str(refusal.value)
    assert "geheim" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_setting_says_where_it_comes_from_and_keeps_a_password_to_itself(tmp_path, monkeypatch):
    """Environment before file before default; a list has commas; a URL's password is shown nowhere."""
    (tmp_path / SETTINGS_FILE).write_text('{"site": "shop",\n"log_level": "error"}')
    monkeypatch.setenv("HEARTHSIDE_LEADER_HOSTS", "a.example, b.example")
    monkeypatch.setenv("HEARTHSIDE_LEADER_LOG_LEVEL", "debug")
    monkeypatch.setenv("HEARTHSIDE_LEADER_DATABASE_URL", "postgresql+asyncpg://me:geheim@host/leader")
    found = LeaderSettings.read(tmp_path)
    assert found.hosts == ("a.example", "b.example")
    assert (found.log_level, shown(found, "database_url")) == ("debug", "postgresql+asyncpg://me:***@host/leader")
    assert "geheim" not in repr(found)
    places = {
        name: str(source_of(LeaderSettings, name, tmp_path, {})) for name in ("site", "log_level", "budget_delta")
    }
    assert places == {
        "site": f"{tmp_path / SETTINGS_FILE} line 1",
        "log_level": "HEARTHSIDE_LEADER_LOG_LEVEL",
        "budget_delta": "default",
    }


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("postgresql+asyncpg://me:ge/heim@host/leader", "postgresql+asyncpg://me:***@host/leader"),
        ("postgresql+asyncpg://me:ge@heim@host/leader", "***"),
        ("postgresql+asyncpg://me:a@b?geheim@host/leader", "***"),
        ("postgresql+asyncpg://me@/leader?password=geheim", "postgresql+asyncpg://me@/leader?password=***"),
        ("postgresql+asyncpg://me:geheim", "***"),
        ("geheim", "***"),
    ],
)
def test_no_part_of_a_password_is_shown_however_it_is_written(tmp_path, address, seen):
    """With a slash, with a question mark, among the options, or where the whole is no URL at all."""
    found = LeaderSettings.read(tmp_path, site="shop", database_url=address)
    assert shown(found, "database_url") == seen


def test_a_secret_file_must_be_closed_to_everybody(tmp_path):
    """The database's URL comes from a file, unless everybody can read that."""
    secret = tmp_path / "url"
    secret.write_text("sqlite+aiosqlite:///x\n")
    secret.chmod(0o640)
    settings = LeaderSettings.read(tmp_path, database_url_file=secret)
    assert settings.url() == "sqlite+aiosqlite:///x"
    secret.chmod(0o644)
    with pytest.raises(SettingsInvalid, match="read by everybody"):
        settings.url()


def test_dashboard_and_alerts_name_only_series_that_exist():
    """Every series that a file of ours names is one that a service has; the dashboard shows every one."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
    known = {name + suffix for name, (kind, _, _) in families().items() for suffix in suffixes.get(kind, ("",))}
    alerts = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    asked = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    board = json.loads((DEPLOY / "grafana" / "hearthside.json").read_text())
    drawn = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for text in (*asked, *drawn) for name in _SERIES.findall(text)}
    assert named - known == set()
    shown_bases = {
        name for name in families() if any(item.startswith(name) for text in drawn for item in _SERIES.findall(text))
    }
    assert set(families()) - shown_bases == set()
    assert all(
        rule["annotations"].keys() == {"summary", "action"} for group in alerts["groups"] for rule in group["rules"]
    )


def test_no_series_is_labelled_by_whom_it_is_about():
    """At least 20 series, and no label that could name a device, a person, a report or a study."""
    labels = {label for _, names, _ in families().values() for label in names}
    assert len(families()) >= 20
    assert labels == {
        *(
            "route",
            "status",
            "outcome",
            "state",
            "call",
            "reason",
            "error",
            "kind",
            "change",
            "purpose",
            "role",
            "worker",
        )
    }


def test_compose_and_units_say_only_what_there_is():
    """Variables are settings, mounts are not writable roots, images have a name with a version, users are not root."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    known = {variable(kind, name) for kind in KINDS for name in kind.model_fields}
    for name in ("leader", "helper"):
        service = compose["services"][name]
        assert set(service["environment"]) <= known
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert set(service["secrets"]) <= set(compose["secrets"])
        assert (DEPLOY.parent / service["build"]["dockerfile"]).exists()
        lines = (DEPLOY.parent / service["build"]["dockerfile"]).read_text().splitlines()
        assert all(re.search(r":[0-9]", line) for line in lines if line.startswith("FROM "))
        assert "USER 10001:10001" in lines
        assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert compose["services"]["leader"]["command"][-2:] == ["--workers", "2"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_units_are_understood_by_systemd(tmp_path):
    """Systemd finds no fault in a unit, its program apart, which is not installed here."""
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        text = unit.read_text()
        assert "NoNewPrivileges=yes" in text
        there = tmp_path / unit.name
        there.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", there], capture_output=True, text=True, check=False
        )
        assert unit.stem not in done.stderr


def test_one_page_has_the_counts_of_all_workers_and_of_none_that_is_gone(tmp_path):
    """Numbers are the lowest that are free; each worker's series are told apart; who is gone leaves the page."""
    first, second = Metrics(), Metrics()
    first.reports.labels("accepted").inc(3)
    second.reports.labels("accepted").inc(4)
    one, two = Exposition(tmp_path, first), Exposition(tmp_path, second)
    assert (one.worker, two.worker) == (0, 1)
    two.write()
    page = one.page().decode()
    assert 'hearthside_reports_total{outcome="accepted",worker="0"} 3.0' in page
    assert 'hearthside_reports_total{outcome="accepted",worker="1"} 4.0' in page
    assert page.count("# TYPE hearthside_reports_total") == 1
    os.close(two._lock)  # as a kill does: what it wrote stays behind
    assert (tmp_path / "1.json").exists()
    assert 'worker="1"' not in one.page().decode()
    three = Exposition(tmp_path, Metrics())
    assert three.worker == 1
    three.close()
    one.close()


@in_world()
async def test_ready_says_why_not_in_words_that_tell_a_stranger_nothing_else(world: World):
    """A full disk, another schema and a lease that nobody holds are a word each; health does not ask."""
    async with world.up():
        assert (await world.leader.get("/ready")).json() == {"status": "ready"}
        desk = world.leader_app.state.desk
        desk.settings.__dict__["disk_least_bytes"] = 2**50
        refused = await world.leader.get("/ready")
        assert (refused.status_code, refused.json()["detail"]) == (503, "disk")
        desk.settings.__dict__["disk_least_bytes"] = 0

        async def newer(change):
            await change.connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'leader_9999'")

        await desk.database.change(newer)
        assert (await world.leader.get("/ready")).json()["detail"] == "schema"
        assert (await world.leader.get("/health")).json() == {"status": "ok"}
        sight = LeaderCondition(desk)
        held = LeaseRow("somebody", 5, 1)
        assert sight._is_held(held)
        assert not LeaderCondition(desk)._is_held(LeaseRow())


@in_world()
async def test_metrics_ask_for_the_token_that_the_operator_set(world: World):
    """With a token file only its bearer sees the page; the page knows studies, lease and budget."""
    token = world.folder / "metrics-token"
    token.write_text("geheim-0123456789\n")
    token.chmod(0o600)
    world.leader_options["metrics_token_file"] = token
    async with world.up():
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "geheim-0123456789"}):
            assert (await world.leader.get("/metrics", headers=headers)).status_code == 401
        page = (await world.leader.get("/metrics", headers={"authorization": "Bearer geheim-0123456789"})).text
        assert "hearthside_lease_held 1.0" in page
        assert 'hearthside_studies{state="running"} 0.0' in page
        assert (await world.helper.get("/metrics")).status_code == 200


LEVELS = {"debug", "info", "warning", "error"}


def documented_fields() -> set[str]:
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page[page.index("## Logs") : page.index("## TLS")]
    return {
        field
        for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
        for field in re.findall(r"`([a-z]+)`", row)
    }


def test_every_field_that_a_line_of_code_logs_is_documented():
    """No call of a log in the services has a field that the page does not list."""
    used = {"error", "at"}
    for path in (ROOT / "aggregator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            if ast.unparse(node.func.value).rsplit(".", 1)[-1].lstrip("_") == "log":
                used |= {keyword.arg for keyword in node.keywords if keyword.arg}
    assert len(used) > 8
    assert used - documented_fields() == set()


def test_logs_of_a_whole_exchange_hold_nobody_and_nothing_of_anybody(tmp_path, capfd):
    """Enrolment, consent, reports, a withdrawal, a release, at level debug: only documented fields, no canary."""
    world = World(tmp_path, leader_options={"log_level": "debug"}, helper_options={"log_level": "debug"})
    canaries: list[str] = []

    async def story():
        async with world.up():
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(6), strict=True)]
            assert await world.send(*zip(devices, reports, strict=True)) == ["accepted"] * 6
            await world.receipts([(devices[0], world.withdrawal(devices[0], ("measurement",)))])
            await world.until(study, "finished", "failed")
            answer = await world.leader.get("/v1/studies/none-such", headers={"x-request-id": "canary-of-mine"})
            assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
            canaries.extend(device.name.hex() for device in devices)
            canaries.extend(device.key.verify_key.raw.hex() for device in devices)
            canaries.extend(report.report_id.hex() for report in reports)
            canaries.extend(("canary-of-mine", "none-such", "127.0.0.1", "hearthside-enrol-", "hearthside-analyst-"))

    asyncio.run(story())
    text = capfd.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["service"] for line in lines} == {"leader", "helper"}
    assert {line["event"] for line in lines} >= {"request", "study over"}
    assert {field for line in lines for field in line} <= documented_fields()
    assert all(re.fullmatch(r"[0-9a-f]{16}", line["request"]) for line in lines if line["event"] == "request")
    assert [canary for canary in canaries if canary in text] == []


@in_world()
async def test_the_doctor_finds_what_stands_in_the_way_of_a_start(world: World):
    """A loose key, a store of a newer version, a helper that nobody answers for: each has its line and its advice."""
    async with world.leader_up():
        settings = world.leader_settings()

    async def verdicts():
        return {
            item.name: item
            async for item in examine(settings.model_copy(update={"helper_url": "http://127.0.0.1:9"}), 1)
        }

    found = await verdicts()
    assert {name: found[name].verdict for name in ("key", "store", "disk", "parties")} == dict.fromkeys(
        ("key", "store", "disk", "parties"), Verdict.OK
    )
    assert found["helper"].verdict is Verdict.FAIL
    assert all(item.advice for item in found.values() if item.verdict is not Verdict.OK)
    (world.folder / "leader" / "service.key").chmod(0o644)
    (world.folder / "leader" / "store.sqlite3").write_bytes(b"no database" * 1_000)
    found = await verdicts()
    assert (found["key"].verdict, found["store"].verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "0600" in found["key"].text


def test_the_doctor_of_an_empty_folder_asks_for_keys(tmp_path):
    """Before anything is set, the other party's key is in the way and the missing store is not."""
    create_key(tmp_path / "service.key")
    settings = HelperSettings.read(tmp_path)

    async def look():
        return {item.name: item.verdict async for item in examine(settings, 1)}

    found = asyncio.run(look())
    assert (found["parties"], found["store"]) == (Verdict.FAIL, Verdict.WARN)
