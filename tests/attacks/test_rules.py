"""The rules that make the sum sound, each with what happens when it is dropped: every test drops its rule itself.

Rules that an attack shows already (one batch ever, noise never redrawn, strictly increasing ids, pinned keys, keys
destroyed, the coin) are held by ``test_questions``, ``test_reports`` and ``test_devices``.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from aggregator.helper import openings, shares
from aggregator.storage.ledger import LedgerStore
from client_agent.federation.federation import Federation
from privacy.crypto import SealPrivateKey, SigningKey
from privacy.secure_sum import HelperSum, ReportInvalid, SealFailure, helper, make_report, reports, verify_report
from privacy.secure_sum.reports import SealedPayload, seal_info
from tests.aggregator import world as services
from tests.aggregator.world import code, in_world
from tests.attacks.hostile import ask, stage
from tests.attacks.test_reports import CONTEXT, NOW, PARAMS, VICTIM, is_random, open_round, released, unbind
from tests.client_agent.world import CONTRACT, World, make_store, populate


def outcome(scene, seal: bytes, **options) -> list[SealFailure]:
    """Why the helper leaves a seal out, among four honest ones; empty if it counts."""
    summing = HelperSum(PARAMS, scene.context, scene.key, **{"now": NOW, "withdrawn": {}} | options)
    honest = [report.seal for report in scene.reports[1:]]
    for each in sorted([*honest, seal], key=lambda item: hashlib.sha256(item).digest()):
        summing.add(each)
    return [failure.reason for failure in summing.failures]


def believing(patch: pytest.MonkeyPatch) -> None:
    """A helper that compares nothing."""
    patch.setattr(helper, "hmac", SimpleNamespace(compare_digest=lambda *_: True))


class TestInsideTheSeal:
    """What the helper checks once a seal is open."""

    def test_the_policy(self, monkeypatch):
        """A report under other purposes or texts than those in force is left out; unchecked, it counts."""
        scene = open_round()
        payload = SealedPayload(os.urandom(32), b"older texts".ljust(32), NOW + 60, bytes(32)).to_bytes()
        seal = scene.key.public.seal(payload, seal_info(CONTEXT))
        assert outcome(scene, seal) == [SealFailure.POLICY]
        believing(monkeypatch)
        assert outcome(scene, seal) == []

    def test_the_expiry(self):
        """A report is not opened at its second or after; a helper whose clock stands still would count it."""
        scene = open_round()
        old = make_report(
            VICTIM,
            PARAMS,
            CONTEXT,
            scene.key.public,
            seed=os.urandom(32),
            withdrawal_token=os.urandom(32),
            expires_at=NOW,
            signer=scene.signers[0],
        )
        assert outcome(scene, old.seal) == [SealFailure.EXPIRED]
        assert outcome(scene, old.seal, now=0) == []

    def test_the_withdrawal(self, monkeypatch):
        """The right token takes a report out, a wrong one does not; unchecked, anybody takes out anybody."""
        scene, token = open_round(), os.urandom(32)
        payload = SealedPayload(os.urandom(32), CONTEXT.policy_hash, NOW + 60, hashlib.sha256(token).digest())
        seal = scene.key.public.seal(payload.to_bytes(), seal_info(CONTEXT))
        name = hashlib.sha256(seal).digest()
        assert outcome(scene, seal, withdrawn={name: token}) == [SealFailure.WITHDRAWN]
        assert outcome(scene, seal, withdrawn={name: bytes(32)}) == []
        assert outcome(scene, seal) == []
        believing(monkeypatch)
        assert outcome(scene, seal, withdrawn={name: bytes(32)}) == [SealFailure.WITHDRAWN]


class NamesBelieved(HelperSum):
    """A helper that takes a report's id from whoever hands it in."""

    def claim(self, seal: bytes, report_id: bytes) -> None:
        original, helper.hashlib = helper.hashlib, SimpleNamespace(sha256=lambda _: _Said(report_id))
        try:
            self.add(seal)
        finally:
            helper.hashlib = original


class _Said:
    def __init__(self, value: bytes) -> None:
        self._value = value

    def digest(self) -> bytes:
        return self._value


def test_ids_come_from_the_seals():
    """One seal under two names is one seal. Were names believed, it would be summed as often as it has names."""
    scene = open_round()
    summing = NamesBelieved(PARAMS, CONTEXT, scene.key, now=NOW, withdrawn={})
    for index in range(3):
        summing.claim(scene.reports[0].seal, bytes([index + 1]) * 32)
    assert summing.opened == 3
    strict = HelperSum(PARAMS, CONTEXT, scene.key, now=NOW, withdrawn={})
    strict.add(scene.reports[0].seal)
    with pytest.raises(Exception, match="strictly increasing"):
        strict.add(scene.reports[0].seal)
    assert strict.opened == 1


