"""The helper as a witness of the leader's log: it follows the log's growth by proofs, and publishes what it saw.

Every opening states the largest tree that the helper knows, whatever the leader showed with the request, and every
device compares that with the tree that it was shown itself. A leader that shows two logs would have to keep the helper
and the devices apart for ever, and one that shows devices an old tree opens no round for them.

What contradicts the known tree is kept only where that is proven: a proof that leads nowhere says nothing of the log.
"""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.helper.office import Office, office_of
from aggregator.storage.database import Change
from models.wire.log import KnownLog, LogProof
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint
from privacy.crypto import HistoryContradicted, ProofInvalid, SignatureInvalid, verify_consistency, verify_document

_KNOWN, _KNOWN_SIGNED, _REFUSED = "checkpoint", "checkpoint-signed", "checkpoints-refused"
_REFUSED_SAME_SIZE = "checkpoints-refused-same-size"
"""Two logs of one size need no proof: they have a place of their own, which nothing else fills."""
_EVIDENCE_MAXIMUM = 8
_NOTHING = KnownLog(size=0, root=None, checkpoint=None, refused=())


def read_checkpoint(office: Office, jws: str) -> Checkpoint:
    """A checkpoint that the leader signed.

    Raises:
        ProblemError: ``bad-signature``, or ``malformed``.
    """
    try:
        return Checkpoint.model_validate(verify_document(jws, CHECKPOINT_TYPE, (office.leader_key,)))
    except SignatureInvalid as error:
        raise ProblemError("bad-signature", str(error)) from error
    except ValidationError:
        raise ProblemError("malformed", "expected a checkpoint in the signed document") from None


async def known_log(office: Office, connection: AsyncConnection) -> KnownLog:
    """What the helper has seen of the leader's log."""
    facts = office.store.ledger
    stored, signed = await facts.fact(connection, _KNOWN), await facts.fact(connection, _KNOWN_SIGNED)
    if stored is None:
        return _NOTHING
    size, root = json.loads(stored)
    refused = [jws for name in (_REFUSED, _REFUSED_SAME_SIZE) for jws in await _kept(office, connection, name)]
    return KnownLog(size=size, root=root, checkpoint=signed.decode() if signed else None, refused=tuple(refused))


async def follow(office: Office, change: Change, jws: str, checkpoint: Checkpoint, proof: LogProof) -> Checkpoint:
    """Go on to the leader's newest tree, if it is shown to continue the one that is known.

    An older tree is no fault where it is shown to be the beginning of the known one: two openings may overtake each
    other. The known one then stays.

    Returns:
        The largest tree that is known now: what an opening states.

    Raises:
        ProblemError: ``log-unproven`` where the proof is for another known size, or leads nowhere: ask for what is
            known and prove again; ``log-forked`` where it is proven that neither tree continues the other.
    """
    known = await known_log(office, change.connection)
    if known.root is not None:
        _require_same_log(known.size, bytes.fromhex(known.root), checkpoint, proof)
        if checkpoint.size < known.size:
            return _stated(office, known, checkpoint.at_ms)
    stated = json.dumps([checkpoint.size, checkpoint.root]).encode()
    await office.store.ledger.set_fact(change.connection, _KNOWN, stated)
    await office.store.ledger.set_fact(change.connection, _KNOWN_SIGNED, jws.encode())
    return checkpoint


async def keep_evidence(office: Office, jws: str) -> None:
    """Keep, and publish, a checkpoint that contradicts what was known: two signatures of the leader, two histories."""

    async def act(change: Change) -> None:
        known = await known_log(office, change.connection)
        name = _REFUSED_SAME_SIZE if read_checkpoint(office, jws).size == known.size else _REFUSED
        kept = await _kept(office, change.connection, name)
        if jws in known.refused or len(kept) >= _EVIDENCE_MAXIMUM:
            return
        await office.store.ledger.set_fact(change.connection, name, json.dumps([*kept, jws]).encode())

    await office.database.change(act)
    office.log.error("log forked", meaning="the leader signed a log that does not continue the one it showed before")


def add_log_routes(router: APIRouter) -> None:
    """What the helper publishes of the log."""

    @router.get("/v1/log/checkpoint", tags=["log"])
    async def checkpoint(request: Request) -> KnownLog:
        """The newest tree of the leader's log that this helper has followed, and what contradicted it."""
        office = office_of(request)
        async with office.database.reading() as connection:
            return await known_log(office, connection)


async def _kept(office: Office, connection: AsyncConnection, name: str) -> list[str]:
    kept: list[str] = json.loads(await office.store.ledger.fact(connection, name) or b"[]")
    return kept


def _stated(office: Office, known: KnownLog, at_ms: int) -> Checkpoint:
    """The known tree, as signed; with another's time where it was seen before signed ones were kept."""
    if known.checkpoint is not None:
        return read_checkpoint(office, known.checkpoint)
    assert known.root is not None, "only what is known is stated"
    return Checkpoint(size=known.size, root=known.root, at_ms=at_ms)


def _require_same_log(size: int, root: bytes, shown: Checkpoint, proof: LogProof) -> None:
    shown_root = bytes.fromhex(shown.root)
    if shown.size == size:
        if shown_root != root:
            raise ProblemError("log-forked", f"two logs of {size} entries")
        return
    if shown.size == 0:  # the beginning of every log: it contradicts nothing, and continues nothing
        raise ProblemError("log-unproven", f"expected a log of at least {size} entries, got an empty one")
    if proof.size != size:
        raise ProblemError("log-unproven", f"expected a proof that leads from or to {size} entries, got {proof.size}")
    path = [bytes.fromhex(node) for node in proof.path]
    (old_size, old_root), (new_size, new_root) = sorted([(size, root), (shown.size, shown_root)])
    try:
        verify_consistency(old_size, old_root, new_size, new_root, path)
    except HistoryContradicted as error:
        raise ProblemError("log-forked", str(error)) from error
    except ProofInvalid as error:
        raise ProblemError("log-unproven", str(error)) from error
