"""Attacks on our own private sum, run for ``hearthside audit``: what an adversary can show about a claimed epsilon.

Every attack runs the real exchange (masks, seals, signatures, both servers' noise) and is scored by ``privacy.audit``.
The adversary is the strongest that a claim covers: the leader, who knows its own noise and takes it off, so that the
helper's noise alone protects. Unit and neighbours are the claim's: one device; its report against its null (zero-out).

``simulations.attacks.training`` loads PyTorch and is imported apart.
"""

from simulations.attacks.canaries import audit_one_run
from simulations.attacks.membership import audit_membership
from simulations.attacks.verdicts import PowerMissing, Setting, Verdict

__all__ = ["PowerMissing", "Setting", "Verdict", "audit_membership", "audit_one_run"]
