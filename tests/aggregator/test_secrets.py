"""Keys of rounds and noise secrets at rest: ciphertext in the store, a wrapping key beside it, and then neither."""

import asyncio
import shutil
import stat

import pytest

from aggregator.errors import KeyGone
from aggregator.helper import expiry
from aggregator.storage.database import Database
from aggregator.storage.vault import NOISE_SECRET, ROUND_KEY, KeyVault

from .world import World, code, in_world, sealed, vectors

CONTEXT = bytes(32)


def _copy(world: World, to: str) -> None:
    """What a power cut leaves of the helper's folder."""
    shutil.copytree(world.folder / "helper", world.folder / to)


def _put_back(world: World, copy: str) -> None:
    shutil.rmtree(world.folder / "helper")
    shutil.copytree(world.folder / copy, world.folder / "helper")


# The vault


def test_what_is_wrapped_opens_for_its_round_and_purpose_alone(tmp_path):
    """Another context, another label, another wrapping key or one changed byte: it stays shut."""
    vault = KeyVault(tmp_path / "wrapping")
    name, other = vault.make(), vault.make()
    wrapped = vault.wrap(name, ROUND_KEY, CONTEXT, b"secret")
    assert b"secret" not in wrapped
    assert vault.unwrap(name, ROUND_KEY, CONTEXT, wrapped) == b"secret"
    changed = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for attempt in (
        (name, NOISE_SECRET, CONTEXT, wrapped),
        (name, ROUND_KEY, b"x" * 32, wrapped),
        (other, ROUND_KEY, CONTEXT, wrapped),
        (name, ROUND_KEY, CONTEXT, changed),
        (name, ROUND_KEY, CONTEXT, b""),
    ):
        with pytest.raises(KeyGone):
            vault.unwrap(*attempt)


def test_a_wrapping_key_is_private_and_is_overwritten_before_it_goes(tmp_path):
    """Folder 0700, file 0600. A second name of the file shows what its blocks hold once it is destroyed."""
    vault = KeyVault(tmp_path / "wrapping")
    name = vault.make()
    path = tmp_path / "wrapping" / f"{name.hex()}.key"
    assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    wrapped = vault.wrap(name, ROUND_KEY, CONTEXT, b"secret")
    (tmp_path / "same blocks").hardlink_to(path)
    vault.destroy(name)
    vault.destroy(name)
    assert vault.names() == set()
    assert (tmp_path / "same blocks").read_bytes() == bytes(32)
    with pytest.raises(KeyGone):
        vault.unwrap(name, ROUND_KEY, CONTEXT, wrapped)


# The helper


@in_world()
async def test_a_power_cut_before_the_key_is_destroyed(world):
    """The answer is stored and the power goes: the next start destroys the wrapping key, whatever the log still has."""
    study = world.study()
    async with world.helper_up() as app:
        seals = await sealed(world, study)
        key = await world.round_key(study)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app.state.office.vault, "destroy_soon", lambda _: _copy(world, "cut"))
            first = await world.share(study, seals)
    _put_back(world, "cut")
    assert len(world.wrapping()) == 1, "the power went before it was destroyed"
    (wrapping,) = world.wrapping()
    async with world.helper_up():
        assert (await world.share(study, seals)).content == first.content
        assert world.wrapping() == []
        files = world.files()
        assert key not in files
        assert wrapping not in files


@in_world()
async def test_a_key_that_no_round_names_goes_and_one_that_is_named_stays(world):
    """A crash between making a key and storing its round, and a round under way, at the same start."""
    study = world.study()
    async with world.helper_up() as app:
        seals = await sealed(world, study)
        app.state.office.vault.make()
        assert len(world.wrapping()) == 2
    async with world.helper_up():
        assert len(world.wrapping()) == 1
        assert (await world.share(study, seals)).status_code == 200


