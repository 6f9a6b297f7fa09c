"""Limits that both ends keep, so that what is *released* in any 30 days is within one contract."""

from __future__ import annotations

import math
from typing import Final

from privacy.accounting import DAY_SECONDS

PROMISED_DAYS: Final = 30
"""The contract bounds everything that is released in any so many days: this is what screens say."""
LONGEST_WINDOW_SECONDS: Final = 86_400
"""The longest window of any study."""
CLOCK_SKEW_SECONDS: Final = 300
"""How far the helper's clock and a device's may lie apart."""
LONGEST_KEY_LIFE_SECONDS: Final = 43_200
"""The longest that a helper may keep a round's key after its window: until then it can answer."""
RELEASE_SECONDS: Final = 39_600
"""How long after the helper's answer an honest leader may still release the sum; later it gives the round up."""
LONGEST_WAY_SECONDS: Final = LONGEST_WINDOW_SECONDS + CLOCK_SKEW_SECONDS + LONGEST_KEY_LIFE_SECONDS + RELEASE_SECONDS
"""From the time that a device's charge is stamped with to the release that it paid for. The stamp is the time at which
the opening was signed; the window begins at most the clocks' skew later; after it the key lives on; then the leader."""
WAY_ALLOWANCE_SECONDS: Final = math.ceil(LONGEST_WAY_SECONDS / DAY_SECONDS) * DAY_SECONDS
"""The longest way in whole days: two."""
WINDOW_SECONDS: Final = PROMISED_DAYS * DAY_SECONDS + WAY_ALLOWANCE_SECONDS
"""How long a charge counts. Were it 30 days, a charge made just before its window could be released after it, together
with a whole contract that was charged anew: two contracts within less than 30 days of releases. With the longest way
added, charges whose releases lie within 30 days of each other always count together."""
