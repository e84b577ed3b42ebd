"""Several documents in one file: the parameter `pages` in each way to send it, and the shape of the answer."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from PIL import Image

from api.app import create_app
from hunyuanocr.backends.fake import FakeBackend as SampleBackend
from hunyuanocr.config import PipelineSettings, Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.jobs.worker import task_from_params
from hunyuanocr.types import PagesMode
from tests.support.app_client import AppClient


@pytest.fixture
async def sample() -> AsyncIterator[AppClient]:
    """A client of a server that reads every page as the same receipt."""
    settings = Settings(pipeline=PipelineSettings(cache_mb=0))
    app = create_app(settings, Pipeline(SampleBackend(), settings))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield await stack.enter_async_context(AppClient(app))


def two_pages() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 400), "white").save(out, "TIFF", save_all=True, append_images=[Image.new("RGB", (300, 400), "white")])
    return out.getvalue()


async def post(client: AppClient, form: bool, **parameters: str) -> dict[str, Any]:
    if form:
        response = await client.post("/ocr", files={"file": two_pages()}, data=parameters)
    else:
        response = await client.post("/ocr", json={"image": base64.b64encode(two_pages()).decode(), **parameters})
    answer: dict[str, Any] = response.json()
    return answer | {"status": response.status_code}


@pytest.mark.parametrize("form", [True, False])
async def test_pages_that_are_documents_of_their_own(sample: AppClient, form: bool) -> None:
    answer = await post(sample, form, fields="total_amount", pages="separate")
    assert [d["page"] for d in answer["documents"]] == [0, 1]
    assert [d["fields"] for d in answer["documents"]] == [{"total_amount": "9.50"}] * 2
    assert answer["documents"][1]["details"]["total_amount"]["page"] == 1
    assert answer["documents"][1]["box"]
    assert answer["fields"] == {"total_amount": "9.50"}
    assert answer["details"]["total_amount"]["document"] == 0
    assert "several_documents" in {w["code"] for w in answer["warnings"]}


async def test_one_document_has_no_list_of_documents(sample: AppClient) -> None:
    for mode in ({}, {"pages": "together"}, {"pages": ""}):
        answer = await post(sample, True, fields="total_amount", **mode)
        assert answer["status"] == 200
        assert "documents" not in answer
        assert "document" not in answer["details"]["total_amount"]


async def test_another_word_is_refused(sample: AppClient) -> None:
    assert (await post(sample, True, pages="each"))["status"] == 422


def test_a_job_keeps_the_parameter() -> None:
    assert task_from_params({"fields": ["date"], "pages": "separate"}).pages is PagesMode.SEPARATE
    assert task_from_params({"fields": ["date"]}).pages is PagesMode.AUTO