@in_world()
async def test_a_round_without_its_wrapping_key_is_over(world):
    """A store that came without the folder opens no seal, and says so."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
    shutil.rmtree(world.folder / "helper" / "wrapping")
    async with world.helper_up() as app:
        assert code(await world.share(study, seals)) == "stale"
        assert app.state.office.budget.state.length == 0


@in_world()
async def test_a_reader_neither_keeps_the_key_nor_holds_up_a_change(world):
    """A back-up reads the store while a round is answered: the key goes, changes go on, the log is emptied later."""
    study = world.study()
    async with world.helper_up() as app:
        office, seals = app.state.office, await sealed(world, study)
        key = await world.round_key(study)
        async with office.database.reading() as connection:
            await office.store.round(connection, study.study_hash(), 1)
            async with asyncio.timeout(8):  # a busy database makes a writer wait for ten seconds
                assert (await world.share(study, seals)).status_code == 200
            assert world.wrapping() == []
            assert key not in world.files()
            assert office.database.scrub_owed
        await expiry.destroy_expired(office)
        assert not office.database.scrub_owed
        log = world.folder / "helper" / "store.sqlite3-wal"
        assert log.stat().st_size == 0


@in_world()
async def test_a_scrub_is_finished_although_its_caller_went_away(world):
    """A request that is cancelled after its change leaves an empty log behind all the same."""
    async with world.helper_up() as app:
        database, begun = app.state.office.database, asyncio.Event()
        checkpoint = Database._checkpoint

        async def slow(self):
            begun.set()
            await asyncio.sleep(0.05)
            return await checkpoint(self)

        await world.approved(world.study())
        log = world.folder / "helper" / "store.sqlite3-wal"
        assert log.stat().st_size > 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "_checkpoint", slow)
            caller = asyncio.ensure_future(database.scrub())
            await begun.wait()
            caller.cancel()
            await asyncio.sleep(0.3)
        assert log.stat().st_size == 0


@in_world()
async def test_the_key_of_a_round_that_was_never_answered_is_destroyed(world):
    """A leader that keeps a batch back does not keep the round's key alive: after its grace no seal opens any more."""
    clock = world.turnable()
    study = world.study()
    async with world.helper_up() as app:
        seals = await sealed(world, study)
        office = app.state.office
        clock.seconds += study.window_seconds + office.settings.round_key_seconds - 10
        assert await expiry.destroy_expired(office) == 0
        assert len(world.wrapping()) == 1
        clock.seconds += 20
        assert await expiry.destroy_expired(office) == 1
        assert world.wrapping() == []
        assert code(await world.share(study, seals)) == "stale"
        assert office.budget.state.length == 0


@in_world()
async def test_a_stop_destroys_the_keys_of_its_study_alone(world):
    """An officer's stop leaves no key of the study's rounds, and the other study's round is answered."""
    study, other = world.study(), world.study("other")
    async with world.helper_up():
        seals, others = await sealed(world, study), await sealed(world, other)
        assert len(world.wrapping()) == 2
        assert (await world.decide(study, "stop")).status_code == 201
        assert len(world.wrapping()) == 1
        assert code(await world.share(study, seals)) == "study-stopped"
        assert (await world.share(other, others)).status_code == 200


# The leader


@in_world()
async def test_the_leaders_noise_secret_is_never_in_its_store(world):
    """Between charge and release it is ciphertext, with its wrapping key beside it; afterwards both are gone."""
    world.leader_secret = b"the noise secret of the leader!!"
    async with world.up():
        devices, study = await world.devices(5), world.study()
        await world.run(study)
        _, opening = await world.work()
        world.line.cut = True
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        for _ in range(500):
            await asyncio.sleep(0.02)
            if wrapping := world.wrapping("leader"):
                break
        assert len(wrapping) == 1
        assert world.leader_secret not in world.files("leader")
        world.line.cut = False
        await world.until(study, "finished")
        assert world.wrapping("leader") == []
        files = world.files("leader")
        assert world.leader_secret not in files
        assert wrapping[0] not in files


@in_world()
async def test_a_leader_that_lost_its_wrapping_key_gives_up_the_round(world):
    """Its noise cannot be drawn again: the round is abandoned, not released with other noise."""
    async with world.up():
        devices, study = await world.devices(5), world.study()
        await world.run(study)
        _, opening = await world.work()
        world.line.lose_answers_to = "/share"
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        for _ in range(500):
            await asyncio.sleep(0.02)
            if world.wrapping("leader"):
                break
        shutil.rmtree(world.folder / "leader" / "wrapping")
        (world.folder / "leader" / "wrapping").mkdir()
        world.line.lose_answers_to = ""
        account = await world.until(study, "failed")
        assert account["rounds"][0]["state"] == "abandoned"
        assert "wrapping key" in account["rounds"][0]["detail"]
