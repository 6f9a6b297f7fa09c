"""A receipt behind the leader's epoch, through the real leader: the answer says where it stands."""

from consent import INTENT, MEASUREMENT, POLICY_UPDATED, open_ledger, sign_receipt
from consent.choices import beyond
from consent.receipts import verify_receipt
from consent.signals.gpc import parse_well_known_gpc

from .world import in_world


@in_world()
async def test_a_restored_device_learns_the_epoch_and_its_withdrawal_is_countersigned(world):
    """The refusal names the epoch for machines; the same choice, signed beyond it, ends what the leader held."""
    async with world.up():
        (device,) = await world.devices(1)
        await world.receipts([(device, world.grant(device, (INTENT,)))])
        device.consent = open_ledger(device.consent.parties)
        behind = world.grant(device, (MEASUREMENT,))
        (refused,) = await world.receipts([(device, behind)])
        assert refused["countersignature"] is None
        assert refused["problem"]["detail"].startswith("epoch_not_after")
        assert refused["last_epoch"] == 2
        device.consent = open_ledger(device.consent.parties)
        withdrawal = verify_receipt(world.withdrawal(device, (MEASUREMENT,)), device.key.verify_key)
        assert withdrawal.kind == "refusal"  # it believes that nothing was granted: no leader hears of that
        again = beyond(verify_receipt(behind, device.key.verify_key), refused["last_epoch"])
        (taken,) = await world.receipts([(device, sign_receipt(device.key, again))])
        assert taken["countersignature"]
        assert taken["last_epoch"] is None
        held = await world.standing(device)
        assert [grant.purpose for grant in held.granted] == [MEASUREMENT]


@in_world()
async def test_the_leader_says_that_it_honours_global_privacy_control(world):
    """At the address that the specification names, for whoever asks."""
    async with world.up():
        response = await world.leader.get("/.well-known/gpc.json")
    assert response.headers["content-type"] == "application/json"
    support = parse_well_known_gpc(response.text)
    assert (support.honours, support.updated) == (True, POLICY_UPDATED)
