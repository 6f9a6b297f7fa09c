"""Proposals and the officers' decisions on them. A decision is a signed document; the helper holds no officer's key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.helper.office import Office
from aggregator.storage.database import Change
from aggregator.storage.helper import Record
from aggregator.studies import StudyEvent, StudyState, step_study
from consent.purposes import registry_hash
from models.wire.features import FEATURES, missing
from models.wire.frames import seals_size
from models.wire.problems import ProblemError
from models.wire.studies import APPROVAL_TYPE, Decision, Study, purpose_of
from privacy.crypto import SignatureInvalid, verify_document
from privacy.secure_sum import SecureSumError
from privacy.secure_sum.reports import SEAL_BYTES

CLOCK_SKEW_MS = 60_000
"""How far an officer's clock may be ahead of the helper's."""
_EVENTS = {"approve": StudyEvent.APPROVE, "refuse": StudyEvent.REFUSE, "stop": StudyEvent.STOP}


async def propose(office: Office, study: Study) -> str:
    """Take a proposal from the leader; the same bytes again are the same proposal. Returns its state.

    Raises:
        ProblemError: ``invalid-study`` (not for these two servers, a sum that could wrap, a plan beyond its cap),
            ``study-exists``.
    """
    await asyncio.to_thread(_check, office, study)
    study_hash = study.study_hash()

    async def act(change: Change) -> str:
        known = await office.store.proposal_named(change.connection, study.study_id)
        if known is not None:
            if known.study_hash != study_hash:
                raise ProblemError("study-exists", f"another study is called {study.study_id!r}; choose a new name")
            return str(known.state)
        await office.store.add_proposal(
            change.connection,
            study_hash=study_hash,
            study_id=study.study_id,
            body=study.canonical(),
            state=StudyState.PROPOSED,
            proposed_at_ms=office.clock.now_ms(),
        )
        return str(StudyState.PROPOSED)

    return await office.database.change(act)


async def decide(office: Office, jws: str) -> Decision:
    """Record an officer's signed decision; the same document again changes nothing.

    Raises:
        ProblemError: ``bad-signature``, ``malformed``, ``unknown-study``, ``wrong-state``, or ``stale`` for an approval
            from before a restored back-up, or from the future.
    """
    decision = read_decision(office, jws)
    if not decision.reason.strip():
        raise ProblemError("malformed", "expected a reason in the decision, got none: say why, it is signed and shown")
    study_hash = bytes.fromhex(decision.study_hash)

    async def act(change: Change) -> None:
        proposal = await require_proposal(office, change.connection, study_hash)
        if proposal.study_id != decision.study_id:
            raise ProblemError(
                "malformed", f"the decision names {decision.study_id!r}, its digest {proposal.study_id!r}"
            )
        if decision.decision == "approve":
            await _check_time(office, change.connection, decision)
        if any(known.jws == jws for known in await office.store.decisions(change.connection, study_hash)):
            return
        state = step_study(StudyState(proposal.state), _EVENTS[decision.decision])
        await office.store.decide(
            change.connection,
            study_hash,
            state,
            decision=decision.decision,
            jws=jws,
            recorded_at_ms=office.clock.now_ms(),
        )
        await office.standing.advance(change, "decision", jws.encode())
        if state is StudyState.STOPPED:
            names = await office.store.forget_study(change.connection, study_hash)
            change.then(lambda: office.vault.destroy_soon(names))

    await office.database.change(act)
    if decision.decision == "stop":
        await office.database.scrub()
    office.log.info("decision", study=decision.study_id, decision=decision.decision)
    return decision


async def _check_time(office: Office, connection: AsyncConnection, decision: Decision) -> None:
    """An approval must be newer than the last restored back-up, which may have lost the stop that came after it."""
    from_ms, now_ms = await office.store.approvals_from_ms(connection), office.clock.now_ms()
    if decision.decided_at_ms < from_ms:
        raise ProblemError("stale", "the helper's store was restored; approvals count that are signed a minute after")
    if decision.decided_at_ms > now_ms + CLOCK_SKEW_MS:
        raise ProblemError("stale", "the approval is dated in the future; compare the officer's clock with this one")


async def withdraw(office: Office, study_hash: bytes) -> str:
    """The leader takes an undecided proposal back for its proposer; again changes nothing. Returns its state.

    Raises:
        ProblemError: ``unknown-study``, or ``wrong-state`` once an officer has decided: the decision stands.
    """

    async def act(change: Change) -> str:
        proposal = await require_proposal(office, change.connection, study_hash)
        if proposal.state == StudyState.WITHDRAWN:
            return str(proposal.state)
        state = step_study(StudyState(proposal.state), StudyEvent.WITHDRAW)
        await office.store.set_state(change.connection, study_hash, state)
        return str(state)

    return await office.database.change(act)


def read_decision(office: Office, jws: str) -> Decision:
    """Verify and read a decision.

    Raises:
        ProblemError: ``bad-signature`` or ``malformed``.
    """
    try:
        return Decision.model_validate(verify_document(jws, APPROVAL_TYPE, office.officers))
    except SignatureInvalid as error:
        raise ProblemError("bad-signature", str(error)) from error
    except ValidationError:
        raise ProblemError("malformed", "expected a decision in the signed document") from None


async def latest_decision(office: Office, study_hash: bytes) -> str:
    """The newest decision on a study, as signed.

    Raises:
        ProblemError: ``unknown-study`` or ``not-found`` where nothing is decided yet.
    """
    async with office.database.reading() as connection:
        await require_proposal(office, connection, study_hash)
        known = await office.store.decisions(connection, study_hash)
    if not known:
        raise ProblemError("not-found", "the privacy office has not decided on this study yet")
    return str(known[-1].jws)


async def require_proposal(office: Office, connection: AsyncConnection, study_hash: bytes) -> Record:
    """A proposal that must exist.

    Raises:
        ProblemError: ``unknown-study``.
    """
    proposal = await office.store.proposal(connection, study_hash)
    if proposal is None:
        raise ProblemError("unknown-study", f"no study with digest {study_hash.hex()[:16]} was proposed here")
    return proposal


async def require_running(office: Office, connection: AsyncConnection, study_hash: bytes) -> tuple[Study, str]:
    """A study that is approved, in force and not expired, with the approval's JWS; its signature is checked again.

    Raises:
        ProblemError: ``unknown-study``, ``not-approved``, ``study-stopped`` or ``stale``.
    """
    proposal = await require_proposal(office, connection, study_hash)
    known = await office.store.decisions(connection, study_hash)
    if not known or known[-1].decision == "refuse":
        raise ProblemError("not-approved", f"{proposal.study_id!r} is {proposal.state}")
    decision = read_decision(office, known[-1].jws)
    if decision.decision == "stop":
        raise ProblemError("study-stopped", f"{proposal.study_id!r} was stopped by the privacy office")
    if decision.study_hash != study_hash.hex():
        raise ProblemError("not-approved", "the stored decision is about other bytes")
    if decision.decided_at_ms < await office.store.approvals_from_ms(connection):
        raise ProblemError("not-approved", "the helper's store was restored since; an officer has to approve again")
    study = Study.model_validate_json(proposal.body)
    if study.expires_at_ms <= office.clock.now_ms():
        raise ProblemError("stale", f"{study.study_id!r} has expired; propose it again")
    if study.policy_hash != registry_hash().hex():
        raise ProblemError("stale", "the consent policy has changed since the study was written; propose it again")
    return study, str(known[-1].jws)


def _check(office: Office, study: Study) -> None:
    """What the leader checked too, for a leader that did not. Prices the plan: call in a thread."""
    lacking = missing(study.needs)
    if lacking:
        known = ", ".join(sorted(FEATURES))
        raise ProblemError("unsupported-version", f"expected needs known here ({known}), got {', '.join(lacking)}")
    faults = [*_foreign(office, study), *_beyond(office, study)]
    try:
        study.plan.parameters()
        cost = office.budget.plan_epsilon(study)
    except SecureSumError as error:
        faults.append(str(error))
    except ProblemError as error:
        faults.append(error.detail)
    else:
        if cost > study.epsilon_cap:
            faults.append(f"expected a plan within epsilon {study.epsilon_cap:g}, got {cost:.4g}")
    if faults:
        raise ProblemError("invalid-study", "; ".join(faults))


def _foreign(office: Office, study: Study) -> Iterator[str]:
    expectations = (
        ("leader_key", study.leader_key, office.leader_key.raw.hex()),
        ("helper_key", study.helper_key, office.key.verify_key.raw.hex()),
        ("policy_hash", study.policy_hash, registry_hash().hex()),
    )
    for name, got, expected in expectations:
        if got != expected:
            yield f"expected {name} {expected[:16]}..., got {got[:16]}..."
    purpose = purpose_of(study.query)
    if study.purpose != purpose:
        yield f"expected purpose {purpose!r} for this question, got {study.purpose!r}"


def _beyond(office: Office, study: Study) -> Iterator[str]:
    least, most = office.settings.minimum_cohort, study.plan.maximum_cohort
    if study.plan.minimum_cohort < least:
        yield f"expected a minimum cohort of at least {least}, this site's, got {study.plan.minimum_cohort}"
    cap = office.settings.study_epsilon_cap
    if cap is not None and study.epsilon_cap > cap:
        who = "this helper's, which two officers can raise"
        yield f"expected an epsilon_cap of at most {cap:g} ({who}), got {study.epsilon_cap:g}"
    # Devices pay when a round opens: a batch that could not be handed in must be found before any does.
    if seals_size(most, SEAL_BYTES) > office.settings.batch_limit_bytes:
        yield f"expected a maximum cohort whose seals fit into {office.settings.batch_limit_bytes} bytes, got {most}"
