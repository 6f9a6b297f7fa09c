"""Modules: hostile Liquid and markup do not survive publishing, and rendering sanitises once more."""

import pytest

from models.personalisation.errors import TemplateInvalid
from models.personalisation.templates import publishable, render
from models.wire.bundle import Module


def module(template, title="A title"):
    return Module(module_id="hero-x", slot="hero", title=title, template=template)


def shown(template, title="A title"):
    return render(publishable(module(template, title)), "shop.example")


def test_a_module_is_rendered_with_its_constants():
    """The site and the module are what a template knows."""
    html = shown("<h2>{{ module.title | upcase }}</h2>{% if site.name == 'shop.example' %}<p>Hi</p>{% endif %}")
    assert html == "<h2>A TITLE</h2><p>Hi</p>"


@pytest.mark.parametrize(
    ("template", "forbidden"),
    [
        ("<p>x</p><script>alert(1)</script>", "script"),
        ("<p onclick='alert(1)'>x</p>", "onclick"),
        ("<a href='javascript:alert(1)'>x</a>", "javascript"),
        ("<a href='http://plain.example'>x</a>", "plain.example"),
        ("<img src='https://spy.example/p.gif'>x", "spy"),
        ("<style>*{background:url(//spy.example)}</style>x", "spy"),
        ("<p style='background:url(//spy.example)'>x</p>", "spy"),
        ("<form action='/x'><input name=p></form>x", "input"),
        ("<iframe src='/x'></iframe>x", "iframe"),
        ("<svg><script>alert(1)</script><image href='https://spy.example'/></svg>x", "spy"),
        ("<svg><use href='https://spy.example#x'/></svg>x", "spy"),
    ],
)
def test_what_could_run_load_or_ask_is_removed(template, forbidden):
    """Scripts, handlers, styles, forms, frames and everything that loads from elsewhere are gone."""
    assert forbidden not in shown(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ persona }}",
        "{{ profile.visits }}",
        "{{ site.name | safe }}",
        "{{ site.secret }}",
        "{% for i in (1..1000000) %}x{% endfor %}",
        "{% include 'other' %}",
        "{% render 'other' %}",
        "{% assign a = 1 %}",
        "{{ 'a' | base64_decode }}",
        "{% if true %}x",
        "{% if 1 < 2 %}x{% endif %}",
    ],
)
def test_templates_that_reach_for_more_are_refused(template):
    """Unknown names, loops, includes, unlisted filters, syntax errors and Liquid that sanitising would change."""
    with pytest.raises(TemplateInvalid):
        publishable(module(template))


def test_a_hostile_title_is_text():
    """Constants are escaped where they are printed, also inside an attribute."""
    html = shown('<p aria-label="{{ module.title }}">{{ module.title }}</p>', '"><script>alert(1)</script>')
    assert "<script" not in html
    assert "onerror" not in shown("<p>{{ module.title }}</p>", "<img src=x onerror=alert(1)>").replace(
        "&lt;img src=x onerror", ""
    )


def test_a_published_template_is_a_fixed_point():
    """Sanitising twice changes nothing, so agents render what the leader checked."""
    once = publishable(module("<div class='a'><b>x</b><br></div>"))
    assert publishable(once) == once
