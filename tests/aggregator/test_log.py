"""The leader's log between its workers, its helper and whoever checks it; and a leader that keeps two of them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.clock import Clock
from aggregator.commands import logs
from aggregator.leader.log import TransparencyLog
from aggregator.log_audit import LogAudit, Signers
from aggregator.storage.database import Database
from aggregator.storage.leader_tables import log_entries
from aggregator.storage.log import log_pages
from models.wire.log import KINDS, log_entry, read_entry
from models.wire.message import from_base64, to_base64
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, OPENING_TYPE, Checkpoint
from privacy.crypto import MerkleTree, SigningKey, sign_document, verify_document
from privacy.crypto.tiles import Tile, read_tile
from tests.aggregator.world import Turnable, code, in_world, vectors


def tree_of(size: int, first: bytes = b"first") -> MerkleTree:
    return MerkleTree([first, *(b"entry %d" % index for index in range(1, size))])


def shown(world, tree: MerkleTree, proof_from: int = 0, older: MerkleTree | None = None) -> dict:
    """The part of an opening request that is about the log: a tree, and a proof between it and the known size."""
    statement = Checkpoint(size=len(tree), root=tree.root().hex(), at_ms=world.clock.now_ms())
    path = []
    if proof_from:
        longer = tree if older is None else older
        path = longer.consistency_proof(*sorted((proof_from, len(tree))))
    return {
        "checkpoint": sign_document(world.leader_key, CHECKPOINT_TYPE, statement.document()),
        "log_proof": {"size": proof_from, "path": [node.hex() for node in path]},
    }


@in_world()
async def test_the_helper_follows_one_history_alone(world):
    """A leader with two trees and one key: the second never becomes what the helper knows, and both are published."""
    async with world.helper_up():
        study = world.study(rounds=3)
        await world.approved(study)
        genuine, forged = tree_of(40), tree_of(60, b"another first")
        opened = await world.open_round(study, 1, **shown(world, tree_of(5)))
        assert opened.status_code == 200
        assert (await world.open_round(study, 2, **shown(world, genuine, 5))).status_code == 200
        lie = shown(world, forged, 40)
        assert code(await world.open_round(study, 3, **lie)) == "log-forked"
        same_size = shown(world, tree_of(40, b"another first"), 40, forged)
        assert code(await world.open_round(study, 3, **same_size)) == "log-forked"
        known = (await world.helper.get("/v1/log/checkpoint")).json()
        assert (known["size"], known["root"]) == (40, genuine.root().hex())
        assert known["refused"] == [lie["checkpoint"], same_size["checkpoint"]]
        stated = verify_document(known["checkpoint"], CHECKPOINT_TYPE, (world.leader_key.verify_key,))
        assert stated["root"] == known["root"]


@in_world()
async def test_the_helper_believes_no_growth_without_its_proof(world):
    """None, one from another size, an empty log: asked to prove it, not believed, and no evidence of anything."""
    async with world.helper_up():
        study = world.study(rounds=3)
        await world.approved(study)
        genuine = tree_of(40)
        await world.open_round(study, 1, **shown(world, tree_of(20)))
        junk = shown(world, genuine, 20, tree_of(40, b"another first"))
        for request in (shown(world, genuine), shown(world, genuine, 19), shown(world, tree_of(7)), junk):
            assert code(await world.open_round(study, 2, **request)) == "log-unproven"
        assert code(await world.open_round(study, 2, **shown(world, MerkleTree()))) == "log-unproven"
        assert (await world.helper.get("/v1/log/checkpoint")).json()["refused"] == []


@in_world()
async def test_a_contradiction_of_one_size_is_kept_whatever_came_before(world):
    """Of many forks the first are kept; two logs of one size, which need no proof, have a place of their own."""
    async with world.helper_up():
        study = world.study(rounds=3)
        await world.approved(study)
        await world.open_round(study, 1, **shown(world, tree_of(20)))
        for more in range(1, 11):
            lie = shown(world, tree_of(20 + more, b"another first"), 20)
            assert code(await world.open_round(study, 2, **lie)) == "log-forked"
        proof = shown(world, tree_of(20, b"another first"))
        assert code(await world.open_round(study, 2, **proof)) == "log-forked"
        refused = (await world.helper.get("/v1/log/checkpoint")).json()["refused"]
        assert (len(refused), refused[-1]) == (9, proof["checkpoint"])


@in_world()
async def test_an_opening_states_the_largest_tree_that_the_helper_knows(world):
    """A leader that shows the helper an older tree again cannot have rounds opened that know of nothing since."""
    async with world.helper_up():
        study = world.study(rounds=3)
        await world.approved(study)
        newest = shown(world, tree_of(20))
        await world.open_round(study, 1, **newest)
        response = await world.open_round(study, 2, **shown(world, tree_of(7), 20, tree_of(20)))
        opening = verify_document(response.json()["opening"], OPENING_TYPE, (world.helper_key.verify_key,))
        stated = verify_document(newest["checkpoint"], CHECKPOINT_TYPE, (world.leader_key.verify_key,))
        assert opening["checkpoint"] == stated
        known = (await world.helper.get("/v1/log/checkpoint")).json()
        assert (known["size"], known["checkpoint"]) == (20, newest["checkpoint"])


@in_world()
async def test_two_workers_write_one_log(world):
    """Each appends after what the other appended, without being told; both then state the same tree."""
    async with world.leader_up() as service:
        desk = service.state.desk
        other = TransparencyLog(desk.store, world.leader_key)
        for turn in range(6):
            writer = (desk.ledger_log, other)[turn % 2]
            index = await desk.database.change(lambda change, writer=writer: writer.append(change, "action", b"{}"))
            assert index == 1 + turn
        async with desk.database.reading() as connection:
            await desk.ledger_log.catch_up(connection)
            await desk.ledger_log.catch_up(connection)
            entries = [entry async for page in log_pages(connection, 0) for entry in page]
        at_ms = world.clock.now_ms()
        assert desk.ledger_log.checkpoint(at_ms) == other.checkpoint(at_ms)
        assert len(entries) == other.size == 7
        with pytest.raises(ValueError, match="expected one of"):
            await desk.database.change(lambda change: other.append(change, "gossip", b"{}"))


@in_world(clock=Clock(wall=Turnable()))
async def test_everybody_polls_the_same_checkpoint_and_it_stays_fresh(world):
    """Within ten minutes the same bytes; after an idle hour a checkpoint of now, though nothing has happened."""
    async with world.leader_up():

        async def polled() -> str:
            return (await world.leader.get("/v1/work")).json()["checkpoint"]

        first = await polled()
        world.clock.wall.seconds += 1
        assert await polled() == first
        world.clock.wall.seconds += 3_600
        later = verify_document(await polled(), CHECKPOINT_TYPE, (world.leader_key.verify_key,))
        assert 0 <= world.clock.now_ms() - later["at_ms"] < 600_000


@in_world(clock=Clock(wall=Turnable()))
async def test_a_clock_that_ran_ahead_publishes_no_checkpoint_of_the_future(world):
    """Something changed while the leader's clock was two hours ahead; corrected, the log is of now, as devices ask."""
    async with world.leader_up() as service:
        desk = service.state.desk
        world.clock.wall.seconds += 7_200
        await desk.database.change(lambda change: desk.ledger_log.append(change, "action", b"{}"))
        world.clock.wall.seconds -= 7_200
    async with world.leader_up():
        jws = (await world.leader.get("/v1/work")).json()["checkpoint"]
        stated = verify_document(jws, CHECKPOINT_TYPE, (world.leader_key.verify_key,))
        assert stated["size"] == 2
        assert 0 <= world.clock.now_ms() - stated["at_ms"] < 600_000


