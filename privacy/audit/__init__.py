"""Empirical lower bounds on epsilon: the one-run audit and membership inference over many trials.

An audit attacks what was released and says how large epsilon must be, at least, for the attack to have done so well.
A bound above the claim refutes the claim (or the code); a bound below it proves nothing.
"""

from privacy.audit.errors import AuditError, AuditInvalid
from privacy.audit.membership import MembershipAudit, membership_audit, membership_lower_bound
from privacy.audit.one_run import OneRunAudit, guess_plan, one_run_audit, one_run_lower_bound, one_run_p_value

__all__ = [
    "AuditError",
    "AuditInvalid",
    "MembershipAudit",
    "OneRunAudit",
    "guess_plan",
    "membership_audit",
    "membership_lower_bound",
    "one_run_audit",
    "one_run_lower_bound",
    "one_run_p_value",
]
