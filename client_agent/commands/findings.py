"""What the consent commands find, as lines for a person and as JSON with stable names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from consent.instants import tell_instant

if TYPE_CHECKING:
    from client_agent.overview import Standing
    from client_agent.store import Contribution
    from consent import Verified


def standing_json(standing: Standing, *, gates: bool) -> dict[str, Any]:
    """One purpose of ``consent show``."""
    answer = standing.answer
    document: dict[str, Any] = {
        "granted": answer.allowed,
        "rule": answer.rule,
        "words": standing.words,
        "title": standing.title,
        "receipt": answer.receipt.hex() if answer.receipt else None,
        "granted_at": tell_instant(standing.granted_at),
        "expires_at": tell_instant(standing.expires_at),
        "confirmed_at": tell_instant(standing.confirmed_at),
    }
    if gates:
        document["gates"] = {gate.gate: {"allowed": gate.allowed, "rule": gate.rule} for gate in standing.gates}
    return document


def standing_lines(standing: Standing, *, gates: bool) -> Iterator[str]:
    """The same for a person."""
    answer = standing.answer
    yield f"{'yes' if answer.allowed else 'no':<4} {standing.purpose:<16} {standing.title}"
    yield f"{'':<5}{standing.words}"
    if standing.granted_at is not None and answer.receipt:
        confirmed = tell_instant(standing.confirmed_at)
        yield (
            f"{'':<5}receipt {answer.receipt.hex()[:16]}, granted {tell_instant(standing.granted_at)},"
            f" expires {tell_instant(standing.expires_at)},"
            f" {f'confirmed by the leader {confirmed}' if confirmed else 'not yet confirmed by the leader'}"
        )
    elif answer.rule == "declined" and answer.receipt:
        confirmed = tell_instant(standing.confirmed_at)
        told = f", confirmed by the leader {confirmed}" if confirmed else ""
        yield f"{'':<5}receipt {answer.receipt.hex()[:16]} says no{told}"
    if gates:
        yield "     " + ", ".join(
            f"{gate.gate}: {'yes' if gate.allowed else 'no'} ({gate.rule})" for gate in standing.gates
        )


def release_json(item: Contribution) -> dict[str, Any]:
    """One release that a person may be in, or that a report was kept out of."""
    from client_agent.store import OUTCOMES

    return {
        "study": item.study_id,
        "title": item.title,
        "purpose": item.purpose,
        "study_hash": item.study_hash.hex(),
        "round": item.round,
        "sent_at": tell_instant(None if item.sent_at_ms is None else item.sent_at_ms // 1_000),
        "outcome": item.outcome,
        "words": OUTCOMES[item.outcome],
        "may_be_in_release": item.may_be_in_release,
        "confirmed_by_leader": item.removal is not None,
        "confirmed_by_helper": item.confirmation is not None,
    }


def withdrawal_lines(found: dict[str, Any]) -> Iterator[str]:
    """What a withdrawal did, for a person."""
    yield f"withdrawn: {', '.join(found['withdrawn']) if found['withdrawn'] != 'all' else 'everything'}"
    yield f"deleted here: {found['deleted_reports']} report(s) that had not left, or whose round was open"
    if found["kind"] == "refusal":
        yield "nothing of it was granted: a refusal stays at home, and nobody else is told"
    elif found["confirmed_at"]:
        yield f"the leader confirmed it {found['confirmed_at']}"
    else:
        yield "the leader has not confirmed it yet; hearthside-agent run delivers it, and nothing leaves meanwhile"
    if found["waiting_for_helper"]:
        yield f"the helper has yet to hear of {found['waiting_for_helper']} report(s)"
    releases = [item for item in found["releases"] if item["may_be_in_release"]]
    if not releases:
        yield "no released sum holds anything of this person for these purposes"
        return
    yield f"{len(releases)} sum(s) may hold a report; once released it cannot be taken out, and is hidden by noise:"
    for item in releases:
        yield f"  {item['title']}, round {item['round']}, sent {item['sent_at']}: {item['words']}"


def verified_lines(found: Verified) -> Iterator[str]:
    """What a record shows, for a person. It is a stranger's text: nothing in it moves the terminal."""
    for line in _verified_lines(found):
        yield "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in line)


def _verified_lines(found: Verified) -> Iterator[str]:
    document = found.document()
    if found.device:
        yield f"site {found.site}, person {found.person}"
        yield f"device {found.device}, leader {found.leader}"
    for item in document["receipts"]:
        confirmed = f"confirmed {item['confirmed_at']}" if item["confirmed_at"] else "not confirmed"
        kept = "stays at home" if item["kind"] == "refusal" else confirmed
        yield f"row {item['row']:<4} {item['issued_at']}  {item['kind']:<10} {', '.join(item['purposes'])} ({kept})"
    yield from _restart_lines(document)
    if found.fault is not None:
        place = "" if found.fault.row is None else f"row {found.fault.row}: "
        yield f"does NOT verify: {place}{found.fault.reason.removeprefix(place)}"
        return
    standing = ", ".join(f"{item['purpose']} until {item['expires_at']}" for item in document["standing"])
    yield f"stands at the end: {standing or 'nothing'}"
    yield f"verifies: {found.rows} rows, signed by the device {document['ended_at']}"


def _restart_lines(document: dict[str, Any]) -> Iterator[str]:
    """What a ledger that began anew does not say itself, and what is missing from the record as a whole."""
    for item in document["restarts"]:
        yield f"row {item['row']:<4} {item['at']}  the ledger was restarted, everything off: {item['reason']}"
    if document["set_aside"]:
        proven = "these still verify by themselves as signed receipts:" if document["found"] else "no receipt verifies"
        yield f"set aside, and counting for nothing: {document['set_aside']}, of which {proven}"
    for item in document["found"]:
        confirmed = f"confirmed {item['confirmed_at']}" if item["confirmed_at"] else "not confirmed"
        purposes = ", ".join(item["purposes"])
        yield f"  epoch {item['epoch']}, {item['issued_at']}  {item['kind']:<10} {purposes} ({confirmed})"
    for first, last in document["unseen_epochs"]:
        yield f"epochs {first} to {last}: no receipt of theirs is in this record; these choices were lost, or left out"
