"""Segments, rules and content modules, decided on the device from one bundle that is the same for everyone.

The leader uses ``publishable_bundle``; the agent uses ``prepare``, ``features_of`` and ``decide``. Numpy and CEL only.
"""

from models.personalisation.decisions import Decision, PreparedBundle, Reason, decide, prepare
from models.personalisation.errors import BundleInvalid, ExpressionInvalid, PersonalisationError, TemplateInvalid
from models.personalisation.features import (
    PersonFeatures,
    categories_of,
    features_of,
    features_of_profile,
    profile_facts,
)
from models.personalisation.publishing import publishable_bundle

__all__ = [
    "BundleInvalid",
    "Decision",
    "ExpressionInvalid",
    "PersonFeatures",
    "PersonalisationError",
    "PreparedBundle",
    "Reason",
    "TemplateInvalid",
    "categories_of",
    "decide",
    "features_of",
    "features_of_profile",
    "prepare",
    "profile_facts",
    "publishable_bundle",
]
