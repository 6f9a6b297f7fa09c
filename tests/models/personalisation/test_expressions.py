"""CEL rules: what is refused before it is published, and that evaluation never raises on a person's device."""

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.personalisation.errors import ExpressionInvalid
from models.personalisation.expressions import compile_expression

FACTS = {
    "profile": {"visits": 3, "dwell_share": {"sneakers": 0.6}},
    "persona": {"label": "sneaker lover"},
    "intent": {"score": 0.4, "known": True},
    "context": {"category": "home"},
    "segments": ["regular"],
}


def holds(source):
    return compile_expression(source).holds(cel.Context(variables=FACTS))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('persona.label == "sneaker lover"', True),
        ("profile.dwell_share.sneakers > 0.5 && intent.score < 0.5", True),
        ("profile.dwell_share['sneakers'] > 0.9", False),
        ("'regular' in segments", True),
        ("has(profile.nothing) && profile.nothing > 1", False),
        ("profile.nothing > 1", False),
        ("profile.visits", False),
        ("profile.visits > 'x'", False),
        ("1 / 0 == 1", False),
    ],
)
def test_an_expression_holds_only_if_it_is_true(source, expected):
    """A missing field, another type or an error in arithmetic means no."""
    assert holds(source) is expected


@pytest.mark.parametrize(
    "source",
    [
        "",
        "1 +",
        "secrets.key == 1",
        "true" + " && true" * 200,
        "(" * 200 + "true" + ")" * 200,
        "segments.exists(s, s == 'x')",
        "[1, 2].map(persona, [1, 2].map(persona, 1)) == []",
        "segments . all (persona, true)",
        "persona.label.matches('(a+)+$')",
        "open('x')",
        "true //\n.map(",
        "persona\x00 == 1",
    ],
)
def test_unknown_names_loops_and_oversized_expressions_are_refused(source):
    """Whatever could be slow, unknown or unreadable does not compile here."""
    with pytest.raises(ExpressionInvalid):
        compile_expression(source)


def test_a_segment_cannot_read_segments():
    """There is one pass: segments first, then rules."""
    with pytest.raises(ExpressionInvalid, match="segments"):
        compile_expression("'a' in segments", {"profile"})


def test_the_evidence_is_the_persons_own_value_of_each_name():
    """Names occur once, with nested names resolved and unknown ones as None."""
    reads = compile_expression("profile.dwell_share['sneakers'] > 0.5 && persona.label == 'x' && profile.gone > 1")
    assert dict(reads.reads(FACTS)) == {
        "profile.dwell_share['sneakers']": 0.6,
        "persona.label": "sneaker lover",
        "profile.gone": None,
    }


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="profilesa.>=<&|!()[]'\"0123456789 ", max_size=60))
def test_any_text_is_refused_or_evaluates_to_yes_or_no(source):
    """Nothing but ExpressionInvalid leaves the compiler, and nothing leaves the evaluation."""
    try:
        expression = compile_expression(source)
    except ExpressionInvalid:
        return
    assert expression.holds(cel.Context(variables=FACTS)) in {True, False}
