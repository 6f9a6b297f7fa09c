"""What the leader takes from devices, and what it refuses."""

import os

from models.wire.enrolment import BATCH_MAXIMUM, make_enrolment
from models.wire.frames import REPORTS_MEDIA_TYPE
from privacy.crypto import SigningKey

from .world import code, in_world, vectors

HEADERS = {"content-type": REPORTS_MEDIA_TYPE}


async def _open(world, count: int = 6, **changes):
    devices, study = await world.devices(count), world.study(**changes)
    await world.run(study)
    _, opening = await world.work()
    return devices, study, opening


@in_world(leader_options={"close_early": False})
async def test_identical_bytes_are_accepted_again_and_others_are_not(world):
    """A device that retries loses nothing; a second report of the same round is a conflict, also after a restart."""
    async with world.helper_up():
        async with world.leader_up():
            devices, study, opening = await _open(world)
            vector = vectors(1)[0]
            first, second = (world.report(devices[0], study, opening, vector) for _ in range(2))
            assert await world.send((devices[0], first)) == ["accepted"]
            assert await world.send((devices[0], first), (devices[0], second)) == ["accepted", "report-conflict"]
            other, another = (world.report(devices[1], study, opening, vector) for _ in range(2))
            pair = await world.send((devices[1], other), (devices[1], another), (devices[1], other))
            assert pair == ["accepted", "report-conflict", "accepted"]
        async with world.leader_up():
            assert await world.send((devices[0], first), (devices[0], second)) == ["accepted", "report-conflict"]


@in_world()
async def test_a_closed_round_takes_no_report(world):
    """Not one that comes late, and not one of a round that is unknown."""
    async with world.up():
        devices, study, opening = await _open(world, 5)
        items = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)]
        await world.send(*items)
        await world.until(study, "finished")
        assert await world.send(items[0]) == ["round-closed"]
        other = world.study("never")
        assert await world.send((devices[0], world.report(devices[0], other, opening, vectors(1)[0]))) == [
            "unknown-round"
        ]


@in_world()
async def test_consent_is_checked_at_the_leader_too(world):
    """No receipt, another purpose, another epoch: nothing is stored."""
    async with world.up():
        devices, study, opening = await _open(world, 6)
        vector = vectors(1)[0]
        (silent,) = await world.devices(1, ())
        (elsewhere,) = await world.devices(1, ("persona",))
        for device in (silent, elsewhere):
            assert await world.send((device, world.report(device, study, opening, vector))) == ["no-consent"]
        stale = (devices[0], world.report(devices[0], study, opening, vector))
        assert await world.send(stale, epoch=7) == ["no-consent"]
        stranger = world.lone_devices(1)[0]
        assert await world.send((stranger, world.report(stranger, study, opening, vector))) == ["unknown-device"]


@in_world()
async def test_nobody_learns_about_another_devices_consent(world):
    """Without a device's key the answer is the same whether or not it consented, and whatever its epoch is."""
    async with world.up():
        devices, study, opening = await _open(world, 6)
        (silent,) = await world.devices(1, ())
        forged = world.report(devices[0], study, opening, vectors(1)[0], signer=SigningKey.generate())
        for device, epoch in ((devices[0], None), (devices[0], 7), (silent, None)):
            assert await world.send((device, forged), epoch=epoch) == ["bad-signature"]


@in_world()
async def test_a_report_signed_by_another_device_is_refused(world):
    """The signature has to be of the device that the frame names."""
    async with world.up():
        devices, study, opening = await _open(world)
        report = world.report(devices[0], study, opening, vectors(1)[0], signer=devices[1].key)
        assert await world.send((devices[0], report)) == ["bad-signature"]
        short = world.report(devices[0], study, opening, vectors(1)[0])
        cut = type(short)(short.context, short.seal, short.masked[:-1], short.signature)
        assert await world.send((devices[0], cut)) == ["report-invalid"]


@in_world(leader_options={"body_limit_bytes": 65_536})
async def test_malformed_and_oversized_batches_have_their_problems(world):
    """One problem for the whole frame, and nothing of the body in it."""
    async with world.up():
        post = world.leader.post
        assert code(await post("/v1/reports", content=b"canary-7f3a", headers=HEADERS)) == "malformed"
        assert code(await post("/v1/reports", content=b"", headers=HEADERS)) == "malformed"
        assert code(await post("/v1/reports", content=b"HSR\x01\0\1", headers=HEADERS)) == "malformed"
        assert code(await post("/v1/reports", content=bytes(70_000), headers=HEADERS)) == "too-large"
        assert code(await post("/v1/reports", content=b"x", headers={"content-type": "text/plain"})) == (
            "unsupported-media-type"
        )

        async def endless():
            for _ in range(80):
                yield bytes(1_024)

        assert code(await post("/v1/reports", content=endless(), headers=HEADERS)) == "too-large"
        answer = await post("/v1/enrolments", json={"enrolments": [{"canary-7f3a": 1}]})
        assert code(answer) == "malformed"
        assert "canary" not in answer.text


