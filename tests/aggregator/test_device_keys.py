"""What a device asks in its own name: another key, what is held of it, and to be taken for gone."""

import asyncio
import dataclasses
import json
import os

import httpx
import pytest

from aggregator.clock import Clock
from aggregator.leader import devices
from aggregator.leader.app import create_app
from consent import decline, grant, make_rotation, notice, rotate, sign_receipt
from consent.choices import EPOCHS_AHEAD
from models.wire.devices import DEVICE_HEADER
from models.wire.enrolment import make_enrolment
from privacy.crypto import SigningKey, sign_request
from privacy.secure_sum import resign_report

from .world import LEADER_URL, code, in_world, vectors

ME, KEY, GONE = "/v1/devices/me", "/v1/devices/me/key", "/v1/devices/me/revocation"


async def ask(world, device, method, path, document=None, *, key=None, nonce=None, body=None, **changes):
    """Send a request that a device signs."""
    content = b"" if document is None else json.dumps(document).encode()
    at, nonce = world.clock.now_seconds() + changes.get("late", 0), nonce or os.urandom(16)
    audience = changes.get("audience", world.leader_key.verify_key.fingerprint)
    signed = sign_request(key or device.key, method, path, content, at, nonce, audience=audience)
    headers = {**signed, DEVICE_HEADER: device.name.hex(), "content-type": "application/json"}
    return await world.leader.request(method, path, content=content if body is None else body, headers=headers)


async def turn(world, device, new, **changes):
    """Replace a device's key; returns the leader's answer, and the statement."""
    rotation = make_rotation(device.key, new, world.leader_key.verify_key, world.clock.now_seconds())
    answer = await ask(world, device, "POST", KEY, {"rotation": rotation}, **changes)
    return answer, rotation


@in_world(leader_options={"close_early": False})
async def test_consent_and_open_reports_go_on_under_the_new_key(world):
    """The id stays, the grant counts, what the old key sends is refused, and after a restart all of it is still so."""
    async with world.helper_up():
        async with world.leader_up():
            devices, study = await world.devices(5), world.study()
            await world.run(study)
            _, opening = await world.work()
            device, new = devices[0], SigningKey.generate()
            stored, late = (world.report(d, study, opening, vectors(1)[0]) for d in (device, devices[1]))
            assert await world.send((device, stored)) == ["accepted"]
            answer, rotation = await turn(world, device, new)
            assert answer.status_code == 200
            assert answer.json()["device_id"] == device.name.hex()
            again = await ask(world, device, "POST", KEY, {"rotation": rotation})  # its answer was lost
            assert again.json()["device_key"] == new.verify_key.raw.hex()
            assert await world.consenting("measurement") == 5
            # The same report under the new key is the one that is there; under the old key it is told which to use.
            assert await world.send((device, resign_report(stored, new))) == ["accepted"]
            assert await world.send((device, stored)) == ["key-replaced"]
            other = world.report(device, study, opening, vectors(1)[0], signer=new)
            assert await world.send((device, other)) == ["report-conflict"]
            assert (await turn(world, devices[1], SigningKey.generate()))[0].status_code == 200
            assert await world.send((devices[1], late)) == ["key-replaced"]
        async with world.leader_up():
            device.consent, _ = rotate(device.consent, rotation, world.clock.now_seconds())
            device.key = new
            assert (await world.standing(device)).grant_of("measurement") is not None
            (result,) = await world.receipts([(device, world.grant(device, ("persona",)))])
            assert result["countersignature"], result
            held = (await ask(world, device, "GET", ME)).json()
            assert [grant["purpose"] for grant in held["granted"]] == ["measurement", "persona"]
            assert len(held["former_keys"]) == 1
            assert held["receipts"] == 3
            assert held["reports_in_open_rounds"] == 1


