"""Errors of ``privacy.audit``.

::

    AuditError
    └── AuditInvalid    counts, scores or levels that no experiment can have produced (also a ValueError)
"""

from __future__ import annotations


class AuditError(Exception):
    """An audit cannot be computed; messages carry counts and shapes, never scores."""


class AuditInvalid(AuditError, ValueError):
    """The counts contradict each other, or a level is outside its range."""
