"""The OpenAPI document, where what FastAPI writes by itself is not what the services answer."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from models.wire.problems import PROBLEM_MEDIA_TYPE

_PROBLEMS: Final = ("4XX", "5XX")
_JSON: Final = "application/json"
_VALIDATION: Final = ("HTTPValidationError", "ValidationError")


def true_openapi(app: FastAPI) -> dict[str, Any]:
    """The application's document: errors are problems under their own media type, bad input is one of them."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        for operations in document["paths"].values():
            for operation in operations.values():
                _tell_problems(operation["responses"])
        for name in _VALIDATION:
            document.get("components", {}).get("schemas", {}).pop(name, None)
    return app.openapi_schema or {}


def _tell_problems(responses: dict[str, Any]) -> None:
    responses.pop("422", None)  # FastAPI's own form of bad input, which nobody is ever given
    for status in _PROBLEMS:
        content = responses.get(status, {}).get("content", {})
        if _JSON in content:
            content[PROBLEM_MEDIA_TYPE] = content.pop(_JSON)