@in_world()
async def test_the_old_key_may_withdraw_and_nothing_else(world):
    """A withdrawal that was under way is recorded; a grant, an enrolment and a request of the old key are refused."""
    async with world.up():
        (device,) = await world.devices(1)
        old, new = device.key, SigningKey.generate()
        assert (await turn(world, device, new))[0].status_code == 200
        told = {"notice": notice("shop.example", "en"), "issued_at": world.clock.now_seconds()}
        yes = sign_receipt(old, grant(device.consent, ["persona"], **told))
        no = sign_receipt(old, decline(device.consent, ["measurement"], **told))
        first, second = await world.receipts([(device, yes), (device, no)])
        assert first["problem"]["type"].endswith("key-replaced")
        assert first["last_epoch"] == device.consent.epoch
        assert second["countersignature"]
        assert await world.consenting("measurement") == 0
        assert code(await ask(world, device, "GET", ME, key=old)) == "key-replaced"
        assert code(await ask(world, device, "POST", GONE, {}, key=old)) == "key-replaced"
        token, leader = await world.token("enrol"), world.leader_key.verify_key
        for key, expected in ((old, None), (new, device.name.hex())):
            item = make_enrolment(key, leader, token, os.urandom(16), world.clock.now_ms()).document()
            (result,) = (await world.leader.post("/v1/enrolments", json={"enrolments": [item]})).json()["results"]
            assert result["device_id"] == expected


@in_world()
async def test_a_thief_of_the_old_key_cannot_keep_the_owner_from_withdrawing(world):
    """The last epoch there is gets refused, the furthest that is taken does not matter: the owner's no counts."""
    async with world.up():
        (device,) = await world.devices(1)
        old, new, turned = device.key, SigningKey.generate(), device.consent.epoch
        answer, rotation = await turn(world, device, new)
        assert answer.status_code == 200
        told = {"notice": notice("shop.example", "en"), "issued_at": world.clock.now_seconds()}
        theirs = decline(dataclasses.replace(device.consent, behind=True), ["persona"], **told)
        assert theirs.granted == ("measurement",)
        taken = []
        for epoch in (2**53 - 1, turned + EPOCHS_AHEAD, turned + EPOCHS_AHEAD + 1):
            jws = sign_receipt(old, dataclasses.replace(theirs, epoch=epoch))
            taken += await world.receipts([(device, jws)])
        assert [result["countersignature"] is not None for result in taken] == [False, True, False]
        assert taken[0]["problem"]["detail"].startswith("epoch_too_far")
        assert await world.consenting("measurement") == 1, "the thief took back another purpose"
        device.consent, _ = rotate(device.consent, rotation, world.clock.now_seconds())
        device.key = new
        (result,) = await world.receipts([(device, world.withdrawal(device, ("measurement",)))])
        assert result["countersignature"], result
        assert await world.consenting("measurement") == 0


@in_world()
async def test_a_change_of_key_needs_both_keys_and_a_fresh_request(world):
    """Another device's statement, one for another leader, a key that is known, a replay, an altered body: refused."""
    async with world.up():
        device, other = await world.devices(2)
        stranger, leader = SigningKey.generate(), world.leader_key.verify_key
        rotation = lambda old, new, to: {"rotation": make_rotation(old, new, to, world.clock.now_seconds())}  # noqa: E731
        elsewhere = rotation(device.key, stranger, stranger.verify_key)
        assert code(await ask(world, device, "POST", KEY, elsewhere)) == "bad-signature"
        theirs = rotation(other.key, stranger, leader)
        assert code(await ask(world, device, "POST", KEY, theirs)) == "key-replaced"
        taken = rotation(device.key, other.key, leader)
        assert code(await ask(world, device, "POST", KEY, taken)) == "wrong-state"
        good, nonce = rotation(device.key, stranger, leader), os.urandom(16)
        assert code(await ask(world, device, "POST", KEY, good, key=other.key)) == "bad-signature"
        assert code(await ask(world, device, "POST", KEY, good, audience="another")) == "bad-signature"
        assert code(await ask(world, device, "POST", KEY, good, body=json.dumps(theirs).encode())) == "bad-signature"
        assert (await ask(world, device, "GET", ME, nonce=nonce)).status_code == 200
        assert code(await ask(world, device, "GET", ME, nonce=nonce)) == "replayed"
        assert code(await world.leader.get(ME)) == "unauthenticated"
        assert (await ask(world, device, "GET", ME)).json()["device_key"] == device.key.verify_key.raw.hex()


