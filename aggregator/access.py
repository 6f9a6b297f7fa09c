"""Who may call what: one table for each service, which the gate enforces and ``docs/access.md`` shows.

A request for an address that is not in its service's table is answered as one for nothing: whoever adds a route says
here who may call it. What is public is so for one of two reasons: everybody is given the same bytes, or what is shown
was released.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["public", "device-signed", "leader-signed", "officer-signed", "token"]
SAME_BYTES: Final = "the same bytes for everybody"
RELEASED: Final = "released, or in the public log"
SCOPES: Final[dict[str, str]] = {
    "analyst": "proposes, runs and pauses studies",
    "operator": "publishes bundles, pauses studies, revokes devices",
    "officer": "reads the record of actions; decisions need the officer's own key and no token",
    "auditor": "reads the record of actions, and changes nothing",
    "enrol": "lets devices enrol, as often as its uses allow",
}
"""What a token can be for. One may carry several."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call one route.

    Attributes:
        method: GET answers HEAD too.
        path: as the routes write it; ``{name}`` stands for one part, ``{name:path}`` for the rest.
        kind: what opens it.
        scopes: any of these, for kind ``token``.
        why: for ``public``, the reason; else what exactly is signed or done.
        action: what the record of actions calls it; empty for what only reads.
        choice: a person's choice may travel here: it has limits of its own, so that nothing else holds it up.
    """

    method: str
    path: str
    kind: Kind
    why: str
    scopes: tuple[str, ...] = ()
    action: str = ""
    choice: bool = False


def _public(path: str, why: str) -> Access:
    return Access("GET", path, "public", why)


def _token(method: str, path: str, scopes: tuple[str, ...], why: str, action: str = "") -> Access:
    return Access(method, path, "token", why, scopes, action)


_COMMON: Final = (
    _public("/v1/identity", SAME_BYTES),
    _public("/v1/versions", SAME_BYTES),
    _public("/health", SAME_BYTES),
    _public("/ready", SAME_BYTES),
    _public("/metrics", f"{SAME_BYTES}, of no person, device or report; bears a token of its own where one is set"),
    _public("/docs", SAME_BYTES),
    _public("/openapi.json", SAME_BYTES),
    _token("GET", "/v1/actions", ("auditor", "officer"), "what was done with tokens"),
)
_STUDY: Final = "/v1/studies/{study_id}"
_RUNS: Final = ("analyst",)
_COURSE: Final = ("analyst", "operator")

LEADER: Final[tuple[Access, ...]] = (
    *_COMMON,
    _public("/.well-known/gpc.json", SAME_BYTES),
    _public("/v1/work", SAME_BYTES),
    _public("/v1/models/{model_hash}", SAME_BYTES),
    Access("POST", "/v1/enrolments", "device-signed", "each enrolment, by its key; it bears a token of scope enrol"),
    Access("POST", "/v1/receipts", "device-signed", "each receipt, by its device", choice=True),
    Access("POST", "/v1/reports", "device-signed", "each report, by its device"),
    Access("GET", "/v1/devices/me", "device-signed", "the request"),
    Access("POST", "/v1/devices/me/key", "device-signed", "the request by the old key; the change of key by both"),
    Access("POST", "/v1/devices/me/revocation", "device-signed", "the request", choice=True),
    _token("POST", "/v1/devices/{device_id}/revocation", ("operator",), "a lost gateway", "revoke-device"),
    _token("POST", "/v1/studies", _RUNS, "checked, logged, sent to the privacy office", "propose"),
    _token("POST", "/v1/studies/check", _RUNS, "what a proposal would come to; changes nothing"),
    _token("POST", f"{_STUDY}/withdraw", _RUNS, "a proposal that nobody decided on", "withdraw-proposal"),
    _token("POST", f"{_STUDY}/start", _RUNS, "an approved study", "start"),
    _token("POST", f"{_STUDY}/schedule", _RUNS, "an approved study", "schedule"),
    _token("POST", f"{_STUDY}/pause", _COURSE, "no new round is opened", "pause"),
    _token("POST", f"{_STUDY}/resume", _COURSE, "a paused study", "resume"),
    _token("POST", "/v1/bundles", ("operator",), "from finished studies", "publish"),
    _public("/v1/studies", RELEASED),
    _public(_STUDY, RELEASED),
    _public(f"{_STUDY}/results", RELEASED),
    _public("/v1/coverage", RELEASED),
    _public("/v1/budget", f"{RELEASED}: every raise stands in the log"),
    Access("POST", "/v1/raises", "officer-signed", "one document, by two officers' own keys"),
    _public("/v1/log/{part:path}", SAME_BYTES),
    _public("/tuf/{part:path}", SAME_BYTES),
)
HELPER: Final[tuple[Access, ...]] = (
    *_COMMON,
    _public("/", f"{RELEASED}: proposals, decisions and openings stand in the leader's log; it changes nothing"),
    _public("/static/{part:path}", SAME_BYTES),
    _public("/v1/budget", f"{RELEASED}: every raise stands in the leader's log"),
    _public("/v1/proposals", f"{RELEASED}: every study stands in the leader's log, and its cost follows from it"),
    _public("/v1/decisions/{study_hash}", f"{RELEASED}; a device asks here whether its study was stopped"),
    _public("/v1/log/{part:path}", SAME_BYTES),
    Access("POST", "/v1/proposals", "leader-signed", "the request"),
    Access("POST", "/v1/proposals/{study_hash}/withdrawal", "leader-signed", "the request"),
    Access("POST", "/v1/rounds", "leader-signed", "the request"),
    Access("POST", "/v1/rounds/{study_hash}/{number}/share", "leader-signed", "the request, before its body is read"),
    Access("POST", "/v1/decisions", "officer-signed", "the decision, by an officer's own key"),
    Access(
        "POST",
        "/v1/withdrawals",
        "device-signed",
        "nothing names the device: the token that the seal commits to, which the device alone has",
        choice=True,
    ),
)


class Table:
    """A service's table, for look-ups.

    Args:
        entries: ``LEADER`` or ``HELPER``.
    """

    def __init__(self, entries: Sequence[Access]) -> None:
        self._plain = {(entry.method, entry.path): entry for entry in entries if "{" not in entry.path}
        self._others = [(_pattern(entry.path), entry) for entry in entries if "{" in entry.path]

    def find(self, method: str, path: str) -> Access | None:
        """Who may call this address; None where nobody may. Exact addresses come before patterns."""
        method = "GET" if method == "HEAD" else method
        found = self._plain.get((method, path))
        if found is not None:
            return found
        return next(
            (entry for pattern, entry in self._others if entry.method == method and pattern.fullmatch(path)), None
        )


def subject_of(entry: Access, path: str) -> str:
    """What a request is about: the part of its path that the table gives a name; empty where there is none."""
    found = _pattern(entry.path).fullmatch(path)
    return next(iter(found.groupdict().values()), "") if found else ""


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[a-z_]+(?::path)?\})", path)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name, _, rest = part.strip("{}").partition(":")
    return f"(?P<{name}>{'.*' if rest else '[^/]+'})"
