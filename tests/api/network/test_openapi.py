"""Every route of the OpenAPI document, asked with what its schema allows and with what it does not: no answer that the document
does not know, and never a 5xx but those that say when to come back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from pydantic import ValidationError
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi
from schemathesis.specs.openapi.schemas import OpenApiSchema

from api.app import create_app
from api.routes.admin import SwapModelRequest
from hunyuanocr.config import JobSettings, NetworkSettings, PipelineSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend

CHECKS = [
    not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
]

MODEL = "/v1/admin/model"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiSchema]:
    limits = Settings(
        data=tmp_path_factory.mktemp("data"),
        network=NetworkSettings(requests_per_minute_per_ip=0, auth_failures_per_minute=0),
        pipeline=PipelineSettings(cache_mb=0, deadline_s=20),
        jobs=JobSettings(queue=10**6),
    )
    with served(create_app(limits, Pipeline(FakeBackend(), limits))) as base:
        wait_ready(base)
        yield schemathesis.openapi.from_url(f"{base}/openapi.json")


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.parametrize("examples", [5, pytest.param(150, marks=pytest.mark.long)])
def test_every_response_matches_the_openapi_document(document: OpenApiSchema, examples: int) -> None:
    seen: Counter[int] = Counter()
    broken = []
    for found in document.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
            if mode is GenerationMode.POSITIVE and operation.path == MODEL:
                continue
            try:
                _ask(operation, mode, examples, seen)
            except Unsatisfiable:
                continue  # nothing wrong can be said to a route that takes nothing
            except (BaseExceptionGroup, AssertionError) as e:  # all of them are collected, not only the first
                broken.append(f"{operation.label} ({mode}): {e} {getattr(e, 'exceptions', '')}")
    assert not broken, "\n\n".join(broken)
    assert min(seen[200], seen[400], seen[404], seen[422]) > 5, seen


def loads_a_model(case: Any) -> bool:
    """Whether the operation succeeds although an additional header or query parameter is invalid."""
    if case.operation.path != MODEL:
        return False
    try:
        SwapModelRequest.model_validate(case.body)
    except ValidationError:
        return False
    return True


def _ask(operation: Any, mode: Any, examples: int, seen: Counter[int]) -> None:
    @seed(7)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode).filter(lambda case: not loads_a_model(case)))
    def ask(case: Any) -> None:
        answer = case.call(timeout=60)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()
