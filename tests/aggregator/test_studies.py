"""Studies at the leader: who may propose and start, what is checked, what the log says."""

import base64
import datetime as dt

from models.wire.message import from_base64
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint
from privacy.crypto import verify_document
from privacy.crypto.merkle import MerkleTree, leaf_hash, verify_consistency, verify_inclusion
from tests.bundles import establish

from .world import code, in_world, vectors


@in_world()
async def test_proposing_needs_an_analysts_token(world):
    """None, a made-up one and another scope's are told apart."""
    async with world.up():
        body = world.study().document()
        assert code(await world.leader.post("/v1/studies", json=body)) == "unauthenticated"
        made_up = {"authorization": "Bearer hearthside-analyst-x"}
        assert code(await world.leader.post("/v1/studies", json=body, headers=made_up)) == "unauthenticated"
        operator = await world.bearer("operator")
        assert code(await world.leader.post("/v1/studies", json=body, headers=operator)) == "forbidden"


@in_world()
async def test_a_study_that_cannot_run_is_refused_with_what_was_expected(world):
    """Wrong parties, purpose, dimension, cost or numbers that could wrap: none of them reaches the privacy office."""
    async with world.up():
        wrong = [
            ({"leader_key": "ab" * 32}, "leader_key"),
            ({"helper_key": "ab" * 32}, "helper_key"),
            ({"policy_hash": "ab" * 32}, "policy_hash"),
            ({"site": "elsewhere"}, "site"),
            ({"purpose": "personalisation"}, "purpose"),
            ({"purpose": "nonsense"}, "purpose"),
            ({"purpose": "persona"}, "purpose"),
            ({"plan": {"dimension": 8}}, "dimension"),
            ({"plan": {"clip_norm": 0.5}}, "norm"),
            ({"plan": {"sensitivity": 200}}, "noise"),
            ({"epsilon_cap": 1.0}, "epsilon"),
        ]
        for changes, word in wrong:
            answer = await world.propose(world.study(**changes))
            assert code(answer) == "invalid-study", changes
            assert word in answer.json()["detail"], answer.text
        assert (await world.helper.get("/v1/proposals")).json() == []
        raw = {**world.study().document(), "kind": "train"}
        assert (
            code(await world.leader.post("/v1/studies", json=raw, headers=await world.bearer("analyst"))) == "malformed"
        )


@in_world()
async def test_a_name_is_one_study_for_ever(world):
    """The same bytes again are the same study, other bytes under its name are refused."""
    async with world.up():
        study = world.study()
        first = await world.propose(study)
        assert (await world.propose(study)).json() == first.json()
        assert code(await world.propose(world.study(rounds=2))) == "study-exists"


@in_world()
async def test_an_undecided_refused_or_forged_study_does_not_start(world):
    """The leader hears the officer's word, and checks whose it is."""
    async with world.up():
        study = world.study()
        assert code(await world.start(study)) == "unknown-study"
        await world.propose(study)
        assert code(await world.start(study)) == "not-approved"
        await world.decide(study, "refuse")
        refused = await world.start(study)
        assert code(refused) == "not-approved"
        assert "looked at" in refused.json()["detail"]
        assert (await world.until(study, "refused"))["rounds"] == []


@in_world(leader_options={"budget_epsilon": 1.0})
async def test_the_leaders_own_ledger_is_a_limit(world):
    """A round that the leader cannot pay for is not opened: no device is charged for it."""
    async with world.up():
        study = world.study(epsilon_cap=50.0)
        await world.run(study)
        account = await world.until(study, "failed")
        assert account["rounds"] == []
        assert "budget" in account["detail"]
        assert "/v1/rounds" not in world.line.calls


