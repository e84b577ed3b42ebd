"""The OpenAPI document: valid, and complete enough that a generator makes a decent client of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import create_app
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import quick_settings
from tests.support.fake_backend import FakeBackend

KEYS = ("summary", "description", "tags", "operationId")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    settings = quick_settings()
    return create_app(settings, Pipeline(FakeBackend(), settings)).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def lint(document: dict[str, Any]) -> list[str]:
    """Return what is missing or not unique, as "operation: what"."""
    found, ids = [], set()
    for name, operation in operations(document):
        found += [f"{name}: {key} is missing" for key in KEYS if not operation.get(key)]
        found += [f"{name}: security is not stated"] * ("security" not in operation)
        found += [f"{name}: the operationId is not unique"] * (operation.get("operationId") in ids)
        ids.add(operation.get("operationId"))
        for status, response in operation["responses"].items():
            bodiless = status.startswith("4") and not response.get("content") and not response.get("$ref")
            found += [f"{name}: response {status} has no schema"] * bodiless
    odd = [name for name in document["components"]["schemas"] if not re.fullmatch(r"(?:[A-Z][a-z0-9]*)+", name)]
    return found + [f"component {name}: not a PascalCase name" for name in odd]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_the_document_is_complete(document: dict[str, Any]) -> None:
    assert lint(document) == []
    assert document["servers"]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"


def test_what_is_missing_is_found(document: dict[str, Any]) -> None:
    broken = {
        "paths": {"/a": {"get": {"operationId": "f", "responses": {"404": {}}}, "put": {"operationId": "f", "responses": {}}}},
        "components": {"schemas": {"Body_read": {}}},
    }
    found = lint(broken)
    assert "get /a: summary is missing" in found
    assert "get /a: security is not stated" in found
    assert "get /a: response 404 has no schema" in found
    assert "put /a: the operationId is not unique" in found
    assert "component Body_read: not a PascalCase name" in found
