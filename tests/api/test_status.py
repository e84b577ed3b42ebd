"""Health, readiness, version, models, and documents that need no internet."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from api.app import create_app
from hunyuanocr import __version__
from hunyuanocr.errors import MissingDependency
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from tests.api.conftest import open_client, quick_settings, served, wait_ready
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture

CHROMIUM = shutil.which("chromium")


async def test_ready_after_loading(client: AppClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
    r = await client.get("/ready")
    assert (r.status_code, r.json()["ready"], r.json()["model"]) == (200, True, "test-reader")


async def test_health_while_loading() -> None:
    class Slow(FakeBackend):
        async def start(self) -> None:
            await loaded.wait()

    loaded = asyncio.Event()
    settings = quick_settings()
    app = create_app(settings, Pipeline(Slow(), settings))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as c:
        await asyncio.sleep(0)
        assert (await c.get("/health")).status_code == 200
        r = await c.get("/ready")
        assert (r.status_code, r.json()["code"]) == (503, "reader_unavailable")
        assert "loading" in r.json()["detail"]
        assert int(r.headers["retry-after"]) > 0
        assert (await c.post("/ocr", files={"file": picture()})).status_code == 503
        loaded.set()
        while (await c.get("/ready")).status_code != 200:
            await asyncio.sleep(0.01)
        assert (await c.post("/ocr", files={"file": picture()})).status_code == 200


@pytest.mark.parametrize("fault", [MissingDependency("no weights", hint="fetch them"), RuntimeError("no weights; fetch them")])
async def test_a_failed_start_is_visible_and_in_the_log(fault: Any | RuntimeError, caplog: pytest.LogCaptureFixture) -> None:
    reader = FakeBackend()
    reader.start_fault = fault
    async with AsyncExitStack() as stack:
        client = await open_client(stack, quick_settings(), reader)
        assert (await client.get("/health")).status_code == 200
        r = await client.get("/ready")
        assert r.status_code == 503
        assert "no weights" in r.json()["detail"]
        assert "fetch them" in r.json()["detail"]
        assert (await client.post("/ocr", files={"file": picture()})).status_code == 503
        assert not (await client.get("/v1/models")).json()["data"][0]["ready"]
    assert "no weights" in caplog.text
    assert reader.closed == 1


async def test_version_and_models(client: AppClient) -> None:
    r = await client.get("/version")
    assert r.json() == {"name": "hunyuanocr-edge", "version": __version__, "backend": "ppocr", "model": "test-reader"}
    body = (await client.get("/v1/models")).json()
    assert body["object"] == "list"
    (model,) = body["data"]
    assert (model["id"], model["object"], model["ready"]) == ("test-reader", "model", True)
    assert model["tasks"] == ["extract", "read", "spot"]


async def test_docs_load_no_external_resources(client: AppClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text) + re.findall(r"url: '([^']+)'", page.text)
    assert len(sources) >= 4
    for source in sources:
        assert source.startswith(("/", "data:")), source
        if source.startswith("/"):
            assert (await client.get(source)).status_code == 200, source
    assert "'self'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    style = (await client.get("/docs/assets/swagger-ui.css")).text
    assert not re.search(r"@import|url\((?!['\"]?data:)", style)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_docs_work_in_a_browser_without_internet() -> None:
    from playwright.sync_api import sync_playwright

    settings = quick_settings()
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as base, sync_playwright() as p:
        wait_ready(base)
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda r: asked.append(r.url))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.goto(f"{base}/docs")
        page.get_by_text("/v1/ocr", exact=True).first.click()
        page.get_by_text("Send an image and an instruction").wait_for()
        browser.close()
    assert asked
    assert [u for u in asked if not u.startswith((base, "data:", "blob:"))] == []
    assert wrong == []


async def test_openapi_shows_requests_examples_and_errors(client: AppClient) -> None:
    spec = (await client.get("/openapi.json")).json()
    ocr = spec["paths"]["/v1/ocr"]["post"]
    assert set(ocr["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    words = {"instruction", "task", "fields", "schema", "language", "evidence", "response"}
    for kind in ocr["requestBody"]["content"].values():
        assert words <= set(kind["schema"]["properties"])
    assert {"200", "400", "413", "415", "422", "429", "500", "503", "504"} <= set(ocr["responses"])
    assert ocr["responses"]["429"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorResponse")
    assert "/ocr" not in spec["paths"]  # the alias is served, not advertised
    parts = spec["components"]["schemas"]
    example = parts["OcrResponse"]["examples"][0]
    jsonschema.validate(example, {"$ref": "#/components/schemas/OcrResponse", "components": spec["components"]})
    jsonschema.validate(parts["ErrorResponse"]["examples"][0], {**parts["ErrorResponse"]})


async def test_a_response_matches_the_published_schema(client: AppClient, reader: FakeBackend) -> None:
    reader.text = "Total 12.00"
    spec = (await client.get("/openapi.json")).json()
    body = (await client.post("/v1/ocr", files={"file": picture()}, data={"fields": "total,items"})).json()
    jsonschema.validate(body, {"$ref": "#/components/schemas/OcrResponse", "components": spec["components"]})
    alone = await client.post("/v1/ocr", files={"file": picture()}, data={"fields": "total,items", "response": "fields"})
    fields = {"$ref": "#/components/schemas/FieldsResponse", "components": spec["components"]}
    jsonschema.validate(alone.json(), fields)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, fields)
    published = spec["paths"]["/v1/ocr"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [part["$ref"].rsplit("/")[-1] for part in published] == ["OcrResponse", "FieldsResponse"]


async def test_probes_are_not_logged(client: AppClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "httpx")
    caplog.set_level("INFO", "hunyuanocr")
    await client.get("/health")
    await client.get("/ready")
    assert "/health" not in caplog.text
    assert "/ready" not in caplog.text
    r = await client.get("/version")
    assert "GET /version 200" in caplog.text
    assert r.headers["x-request-id"] in caplog.text


def test_the_api_does_not_import_gradio() -> None:
    heavy = ("gradio", "torch", "onnxruntime", "openvino", "cv2", "rapidocr")
    code = f"import sys, api.app; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert out.stdout.strip() == "[]"


async def test_probes_accept_head_requests(client: AppClient) -> None:
    for path in ("/health", "/ready"):
        r = await client.head(path)
        assert (r.status_code, r.content) == (200, b"")


async def warnings(client: Any, number: Any) -> Any:
    read = (await client.post("/ocr", files={"file": picture(number)})).json()
    return {warning["code"] for warning in read["warnings"]}


async def test_a_database_file_that_was_deleted_while_running_is_reported(tmp_path: Path, reader: Any) -> None:
    """Results went into the deleted file, without the warning `not_recorded`."""
    settings = quick_settings().model_copy(update={"data": tmp_path / "data"})
    async with AsyncExitStack() as stack:
        client = await open_client(stack, settings, reader)
        assert await warnings(client, 1) == {"low_resolution"}
        assert (await client.get("/ready")).json()["store"] == "ok"
        for file in (tmp_path / "data").glob("hunyuanocr.db*"):
            file.unlink()
        assert await warnings(client, 2) == {"low_resolution", "not_recorded"}
        assert "deleted" in (await client.get("/ready")).json()["store"]
        refused = await client.get("/v1/records")
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert not (tmp_path / "data" / "hunyuanocr.db").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of 4 MB, mounted by root; a skip for others."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_full_disk_at_start_is_reported_until_there_is_space(
    small_disk: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/ready said `ok`, because the database could be read."""
    monkeypatch.setattr(Services, "check_interval_s", 0.05)
    settings = quick_settings().model_copy(update={"data": small_disk / "data"})

    async def reported(client: Any, store: str) -> None:
        while store not in (await client.get("/ready")).json()["store"]:
            await asyncio.sleep(0.02)

    async with AsyncExitStack() as stack:
        await reported(await open_client(stack, settings, reader), "ok")
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    async with AsyncExitStack() as stack:
        client = await open_client(stack, settings, reader)
        await reported(client, "full")
        filler.unlink()
        await reported(client, "ok")
        assert await warnings(client, 1) == {"low_resolution"}