class TestContext:
    """Mask, seal and signature each name the context; each alone is enough, and each is tested with the others gone."""

    other = replace(CONTEXT, round=4)

    def lifted(self) -> np.ndarray:
        """A report of round 3 in round 4, with the leader's own three."""
        scene, later = open_round(), open_round(self.other, count=4)
        later.key = scene.key
        own = open_round(self.other, scene.key, 4).reports[1:]
        masked, seals = [item.masked for item in own], [item.seal for item in own]
        return released(later, [*masked, scene.reports[0].masked], [*seals, scene.reports[0].seal])

    def test_the_seal(self, monkeypatch):
        """With masks bound to nothing, the seal's own binding keeps it shut."""
        unbind(monkeypatch, mask=True)
        assert is_random(self.lifted())
        unbind(monkeypatch, seal=True)
        assert not is_random(self.lifted())

    def test_the_mask(self, monkeypatch):
        """With seals bound to nothing, the seed gives another mask in another context."""
        unbind(monkeypatch, seal=True)
        assert is_random(self.lifted())
        unbind(monkeypatch, mask=True)
        assert not is_random(self.lifted())

    def test_the_signature(self, monkeypatch):
        """A report that is relabelled for another round is not signed for it; unbound, it would be."""
        scene = open_round()
        moved = replace(scene.reports[0], context=self.other.digest)
        with pytest.raises(ReportInvalid, match="signature"):
            verify_report(moved, PARAMS, self.other, scene.signers[0].verify_key)
        original = reports._statement
        monkeypatch.setattr(reports, "_statement", lambda _, *rest: original(CONTEXT, *rest))
        assert verify_report(moved, PARAMS, self.other, scene.signers[0].verify_key) is None


def durable(world) -> tuple[str, int, bool]:
    """What a power cut would leave of the helper: (round's state, ledger's rows, is the noise's secret kept)."""
    with sqlite3.connect(f"file:{world.folder / 'helper' / 'store.sqlite3'}?mode=ro", uri=True) as store:
        state, secret = store.execute("SELECT state, wrapped_noise IS NOT NULL FROM rounds").fetchone()
        (rows,) = store.execute("SELECT count(*) FROM ledger_rows").fetchone()
    return state, rows, bool(secret)


async def _unwritten(*_: object) -> None:
    return None


@in_world()
async def test_the_helper_charges_and_marks_before_it_answers(world):
    """When noise is drawn, batch, charge and the noise's secret are on the disk; a helper that charged later shows."""
    seen, original = [], shares.discrete_gaussian

    def look(*arguments):
        seen.append(durable(world))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "discrete_gaussian", look)
        async with world.helper_up():
            scene = await stage(world)
            assert (await ask(scene, scene.seals))[0] == ""
    assert seen == [("marked", 1, True)]
    assert durable(world) == ("answered", 1, False)
    late = services.World(world.folder / "late")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "discrete_gaussian", lambda *rest: (seen.append(durable(late)), original(*rest))[1])
        patch.setattr(LedgerStore, "append", _unwritten)
        async with late.helper_up():
            scene = await stage(late)
            await ask(scene, scene.seals)
    assert seen[-1] == ("marked", 0, True)


@in_world()
async def test_no_round_without_an_officer(world):
    """A proposal alone opens nothing. A helper that did not look would open a round that no officer has seen."""
    async with world.helper_up() as app:
        study = world.study()
        await world.as_leader("/v1/proposals", study.canonical())
        assert code(await world.open_round(study)) == "not-approved"

        async def anything(*_):
            return study, "no decision"

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openings, "require_running", anything)
            assert (await world.open_round(study)).status_code == 200
        assert app.state.office.budget.state.length == 0


@in_world()
async def test_only_the_leader_is_answered(world):
    """Whoever taps the line has the seals, and gets no share; a helper that took anybody's word would give it."""
    async with world.helper_up() as app:
        scene = await stage(world)
        world.leader_key, kept = SigningKey.generate(), world.leader_key
        refused, _ = await ask(scene, scene.seals)
        assert refused == "bad-signature"
        app.state.office.leader_key = world.leader_key.verify_key  # a helper that takes the stranger for its leader
        assert (await ask(scene, scene.seals))[0] == ""
        world.leader_key = kept


class Watchful(Federation):
    """Notes what is on the disk at the moment of each coin."""

    seen: list[tuple[int, int]]

    def note(self, found) -> None:
        rows = sum(member.budget.contract.length for member in self.roster)
        self.seen.append((len(self.store.reports.answered(found.key)), rows))


def _watch(scene: World, store) -> Watchful:
    leader, helper_line = scene.connections()
    watched = Watchful(store, leader, helper_line, scene.pins, scene.clock, os.urandom, CONTRACT)
    watched.seen = []
    return watched


def test_null_and_charge_come_before_the_coin(tmp_path, monkeypatch):
    """At the coin each report is stored and charged. In another order a crash at that moment throws the coin again."""
    from client_agent.federation import contribution

    scene, store = World(), make_store(tmp_path / "agent")
    populate(scene, store, 3)
    watched = _watch(scene, store)
    scene.open_round(scene.study())
    (found,) = watched.open_rounds()
    original = contribution.flip_coin
    monkeypatch.setattr(contribution, "flip_coin", lambda *rest: (watched.note(found), original(*rest))[1])
    watched.flip_all(watched.reserve_all(found))
    assert watched.seen == [(3, 3)] * 3
    store.close()

    scene, store = World(), make_store(tmp_path / "hasty")
    populate(scene, store, 3)
    hasty = watched = _watch(scene, store)
    monkeypatch.setattr(hasty, "_store_reservations", lambda _found, made: made)
    scene.open_round(scene.study())
    (found,) = hasty.open_rounds()
    hasty.flip_all(hasty.reserve_all(found))
    assert hasty.seen == [(0, 0)] * 3
    store.close()


def test_a_fresh_key_opens_nothing_old():
    """A round's seals open under its own key alone, so a key that is destroyed closes them for good."""
    scene = open_round()
    late = SealPrivateKey.generate()
    assert outcome(replace(scene, key=late), scene.reports[0].seal) == [SealFailure.UNOPENED] * 5
