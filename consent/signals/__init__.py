"""Signals about consent that come from outside the notice. None of them is ever a consent.

One module an adapter: ``gpc`` now; strings of the IAB frameworks (TCF, GPP, us_privacy) join it as import adapters that
add facts to ``Signals``.
"""

from consent.signals.facts import NO_SIGNALS, Signals
from consent.signals.gpc import read_gpc, well_known_gpc

__all__ = ["NO_SIGNALS", "Signals", "read_gpc", "well_known_gpc"]
