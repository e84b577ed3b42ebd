"""Add authentication to the OpenAPI document: security schemes, the scope of each route, and error responses."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api.auth.policy import ANONYMOUS, policy_for
from api.openapi import TAGS

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}
_ERROR_DESCRIPTIONS = {
    "401": "Credential missing, invalid, expired or revoked.",
    "403": "Scope missing, client address not allowed, or cross-origin request.",
    "503": "Key database unavailable. Retry after `Retry-After` seconds.",
}
_SECURITY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "API key."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "API key, or token (JWT) of the identity provider."},
    "basic": {"type": "http", "scheme": "basic", "description": "API key or token as the password, with any user name."},
}


def add_security_schemes(app: FastAPI) -> None:
    """Add authentication and the descriptions of the tags to the app's OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        if "securitySchemes" not in components:
            components["securitySchemes"] = _SECURITY_SCHEMES
            document.setdefault("tags", TAGS)
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    _add_security(method.upper(), path, operation)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_security(method: str, path: str, operation: dict[str, Any]) -> None:
    needs = policy_for(method, path).needs
    if needs == ANONYMOUS:
        operation["security"] = []
        return
    operation["security"] = [{scheme: [needs.value]} for scheme in _SECURITY_SCHEMES]
    if "4XX" in operation["responses"]:  # the route documents errors in OpenAI's format
        return
    for status, description in _ERROR_DESCRIPTIONS.items():
        operation["responses"].setdefault(status, {"description": description, "content": _ERROR})
