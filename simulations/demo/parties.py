"""Who does what in the demo, each over the real API: the analyst proposes and starts, the officer decides."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import numpy as np
from numpy.typing import NDArray

from models.wire.problems import Problem, ProblemError, problem_code
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import SigningKey, sign_document


def check(response: httpx.Response) -> Any:
    """The body of a successful response.

    Raises:
        ProblemError: the service answered with a problem.
    """
    if response.is_success:
        return response.json()
    try:
        problem = Problem.model_validate_json(response.content)
    except ValueError:
        raise ProblemError("internal", f"{response.request.url} answered {response.status_code}") from None
    raise ProblemError(problem_code(problem), problem.detail)


@dataclass(frozen=True)
class Analyst:
    """Proposes studies at the leader and reads their results."""

    leader: httpx.Client
    token: str

    def propose(self, study: Study) -> None:
        """Hand in a study; the leader forwards it to the privacy office."""
        check(self.leader.post("/v1/studies", content=study.model_dump_json(), headers=self._headers()))

    def start(self, study_id: str) -> None:
        """Run an approved study."""
        check(self.leader.post(f"/v1/studies/{study_id}/start", headers=self._headers()))

    def status(self, study_id: str) -> dict[str, Any]:
        """State and rounds of a study."""
        return dict(check(self.leader.get(f"/v1/studies/{study_id}", headers=self._headers())))

    def results(self, study_id: str) -> dict[str, Any]:
        """What was released."""
        return dict(check(self.leader.get(f"/v1/studies/{study_id}/results", headers=self._headers())))

    def publish(self, request: dict[str, Any]) -> dict[str, Any]:
        """Publish a bundle (needs the operator's scope)."""
        return dict(check(self.leader.post("/v1/bundles", json=request, headers=self._headers())))

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}", "content-type": "application/json"}


@dataclass(frozen=True)
class Officer:
    """Decides at the helper, with a key of their own."""

    helper: httpx.Client
    key: SigningKey

    def decide(self, study: Study, decision: Literal["approve", "refuse", "stop"], reason: str, now_ms: int) -> None:
        """Sign and hand in a decision over exactly these bytes of a study."""
        statement = Decision(
            study_id=study.study_id,
            study_hash=study.study_hash().hex(),
            decision=decision,
            reason=reason,
            decided_at_ms=now_ms,
        )
        check(
            self.helper.post(
                "/v1/decisions", json={"jws": sign_document(self.key, APPROVAL_TYPE, statement.document())}
            )
        )


def final_model(results: dict[str, Any]) -> NDArray[np.float32]:
    """The published model of a study's results: flat float32."""
    return np.frombuffer(base64.b64decode(results["model"]), dtype="<f4")
