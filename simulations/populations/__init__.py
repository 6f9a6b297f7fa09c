"""Synthetic populations with planted truth; described in docs/populations.md."""

from simulations.populations.choices import PURPOSES, STUDY_ROUNDS, Choice, Withdrawal
from simulations.populations.population import PERIOD_START_MS, ShopDevice, ShopPopulation
from simulations.populations.shop import CATEGORIES, PERSONAS, SITE, Persona

__all__ = [
    "CATEGORIES",
    "PERIOD_START_MS",
    "PERSONAS",
    "PURPOSES",
    "SITE",
    "STUDY_ROUNDS",
    "Choice",
    "Persona",
    "ShopDevice",
    "ShopPopulation",
    "Withdrawal",
]
