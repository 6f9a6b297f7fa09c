"""What a decoded signal says: never a consent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from consent.signals.facts import Signals

Framework = Literal["tcf", "gpp", "us_privacy", "gpc"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A signal that decoded, and whether the specification in force still stands behind it.

    **Not a grant.** ``accepted`` is about the string (it is one that its own framework would still accept); it says
    nothing about a purpose of this house. No receipt, grant or ledger row can be made of a reading, the policy takes
    none, and a reading has no truth value: ``if reading:`` raises. All that the policy ever gets is ``signals``, whose
    every field can only take consent away.

    Attributes:
        framework: which decoder read it.
        accepted: the string is valid under the specification in force.
        reason: why, or why not, for people.
        decoded: its fields, by the names that the reference decoders use; plain JSON values.
        opts_out: it carries Global Privacy Control.
    """

    framework: Framework
    accepted: bool
    reason: str
    decoded: Mapping[str, Any]
    opts_out: bool = False

    @property
    def signals(self) -> Signals:
        """The facts for the policy: an opt-out, or nothing. Run by the device."""
        return Signals(gpc=self.opts_out)

    def document(self) -> dict[str, Any]:
        """As JSON, for people and scripts."""
        return {"accepted": self.accepted, "reason": self.reason, "decoded": dict(self.decoded)}

    def __bool__(self) -> NoReturn:
        raise TypeError("a reading of a signal is neither yes nor no: ask the policy, or read .accepted and .reason")


def verdict(objections: list[str], otherwise: str) -> tuple[bool, str]:
    """Accepted without objections; else every objection, one after the other."""
    return not objections, "; ".join(objections) or otherwise
