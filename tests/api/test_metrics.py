"""/metrics: what was sent is what is counted, failures as failures, and nobody can make series by asking for odd things."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pynvml
import pytest
import websockets.sync.client
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from hunyuanocr import __version__
from hunyuanocr.backends.base import BackendName, Health
from hunyuanocr.config import PipelineSettings, Settings
from hunyuanocr.errors import BackendFailed
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.metrics import gpu
from hunyuanocr.types import Reading, TextDelta, Usage
from tests.api.conftest import Make, open_client, quick_settings, served, wait_ready
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture, wait_until


class Figures(dict):
    """(name, labels…) → value, of one look at /metrics."""

    def of(self, name: str, **labels: str) -> float:
        return self[name, tuple(sorted(labels.items()))]

    def total(self, name: str, **labels: str) -> float:
        return sum(v for (n, has), v in self.items() if n == name and labels.items() <= dict(has).items())


def figures(text: str) -> Figures:
    found = Figures()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def scrape(client: httpx.AsyncClient) -> Figures:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return figures(answer.text)


async def test_requests_are_counted_by_route_and_status(client: AppClient) -> None:
    for _ in range(3):
        assert (await client.post("/ocr", files={"file": picture()})).status_code == 200
    assert (await client.get("/v1/records/not-there")).status_code == 404
    now = await scrape(client)
    assert now.of("hunyuanocr_http_requests_total", method="POST", route="/ocr", status="200") == 3
    assert now.of("hunyuanocr_http_requests_total", method="GET", route="/v1/records/{id}", status="404") == 1
    assert now.of("hunyuanocr_http_request_seconds_count", route="/ocr") == 3
    assert now.of("hunyuanocr_http_requests_in_flight") == 1, "this one"
    assert now.of("hunyuanocr_readings_total", task="read", outcome="ok") == 3
    assert now.of("hunyuanocr_pages_total") == 3
    for stage in ("wait", "decode", "read", "fields", "total"):
        assert now.of("hunyuanocr_stage_seconds_count", stage=stage) == 3
    assert now.of("hunyuanocr_build_info", version=__version__, backend="ppocr", model="test-reader") == 1
    assert now.of("hunyuanocr_reader_ready") == now.of("hunyuanocr_engine_up") == now.of("hunyuanocr_store_up") == 1
    assert now.of("process_resident_memory_bytes") > 10e6
    assert now.of("process_open_fds") > 3
    assert now.of("hunyuanocr_disk_free_bytes") > 0


async def test_failures_are_counted_as_failures(client: AppClient, reader: FakeBackend) -> None:
    reader.fault = lambda: BackendFailed("broken")
    assert (await client.post("/ocr", files={"file": picture()})).status_code == 500
    assert (await client.post("/ocr", files={"file": b"no picture"})).status_code == 415
    now = await scrape(client)
    assert now.of("hunyuanocr_http_requests_total", method="POST", route="/ocr", status="500") == 1
    assert now.of("hunyuanocr_http_requests_total", method="POST", route="/ocr", status="415") == 1
    assert now.of("hunyuanocr_readings_total", task="read", outcome="reader_failed") == 1
    assert now.total("hunyuanocr_readings_total", outcome="ok") == 0
    assert now.of("hunyuanocr_pages_total") == 0
    assert now.total("hunyuanocr_stage_seconds_count", stage="total") == 0


async def test_random_paths_create_no_metric_series(client: AppClient) -> None:
    await client.get("/nothing/here")
    before = await scrape(client)
    for n in range(60):
        await client.request(f"ODD{n}", f"/there/is/no/{n}", headers={"X-Request-Id": f"storm-{n}"})
        await client.get(f"/v1/records/r{n}")
        await client.get(f"/v1/jobs/提取{n}")
        await client.request(f"ODD{n}", "/ocr")
    after = await scrape(client)
    assert after.of("hunyuanocr_http_requests_total", method="other", route="other", status="404") >= 60
    new = {labels for (_, labels) in after.keys() - before.keys()}
    routes = {dict(labels).get("route") for labels in new}
    assert routes <= {"/v1/records/{id}", "/v1/jobs/{id}", "/ocr", "other", "/metrics", None}
    assert len([k for k in after.keys() - before.keys() if k[0] == "hunyuanocr_http_requests_total"]) <= 6
    assert "提取" not in str(after)


async def test_queue_gauges(make_client: Make, reader: FakeBackend) -> None:
    client = await make_client()
    reader.gate = asyncio.Event()
    asked = [asyncio.create_task(client.post("/ocr", files={"file": picture(n)})) for n in range(3)]
    await wait_until(lambda: reader.now == 1)
    while (now := await scrape(client)).of("hunyuanocr_queue_length") < 2:
        await asyncio.sleep(0.01)
    assert now.of("hunyuanocr_queue_length") == 2
    assert now.of("hunyuanocr_readings_running") == 1
    assert now.of("hunyuanocr_http_requests_in_flight") == 4
    reader.gate.set()
    await asyncio.gather(*asked)
    now = await scrape(client)
    assert (now.of("hunyuanocr_queue_length"), now.of("hunyuanocr_readings_running")) == (0, 0)


async def test_the_cache(reader: FakeBackend) -> None:
    async with AsyncExitStack() as stack:
        client = await open_client(stack, Settings(pipeline=PipelineSettings(cache_mb=4)), reader)
        for red in (1, 1, 1, 2):
            await client.post("/ocr", files={"file": picture(red)})
        now = await scrape(client)
    assert now.of("hunyuanocr_cache_lookups_total", result="hit") == 2
    assert now.of("hunyuanocr_cache_lookups_total", result="miss") == 2
    assert now.of("hunyuanocr_cache_entries") == 2
    assert now.of("hunyuanocr_readings_total", task="read", outcome="ok") == 4
    assert now.of("hunyuanocr_pages_total") == 2, "what the cache answers is not read"


class Writer(FakeBackend):
    """As a language model: text in pieces, tokens counted, an engine of its own."""

    async def read(self, pages: Any, task: Any) -> AsyncIterator[TextDelta | Reading]:
        await asyncio.sleep(0.05)
        yield TextDelta("TOT")
        await asyncio.sleep(0.02)
        yield TextDelta("AL")
        yield Reading("TOTAL", usage=Usage(120, 7))

    async def health(self) -> Health:
        return Health(False, "vLLM has ended and is being started again.", restarts=3)


async def test_tokens_and_the_engine() -> None:
    reader = Writer(name=BackendName.VLLM)
    async with AsyncExitStack() as stack:
        client = await open_client(stack, quick_settings(evidence_backend="off"), reader)
        await client.post("/ocr", files={"file": picture()})
        now = await scrape(client)
    assert now.of("hunyuanocr_tokens_total", kind="prompt") == 120
    assert now.of("hunyuanocr_tokens_total", kind="completion") == 7
    assert 0.04 < now.of("hunyuanocr_stage_seconds_sum", stage="first") < now.of("hunyuanocr_stage_seconds_sum", stage="read")
    assert now.of("hunyuanocr_tokens_per_second_count") == 1
    assert (now.of("hunyuanocr_engine_up"), now.of("hunyuanocr_engine_restarts_total")) == (0, 3)
    assert now.of("hunyuanocr_reader_ready") == 0


async def test_jobs_by_state(client: AppClient, reader: FakeBackend) -> None:
    done = (await client.post("/v1/jobs", files={"file": picture()})).json()["id"]
    assert (await client.get(f"/v1/jobs/{done}?wait=30")).json()["status"] == "done"
    reader.gate = asyncio.Event()
    for _ in range(2):
        await client.post("/v1/jobs", files={"file": picture(9)})
    await wait_until(lambda: reader.now == 1)
    now = await scrape(client)
    assert now.of("hunyuanocr_jobs", status="done") == now.of("hunyuanocr_jobs_ended_total", outcome="done") == 1
    assert now.of("hunyuanocr_jobs", status="running") + now.of("hunyuanocr_jobs", status="queued") == 2
    assert now.of("hunyuanocr_webhooks_total", outcome="delivered") == 0
    reader.gate.set()


async def test_database_failures_are_reported(client: AppClient) -> None:
    before = await scrape(client)
    client.app.state.services.database.close()
    now = await scrape(client)
    assert (before.of("hunyuanocr_store_up"), now.of("hunyuanocr_store_up")) == (1, 0)
    assert now.total("hunyuanocr_jobs") == 0
    assert now.of("hunyuanocr_reader_ready") == 1


async def test_two_appliances_in_one_process_do_not_count_together(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        each = [quick_settings().model_copy(update={"data": tmp_path / name}) for name in "ab"]
        one, other = [await open_client(stack, settings, FakeBackend()) for settings in each]
        await one.post("/ocr", files={"file": picture()})
        assert (await scrape(one)).total("hunyuanocr_readings_total") == 1
        assert (await scrape(other)).total("hunyuanocr_readings_total") == 0


async def test_content_negotiation(client: AppClient) -> None:
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_cameras_and_the_second_port() -> None:
    settings = quick_settings()
    pipeline = Pipeline(FakeBackend(), settings)
    app = create_app(settings, pipeline)
    other = create_app(settings, pipeline, app.state.services)
    with served(app) as base:
        wait_ready(base)
        with websockets.sync.client.connect(base.replace("http", "ws") + "/v1/ws", open_timeout=60) as socket:
            for number, data in enumerate((picture(), picture(), b"no picture")):
                header = json.dumps({"frame_id": number, "timestamp": float(number)}).encode()
                socket.send(len(header).to_bytes(4, "big") + header + data)
                json.loads(socket.recv(60))
            now = figures(httpx.get(f"{base}/metrics", timeout=60).text)
            assert now.of("hunyuanocr_cameras_connected") == 1
            assert now.total("hunyuanocr_frames_total") == 3
            assert now.of("hunyuanocr_frames_total", outcome="failed") == 1
    assert other.state.services.metrics is app.state.services.metrics, "either port shows all"


async def test_memory_of_an_engine_process(client: AppClient) -> None:
    async def taken(what: str) -> float:
        return (await scrape(client)).total(f"hunyuanocr_children_{what}")

    before = await taken("resident_memory_bytes")
    hungry = "import os; room = bytearray(200_000_000); print(os.getpid(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline().strip() == str(child.pid).encode()
        assert 150e6 < await taken("resident_memory_bytes") - before < 350e6, "others of ours may come and go"
        assert await taken("open_fds") >= 3
        assert await taken("cpu_seconds_total") > 0
        child.communicate()
    assert abs(await taken("resident_memory_bytes") - before) < 100e6, "it has ended"


def test_no_gpu_metrics_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", none)
    assert gpu.gpus() is None
    assert list(gpu.collect()) == []


def test_gpu_metrics_without_utilization(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gpu.Gpu(0, "NVIDIA GeForce RTX 4090 D", 24_000, 6_000, 0.5, 61.0)
    part = gpu.Gpu(1, "MIG 1g.10gb", 10_000, 1_000, None, None)
    monkeypatch.setattr(gpu, "gpus", lambda: gpu.Gpus("580.1", (whole, part)))
    reported = {(s.name, s.labels["gpu"]): s.value for family in gpu.collect() for s in family.samples}
    assert reported["hunyuanocr_gpu_memory_used_bytes", "1"] == 1_000
    assert reported["hunyuanocr_gpu_utilization_ratio", "0"] == 0.5
    assert ("hunyuanocr_gpu_utilization_ratio", "1") not in reported


@pytest.mark.parametrize("status", [200, 404])
async def test_metrics_requests_are_not_logged(client: AppClient, caplog: pytest.LogCaptureFixture, status: int) -> None:
    caplog.set_level("INFO", "hunyuanocr")
    await client.get("/metrics" if status == 200 else "/metric")
    assert ("/metric" in caplog.text) == (status == 404)
