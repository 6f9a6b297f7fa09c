"""``log check``: keys that change, studies that take steps they cannot, and entries that a leader leaves out."""

from __future__ import annotations

import pytest

from aggregator.leader.log import TransparencyLog
from aggregator.log_audit import HEARD_MS, LogAudit, Signers
from models.wire.log import KeysInForce, log_entry, read_entry
from models.wire.message import from_base64
from models.wire.rounds import OPENING_TYPE, Checkpoint, Opening
from models.wire.statements import DecisionStatements, RoundStatements
from models.wire.states import STATE_TYPE, StateChange
from privacy.crypto import MerkleTree, SigningKey, sign_document

from .world import in_world, vectors


async def run_to_the_end(world, study) -> None:
    crowd = await world.devices(5)
    await world.run(study)
    _, opening = await world.work()
    await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(crowd, vectors(5), strict=True)])
    await world.until(study, "finished")


async def audit_of(world, *, later_ms: int = 0) -> LogAudit:
    """The leader's log, read and held against the helper and the leader's own accounts."""
    page = (await world.leader.get("/v1/log/entries?count=1000")).json()["entries"]
    audit = LogAudit(Signers(world.leader_key.verify_key, world.helper_key.verify_key, (world.officer.verify_key,)))
    for item in page:
        audit.read(from_base64(item))
    decisions = DecisionStatements.model_validate((await world.helper.get("/v1/log/decisions")).json()).decisions
    rounds = RoundStatements.model_validate((await world.helper.get("/v1/log/rounds")).json()).rounds
    audit.hold_against("the helper", decisions, rounds, world.clock.now_ms() + later_ms)
    for item in (await world.leader.get("/v1/studies")).json():
        account = (await world.leader.get(f"/v1/studies/{item['study_id']}")).json()
        released = [row["round"] for row in account["rounds"] if row["released_at_ms"]]
        audit.hold_account(account["study_hash"], account["state"], released)
    return audit


def texts(audit: LogAudit) -> str:
    return "\n".join(finding.text for finding in audit.findings)


def read(world, entries: list[bytes], trusted=()) -> str:
    audit = LogAudit(
        Signers(world.leader_key.verify_key, world.helper_key.verify_key, (world.officer.verify_key,)), trusted
    )
    for entry in entries:
        audit.read(entry)
    return texts(audit)


@in_world()
async def test_an_honest_run_holds_and_pages_go_on_where_they_ended(world):
    """Nothing is found; what was answered and not released is nothing; the last number has nothing after it."""
    async with world.up():
        await run_to_the_end(world, world.study())
        audit = await audit_of(world, later_ms=HEARD_MS)
        assert (texts(audit), audit.unreleased) == ("", [])
        for what in ("decisions", "rounds"):
            (last,) = (await world.helper.get(f"/v1/log/{what}")).json()[what]
            assert (await world.helper.get(f"/v1/log/{what}?after={last['number']}")).json()[what] == []


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("decision", "the office's decision on 'moves' is not in the log"),
        ("opening", "was answered, and its opening is not in the log"),
        ("release", "is released, not in the log"),
        ("state", "is finished, and in the log approved"),
    ],
)
def test_a_leader_that_leaves_entries_out_is_found(tmp_path, monkeypatch, kind, found):
    """Its log drops every entry of one kind while a study runs to its end: helper and accounts tell of them."""
    honest = TransparencyLog.append

    async def forgetful(self, change, name, body):
        return 0 if name == kind else await honest(self, change, name, body)

    monkeypatch.setattr(TransparencyLog, "append", forgetful)

    @in_world()
    async def story(world):
        async with world.up():
            await run_to_the_end(world, world.study())
            audit = await audit_of(world, later_ms=HEARD_MS)
            assert found in texts(audit) or (kind == "decision" and "without an approval" in texts(audit))
            assert (audit.unreleased != []) == (kind == "release")

    story(tmp_path)


def proposed(world, **changes) -> tuple[list[bytes], object]:
    study = world.study(**changes)
    keys = KeysInForce(
        leader=world.leader_key.verify_key.raw.hex(),
        helper=world.helper_key.verify_key.raw.hex(),
        officers=(world.officer.verify_key.raw.hex(),),
        tuf_root=None,
        at_ms=1,
    )
    return [log_entry("keys", keys.canonical()), log_entry("study", study.canonical())], study


