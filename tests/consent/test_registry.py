"""The registry of purposes."""

import datetime as dt
import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from consent import LANGUAGES, POLICY_UPDATED, PURPOSES, Purpose, PurposeText, Registry, RegistryInvalid, registry_hash
from consent.registry import DPV, DPV_PERSONAL_DATA, DataCategory
from models.events import PROFILE_DAYS
from privacy.crypto import canonical_json, digest
from tests.consent import vocabulary

PIN_FILE = Path(__file__).parent / "pinned_purposes.json"
PINNED = json.loads(PIN_FILE.read_text(encoding="utf-8"))
POLICY_FILE = Path(__file__).parent / "pinned_policies.json"
POLICIES = json.loads(POLICY_FILE.read_text(encoding="utf-8"))
"""By the day on which it was last changed: the policy hash."""


def pins(purpose: Purpose) -> dict[str, str]:
    """What is pinned of one version: what it means, and how it says so."""
    return {
        part: digest("pin", canonical_json(value)).hex()
        for part, value in (("meaning", purpose.meaning()), ("wording", purpose.wording()))
    }


def drift(pinned: dict, registry: Registry) -> list[str]:
    """What is wrong between the pinned purposes and a registry, and what to do about it."""
    found = [f"{gone} is pinned and no longer declared" for gone in pinned if registry.find(gone) is None]
    for purpose in registry:
        versions, now = pinned.get(purpose.id, {}), pins(purpose)
        here, paste = str(purpose.version), json.dumps(now)
        if list(versions) != [str(n) for n in range(1, len(versions) + 1)] or purpose.version < len(versions):
            found.append(f"{purpose.id}: versions only go up, one by one, and stay pinned; {here} is not the newest")
        elif here not in versions:
            found.append(f'{purpose.id}: version {here} is not pinned; add "{here}": {paste} to {PIN_FILE.name}')
        elif versions[here]["meaning"] != now["meaning"]:
            found.append(
                f"{purpose.id}: its meaning changed under version {here}; raise it to {purpose.version + 1}, so that "
                f'everyone is asked again, and add "{purpose.version + 1}": {paste} to {PIN_FILE.name}'
            )
        elif versions[here]["wording"] != now["wording"]:
            found.append(
                f"{purpose.id}: its words changed under version {here}; if they promise anything else, raise the "
                f"version to {purpose.version + 1}; if they say the same better, pin {paste} for {here}"
            )
    return found


def policy_drift(pinned: dict[str, str], updated: dt.date, registry: Registry) -> list[str]:
    """What is wrong between the pinned dates of the policy and a registry with its date, and what to do about it."""
    found = [
        f"{day} is pinned, and the policy says {updated}: its date only moves on"
        for day in pinned
        if day > f"{updated}"
    ]
    if pinned.get(updated.isoformat()) != registry.hash.hex():
        found.append(
            f"the policy is another one than on {updated}: set POLICY_UPDATED to the day of the change, and add "
            f'"<day>": "{registry.hash.hex()}" to {POLICY_FILE.name}'
        )
    return found


def with_first(purpose: Purpose) -> Registry:
    """The registry with another first purpose."""
    return Registry([purpose, *list(PURPOSES)[1:]])


FIRST = next(iter(PURPOSES))
MASKED = list(PURPOSES)[1]


def reworded(purpose: Purpose, **changes: str) -> Purpose:
    """A purpose whose texts differ in every language."""
    return replace(purpose, texts=tuple((lang, replace(text, **changes)) for lang, text in purpose.texts))


def test_every_purpose_is_off_by_default_and_rests_on_consent():
    """Nothing is on before a person says so."""
    assert [(p.default, p.legal_basis) for p in PURPOSES] == [(False, "consent")] * 7


def test_every_purpose_speaks_every_language_differently():
    """English and German texts are both there, and neither is a copy of the other."""
    for purpose in PURPOSES:
        texts = [purpose.text(language) for language in LANGUAGES]
        for part in fields(PurposeText):
            assert len({getattr(text, part.name) for text in texts}) == len(LANGUAGES), (purpose.id, part.name)


def test_a_changed_text_without_a_new_version_is_noticed():
    """Whoever changes a purpose raises its version, or says that only the words changed, and pins it."""
    assert drift(PINNED, PURPOSES) == []


def test_a_changed_policy_moves_its_date():
    """The date that gpc.json carries is the day of the present texts; whoever changes one is told to move it."""
    assert policy_drift(POLICIES, POLICY_UPDATED, PURPOSES) == []
    changed = with_first(reworded(FIRST, title="Something else"))
    (fault,) = policy_drift(POLICIES, POLICY_UPDATED, changed)
    assert "set POLICY_UPDATED" in fault
    assert changed.hash.hex() in fault
    later, earlier = POLICY_UPDATED + dt.timedelta(1), POLICY_UPDATED - dt.timedelta(1)
    assert policy_drift({**POLICIES, later.isoformat(): changed.hash.hex()}, later, changed) == []
    assert "only moves on" in policy_drift(POLICIES, earlier, PURPOSES)[0]


def test_measurement_asks_again_since_it_counts_who_is_missing():
    """Its second version reads and counts which uses a person said yes to, and says so in both languages."""
    measurement = PURPOSES.find("measurement")
    assert measurement.version == 2
    assert PINNED["measurement"]["1"]["meaning"] != PINNED["measurement"]["2"]["meaning"]
    assert DPV_PERSONAL_DATA + "PrivacyPreference" in {category.iri for category in measurement.categories}
    for language, said in (("en", "said yes to"), ("de", "Ja gesagt")):
        assert said in measurement.text(language).reads


