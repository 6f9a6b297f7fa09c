"""Who may call what: every route is declared, nothing answers without its credential, and actions leave a record."""

import asyncio
import os
import re
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from aggregator.access import HELPER, LEADER, SCOPES, Table
from aggregator.cli import app as command_line
from aggregator.helper.app import create_app as create_helper
from aggregator.leader.app import create_app as create_leader
from aggregator.settings import HelperSettings, LeaderSettings
from aggregator.storage import helper_tables, leader_tables
from aggregator.storage.actions import ActionStore, verify_rows
from aggregator.storage.log import log_pages
from aggregator.storage.tokens import TokenStore, is_token, new_token, token_id
from models.wire.enrolment import make_enrolment
from models.wire.log import read_entry
from privacy.crypto import SigningKey

from .world import World, code, in_world

PARTS = {"study_id": "moves", "number": "1", "level": "0", "index": "0", "name": "1.root.json"}
JSON = {"content-type": "application/json"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "access.md"


def operations(app) -> list[tuple[str, str]]:
    """(method, address with every part filled in) of everything in an OpenAPI document."""
    fill = lambda found: PARTS.get(found[1], "ab" * (16 if found[1] == "device_id" else 32))  # noqa: E731 - a table look-up
    return [
        (method.upper(), re.sub(r"\{([a-z_]+)\}", fill, path))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


@in_world()
async def test_every_route_is_declared_and_nothing_answers_without_its_credential(world):
    """Over both OpenAPI documents: public routes may answer, all others refuse a request that bears nothing."""
    async with world.up():
        sides = ((world.leader_app, world.leader, LEADER), (world.helper_app, world.helper, HELPER))
        for app, client, entries in sides:
            table = Table(entries)
            for method, path in operations(app):
                entry = table.find(method, path)
                assert entry is not None, f"{method} {path} is not in the table of access"
                if entry.kind == "public":
                    continue
                response = await client.request(
                    method, path, content=b"{}", headers={"content-type": "application/json"}
                )
                assert response.status_code in ({401} if entry.kind == "token" else {400, 401, 403, 415}), (
                    path,
                    response.text,
                )
                if entry.kind == "token":
                    assert code(response) == "unauthenticated"
                    expected = f'Bearer realm="hearthside", scope="{" ".join(entry.scopes)}"'
                    assert response.headers["www-authenticate"] == expected


@in_world()
async def test_what_is_not_in_the_table_does_not_exist(world):
    """A route that somebody adds without declaring it answers nobody, whatever its method."""
    async with world.up():
        world.leader_app.add_api_route("/v1/undeclared", lambda: {"secret": 1})
        assert (await world.leader.get("/v1/undeclared")).status_code == 404
        assert (await world.leader.delete("/v1/work")).status_code == 404


@in_world()
async def test_only_the_right_token_opens(world):
    """A wrong, cut, revoked or expired one is unauthenticated; one of another scope is forbidden and told which."""
    async with world.up():
        study, desk = world.study(), world.leader_app.state.desk
        tokens, good = TokenStore(leader_tables.METADATA), await world.token("analyst")

        async def asked(token: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {token}"}
            return await world.leader.post("/v1/studies/check", json=study.document(), headers=headers)

        assert (await asked(good)).status_code == 200
        for wrong in (good[:-1], good[:-1] + ("0" if good[-1] != "0" else "1"), new_token(), "x", "hs_?"):
            assert code(await asked(wrong)) == "unauthenticated"
        refused = await asked(await world.token("operator"))
        assert code(refused) == "forbidden"
        assert 'scope="analyst"' in refused.headers["www-authenticate"]
        assert code(await asked(await world.token("analyst", seconds=-1))) == "unauthenticated"
        now_ms = desk.clock.now_ms()
        both = await desk.database.change(
            lambda change: tokens.create(change.connection, ("operator", "analyst"), now_ms, now_ms + 10**6)
        )
        assert (await asked(both)).status_code == 200
        await desk.database.change(lambda change: tokens.revoke(change.connection, token_id(both), now_ms))
        assert code(await asked(both)) == "unauthenticated"
        async with desk.database.reading() as connection:
            rows = await tokens.all(connection)
            stored = (await connection.execute(leader_tables.tokens.select())).all()
        used = {row.token_id: row.last_used_day for row in rows}
        assert used[token_id(good)] == now_ms // 86_400_000
        assert good not in repr(stored)
        assert not hasattr(rows[0], "token_hash")


@in_world(leader_options={"failed_credentials_per_minute": 3})
async def test_wrong_tokens_are_slowed_and_counted_and_a_right_one_is_not(world):
    """After so many from one address the answer is 429 with a time; the holder of a token is kept out by nobody."""
    async with world.up():
        good = await world.bearer("auditor")
        answers = [
            (await world.leader.get("/v1/actions", headers={"authorization": f"Bearer {new_token()}"}))
            for _ in range(5)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert code(answers[-1]) == "slow-down"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert (await world.leader.get("/v1/actions", headers=good)).status_code == 200
        metrics = (await world.leader.get("/metrics")).text
        assert re.search(r'hearthside_refused_credentials_total\{[^}]*reason="unauthenticated"[^}]*\} 5\.0', metrics)


@in_world(leader_options={"failed_credentials_per_minute": 3})
async def test_wrong_enrolment_tokens_are_slowed_and_change_nothing_and_a_right_one_is_not(world):
    """As in a header: counted per address, no turn of the one writer, one look-up; the rest passes."""
    async with world.up():
        desk, leader = world.leader_app.state.desk, world.leader_key.verify_key
        good, other = await world.token("enrol"), await world.token("analyst")
        changes, looked, join, require_all = [], [], desk.database.join, TokenStore.require_all

        async def counted(act):
            changes.append(act)
            return await join(act)

        async def look_up(self, connection, tokens, *rest):
            looked.append(len(tokens))
            return await require_all(self, connection, tokens, *rest)

        async def enrol(*tokens, key=None):
            now_ms = world.clock.now_ms()
            items = [
                make_enrolment(key or SigningKey.generate(), leader, token, os.urandom(16), now_ms).document()
                for token in tokens
            ]
            answer = (await world.leader.post("/v1/enrolments", json={"enrolments": items})).json()["results"]
            return [(item["device_id"] and "id") or item["problem"]["type"].rpartition(":")[2] for item in answer]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(desk.database, "join", counted)
            patched.setattr(TokenStore, "require_all", look_up)
            guess, cut = new_token(), good[:-1] + ("0" if good[-1] != "0" else "1")
            assert await enrol(guess, guess, cut, other) == ["unauthenticated"] * 3 + ["forbidden"]
            assert await enrol(*(new_token() for _ in range(3))) == ["slow-down"] * 3
            assert (changes, looked) == ([], [3, 3])
            key = SigningKey.generate()
            assert await enrol(good, key=key) == ["id"]
            assert await enrol(good, new_token(), good) == ["id", "slow-down", "id"]
            assert await enrol(new_token(), key=key) == ["id"], "who is known needs no token to hear its id again"
        metrics = (await world.leader.get("/metrics")).text
        assert re.search(r'hearthside_refused_credentials_total\{[^}]*reason="unauthenticated"[^}]*\} 6\.0', metrics)
        assert re.search(r'hearthside_refused_credentials_total\{[^}]*reason="forbidden"[^}]*\} 1\.0', metrics)


@in_world(leader_options={"address_requests_per_second": 2})
async def test_floods_are_slowed_and_choices_have_buckets_of_their_own(world):
    """Polls beyond the address's rate are told to wait; a receipt of the same address passes all the same."""
    async with world.up():
        (device,) = await world.devices(1)
        answers = [await world.leader.get("/v1/work") for _ in range(30)]
        slow = [answer for answer in answers if answer.status_code == 429]
        assert slow
        assert {code(answer) for answer in slow} == {"slow-down"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in slow)
        (result,) = await world.receipts([(device, world.withdrawal(device, ("measurement",)))])
        assert result["countersignature"]


@in_world(leader_options={"device_items_per_minute": 2})
async def test_a_device_over_its_rate_waits_and_its_withdrawal_does_not(world):
    """Grants beyond the rate are told to slow down and may come again; taking consent back passes at once."""
    async with world.up():
        (device,) = await world.devices(1)
        results = [(await world.receipts([(device, world.grant(device, ("measurement",)))]))[0] for _ in range(3)]
        assert results[0]["countersignature"]
        assert results[-1]["problem"]["status"] == 429
        (result,) = await world.receipts([(device, world.withdrawal(device, ("measurement",)))])
        assert result["countersignature"]
        assert await world.consenting("measurement") == 0


@in_world()
async def test_actions_are_on_record_and_in_the_log(world):
    """Propose and start: asked and done, with token id and study; the auditor reads it, and the chain holds."""
    async with world.up():
        study = world.study()
        await world.run(study)
        page = (await world.leader.get("/v1/actions", headers=await world.bearer("auditor"))).json()
        told = [(row["action"], row["outcome"]) for row in page["actions"]]
        assert told == [("propose", "asked"), ("propose", "done"), ("start", "asked"), ("start", "done")]
        assert page["size"] == 4
        assert page["actions"][-1]["subject"] == study.study_id
        assert re.fullmatch(r"[a-z2-7]{8}", page["actions"][0]["token_id"])
        second = (await world.leader.get("/v1/actions?start=3&count=1", headers=await world.bearer("auditor"))).json()
        assert second["actions"] == page["actions"][3:]
        assert code(await world.leader.get("/v1/actions", headers=await world.bearer("analyst"))) == "forbidden"
        desk = world.leader_app.state.desk
        async with desk.database.reading() as connection:
            rows = await ActionStore(leader_tables.METADATA).page(connection, 0, 100)
            entries = [entry async for part in log_pages(connection, 0) for entry in part]
        verify_rows(rows)
        with pytest.raises(ValueError, match="row 1"):
            verify_rows([rows[0], *rows[2:]])
        actions = [body for kind, body in map(read_entry, entries) if kind.name == "action"]
        assert [b'"propose"' in actions[0], b'"start"' in actions[1]] == [True, True]
        assert not any(page["actions"][0]["token_id"].encode() in body for body in actions)


@in_world()
async def test_a_refused_action_is_on_record_with_its_outcome(world):
    """Starting what does not exist leaves a row that says so, and nothing in the log."""
    async with world.up():
        size = world.leader_app.state.desk.ledger_log.size
        response = await world.leader.post("/v1/studies/nothing/start", headers=await world.bearer("analyst"))
        assert code(response) == "unknown-study"
        page = (await world.leader.get("/v1/actions", headers=await world.bearer("auditor"))).json()
        assert [row["outcome"] for row in page["actions"]] == ["asked", "refused (404)"]
        assert world.leader_app.state.desk.ledger_log.size == size


@pytest.mark.parametrize("error", [OperationalError("", {}, Exception("gone")), OSError("gone")])
def test_a_store_that_is_away_is_told_as_such_before_any_route(tmp_path, monkeypatch, error):
    """Where tokens are looked up and where actions are written down; it is counted, and what was begun is answered."""
    asyncio.run(_away(World(tmp_path), monkeypatch, error))


async def _away(world, monkeypatch, error):
    async with world.up():
        auditor, analyst = await world.bearer("auditor"), await world.bearer("analyst")
        study, database = world.study(), world.leader_app.state.desk.database

        def away(*_, **__):
            raise error

        async def asked(path="/v1/studies", headers=analyst):
            return await world.leader.post(path, json=study.document(), headers=headers)

        with monkeypatch.context() as patched:
            patched.setattr(database, "reading", away)
            for headers in (auditor, {"authorization": f"Bearer {new_token()}"}):
                answer = await world.leader.get("/v1/actions", headers=headers)
                assert (answer.status_code, code(answer)) == (503, "store-unavailable")
                assert answer.headers["retry-after"] == "1"
        with monkeypatch.context() as patched:
            patched.setattr(database, "change", away)
            patched.setattr(database, "join", away)
            assert code(await asked()) == "store-unavailable"
            assert code(await asked("/v1/studies/nothing/start")) == "store-unavailable"
        page = (await world.leader.get("/v1/actions", headers=auditor)).json()
        assert page["actions"] == []
        answers, append = [], ActionStore.append

        async def once(self, connection, action):
            answers.append(action.outcome)
            return away() if action.outcome != "asked" else await append(self, connection, action)

        with monkeypatch.context() as patched:
            patched.setattr(ActionStore, "append", once)
            assert (await asked()).status_code == 201
        assert answers == ["asked", "done"]
        metrics = (await world.leader.get("/metrics")).text
        found = re.search(
            r'hearthside_store_failures_total\{[^}]*error="' + type(error).__name__ + r'"[^}]*\} (\d+)', metrics
        )
        assert int(found[1]) == 5


def test_a_token_is_recognised_wherever_it_leaks():
    """Form and checksum; a changed character is noticed, and two tokens differ."""
    token = new_token()
    assert is_token(token)
    assert re.fullmatch(r"hs_[a-z2-7]{8}_[0-9A-Za-z]{49}", token)
    assert token_id(token) == token[3:11]
    for place in (4, 15, 60):
        other = "b" if token[place] != "b" else "c"
        assert not is_token(token[:place] + other + token[place + 1 :])
    assert new_token() != token


def test_bare_services_have_no_token_and_no_key_of_anybody_elses(tmp_path):
    """From ``init`` alone: different keys each time, no token in either store, and nothing opens a scoped route."""
    keys = asyncio.run(_bare(tmp_path))
    assert len(keys) == 4


async def _bare(tmp_path) -> set[str]:
    keys = set()
    for number in range(2):
        for name in ("leader", "helper"):
            other = "--leader-key" if name == "helper" else "--helper-key"
            key, folder = SigningKey.generate().verify_key.raw.hex(), tmp_path / f"{name}{number}"
            _run("init", name, "--dir", folder, other, key, "--officer-key", key)
        sides = (
            (create_leader(LeaderSettings.read(tmp_path / f"leader{number}", hosts=("x.test",))), leader_tables),
            (create_helper(HelperSettings.read(tmp_path / f"helper{number}", hosts=("x.test",))), helper_tables),
        )
        for app, tables in sides:
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x.test") as client,
            ):
                keys.add((await client.get("/v1/identity")).json()["key"])
                desk = getattr(app.state, "desk", None) or app.state.office
                async with desk.database.reading() as connection:
                    assert await TokenStore(tables.METADATA).all(connection) == []
                for header in ("", "Bearer ", "Bearer admin", "Basic YWRtaW46YWRtaW4=", "Bearer " + "0" * 64):
                    response = await client.get("/v1/actions", headers={"authorization": header})
                    assert response.status_code == 401, header
    return keys


def test_tokens_are_made_listed_and_revoked_from_the_command_line(tmp_path):
    """For leader and helper; what is not theirs is refused; making and revoking stand in the record."""
    for name in ("leader", "helper"):
        _run("init", name, "--dir", tmp_path / name, *(("--leader-key", "ab" * 32) if name == "helper" else ()))
    leader = tmp_path / "leader"
    token = _run(
        "token", "create", "--dir", leader, "--scope", "analyst", "--scope", "operator", "--label", "shop"
    ).strip()
    assert is_token(token)
    listed = _run("token", "list", "--dir", leader)
    assert token_id(token) in listed
    assert "analyst,operator" in listed
    assert token[12:] not in listed
    assert "valid" in listed
    _run("token", "revoke", "--dir", leader, token_id(token))
    assert "revoked" in _run("token", "list", "--dir", leader)
    _run("token", "revoke", "--dir", leader, "nosuchid", fails=True)
    assert is_token(_run("token", "create", "--dir", tmp_path / "helper", "--scope", "auditor").strip())
    _run("token", "create", "--dir", tmp_path / "helper", "--scope", "analyst", fails=True)


def test_the_documented_table_is_the_one_in_force():
    """docs/access.md names each route with what opens it, and every scope."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for entries in (LEADER, HELPER):
        for entry in entries:
            opened = " or ".join(f"`{scope}`" for scope in entry.scopes) or entry.kind
            assert f"| `{entry.method} {entry.path}` | {opened} | {entry.why} |" in text
    assert all(f"| `{name}` | {what} |" in text for name, what in SCOPES.items())


def _run(*arguments, fails: bool = False) -> str:
    """A command in this process; what it printed."""
    done = CliRunner().invoke(command_line, [str(argument) for argument in arguments])
    assert (done.exit_code != 0) is fails, done.output
    return done.output
