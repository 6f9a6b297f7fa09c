"""Content modules: Liquid templates with a small vocabulary, sanitised when they are published and again when rendered.

A template sees public constants only (the site and the module itself). Persona, scores and reasons never reach it: what
a module shows is seen by the page that shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import liquid
import nh3
from liquid.exceptions import LiquidError

from models.personalisation.errors import TemplateInvalid
from models.wire.bundle import Module

MAXIMUM_RENDERED_CHARACTERS: Final = 32_768
VARIABLES: Final = frozenset({"site", "module"})
FILTERS: Final = ("append", "capitalize", "default", "downcase", "escape", "prepend", "strip", "truncate", "upcase")
TAGS: Final = ("if", "unless", "case", "comment", "content", "illegal", "output")
_LAYOUT: Final = ("article", "aside", "br", "div", "figcaption", "figure", "h2", "h3", "h4", "p", "section", "span")
_PHRASES: Final = ("a", "b", "em", "i", "li", "ol", "small", "strong", "ul")
_PICTURES: Final = (
    "svg",
    "g",
    "path",
    "circle",
    "ellipse",
    "rect",
    "line",
    "polygon",
    "polyline",
    "text",
    "title",
    "desc",
)
_SHAPE: Final = (
    "viewBox",
    "d",
    "cx",
    "cy",
    "r",
    "rx",
    "ry",
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "width",
    "height",
    "points",
)
_PAINT: Final = (
    "transform",
    "fill",
    "stroke",
    "stroke-width",
    "stroke-linecap",
    "stroke-linejoin",
    "opacity",
    "focusable",
)
_ATTRIBUTES: Final[dict[str, set[str]]] = {
    "*": {"class", "aria-label", "aria-hidden", "role", "lang", "data-hs-click"},
    "a": {"href"},
    **{element: {*_SHAPE, *_PAINT} for element in _PICTURES},
}


class _Environment(liquid.Environment):
    loop_iteration_limit = 100
    output_stream_limit = MAXIMUM_RENDERED_CHARACTERS
    local_namespace_limit = 4_096
    context_depth_limit = 8

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.filters = {name: self.filters[name] for name in FILTERS}
        self.tags = {name: self.tags[name] for name in TAGS}


_ENVIRONMENT: Final = _Environment(autoescape=True, undefined=liquid.StrictUndefined)


def sanitise(html: str) -> str:
    """Keep only harmless markup: text, links to this site or https, inline pictures; no script, style or form.

    Cross-site loads would tell a third party what was shown, so no element that loads anything is allowed.
    """
    return nh3.clean(
        html,
        tags={*_LAYOUT, *_PHRASES, *_PICTURES},
        attributes=_ATTRIBUTES,
        url_schemes={"https"},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )


def publishable(module: Module) -> Module:
    """Check a module's template and return it with its markup sanitised. Run by the leader at publish.

    Raises:
        TemplateInvalid: Liquid that does not parse, an unknown name, tag or filter, or Liquid inside markup that the
            sanitiser would have to change.
    """
    template = _parse(module)
    unknown = {name for name in template.analyze().globals if name not in VARIABLES}
    if unknown:
        raise TemplateInvalid(
            f"module {module.module_id!r}: expected names among {sorted(VARIABLES)}, got {sorted(unknown)}"
        )
    cleaned = module.model_copy(update={"template": sanitise(module.template)})
    if render(cleaned, "example") != sanitise(_render(template, module, "example")):
        raise TemplateInvalid(
            f"module {module.module_id!r}: Liquid and markup are mixed in a way that cannot be sanitised"
        )
    return cleaned


def render(module: Module, site: str) -> str:
    """The module's markup, sanitised once more. Run by the agent, once for each module of a new bundle.

    Raises:
        TemplateInvalid: it does not parse or render.
    """
    return sanitise(_render(_parse(module), module, site))


def _parse(module: Module) -> liquid.BoundTemplate:
    try:
        return _ENVIRONMENT.from_string(module.template)
    except LiquidError as error:
        raise TemplateInvalid(f"module {module.module_id!r}: {str(error)[:200]}") from None


def _render(template: liquid.BoundTemplate, module: Module, site: str) -> str:
    names: Mapping[str, Any] = {
        "site": {"name": site},
        "module": {"id": module.module_id, "title": module.title, "slot": module.slot},
    }
    try:
        return template.render(**names)
    except LiquidError as error:
        raise TemplateInvalid(f"module {module.module_id!r}: {str(error)[:200]}") from None