@pytest.mark.parametrize(
    "change",
    [
        {"signals": ("click",)},
        {"retention_days": 31},
        {"categories": MASKED.categories[:1]},
        {"vocabulary": DPV + "Marketing"},
    ],
)
def test_a_change_of_meaning_under_the_same_version_says_what_to_do(change):
    """Whatever is promised changes only with a raised version."""
    (fault,) = drift(PINNED, with_first(replace(FIRST, **change)))
    assert f"raise it to {FIRST.version + 1}" in fault


def test_the_form_in_which_it_leaves_is_part_of_the_meaning():
    """A purpose that kept everything at home and now reports is another purpose version."""
    leaving = replace(FIRST, leaves=MASKED.leaves, recipients=MASKED.recipients, records=MASKED.records)
    (fault,) = drift(PINNED, with_first(leaving))
    assert "its meaning changed" in fault


@pytest.mark.parametrize("part", [part.name for part in fields(PurposeText)])
def test_a_change_of_any_word_is_noticed(part):
    """A sentence that says more than it did cannot slip in as a correction."""
    (fault,) = drift(PINNED, with_first(reworded(FIRST, **{part: "Other words."})))
    assert "its words changed" in fault


def test_a_version_is_pinned_once_and_never_taken_back():
    """A raised version wants its own pin; an older one cannot come back; a purpose cannot go silently."""
    (unpinned,) = drift(PINNED, with_first(replace(FIRST, version=FIRST.version + 1)))
    assert "is not pinned" in unpinned
    (old,) = drift(PINNED, Registry(replace(p, version=1) if p.version > 1 else p for p in PURPOSES))
    assert "versions only go up" in old
    assert drift(PINNED, Registry(list(PURPOSES)[1:])) == [f"{FIRST.id} is pinned and no longer declared"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"retention_days": 31},
        {"signals": ("click",)},
        {"categories": MASKED.categories[:1]},
        {"vocabulary": DPV + "Marketing"},
    ],
)
def test_the_policy_hash_changes_with_anything_that_is_promised(change):
    """A seal made under one registry never passes for one made under another."""
    purposes = list(PURPOSES)
    purposes[1] = replace(purposes[1], **change)
    assert registry_hash(Registry(purposes)) != registry_hash()
    assert len(registry_hash()) == 32


@pytest.mark.parametrize("part", [part.name for part in fields(PurposeText)])
def test_the_policy_hash_changes_with_a_word(part):
    """Texts are part of what is bound."""
    first, *rest = PURPOSES
    (en, text), de = first.texts
    changed = replace(first, texts=((en, replace(text, **{part: getattr(text, part) + "!"})), de))
    assert Registry([changed, *rest]).hash != PURPOSES.hash


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (lambda p: [p, p], "each purpose once"),
        (lambda p: [replace(p, id="")], "an id"),
        (lambda p: [replace(p, texts=p.texts[:1])], "texts in"),
        (lambda p: [replace(p, version=0)], "a version"),
        (lambda p: [replace(p, retention_days=0)], "a retention"),
        (lambda p: [replace(p, signals=())], "a signal"),
        (lambda p: [replace(p, categories=())], "a category"),
        (lambda p: [replace(p, categories=(DataCategory("pd:Purchase", p.categories[0].words),))], "categories from"),
        (lambda p: [replace(p, categories=(DataCategory(DPV + "Data", (("en", "data"),)),))], "texts in"),
        (lambda p: [replace(p, categories=(DataCategory(DPV + "Data", (("en", " "), ("de", "D"))),))], "every text"),
        (lambda p: [replace(p, vocabulary="")], "a purpose's term"),
        (lambda p: [replace(p, vocabulary=DPV_PERSONAL_DATA + "Purchase")], "a purpose's term"),
        (lambda p: [replace(p, leaves="in clear")], "a form"),
        (lambda p: [replace(p, recipients=())], "the recipients"),
        (lambda p: [replace(p, recipients=(*p.recipients, "advertiser"))], "the recipients"),
        (lambda p: [replace(p, records=())], "the servers' records"),
        (lambda p: [replace(p, legal_basis="legitimate_interest")], "consent as the legal basis"),
        (lambda p: [replace(p, legal_references=p.legal_references[:1])], "the references"),
        (lambda p: [replace(p, automated_decision=True)], "no automated decision"),
        (lambda p: [replace(p, default=True)], "to be off"),
        (lambda p: [replace(p, default=0)], "to be off"),
        *((lambda p, part=part: [reworded(p, **{part.name: " "})], "every text") for part in fields(PurposeText)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_registry_that_contradicts_itself_is_refused(broken, expected):
    """Whatever a person must be told and is not there, a default that is on, another basis: each by name."""
    with pytest.raises(RegistryInvalid, match=f"expected {re.escape(expected)}"):
        Registry(broken(FIRST))


def test_every_term_exists_in_the_vocabulary():
    """Purposes and data are named by terms that the Data Privacy Vocabulary has, in the namespace that receipts use."""
    assert (DPV, DPV_PERSONAL_DATA) == (vocabulary.DPV, vocabulary.DPV_PERSONAL_DATA)
    assert {p.vocabulary for p in PURPOSES} == {DPV + term for term in vocabulary.PURPOSE_TERMS}
    used = {category.iri for p in PURPOSES for category in p.categories}
    assert {iri for iri in used if not vocabulary.exists(iri)} == set()
    assert len(used) == len(vocabulary.DATA_TERMS | vocabulary.EXTENDED_DATA_TERMS)


def test_the_stated_retention_is_what_the_agent_does():
    """The device deletes events after as many days as every purpose says."""
    assert {p.retention_days for p in PURPOSES} == {PROFILE_DAYS}