@in_world()
async def test_tiles_are_the_trees_and_never_change(world):
    """Anyone reads them; a tile that is not there yet is nowhere."""
    async with world.up():
        await world.run(world.study())
        entries = [from_base64(item) for item in (await world.leader.get("/v1/log/entries")).json()["entries"]]
        for width in range(1, len(entries) + 1):
            response = await world.leader.get(f"/v1/log/tiles/0/0?width={width}")
            assert response.content == read_tile(MerkleTree(entries), Tile(0, 0, width))
            assert "immutable" in response.headers["cache-control"]
        for path in (f"0/0?width={len(entries) + 1}", "0/0", "1/0?width=1", "0/1?width=1", "7/0?width=1"):
            assert code(await world.leader.get(f"/v1/log/tiles/{path}")) == "not-found"
        for path in ("8/0", "0/0?width=0", "0/0?width=257", "0/-1"):
            assert (await world.leader.get(f"/v1/log/tiles/{path}")).status_code == 400


@in_world()
async def test_the_keys_in_force_are_logged_once_for_each_change(world):
    """At the first start, and again when an officer came; a start that changes nothing logs nothing."""
    for _ in range(2):
        async with world.leader_up() as service:
            assert service.state.desk.ledger_log.size == 1
    world.officer = SigningKey.generate()
    async with world.leader_up():
        page = (await world.leader.get("/v1/log/entries")).json()["entries"]
        kinds = [read_entry(from_base64(entry)) for entry in page]
        assert [kind.name for kind, _ in kinds] == ["keys", "keys"]
        officers = [json.loads(body)["officers"] for _, body in kinds]
        assert officers[0] != officers[1] == [world.officer.verify_key.raw.hex()]


