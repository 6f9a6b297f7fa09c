"""Requests to a service from the command line: an answer as JSON, or its problem as the command's one line."""

from __future__ import annotations

import json
from typing import Any

from models.wire.problems import PROBLEM_TYPES, Problem, ProblemError, problem_code


def call(method: str, url: str, body: Any, bearer: str = "") -> Any:
    """The answer to a request, read from JSON.

    Raises:
        ProblemError: what the service answered, or that it cannot be reached.
    """
    import httpx

    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    try:
        response = httpx.request(method, url, json=body, headers=headers, timeout=60.0, trust_env=False)
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ProblemError("leader-unavailable" if "/studies" in url else "helper-unavailable", str(error)) from None
    if response.is_success:
        return response.json()
    try:
        problem = Problem.model_validate_json(response.content)
    except ValueError:
        raise ProblemError("internal", f"{url} answered {response.status_code}") from None
    code = problem_code(problem)
    assert code in PROBLEM_TYPES, "problem_code answers with a row of the table"
    raise ProblemError(code, problem.detail)


def show_document(document: Any) -> None:
    """Print an answer for people and machines alike."""
    print(json.dumps(document, indent=2))
