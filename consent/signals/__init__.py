"""Signals about consent that come from outside the notice. None of them is ever a consent.

One module an adapter: ``gpc`` (the browser's Global Privacy Control), ``tcf`` (TC strings), ``gpp`` (GPP strings, with
``tcf_sections`` and ``us_sections``), ``us_privacy``. Each decodes strictly into a ``Reading``, which says whether its
own framework would still accept it; all that the policy gets of a reading is ``Signals``, which only take away.

Read in this order: ``facts``, ``reading``, ``errors``, ``gpc``, ``bits``, ``vendors``, ``tcf``, ``us_privacy``,
``us_sections``, ``tcf_sections``, ``gpp``.
"""

from consent.signals.errors import SignalError, SignalMalformed, SignalUnsupported
from consent.signals.facts import NO_SIGNALS, SUBJECTS, Signals, Subject
from consent.signals.gpc import (
    GpcSupport,
    parse_well_known_gpc,
    read_gpc,
    read_gpc_values,
    read_navigator,
    well_known_gpc,
)
from consent.signals.gpp import read_gpp
from consent.signals.reading import Reading
from consent.signals.tcf import read_tcf
from consent.signals.us_privacy import read_us_privacy

__all__ = [
    "NO_SIGNALS",
    "SUBJECTS",
    "GpcSupport",
    "Reading",
    "SignalError",
    "SignalMalformed",
    "SignalUnsupported",
    "Signals",
    "Subject",
    "parse_well_known_gpc",
    "read_gpc",
    "read_gpc_values",
    "read_gpp",
    "read_navigator",
    "read_tcf",
    "read_us_privacy",
    "well_known_gpc",
]