def decided(world, study, verdict: str, key: SigningKey | None = None) -> bytes:
    return log_entry("decision", world.decision(study, verdict, key).encode())


def stepped(world, study, before: str, event: str, after: str) -> bytes:
    step = StateChange(
        study_id=study.study_id,
        study_hash=study.study_hash().hex(),
        before=before,
        event=event,
        after=after,
        who="leader",
        at_ms=1,
    )
    return log_entry("state", sign_document(world.leader_key, STATE_TYPE, step.document()).encode())


@in_world()
async def test_a_studys_steps_are_replayed(world):
    """The leader's signature moves no study where the table has no arrow, nor where an officer has to sign."""
    begun, study = proposed(world)
    approve, refuse = decided(world, study, "approve"), decided(world, study, "refuse")
    start = stepped(world, study, "approved", "start", "running")
    assert read(world, [*begun, approve, start, stepped(world, study, "running", "finish", "finished")]) == ""
    stop = decided(world, study, "stop")
    assert read(world, [*begun, approve, start, stop, stepped(world, study, "running", "stop", "stopped")]) == ""
    skipped = stepped(world, study, "scheduled", "start", "running")
    lies = {
        "'moves' cannot resume while it is refused": [refuse, stepped(world, study, "refused", "resume", "running")],
        "'moves' is approved, not scheduled to running": [approve, skipped],
        "signed 'stop', which an officer has to": [approve, start, stepped(world, study, "running", "stop", "stopped")],
        "signed 'approve', which an officer has to": [stepped(world, study, "proposed", "approve", "approved")],
        "'moves' cannot approve while it is refused": [refuse, approve],
        "was proposed twice": begun[1:],
    }
    for text, entries in lies.items():
        assert text in read(world, [*begun, *entries]), text


def opened(world, study, key: SigningKey, entries: list[bytes]) -> bytes:
    tree, now_ms = MerkleTree(entries), world.clock.now_ms()
    opening = Opening(
        study_id=study.study_id,
        study_hash=study.study_hash().hex(),
        round=1,
        model_hash="00" * 32,
        round_key="AAAA",
        opens_at_ms=now_ms,
        closes_at_ms=now_ms + 1,
        issued_at_ms=now_ms,
        checkpoint=Checkpoint(size=len(tree), root=tree.root().hex(), at_ms=now_ms),
    )
    return log_entry("opening", sign_document(key, OPENING_TYPE, opening.document()).encode())


@in_world()
async def test_a_change_of_keys_is_followed_and_reaches_nothing_before_it(world):
    """Helper and officer changed: what the old ones signed still counts, before; what the new ones sign, after."""
    old_helper, old_officer = SigningKey.generate(), SigningKey.generate()
    keys, _ = proposed(world)
    old_keys = KeysInForce.model_validate_json(read_entry(keys[0])[1]).model_copy(
        update={"helper": old_helper.verify_key.raw.hex(), "officers": (old_officer.verify_key.raw.hex(),)}
    )
    first = log_entry("keys", old_keys.canonical())
    study = world.study(helper_key=old_helper.verify_key.raw.hex())
    begun = [first, log_entry("study", study.canonical()), decided(world, study, "approve", old_officer)]
    begun.append(stepped(world, study, "approved", "start", "running"))
    before, after = opened(world, study, old_helper, begun), opened(world, study, world.helper_key, begun)
    present = (world.leader_key, world.helper_key, world.officer)
    trusted = {key.verify_key.fingerprint for key in (*present, old_helper, old_officer)}
    assert read(world, [*begun, before, keys[0], after], trusted) == ""
    for early in ([*begun, after], [first, begun[1], decided(world, study, "approve")]):
        assert "not among the 1 accepted keys" in read(world, [*early, keys[0]], trusted)
    assert "not among the 1 accepted keys" in read(world, [*begun, keys[0], before], trusted)
    assert "none of --trust" in read(world, [*begun, before, keys[0], after])
    assert "before the log says whose" in read(world, begun[1:], trusted)
