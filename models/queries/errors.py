"""Errors of ``models.queries``.

::

    QueryError
    ├── NothingToReport    this device has no data for the question; its caller sends a null report instead
    ├── ShapeMismatch      a vector, matrix or category that does not fit the question
    └── QuestionInvalid    a question whose own constants make no sense
"""

from __future__ import annotations


class QueryError(Exception):
    """A question could not be encoded or decoded; the message never carries a person's data."""


class NothingToReport(QueryError):
    """The device has no usable data for this question: the caller sends a null report, never a refusal."""


class ShapeMismatch(QueryError):
    """A vector has the wrong length, or holds a category or feature that the question does not know."""


class QuestionInvalid(QueryError):
    """A constant of the question is out of its range."""
