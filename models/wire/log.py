"""The transparency log as it travels: which kinds of entries there are, what each one's body is, proofs and tiles.

An entry is ``kind NUL body``. Its leaf is ``SHA-256(0x00 || entry)`` (``privacy.crypto.merkle``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from models.wire.message import CompactJws, Hex32, Message, Milliseconds

STAMP_SECONDS: Final = 600
"""A checkpoint states its time in steps of ten minutes: all workers of a leader sign the same bytes for everybody."""
FRESH_SECONDS: Final = 3_600
"""A checkpoint that is older than this says nothing about now. A leader may sign an old tree anew, so this bounds how
long a checkpoint serves, not how long a log is held back: see ``LAG_SECONDS`` and the helper's openings."""
LAG_SECONDS: Final = 300
"""For so long a worker of the leader may show a device a smaller tree than another worker has. Nothing is taken from
such a poll; after it the device says that the log has shrunk."""
SIZE_MAXIMUM: Final = 2**53


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of entry.

    Attributes:
        name: as it stands before the NUL.
        what: what an entry of this kind says.
        body: what its body is.
        signer: who signed the body itself, apart from the leader's signature over the log; empty where nobody did.
    """

    name: str
    what: str
    body: str
    signer: Literal["", "officer", "helper", "leader"] = ""


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("study", "a study was proposed", "the study, canonical JSON (`Study`)"),
        Kind("decision", "an officer approved, refused or stopped a study", "JWS (`Decision`)", "officer"),
        Kind("state", "a study took another step of its table", "JWS (`StateChange`)", "leader"),
        Kind("opening", "the helper opened a round", "JWS (`Opening`)", "helper"),
        Kind("release", "a round's noisy sum was released", "canonical JSON: study, round, batch, digest of the sum"),
        Kind("bundle", "a bundle was published", "version (8 bytes, big endian), SHA-256 of the padded bytes"),
        Kind("keys", "the keys in force changed", "canonical JSON (`KeysInForce`)"),
        Kind("raise", "two officers raised a budget", "canonical JSON of both signed documents", "officer"),
        Kind("action", "somebody did something with a token", "canonical JSON: role, action, time; no token, no name"),
        Kind("stopped", "a running study ended by a stop (in older logs)", "the study's digest (32 bytes)"),
    )
}
"""Every kind that may stand in a log; a log takes no other."""


def log_entry(kind: str, body: bytes) -> bytes:
    """The bytes of an entry.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
    return kind.encode("ascii") + b"\0" + body


def read_entry(entry: bytes) -> tuple[Kind, bytes]:
    """Kind and body of an entry.

    Raises:
        ValueError: it has no known kind.
    """
    name, separator, body = entry.partition(b"\0")
    kind = KINDS.get(name.decode("ascii", "replace"))
    if not separator or kind is None:
        raise ValueError(f"expected an entry of a known kind, got {name[:32]!r}")
    return kind, body


class KeysInForce(Message):
    """Whose signatures count from this entry on: the body of an entry of kind ``keys``.

    Attributes:
        leader: public key of the leader: it signs the log.
        helper: of the helper: it signs openings.
        officers: of the privacy officers.
        tuf_root: SHA-256 of the newest root metadata of the bundle repository; None before there is one.
        tuf_online: key that signs daily what the repository serves.
        tuf_publishing: key that signs bundles; None while nobody may.
        at_ms: when the leader noticed.
    """

    version: Literal[1] = 1
    leader: Hex32
    helper: Hex32
    officers: tuple[Hex32, ...]
    tuf_root: Hex32 | None
    tuf_online: Hex32 | None = None
    tuf_publishing: Hex32 | None = None
    at_ms: Milliseconds


class LogProof(Message):
    """Between the tree that the helper knows and the one of an opening's checkpoint: neither rewrites the other.

    Attributes:
        size: size of the tree that the helper knows; 0 where it knows none.
        path: consistency proof from the smaller of the two trees to the larger (RFC 9162, section 2.1.4).
    """

    size: Annotated[int, Field(ge=0, lt=SIZE_MAXIMUM)] = 0
    path: Annotated[tuple[Hex32, ...], Field(max_length=128)] = ()


class KnownLog(Message):
    """What the helper has seen of the leader's log: for the leader, and for everybody who compares.

    Attributes:
        size: entries of the largest tree that the helper knows; 0 before the first.
        root: its root, None before the first.
        checkpoint: the leader's signature over it; None where it was seen before checkpoints were kept.
        refused: signed checkpoints of the leader that contradict what the helper knew when they came.
    """

    version: Literal[1] = 1
    size: Annotated[int, Field(ge=0, lt=SIZE_MAXIMUM)]
    root: Hex32 | None
    checkpoint: CompactJws | None
    refused: tuple[CompactJws, ...]


def stamp(now_ms: int) -> int:
    """The time that a checkpoint states: now, rounded down (``STAMP_SECONDS``), Unix milliseconds."""
    return now_ms - now_ms % (STAMP_SECONDS * 1_000)
