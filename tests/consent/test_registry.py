"""The registry of purposes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consent import LANGUAGES, PURPOSES, Registry, RegistryInvalid, registry_hash
from privacy.crypto import canonical_json, digest

PINNED = json.loads((Path(__file__).parent / "pinned_purposes.json").read_text(encoding="utf-8"))


def test_every_purpose_is_off_by_default_and_rests_on_consent():
    """Nothing is on before a person says so."""
    assert [(p.default, p.legal_basis) for p in PURPOSES] == [(False, "consent")] * 7


def test_every_purpose_speaks_every_language_differently():
    """English and German texts are both there, and neither is a copy of the other."""
    for purpose in PURPOSES:
        texts = [purpose.text(language) for language in LANGUAGES]
        assert len({t.explanation for t in texts}) == len(LANGUAGES)


def test_a_changed_text_without_a_new_version_is_noticed():
    """Whoever changes a purpose must decide whether to ask again: raise its version, then pin it here."""
    now = {p.id: {"version": p.version, "digest": digest("pin", canonical_json(p.document())).hex()} for p in PURPOSES}
    assert now == PINNED


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"retention_days": 31},
        {"leaves": "nothing"},
        {"signals": ("click",)},
    ],
)
def test_the_policy_hash_changes_with_anything_that_is_promised(change):
    """A seal made under one registry never passes for one made under another."""
    purposes = list(PURPOSES)
    purposes[1] = replace(purposes[1], **change)
    assert registry_hash(Registry(purposes)) != registry_hash()
    assert len(registry_hash()) == 32


def test_the_policy_hash_changes_with_a_word():
    """Texts are part of what is bound."""
    first, *rest = PURPOSES
    (en, text), de = first.texts
    changed = replace(first, texts=((en, replace(text, leaves=text.leaves + "!")), de))
    assert Registry([changed, *rest]).hash != PURPOSES.hash


@pytest.mark.parametrize(
    "broken",
    [
        lambda p: [p, p],
        lambda p: [replace(p, texts=p.texts[:1])],
        lambda p: [replace(p, version=0)],
        lambda p: [replace(p, signals=())],
        lambda p: [replace(p, texts=tuple((lang, replace(t, leaves="")) for lang, t in p.texts))],
    ],
)
def test_a_registry_that_contradicts_itself_is_refused(broken):
    """Twice the same id, a missing language or text, version zero, no signal."""
    with pytest.raises(RegistryInvalid):
        Registry(broken(next(iter(PURPOSES))))
