"""Errors of ``client_agent``; a problem that a service answered with is a ``models.wire.problems.ProblemError``.

::

    AgentError
    ├── StoreError
    │   ├── StoreUnreadable      wrong key, a damaged file, or not a store at all
    │   ├── StoreVersionUnknown  written by a newer agent
    │   └── ConsentOvertaken     a choice was made on what no longer stands; nothing was recorded
    ├── KeyringUnreadable        the keyring, or the file in its place, holds something else than keys
    ├── PinMismatch              a service is not the one whose fingerprint was given out of band
    ├── LogFault             the leader's transparency log cannot be believed at the moment; ``code`` says why
    ├── RoundRefused             an approval, opening, model or log proof does not check out; ``code`` says which
    ├── NotEnrolled              an action needs a participant that the leader knows
    ├── PersonRefused            nobody of this name is here, or they cannot be what was asked
    │   └── PinRefused           another PIN, or too soon after too many wrong ones
    ├── AnswerFailed             an answer could not be computed; the null goes out
    ├── BodyStopped              a request was ended in the middle, because a report in it was taken back
    └── ReportFixed              a fixed report cannot be replaced: its bytes are the only ones ever sent
"""

from __future__ import annotations

from typing import Any, Final, Literal

RefusalCode = Literal[
    "approval",
    "opening",
    "model",
    "inclusion",
    "checkpoint",
    "equivocation",
    "window",
    "expired",
    "stopped",
    "keys",
    "policy",
    "parameters",
    "cap",
    "purpose",
    "log",
]
"""Which check of a round failed."""
LogFaultCode = Literal["unsigned", "frozen", "shrunk", "unproven", "forked"]
"""No checkpoint of the leader's, one of another time, fewer entries than before, growth that was not proven, or what
contradicts what was seen before."""
_LOG_FAULTS: Final[dict[LogFaultCode, str]] = {
    "unsigned": "the leader shows no checkpoint of its log with its signature",
    "frozen": "the leader shows a checkpoint of another time",
    "shrunk": "the leader shows fewer entries than before",
    "unproven": "the leader does not show that its log only grew",
    "forked": "the histories that were shown contradict each other",
}


class AgentError(Exception):
    """Something on this device did not work; the message never carries a person's data."""


class StoreError(AgentError):
    """The encrypted store."""


class StoreUnreadable(StoreError):
    """The store does not open or does not read: wrong key, damaged, or no store."""


class StoreVersionUnknown(StoreError):
    """The store was written by a newer agent."""


class ConsentOvertaken(StoreError):
    """A choice was made on what no longer stands, because another process recorded one meanwhile. Ask again."""


class KeyringUnreadable(AgentError):
    """The keyring or the file in its place holds something unexpected."""


class PinMismatch(AgentError):
    """A service presents another key than the one that was pinned."""


class LogFault(AgentError):
    """The leader's log cannot be believed at the moment: nothing is contributed.

    Attributes:
        code: why.
        reason: what was expected and what was got.
        proof: what shows a contradiction to others, where more is needed than the two statements.
    """

    def __init__(self, code: LogFaultCode, reason: str, proof: dict[str, Any] | None = None) -> None:
        super().__init__(f"{_LOG_FAULTS[code]}: {reason}")
        self.code: LogFaultCode = code
        self.reason = reason
        self.proof = proof


class RoundRefused(AgentError):
    """This device does not take part in a round that does not verify.

    Attributes:
        code: which check failed.
        reason: what was expected and what was got.
    """

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code: RefusalCode = code
        self.reason = reason


class NotEnrolled(AgentError):
    """There is no such participant, or the leader does not know it yet."""


class PersonRefused(AgentError):
    """Nobody of this name belongs to the household, the name is taken, or a child was asked to be enrolled."""


class PinRefused(PersonRefused):
    """The PIN is another one, or it was not looked at.

    Attributes:
        wait_seconds: how long until the next attempt is looked at; 0 for at once.
    """

    def __init__(self, reason: str, wait_seconds: int) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class AnswerFailed(AgentError):
    """A device's answer could not be computed; what failed is not told, for it may quote the data."""


class BodyStopped(AgentError):
    """A request was ended in the middle of its body: a report in it was taken back."""


class ReportFixed(AgentError):
    """A report's bytes are fixed; nothing replaces them."""