async def finished_log(world, devices: int = 5) -> list[bytes]:
    """A study that ran, in the log."""
    study = world.study()
    crowd = await world.devices(devices)
    await world.run(study)
    await world.work()
    answers = zip(crowd, vectors(devices), strict=True)
    await world.send(*[(device, world.report(device, study, (await world.work())[1], v)) for device, v in answers])
    await world.until(study, "finished")
    return [from_base64(item) for item in (await world.leader.get("/v1/log/entries")).json()["entries"]]


@in_world()
async def test_a_check_of_the_log_reads_every_entry(world):
    """An honest log holds against the helper; a tampered one does not, and the check says where and why."""
    async with world.up():
        entries = await finished_log(world)
        signers = Signers(world.leader_key.verify_key, world.helper_key.verify_key, (world.officer.verify_key,))
        honest = (await world.leader.get("/v1/log/checkpoint")).json()["checkpoint"]
        answers = {
            "http://leader/v1/identity": (await world.leader.get("/v1/identity")).json(),
            "http://helper/v1/identity": (await world.helper.get("/v1/identity")).json(),
            "http://leader/v1/log/checkpoint": {"checkpoint": honest},
            "http://helper/v1/log/checkpoint": (await world.helper.get("/v1/log/checkpoint")).json(),
            f"http://leader/v1/log/entries?start=0&count={len(entries)}": (
                await world.leader.get("/v1/log/entries")
            ).json(),
            "http://leader/v1/studies": (await world.leader.get("/v1/studies")).json(),
            "http://leader/v1/studies/moves": (await world.leader.get("/v1/studies/moves")).json(),
        }
        for path in ("decisions?after=0", "decisions?after=1", "rounds?after=0", "rounds?after=1"):
            answers[f"http://helper/v1/log/{path}"] = (await world.helper.get(f"/v1/log/{path}")).json()

    def audit(tampered: list[bytes]) -> list[str]:
        reading = LogAudit(signers)
        for entry in tampered:
            reading.read(entry)
        reading.compare("the leader", honest)
        return [f"{finding.place}: {finding.text}" for finding in reading.findings]

    assert audit(entries) == []
    kinds = [read_entry(entry)[0].name for entry in entries]
    opening, decision, study = (kinds.index(name) for name in ("opening", "decision", "study"))
    tampered = {
        "without an approval": [entry for index, entry in enumerate(entries) if index != decision],
        "is no study": [entry for index, entry in enumerate(entries) if index != study],
        "FORK: the helper was shown another history": [log_entry("action", b"{}"), *entries],
        "signature": [
            *entries[:opening],
            entries[opening][:-8] + b"AAAAAAAA",
            *entries[opening + 1 :],
        ],
        "released twice": [*entries, entries[kinds.index("release")]],
        "cannot be read": [*entries[:1], b"no kind", *entries[1:]],
    }
    for text, log in tampered.items():
        findings = audit(log)
        assert any(text in finding for finding in findings), (text, findings)
        assert any("FORK: signed another" in finding or "checkpoint of" in finding for finding in findings) or (
            text == "released twice"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "call", lambda _method, url, _body: answers[url])
        saved = world.folder / "saved.log"
        words = ["log", "check", "http://leader", "--against", "http://helper", "--save", str(saved)]
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, json.loads(done.stdout)["holds"]) == (0, True), done.output
        trusted = [key.fingerprint for key in (signers.leader, signers.helper)]
        assert CliRunner().invoke(app, [*words, "--trust", trusted[0], "--trust", trusted[1]]).exit_code == 2
        seen = world.folder / "seen.json"
        forged = shown(world, tree_of(3))["checkpoint"]
        seen.write_text(json.dumps({"checkpoint": None, "evidence": [{"kept": honest, "shown": forged}]}))
        done = CliRunner().invoke(app, [*words, "--against", str(seen)])
        assert (done.exit_code, done.stdout.count("FORK")) == (1, 1)


