"""Documents for people, regulators and the site's operator, all generated from the registry of purposes.

Pure functions: the registry, the operator's facts and a language in, text out. No clock: the date is among the facts.
``generate`` makes all of them; the command ``hearthside documents`` writes and checks them.

Read in this order: ``facts``, ``pages``, ``words``, ``purposes_page``, ``privacy_notice``, ``activities``, ``risks``,
``assessment``, ``label``, ``collection``.
"""

from consent.documents.collection import generate, no_longer_made
from consent.documents.facts import Facts, example_facts, read_facts
from consent.documents.purposes_page import purposes_page

__all__ = ["Facts", "example_facts", "generate", "no_longer_made", "purposes_page", "read_facts"]
