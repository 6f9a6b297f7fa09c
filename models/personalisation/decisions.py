"""The decision: which module each slot shows this person, with persona, intent, segments and the reasons.

``prepare`` compiles a bundle once; ``decide`` is pure arithmetic on it and takes well under a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cel

from models.personalisation.errors import BundleInvalid
from models.personalisation.expressions import VARIABLES, Expression, compile_expression
from models.personalisation.features import PersonFeatures
from models.personalisation.scoring import PersonaScorer, Scorer, likely_next, persona_scorer, scorer
from models.personalisation.templates import render
from models.wire.bundle import Bundle, Rule


@dataclass(frozen=True)
class Reason:
    """Why a slot shows a module: the rule that held, the facts it read, and what would be shown without it."""

    slot: str
    module_id: str
    rule_id: str
    expression: str
    evidence: tuple[tuple[str, Any], ...]
    otherwise: str | None


@dataclass(frozen=True)
class Decision:
    """One decision. Only ``slots`` may reach a page; everything else is for the person on the agent's own pages.

    Attributes:
        slots: slot to module id; a slot without an entry keeps the page's default.
        persona: label of the nearest centroid, None without a profile or a model.
        persona_traits: the features in which that persona stands out.
        intent_score: probability that the running visit ends in a purchase, None without a model.
        segments: ids of the segments that hold, in the bundle's order.
        why: one reason for each entry of ``slots``.
    """

    slots: Mapping[str, str]
    persona: str | None
    persona_traits: tuple[str, ...]
    intent_score: float | None
    segments: tuple[str, ...]
    why: tuple[Reason, ...]


@dataclass(frozen=True)
class PreparedBundle:
    """A bundle with its expressions compiled, its modules rendered and its models unpacked."""

    bundle: Bundle
    segments: tuple[tuple[str, Expression], ...]
    rules: tuple[tuple[Rule, Expression], ...]
    rendered: Mapping[str, str]
    personas: PersonaScorer | None
    intent: Scorer | None


def prepare(bundle: Bundle) -> PreparedBundle:
    """Compile a bundle. Run by the agent once for each new bundle, and by the leader before it publishes one.

    Raises:
        PersonalisationError: some part is malformed or does not fit the others.
    """
    modules = {module.module_id: module for module in bundle.modules}
    for rule in bundle.rules:
        module = modules.get(rule.module_id)
        if module is None or module.slot != rule.slot:
            raise BundleInvalid(f"rule {rule.rule_id!r}: expected a module {rule.module_id!r} for slot {rule.slot!r}")
    without_segments = VARIABLES - {"segments"}
    return PreparedBundle(
        bundle=bundle,
        segments=tuple((s.segment_id, compile_expression(s.expression, without_segments)) for s in bundle.segments),
        rules=tuple((rule, compile_expression(rule.expression)) for rule in bundle.rules),
        rendered=MappingProxyType({name: render(module, bundle.site) for name, module in modules.items()}),
        personas=persona_scorer(bundle.personas) if bundle.personas is not None else None,
        intent=scorer(bundle.intent) if bundle.intent is not None else None,
    )


def decide(bundle: Bundle | PreparedBundle, features: PersonFeatures) -> Decision:
    """Decide for one person. Pure; run on the device.

    Args:
        bundle: verified; callers that decide more than once pass ``prepare(bundle)``.
        features: this person's, on this site.
    """
    prepared = prepare(bundle) if isinstance(bundle, Bundle) else bundle
    persona = _persona(prepared, features)
    intent = _intent(prepared, features)
    facts = facts_of(prepared, features, persona, intent)
    context = cel.Context(variables=facts)
    segments = tuple(name for name, expression in prepared.segments if expression.holds(context))
    facts["segments"] = list(segments)
    context.add_variable("segments", list(segments))
    reasons = _reasons(prepared, context, facts)
    labels, traits = (prepared.personas.labels, prepared.personas.traits) if prepared.personas else ((), None)
    return Decision(
        slots=MappingProxyType({reason.slot: reason.module_id for reason in reasons}),
        persona=labels[persona] if persona is not None else None,
        persona_traits=traits(persona) if traits is not None and persona is not None else (),
        intent_score=intent,
        segments=segments,
        why=reasons,
    )


def facts_of(
    prepared: PreparedBundle, features: PersonFeatures, persona: int | None, intent: float | None
) -> dict[str, Any]:
    """The variables of rules: every name is always present, so that an expression means the same for everyone."""
    category = str(features.context.get("category", ""))
    transitions = prepared.bundle.transitions
    return {
        "profile": dict(features.profile),
        "persona": {
            "label": prepared.personas.labels[persona] if prepared.personas and persona is not None else "",
            "index": persona if persona is not None else -1,
        },
        "intent": {"score": intent if intent is not None else 0.0, "known": intent is not None},
        "context": {
            "category": "",
            "path": "",
            "hour": 0,
            "weekend": False,
            **features.context,
            "next_category": likely_next(transitions, category) if transitions is not None else "",
        },
        "segments": [],
    }


def _persona(prepared: PreparedBundle, features: PersonFeatures) -> int | None:
    if prepared.personas is None or features.profile_vector is None:
        return None
    return prepared.personas.assign(features.profile_vector)


def _intent(prepared: PreparedBundle, features: PersonFeatures) -> float | None:
    model = prepared.bundle.intent
    if prepared.intent is None or model is None or features.session_vector is None:
        return None
    if features.session_vector.shape != (len(model.features.names),):
        return None
    return prepared.intent.score(features.session_vector)


def _reasons(prepared: PreparedBundle, context: cel.Context, facts: Mapping[str, Any]) -> tuple[Reason, ...]:
    """The first rule of each slot that holds wins; the next one that holds is what it displaced."""
    held: dict[str, list[tuple[Rule, Expression]]] = {}
    for rule, expression in prepared.rules:
        if len(held.get(rule.slot, ())) < 2 and expression.holds(context):  # noqa: PLR2004 - the winner and the next
            held.setdefault(rule.slot, []).append((rule, expression))
    return tuple(
        Reason(
            slot=slot,
            module_id=rules[0][0].module_id,
            rule_id=rules[0][0].rule_id,
            expression=rules[0][0].expression,
            evidence=rules[0][1].reads(facts),
            otherwise=rules[1][0].module_id if len(rules) > 1 else None,
        )
        for slot, rules in held.items()
    )