@in_world()
async def test_a_change_of_key_that_meets_a_revocation_revives_nothing(world):
    """Revoked after its request was looked at and before the change: refused, and it counts for nothing."""
    async with world.up():
        device, _ = await world.devices(2)
        desk = world.leader_app.state.desk

        async def lost_meanwhile(desk, _):
            await devices.revoke(desk, device.name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(devices, "_use_nonce", lost_meanwhile)
            assert code((await turn(world, device, SigningKey.generate()))[0]) == "device-revoked"
        assert await world.consenting("measurement") == 1
        async with desk.database.reading() as connection:
            found = (await desk.register.find(connection, [device.name]))[device.name]
        assert (found.key, found.revoked_at is None) == (device.key.verify_key, False)


@in_world()
async def test_a_request_of_another_time_is_stale_and_no_forgery(world):
    """Before and after, for a change of key as for any signed request: a device tells its clock from its key."""
    async with world.up():
        (device,) = await world.devices(1)
        for late in (-61, 61):
            assert code(await ask(world, device, "GET", ME, late=late)) == "stale"
            answer, _ = await turn(world, device, SigningKey.generate(), late=late)
            assert code(answer) == "stale"
        assert (await ask(world, device, "GET", ME, late=59)).status_code == 200


@in_world()
async def test_a_change_that_is_told_several_times_at_once_is_made_once(world):
    """Every telling is answered with the new key; the chain has one row of it."""
    async with world.up():
        (device,), new = await world.devices(1), SigningKey.generate()
        rotation = make_rotation(device.key, new, world.leader_key.verify_key, world.clock.now_seconds())
        tellings = (ask(world, device, "POST", KEY, {"rotation": rotation}) for _ in range(4))
        answers = await asyncio.gather(*tellings)
        assert [answer.status_code for answer in answers] == [200] * 4
        assert {answer.json()["device_key"] for answer in answers} == {new.verify_key.raw.hex()}
        held = (await ask(world, device, "GET", ME, key=new)).json()
        assert (held["receipts"], len(held["former_keys"])) == (2, 1)


@in_world(leader_options={"device_items_per_minute": 7})
async def test_nobody_uses_up_a_devices_rate_with_what_it_signed_before(world):
    """Old receipts, receipts and requests of an old key, one request again and again, going away: none of it counts."""
    async with world.up():
        world.leader_app.state.desk.rates._clock = Clock(monotonic=lambda: 0.0)  # nothing is gained while this runs
        (device,), new = await world.devices(1), SigningKey.generate()
        old = world.grant(device, ("persona",))
        (result,) = await world.receipts([(device, old)])
        assert result["countersignature"]
        assert (await ask(world, device, "GET", ME)).status_code == 200
        rotation = make_rotation(device.key, new, world.leader_key.verify_key, world.clock.now_seconds())
        assert (await ask(world, device, "POST", KEY, {"rotation": rotation})).status_code == 200  # 4 by now
        for _ in range(8):
            (result,) = await world.receipts([(device, old)])
            assert code(await ask(world, device, "GET", ME)) == "key-replaced"
            assert (await ask(world, device, "POST", KEY, {"rotation": rotation})).status_code == 200
        nonce = os.urandom(16)
        assert (await ask(world, device, "GET", ME, key=new, nonce=nonce)).status_code == 200
        for _ in range(8):
            assert code(await ask(world, device, "GET", ME, key=new, nonce=nonce)) == "replayed"
        for _ in range(2):
            assert (await ask(world, device, "GET", ME, key=new)).status_code == 200
        assert code(await ask(world, device, "GET", ME, key=new)) == "slow-down"
        assert (await ask(world, device, "POST", GONE, {}, key=new)).status_code == 200


@in_world(leader_options={"close_early": False})
async def test_a_revoked_device_is_out_of_open_rounds_and_stays_out(world):
    """By itself and by an operator: reports go, nothing is taken but a withdrawal, its key enrols no more."""
    async with world.up():
        devices, study = await world.devices(6), world.study()
        await world.run(study)
        _, opening = await world.work()
        pairs = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(6), strict=True)]
        assert await world.send(*pairs[:5]) == ["accepted"] * 5
        own, lost = devices[0], devices[5]
        answer = await ask(world, own, "POST", GONE, {"reason": "replaced"})
        assert answer.json()["dropped_reports"] == 1
        operator = await world.bearer("operator")
        path = f"/v1/devices/{lost.name.hex()}/revocation"
        analyst = await world.bearer("analyst")
        assert code(await world.leader.post(path, json={"reason": "lost"}, headers=analyst)) == "forbidden"
        assert (await world.leader.post(path, json={"reason": "lost"}, headers=operator)).json()["dropped_reports"] == 0
        assert await world.consenting("measurement") == 4
        assert await world.send(*pairs) == ["device-revoked", *["accepted"] * 4, "device-revoked"]
        (yes,) = await world.receipts([(lost, world.grant(lost, ("persona",)))])
        assert yes["problem"]["type"].endswith("device-revoked")
        (no,) = await world.receipts([(own, world.withdrawal(own, ("measurement",)))])
        assert no["countersignature"]
        held = (await ask(world, lost, "GET", ME)).json()
        assert held["revoked_at"] is not None
        assert code((await turn(world, own, SigningKey.generate()))[0]) == "device-revoked"
        token = await world.token("enrol")
        item = make_enrolment(own.key, world.leader_key.verify_key, token, os.urandom(16), world.clock.now_ms())
        answer = await world.leader.post("/v1/enrolments", json={"enrolments": [item.document()]})
        assert answer.json()["results"][0]["problem"]["type"].endswith("device-revoked")
        page = (await world.leader.get("/v1/actions", headers=await world.bearer("auditor"))).json()
        told = [row for row in page["actions"] if row["action"] == "revoke-device" and row["outcome"] == "done"]
        assert [row["label"] for row in told] == ["device", ""]
        assert all(lost.name.hex() not in json.dumps(row) for row in told), "the record has half of an id"


@in_world()
async def test_the_last_use_of_a_token_is_had_once_whichever_worker_is_asked(world):
    """Two workers of one store are asked at the same moment: as many devices as uses, never one more."""
    async with world.up():
        other = create_app(world.leader_settings(), helper_transport=world.line, clock=world.clock)
        transport = httpx.ASGITransport(other)
        async with (
            other.router.lifespan_context(other),
            httpx.AsyncClient(transport=transport, base_url=LEADER_URL) as beside,
        ):
            for _ in range(3):
                token, leader = await world.token("enrol", uses=1), world.leader_key.verify_key
                asked = [
                    make_enrolment(
                        SigningKey.generate(), leader, token, os.urandom(16), world.clock.now_ms()
                    ).document()
                    for _ in range(4)
                ]
                answers = await asyncio.gather(
                    *(
                        client.post("/v1/enrolments", json={"enrolments": [item]})
                        for client, item in zip((world.leader, beside) * 2, asked, strict=True)
                    )
                )
                results = [answer.json()["results"][0] for answer in answers]
                assert sum(result["device_id"] is not None for result in results) == 1
                refused = {result["problem"]["type"] for result in results if result["problem"]}
                assert refused == {"urn:hearthside:problem:forbidden"}