@in_world()
async def test_a_leader_that_was_restored_gets_its_entries_back(world):
    """Its log is shorter than the helper's: no round opens, until the saved entries are back; others' are refused."""
    async with world.up():
        entries = await finished_log(world)
        newest = (await world.leader.get("/v1/log/checkpoint")).json()["checkpoint"]
        desk = world.leader_app.state.desk
        shorter = TransparencyLog(desk.store, world.leader_key, entries[:2])
        known = await desk.helper.known_log()
        with pytest.raises(ProblemError, match="log restore"):
            shorter.proof_for(known.size)
    database = Database(world.leader_settings().url())
    await database.open("leader")
    await database.change(
        lambda change: change.connection.execute(log_entries.delete().where(log_entries.c.entry_index >= 2))
    )
    await database.close()
    async with world.up():  # before its entries are back: it adds none of its own
        assert (await world.propose(world.study("later"))).status_code == 409
        assert world.leader_app.state.desk.ledger_log.size == 2
    saved = world.folder / "saved.log"
    saved.write_text("\n".join([newest, *map(to_base64, entries)]))
    assert await logs.put_back(world.leader_settings(), saved.read_text()) == len(entries) - 2
    async with world.leader_up() as service:
        assert service.state.desk.ledger_log.size == len(entries)
        again = (await world.leader.get("/v1/log/checkpoint")).json()["checkpoint"]
        keys = (world.leader_key.verify_key,)
        assert (
            verify_document(again, CHECKPOINT_TYPE, keys)["root"]
            == verify_document(newest, CHECKPOINT_TYPE, keys)["root"]
        )
    saved.write_text("\n".join([newest, *map(to_base64, entries[:-1])]))
    with pytest.raises(Exception, match="this leader signed"):
        await logs.put_back(world.leader_settings(), saved.read_text())


def test_every_kind_says_what_it_is():
    """Entries of known kinds come back as they went in; the page of the log names each kind with its body."""
    for kind in KINDS.values():
        assert read_entry(log_entry(kind.name, b"body\0body")) == (kind, b"body\0body")
    for bad in (b"", b"study", b"gossip\0body", b"\xff\0body"):
        with pytest.raises(ValueError, match="known kind"):
            read_entry(bad)