@in_world()
async def test_the_guards_answer_before_the_application(world):
    """Another host, a foreign origin and an unknown path each get their problem."""
    async with world.up():
        assert code(await world.leader.get("/v1/work", headers={"host": "evil.test"})) == "wrong-host"
        hostile = await world.leader.post("/v1/enrolments", json={}, headers={"origin": "https://evil.test"})
        assert code(hostile) == "wrong-origin"
        assert code(await world.leader.get("/v1/nothing")) == "not-found"
        assert code(await world.leader.get("/v1/models/" + "0" * 64)) == "not-found"


async def _enrol(world, *enrolments):
    response = await world.leader.post("/v1/enrolments", json={"enrolments": [item.document() for item in enrolments]})
    assert response.status_code == 200, response.text
    return [item["device_id"] or item["problem"]["type"].rsplit(":", 1)[-1] for item in response.json()["results"]]


@in_world()
async def test_enrolment_needs_a_key_a_token_and_the_right_time(world):
    """Each of many in one request has its own outcome."""
    async with world.up():
        leader, now_ms = world.leader_key.verify_key, world.clock.now_ms()
        token, expired = await world.token("enrol"), await world.token("enrol", seconds=-1)
        keys = [SigningKey.generate() for _ in range(5)]
        nonces = [os.urandom(16) for _ in range(5)]
        good = make_enrolment(keys[0], leader, token, nonces[0], now_ms)
        outcomes = await _enrol(
            world,
            good,
            make_enrolment(keys[1], leader, "made up", nonces[1], now_ms),
            make_enrolment(keys[2], leader, expired, nonces[2], now_ms),
            make_enrolment(keys[3], leader, token, nonces[3], now_ms - 3_600_000),
            make_enrolment(keys[4], world.helper_key.verify_key, token, nonces[4], now_ms),
            make_enrolment(keys[4], leader, await world.token("analyst"), nonces[4], now_ms),
            make_enrolment(keys[4], leader, token, nonces[0], now_ms),
        )
        assert outcomes[1:] == [
            "unauthenticated",
            "unauthenticated",
            "stale",
            "bad-signature",
            "forbidden",
            "replayed",
        ]
        assert await _enrol(world, good) == outcomes[:1]


@in_world()
async def test_an_enrolment_token_is_used_up(world):
    """A cap of two admits two keys; the same key again costs nothing."""
    async with world.up():
        token, leader = await world.token("enrol", uses=2), world.leader_key.verify_key
        keys = [SigningKey.generate() for _ in range(3)]

        def enrolment(key):
            return make_enrolment(key, leader, token, os.urandom(16), world.clock.now_ms())

        first = await _enrol(world, enrolment(keys[0]))
        assert await _enrol(world, enrolment(keys[0])) == first
        outcomes = await _enrol(world, enrolment(keys[1]), enrolment(keys[2]))
        assert outcomes[1] == "forbidden"
        assert len(outcomes[0]) == 32


@in_world()
async def test_a_request_holds_at_most_256_enrolments(world):
    """One more is malformed as a whole."""
    async with world.up():
        key, leader = SigningKey.generate(), world.leader_key.verify_key
        item = make_enrolment(key, leader, "t", os.urandom(16), world.clock.now_ms()).document()
        answer = await world.leader.post("/v1/enrolments", json={"enrolments": [item] * (BATCH_MAXIMUM + 1)})
        assert code(answer) == "malformed"


@in_world()
async def test_receipts_are_countersigned_once_and_refused_with_a_reason(world):
    """A retry gets the same bytes; an old epoch, a forged and an unknown device's receipt are refused."""
    async with world.helper_up():
        async with world.leader_up():
            (device, other) = await world.devices(2, ())
            jws = world.grant(device, ("measurement",))
            first = (await world.receipts([(device, jws)]))[0]["countersignature"]
            assert (await world.receipts([(device, jws)]))[0]["countersignature"] == first
            withdrawal = world.withdrawal(device, ("measurement",))
            both = await world.receipts(
                [(device, withdrawal), (device, jws), (other, jws), (world.lone_devices(1)[0], jws)]
            )
            assert both[0]["countersignature"]
            kinds = [item["problem"]["type"].rsplit(":", 1)[-1] for item in both[1:]]
            assert kinds == ["receipt-refused", "bad-signature", "unknown-device"]
            assert "epoch" in both[1]["problem"]["detail"]
        async with world.leader_up():
            assert await world.consenting("measurement") == 0
            assert (await world.receipts([(device, withdrawal)]))[0]["countersignature"]
