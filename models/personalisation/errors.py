"""Errors of ``models.personalisation``.

::

    PersonalisationError
    ├── ExpressionInvalid   a rule or segment that must not be published
    ├── TemplateInvalid     a module that must not be published
    └── BundleInvalid       parts of a bundle that do not fit each other
"""

from __future__ import annotations


class PersonalisationError(Exception):
    """Content that cannot be published or used; the message names the part, never a person's data."""


class ExpressionInvalid(PersonalisationError):
    """A CEL expression with a syntax error, an unknown name, a loop, or of another type than bool."""


class TemplateInvalid(PersonalisationError):
    """A Liquid template with a syntax error, an unknown name or filter, or markup that is not allowed."""


class BundleInvalid(PersonalisationError):
    """A rule without its module, a module without its slot, or a model whose numbers do not fit its shape."""