@in_world()
async def test_the_log_proves_everything_that_happened(world):
    """Study, decision, opening and release stand in it, in order; proofs hold and an altered entry does not."""
    async with world.up():
        study, devices = world.study(), await world.devices(5)
        first = (await world.leader.get("/v1/log/checkpoint")).json()["checkpoint"]
        await world.run(study)
        _, opening = await world.work()
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        await world.until(study, "finished")
        jws = (await world.leader.get("/v1/log/checkpoint")).json()["checkpoint"]
        keys = (world.leader_key.verify_key,)
        old, new = (Checkpoint.model_validate(verify_document(item, CHECKPOINT_TYPE, keys)) for item in (first, jws))
        size = new.size
        assert old.size == 1
        entries = [from_base64(item) for item in (await world.leader.get("/v1/log/entries")).json()["entries"]]
        kinds = [b"keys", b"study", b"decision", b"state", b"opening", b"release", b"state"]
        found = [entry.split(b"\0")[0] for entry in entries]
        assert [kind for kind in found if kind != b"action"] == kinds
        assert found.count(b"action") == 2  # proposed and started, each with a token
        assert len(entries) == size
        assert MerkleTree(entries).root().hex() == new.root
        for index, entry in enumerate(entries):
            proof = (await world.leader.get(f"/v1/log/inclusion?index={index}&size={size}")).json()
            path = [bytes.fromhex(node) for node in proof["path"]]
            verify_inclusion(leaf_hash(entry), index, size, path, bytes.fromhex(new.root))
        proof = (await world.leader.get(f"/v1/log/consistency?first=2&second={size}")).json()
        path = [bytes.fromhex(node) for node in proof["path"]]
        verify_consistency(2, MerkleTree(entries[:2]).root(), size, bytes.fromhex(new.root), path)
        assert code(await world.leader.get(f"/v1/log/inclusion?index={size}&size={size}")) == "malformed"
        assert code(await world.leader.get(f"/v1/log/consistency?first=0&second={size + 2}")) == "malformed"


@in_world()
async def test_documentation_health_and_metrics_answer(world):
    """Both services describe themselves without a script, and count without naming anyone."""
    async with world.up():
        for client, title in ((world.leader, "Hearthside leader"), (world.helper, "Hearthside helper")):
            page = await client.get("/docs")
            assert title in page.text
            assert "<script" not in page.text
            assert (await client.get("/openapi.json")).json()["info"]["title"] == title
            assert (await client.get("/ready")).json() == {"status": "ready"}
            assert (await client.get("/health")).json() == {"status": "ok"}
        (device,) = await world.devices(1)
        metrics = (await world.leader.get("/metrics")).text
        assert 'hearthside_requests_total{route="/v1/receipts",status="200",worker="0"} 1.0' in metrics
        assert device.name.hex() not in metrics
        identity = (await world.leader.get("/v1/identity")).json()
        assert identity["fingerprint"] == world.leader_key.verify_key.fingerprint


@in_world()
async def test_a_finished_study_becomes_a_bundle(world):
    """The operator publishes what was released; before that, and without a repository, there is a clear problem."""
    async with world.up():
        study, devices = world.study(), await world.devices(5)
        await world.run(study)
        body = {"transitions_study": "moves"}
        operator = await world.bearer("operator")
        assert code(await world.leader.post("/v1/bundles", json=body, headers=operator)) == "wrong-state"
        _, opening = await world.work()
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        await world.until(study, "finished")
        assert code(await world.leader.post("/v1/bundles", json=body, headers=operator)) == "wrong-state"
        distribution = world.leader_app.state.desk.publisher.distribution
        establish(distribution, [world.officer], dt.datetime.now(dt.UTC))
        answer = await world.leader.post("/v1/bundles", json=body, headers=operator)
        assert answer.status_code == 201, answer.text
        name = f"{answer.json()['sha256']}.bundle.json"
        target = await world.leader.get(f"/tuf/targets/{name}")
        assert target.json()["provenance"][0]["study_id"] == "moves"
        assert (await world.leader.get("/tuf/metadata/1.root.json")).status_code == 200
        assert (await world.leader.get("/v1/work")).json()["bundle_version"] == 1
        entries = [from_base64(item) for item in (await world.leader.get("/v1/log/entries")).json()["entries"]]
        newest = [entry for entry in entries if not entry.startswith(b"action\0")][-1]
        assert newest.endswith(base64.b16decode(answer.json()["sha256"].upper()))
