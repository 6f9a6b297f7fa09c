"""The leader's last look before a bundle goes out: everything compiles, every field exists, every module is clean."""

from __future__ import annotations

from typing import Any

from models.events import build_profile
from models.personalisation.decisions import PreparedBundle, facts_of, prepare
from models.personalisation.errors import BundleInvalid
from models.personalisation.expressions import check_expression
from models.personalisation.features import PersonFeatures, categories_of, profile_facts
from models.personalisation.templates import publishable
from models.wire.bundle import Bundle


def publishable_bundle(bundle: Bundle) -> Bundle:
    """Return the bundle with its modules sanitised and everything in it checked. Run by the leader.

    Raises:
        PersonalisationError: the first part that must not be published, by its id.
    """
    for kind, ids in _ids(bundle).items():
        if len(set(ids)) != len(ids):
            raise BundleInvalid(f"expected each {kind} id once")
    clean = bundle.model_copy(update={"modules": tuple(publishable(module) for module in bundle.modules)})
    prepared = prepare(clean)
    facts = sample_facts(prepared)
    for _, expression in (*prepared.segments, *prepared.rules):
        check_expression(expression, facts)
    return clean


def sample_facts(prepared: PreparedBundle) -> dict[str, Any]:
    """Facts of nobody: every known name with an empty value, to find misspelt fields."""
    profile = profile_facts(build_profile((), 0), categories_of(prepared.bundle))
    return facts_of(prepared, PersonFeatures(profile=profile), None, None)


def _ids(bundle: Bundle) -> dict[str, list[str]]:
    return {
        "segment": [segment.segment_id for segment in bundle.segments],
        "module": [module.module_id for module in bundle.modules],
        "rule": [rule.rule_id for rule in bundle.rules],
    }
