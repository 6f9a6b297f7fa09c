"""The notice, as structured data: what a person is shown before choosing. Its HTML is made elsewhere, from this.

Everything comes from the registry and the wording of one language; its hash goes into the receipt, so that a receipt
proves what was read. Yes and no are offered with equal weight, and nothing is ticked in advance.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal, get_args

from consent.purposes import PURPOSES
from consent.registry import Language, Leaves, Purpose, Registry
from consent.wording import WORDING, Mode
from privacy.crypto import canonical_json, digest

ChoiceId = Literal["accept_all", "decline_all", "save_selection"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class NoticePurpose:
    """One line of the notice: a purpose beside its switch.

    Attributes:
        id: the purpose's id.
        version: the version that a yes would cover.
        title: a few words.
        explanation: what it is for.
        reads: what is read on the device.
        leaves: what leaves the device, in words.
        retention: how long it is kept, in words.
        selected: whether the switch is on before the person touched it: never.
    """

    id: str
    version: int
    title: str
    explanation: str
    reads: str
    leaves: str
    retention: str
    selected: Literal[False] = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One button.

    Attributes:
        id: what it does.
        label: what it says.
        weight: how prominently it is drawn; yes and no have the same, and so does the selection.
    """

    id: ChoiceId
    label: str
    weight: int = 1


@dataclass(frozen=True)
class Notice:
    """A notice for one site in one language.

    Attributes:
        language: of all its texts.
        site: whose notice it is.
        mode: where the agent runs.
        gpc: Global Privacy Control was on, and the notice says so.
        title: its heading.
        paragraphs: what to know before choosing, in order.
        purposes: the switches, in the registry's order.
        choices: the buttons.
        policy_hash: the registry's hash (32 bytes).
    """

    language: Language
    site: str
    mode: Mode
    gpc: bool
    title: str
    paragraphs: tuple[str, ...]
    purposes: tuple[NoticePurpose, ...]
    choices: tuple[Choice, ...]
    policy_hash: bytes

    def document(self) -> dict[str, Any]:
        """The notice as JSON, for a page to draw and for the hash."""
        return _plain({**asdict(self), "policy_hash": self.policy_hash.hex()})  # type: ignore[no-any-return]  # a dict stays one

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 over the canonical JSON of all that was shown (32 bytes)."""
        return digest("consent-notice", canonical_json(self.document()))


@lru_cache(maxsize=256)
def notice(
    site: str, language: Language, registry: Registry = PURPOSES, *, mode: Mode = "device", gpc: bool = False
) -> Notice:
    """Compose the notice that a person is shown. Run by the device, and by the leader to know its hash."""
    words = WORDING[language]
    paragraphs = (*words.introduction, dict(words.modes)[mode], *((words.gpc,) if gpc else ()))
    return Notice(
        language=language,
        site=site,
        mode=mode,
        gpc=gpc,
        title=words.title.format(site=site),
        paragraphs=(*paragraphs, words.withdrawal, words.rights),
        purposes=tuple(_line(purpose, language) for purpose in registry),
        choices=(
            Choice("accept_all", words.accept_all),
            Choice("decline_all", words.decline_all),
            Choice("save_selection", words.save_selection),
        ),
        policy_hash=registry.hash,
    )


@lru_cache(maxsize=256)
def notice_hashes(site: str, language: Language, registry: Registry = PURPOSES) -> frozenset[bytes]:
    """Hashes of every notice in force for a site and language: one per mode, with and without the signal."""
    return frozenset(notice(site, language, registry, mode=m, gpc=gpc).hash for m in MODES for gpc in (False, True))


@dataclass(frozen=True, slots=True)
class LeavingRow:
    """One row of the table of what leaves.

    Attributes:
        purpose: the purpose's id.
        title: its title.
        form: the form in which anything leaves.
        form_words: the form, in a phrase.
        words: what leaves, in full.
        retention_days: how long the device keeps what it derived.
    """

    purpose: str
    title: str
    form: Leaves
    form_words: str
    words: str
    retention_days: int


def what_leaves(language: Language, registry: Registry = PURPOSES) -> tuple[LeavingRow, ...]:
    """The table of what leaves the device, purpose by purpose, from the same registry as the notice."""
    forms = dict(WORDING[language].leaves)
    return tuple(
        LeavingRow(p.id, text.title, p.leaves, forms[p.leaves], text.leaves, p.retention_days)
        for p in registry
        for text in (p.text(language),)
    )


def _line(purpose: Purpose, language: Language) -> NoticePurpose:
    text = purpose.text(language)
    retention = WORDING[language].retention.format(days=purpose.retention_days)
    return NoticePurpose(purpose.id, purpose.version, text.title, text.explanation, text.reads, text.leaves, retention)


def _plain(value: Any) -> Any:
    """Tuples as lists, which is all that JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
