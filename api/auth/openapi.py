"""What the reference of all routes says about keys: which scope each wants, and how a refusal looks."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.auth.policy import ANONYMOUS, policy_for

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}
_REFUSALS = {
    "401": "No key where one is asked for, or one that is not good.",
    "403": "A key without the scope that this wants, or a browser that asks for another website.",
    "503": "The keys cannot be looked up; come back after `Retry-After` seconds.",
}
_WAYS = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token (JWT) of the identity provider."},
}


def add_security_schemes(app: FastAPI) -> None:
    """Add it to the app's OpenAPI document."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        parts = document.setdefault("components", {})
        if "securitySchemes" not in parts:
            parts["securitySchemes"] = _WAYS
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    _describe(method.upper(), path, operation)
        return document

    app.openapi = described  # type: ignore[method-assign]


def _describe(method: str, path: str, operation: dict[str, Any]) -> None:
    needs = policy_for(method, path).needs
    if needs == ANONYMOUS:
        return
    operation["security"] = [{way: [needs.value]} for way in _WAYS]
    if "4XX" in operation["responses"]:  # said by the route, in a form of its own
        return
    for status, words in _REFUSALS.items():
        operation["responses"].setdefault(status, {"description": words, "content": _ERROR})
