"""The fake backend: chosen by name only, the same answer for every page, and a warning that it is invented."""

from __future__ import annotations

import httpx
import pytest

from hunyuanocr.backends import create_backend
from hunyuanocr.backends.base import BackendName
from hunyuanocr.backends.fake import FakeBackend
from hunyuanocr.config import Settings
from tests.backends.contract import BackendContract, read, text_page
from tests.support.appliance import appliance
from tests.support.fake_backend import picture


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


class TestFake(BackendContract):
    pass


async def test_every_page_reads_as_the_same_receipt() -> None:
    reading = await read(FakeBackend(), [text_page(["A"]), text_page(["B"], index=1)])
    half = len(reading.lines) // 2
    assert [line.text for line in reading.lines[:half]] == [line.text for line in reading.lines[half:]]
    assert {line.page for line in reading.lines} == {0, 1}
    assert [notice.code for notice in reading.notices] == ["fake_backend"]


def test_auto_never_selects_it() -> None:
    assert create_backend(Settings(backend="fake"))[0].name is BackendName.FAKE
    assert create_backend(Settings(backend="auto"))[0].name is not BackendName.FAKE


def test_a_client_tries_the_api_with_it() -> None:
    with appliance("--backend", "fake", "--no-page") as running:
        running.until_ready()
        form = {"instruction": "extract total amount and date"}
        answer = httpx.post(f"{running.api}/ocr", data=form, files={"file": picture(size=(400, 300))}, timeout=60).json()
    assert answer["fields"] == {"total_amount": "9.50", "date": "2026-01-31"}
    assert all(detail["box"] and detail["grounded"] for detail in answer["details"].values())
    assert "fake_backend" in {warning["code"] for warning in answer["warnings"]}
    assert answer["backend"] == "fake"
