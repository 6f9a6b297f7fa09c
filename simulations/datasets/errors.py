"""Errors of ``simulations.datasets``.

::

    DatasetError
    ├── DatasetMissing     the file is not on this machine; the message says how to get it
    └── DatasetMalformed   the file is there and is not what it should be
"""

from __future__ import annotations


class DatasetError(Exception):
    """A data set cannot be used; the message is one line and holds none of its rows."""


class DatasetMissing(DatasetError):
    """The file is not on this machine."""


class DatasetMalformed(DatasetError):
    """The file is not in the format of its catalogue entry."""
