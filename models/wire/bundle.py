"""The bundle: everything personalisation needs, the same bytes for everyone, so that fetching it says nothing.

It travels as one TUF target, padded to a multiple of ``PADDING_BYTES``; what is personal is decided on the device.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.wire.message import Base64, Hex32, Message, Milliseconds, Slug, Text
from models.wire.studies import Features, Name

BUNDLE_TARGET = "bundle.json"
TIMESTAMP_DAYS = 7
"""How long what says that a bundle is the newest holds: a leader signs no longer, an agent believes no longer."""
PADDING_BYTES = 16_384
Expression = Annotated[str, Field(min_length=1, max_length=1_000)]


class PersonaModel(Message):
    """Persona centroids with labels. ``centroids`` is k lists of p values in the named features."""

    features: Features
    centroids: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]
    study_id: Slug


class NetModel(Message):
    """A small net for numpy inference: flat little-endian float32 parameters."""

    task: Name
    features: Features
    hidden: int
    parameters: Base64
    study_id: Slug


class TransitionModel(Message):
    """Row-stochastic next-category matrix from a measurement."""

    categories: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]
    study_id: Slug


class Segment(Message):
    """A named CEL expression over ``profile``, ``persona``, ``intent`` and ``context``, evaluated on the device."""

    segment_id: Slug
    title: Text
    expression: Expression


class Module(Message):
    """A content module: Liquid source, sanitised when it was published."""

    module_id: Slug
    slot: Slug
    title: Text
    template: Annotated[str, Field(max_length=16_384)]


class Rule(Message):
    """Show a module in its slot when the CEL expression holds; the first rule of a slot that holds wins."""

    rule_id: Slug
    slot: Slug
    expression: Expression
    module_id: Slug


class Provenance(Message):
    """Which release a part came from, with what it cost a device (device level, zero-out)."""

    study_id: Slug
    study_hash: Hex32
    rounds: int
    epsilon_user: float
    epsilon_local: float | None
    delta: float


class Bundle(Message):
    """One published version."""

    version: Literal[1] = 1
    needs: tuple[Name, ...] = ()
    site: Name
    bundle_version: Annotated[int, Field(ge=1)]
    published_at_ms: Milliseconds
    personas: PersonaModel | None
    intent: NetModel | None
    transitions: TransitionModel | None
    segments: tuple[Segment, ...]
    modules: tuple[Module, ...]
    rules: tuple[Rule, ...]
    provenance: tuple[Provenance, ...]

    def padded(self) -> bytes:
        """Canonical JSON, padded with spaces to a multiple of ``PADDING_BYTES``."""
        data = self.canonical()
        return data + b" " * (-len(data) % PADDING_BYTES)


def parse_bundle(data: bytes) -> Bundle:
    """Parse padded bundle bytes.

    Raises:
        ValueError: not a bundle of this version.
    """
    return Bundle.model_validate_json(data)
