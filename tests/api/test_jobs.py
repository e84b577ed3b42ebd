"""Jobs over HTTP: accepted, waited for, listed, cancelled, repeated, refused."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from hunyuanocr.config import ImageSettings, JobSettings, PipelineSettings, Settings, StoreSettings
from hunyuanocr.errors import BackendFailed
from hunyuanocr.services.container import Services
from hunyuanocr.store.database import Database
from hunyuanocr.types import Progress, Reading, TextDelta
from tests.api.conftest import open_client
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, colour, picture, wait_until


@pytest.fixture
async def shop(reader: FakeBackend, database: Database, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`await shop(queue=1)` → a client of an API with a database of its own."""
    async with AsyncExitStack() as stack:

        async def make(store: bool = True, **jobs: Any) -> AppClient:
            url = database.url.render_as_string(hide_password=False)
            settings = Settings(
                data=tmp_path / "data",
                images=ImageSettings(max_bytes=100_000),
                pipeline=PipelineSettings(cache_mb=0),
                store=StoreSettings(enabled=store, url=url),
                jobs=JobSettings(**jobs),
            )
            return await open_client(stack, settings, reader)

        yield make


def services_of(client: Any) -> Services:
    return client.app.state.services


async def send(client: Any, n: int = 1, **extra: Any) -> Any:
    headers = extra.pop("headers", {})
    return await client.post("/v1/jobs", files={"file": ("a.png", picture(n))}, data=extra, headers=headers)


async def done(client: Any, id: Any, wait: float = 30) -> Any:
    r = await client.get(f"/v1/jobs/{id}?wait={wait}")
    assert r.status_code == 200, r.text
    return r.json()


async def test_a_job_is_accepted_read_and_recorded(shop: Callable[..., Any]) -> None:
    client = await shop()
    r = await send(client, 1, device="till-2")
    assert r.status_code == 202
    job = r.json()
    assert r.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["status"] in ("queued", "running", "done")
    over = await done(client, job["id"])
    assert (over["status"], over["progress"], over["attempts"]) == ("done", {"pages": 1, "pages_done": 1}, 1)
    assert over["created_at"] <= over["started_at"] <= over["finished_at"]
    assert (over["result"]["text"], over["result"]["id"]) == ("#012030", job["id"])
    record = (await client.get(f"/v1/records/{job['id']}")).json()
    assert (record["source"], record["device"], record["text"]) == ("job", "till-2", "#012030")


async def test_nul_characters_in_the_parameters_of_a_job_are_replaced(shop: Any) -> None:
    """PostgreSQL refuses NUL; the answer was 500."""
    client = await shop()
    words = {"device": "till\x002", "instruction": "识别\x00全部文字"}
    sent = {"image": base64.b64encode(picture()).decode(), **words}
    assert (await client.post("/v1/ocr", json=sent)).status_code == 200
    one = (await client.post("/v1/jobs", json=sent)).json()
    assert (await done(client, one["id"]))["status"] == "done"
    assert (await client.get(f"/v1/records/{one['id']}")).json()["device"] == "till\ufffd2"
    found = (await client.get("/v1/records", params={"device": "till\x002"})).json()["data"]
    assert len(found) == 2
    batch = await client.post("/v1/batch", files={"file": ("a\x00.png", picture())}, data=words)
    assert batch.status_code == 202, batch.text
    for query in ({"cursor": "\x00"}, {"status": "\x00"}, {"batch": "\x00"}, {"after": "\x00"}):
        assert (await client.get("/v1/jobs", params=query)).status_code in (200, 422), query


async def test_the_pages_of_a_document_are_counted_while_it_is_read(shop: Any, reader: Any) -> None:
    pages = [Image.new("RGB", (40, 30), (n, n, n)) for n in range(3)]
    document = io.BytesIO()
    pages[0].save(document, "TIFF", save_all=True, append_images=pages[1:])
    reader.gate = asyncio.Event()
    client = await shop()
    id = (await client.post("/v1/jobs", files={"file": document.getvalue()})).json()["id"]
    await wait_until(lambda: client.services.job_service.progress.get(id) == Progress(1, 3))
    job = (await client.get(f"/v1/jobs/{id}")).json()
    assert (job["status"], job["progress"]) == ("running", {"pages": 3, "pages_done": 1})
    reader.gate.set()
    assert (await done(client, id))["progress"] == {"pages": 3, "pages_done": 3}
    assert client.services.job_service.progress == {}


async def test_a_job_result_equals_the_ocr_response(shop: Callable[..., Any], reader: FakeBackend) -> None:
    reader.text = "Total: 36.80"
    client = await shop()
    asked: dict[str, Any] = {"instruction": "总金额", "response": "fields"}
    whole = (await client.post("/v1/ocr", files={"file": picture()}, data={"instruction": "总金额"})).json()
    id = (await send(client, instruction="总金额")).json()["id"]
    job = (await done(client, id))["result"]
    assert {k: v for k, v in job.items() if k not in ("id", "elapsed_ms")} == {
        k: v for k, v in whole.items() if k not in ("id", "elapsed_ms")
    }
    id = (await send(client, **asked)).json()["id"]
    assert (await done(client, id))["result"] == {"total_amount": "36.80"}


async def test_json_is_taken_too(shop: Callable[..., Any]) -> None:
    client = await shop()
    body = {"image": base64.b64encode(picture(3)).decode(), "priority": 3, "fields": ["total_amount"]}
    job = (await client.post("/v1/jobs", json=body)).json()
    assert job["priority"] == 3
    over = await done(client, job["id"])
    assert over["result"]["fields"] == {"total_amount": None}


async def test_a_deleted_record_takes_the_result_with_it(shop: Callable[..., Any]) -> None:
    client = await shop()
    id = (await send(client)).json()["id"]
    await done(client, id)
    assert (await client.delete(f"/v1/records/{id}")).status_code == 204
    job = await done(client, id)
    assert (job["status"], job["result"]) == ("done", None)


async def test_priority_and_place_in_the_queue(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    reader.gate = asyncio.Event()
    first = (await send(client, 1)).json()["id"]
    await wait_until(lambda: reader.now == 1)
    low = (await send(client, 2)).json()
    high = (await send(client, 3, priority="5")).json()
    assert (low["ahead"], high["ahead"]) == (0, 0)
    assert (await client.get(f"/v1/jobs/{low['id']}")).json()["ahead"] == 1
    reader.gate.set()
    jobs = [await done(client, id) for id in (first, high["id"], low["id"])]
    assert [j["started_at"] for j in jobs] == sorted(j["started_at"] for j in jobs)
    assert {j["ahead"] for j in jobs} == {None}


async def test_a_wait_ends_without_the_job(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    reader.gate = asyncio.Event()
    id = (await send(client)).json()["id"]
    await wait_until(lambda: reader.now == 1)
    assert (await done(client, id, wait=0.1))["status"] == "running"
    waiting = asyncio.create_task(done(client, id, wait=60))
    await wait_until(lambda: bool(services_of(client).job_service.waiting))
    reader.gate.set()
    assert (await waiting)["status"] == "done"
    assert (await client.get(f"/v1/jobs/{id}?wait=61")).status_code == 422
    assert not services_of(client).job_service.waiting, "nobody is kept in mind"


async def test_a_failure_is_reported(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    r = await client.post("/v1/jobs", files={"file": picture()[:60]})
    job = await done(client, r.json()["id"])
    assert (job["status"], job["error"]["code"], job["attempts"]) == ("failed", "unreadable_image", 1)
    assert job["error"]["hint"]


async def test_a_failing_backend_is_tried_three_times(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    reader.fault = lambda: BackendFailed("a bad moment")
    job = await done(client, (await send(client)).json()["id"])
    assert (job["status"], job["error"]["code"], job["attempts"], reader.begun) == ("failed", "reader_failed", 3, 3)


async def test_internal_errors_are_hidden_from_clients(
    shop: Callable[..., Any], reader: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    client = await shop()

    async def broken(*_: Any) -> None:
        raise RuntimeError("a secret")

    services_of(client).background.read = cast(Any, broken)
    with caplog.at_level(logging.ERROR):
        job = await done(client, (await send(client)).json()["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "internal_error")
    assert "secret" not in str(job)
    assert "a secret" in caplog.text


async def test_a_failure_while_finishing_leaves_no_unfinished_job(
    shop: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = await shop()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    services_of(client).recorder.prepare = broken
    with caplog.at_level(logging.ERROR):
        job = await done(client, (await send(client)).json()["id"])
    assert (job["status"], job["error"]["code"], job["attempts"]) == ("failed", "internal_error", 3)
    assert caplog.text.count("a bug") >= 3


async def test_an_abandoned_lease_expires(database: Database) -> None:
    """A worker died, or its claim was lost: another worker reads the job again, at most three times."""
    from hunyuanocr.clock import Clock, utc_now
    from hunyuanocr.services.jobs.leases import LeaseWatch
    from hunyuanocr.services.jobs.recovery import recover_jobs
    from hunyuanocr.store import jobs, leases
    from hunyuanocr.store.jobqueue import QueueLimits
    from hunyuanocr.store.jobs import Job

    now, seconds = utc_now(), 0.0
    watch = LeaseWatch(60.0, lambda: seconds)

    async def recover() -> None:
        await database.write(recover_jobs, None, watch.expired(await database.read(leases.leases)), Clock())

    await database.write(jobs.add, Job("a", "local", now, {}, 1), b"x", QueueLimits(9, 9))
    for attempt in (1, 2, 3):
        job, data = await database.write(jobs.claim, "dead", now, 60.0, suspects=True)
        assert (job.id, data, job.attempts) == ("a", b"x", attempt)
        assert await database.write(jobs.claim, "living", now, 60.0, suspects=True) is None
        assert await database.write(jobs.renew, "dead", {"a"}, now, 60.0) == {"a"}
        assert await database.write(jobs.renew, "living", {"a"}, now, 60.0) == set()
        await recover()
        seconds += 59
        await recover()
        assert (await database.read(jobs.get, "local", "a")).status == "running"
        seconds += 2
        await recover()
        assert await database.write(jobs.finish, job, "done", now, pages=1) is False, "it came too late"
    found = await database.read(jobs.get, "local", "a")
    assert (found.status, found.error["code"]) == ("failed", "reader_crashed")


async def test_cancel_a_queued_job(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    reader.gate = asyncio.Event()
    first, second = [(await send(client, n)).json()["id"] for n in (1, 2)]
    await wait_until(lambda: reader.now == 1)
    r = await client.delete(f"/v1/jobs/{second}")
    assert (r.status_code, r.json()["status"]) == (200, "cancelled")
    reader.gate.set()
    assert (await done(client, first))["status"] == "done"
    assert (await done(client, second))["result"] is None
    assert reader.begun == 1


async def test_cancel_a_running_job(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    reader.gate = asyncio.Event()
    id = (await send(client)).json()["id"]
    await wait_until(lambda: reader.now == 1)
    waiting = asyncio.create_task(done(client, id, wait=60))
    assert (await client.delete(f"/v1/jobs/{id}")).json()["status"] == "cancelled"
    await wait_until(lambda: reader.cancelled == 1)
    assert (await waiting)["status"] == "cancelled"
    assert (await client.delete(f"/v1/jobs/{id}")).status_code == 200, "twice is no error"
    assert (await client.get(f"/v1/records/{id}")).status_code == 404
    reader.gate = None
    assert (await done(client, (await send(client, 2)).json()["id"]))["status"] == "done", "the workers read on"


async def test_a_finished_job_cannot_be_cancelled(shop: Callable[..., Any]) -> None:
    client = await shop()
    id = (await send(client)).json()["id"]
    await done(client, id)
    r = await client.delete(f"/v1/jobs/{id}")
    assert (r.status_code, r.json()["code"]) == (409, "job_over")
    assert (await done(client, id))["result"]["text"] == "#012030"


async def test_the_image_is_deleted_when_the_job_ends(shop: Callable[..., Any], database: Database) -> None:
    from sqlalchemy import func, select

    from hunyuanocr.store.tables import inputs

    client = await shop()
    ids = [(await send(client, n)).json()["id"] for n in range(3)]
    for id in ids:
        await done(client, id)
    assert await database.read(lambda s: s.scalar(select(func.count()).select_from(inputs))) == 0


async def test_the_same_key_is_the_same_job(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    key = {"Idempotency-Key": "till-2/4711"}
    first = await send(client, 1, headers=key, instruction="total")
    again = await send(client, 1, headers=key, instruction="total")
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    for other in (await send(client, 2, headers=key, instruction="total"), await send(client, 1, headers=key)):
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    await done(client, first.json()["id"])
    assert reader.begun == 1
    assert (await send(client, 1, headers={"Idempotency-Key": ""})).status_code == 422


async def test_the_same_key_at_the_same_time(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    answers = await asyncio.gather(*(send(client, 1, headers={"Idempotency-Key": "k"}) for _ in range(8)))
    assert {r.status_code for r in answers} == {202}
    assert len({r.json()["id"] for r in answers}) == 1


async def test_a_full_queue(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop(queue=2)
    reader.gate = asyncio.Event()
    ids = [(await send(client, n)).json()["id"] for n in (1, 2)]
    r = await send(client, 3)
    assert (r.status_code, r.json()["code"]) == (429, "queue_full")
    assert int(r.headers["retry-after"]) >= 1
    await client.delete(f"/v1/jobs/{ids[1]}")
    assert (await send(client, 3)).status_code == 202


async def test_a_queue_full_of_bytes(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop(queue_mb=len(picture(1)) * 1.5 / 1e6)
    reader.gate = asyncio.Event()
    assert (await send(client, 1)).status_code == 202
    assert (await send(client, 1)).status_code == 429


@pytest.mark.parametrize(
    ("extra", "status", "code"),
    [
        ({"task": "chart"}, 422, "task_not_supported"),
        ({"task": "dance"}, 422, "unknown_task"),
        ({"stream": "true"}, 422, "invalid_value"),
        ({"priority": "10"}, 422, "invalid_value"),
        ({"webhook": "http://127.0.0.1:1/x"}, 422, "webhook_refused"),
        ({"schema": "{"}, 422, "invalid_value"),
    ],
)
async def test_hopeless_jobs_are_rejected(shop: Callable[..., Any], extra: Any, status: int, code: str) -> None:
    client = await shop()
    r = await send(client, **extra)
    assert (r.status_code, r.json()["code"]) == (status, code)
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_job_without_an_image_is_rejected(shop: Callable[..., Any]) -> None:
    client = await shop()
    r = await client.post("/v1/jobs", files={"file": b"no picture"})
    assert (r.status_code, r.json()["code"]) == (415, "unsupported_media_type")
    assert (await client.post("/v1/jobs", files={"file": b"\x89PNG\r\n\x1a\n" + b"x" * 2_000_000})).status_code == 413


async def test_jobs_are_listed_in_pages(shop: Callable[..., Any]) -> None:
    client = await shop()
    ids = [(await send(client, n)).json()["id"] for n in range(5)]
    for id in ids:
        await done(client, id)
    page = (await client.get("/v1/jobs?limit=3")).json()
    assert [job["id"] for job in page["data"]] == ids[:1:-1]
    assert all(job["result"] is None for job in page["data"])
    rest = (await client.get(f"/v1/jobs?limit=3&cursor={page['next']}")).json()
    assert [job["id"] for job in rest["data"]] == ids[1::-1]
    assert rest["next"] is None
    assert (await client.get("/v1/jobs?status=queued")).json()["data"] == []
    assert len((await client.get("/v1/jobs?status=done")).json()["data"]) == 5
    assert (await client.get("/v1/jobs?status=lost")).status_code == 422


async def test_jobs_of_other_owners_are_404(shop: Callable[..., Any]) -> None:
    from api.deps import owner_of

    client = await shop()
    id = (await send(client)).json()["id"]
    client.app.dependency_overrides[owner_of] = lambda: "somebody else"
    for r in (
        await client.get(f"/v1/jobs/{id}"),
        await client.get(f"/v1/jobs/{id}?wait=1"),
        await client.delete(f"/v1/jobs/{id}"),
    ):
        assert (r.status_code, r.json()["code"]) == (404, "not_found")
    assert (await client.get("/v1/jobs")).json()["data"] == []
    assert (await client.get("/v1/jobs/no%00id")).status_code == 404


async def test_no_jobs_without_a_store(shop: Callable[..., Any]) -> None:
    client = await shop(store=False)
    for r in (
        await send(client),
        await client.get("/v1/jobs"),
        await client.get("/v1/jobs/x"),
        await client.delete("/v1/jobs/x"),
    ):
        assert (r.status_code, r.json()["code"]) == (404, "store_off")


async def test_synchronous_requests_are_not_starved(shop: Callable[..., Any], reader: FakeBackend) -> None:
    """With forty jobs in the queue, a request waits for the one that is being read and for no other."""
    client = await shop()
    read, order = reader.read, []

    def noted(pages: Any, task: Any) -> AsyncIterator[TextDelta | Progress | Reading]:
        order.append(colour(pages[0]))
        return read(pages, task)

    reader.read = noted
    reader.gate = asyncio.Event()
    for n in range(40):
        await send(client, n)
    await wait_until(lambda: reader.now == 1)
    asked = asyncio.create_task(client.post("/v1/ocr", files={"file": picture(99)}))
    await wait_until(lambda: client.app.state.pipeline.admission.waiting == 1)
    reader.gate.set()
    assert (await asked).json()["text"] == "#632030"
    assert order.index("#632030") == 1, order


async def test_jobs_accepted_before_the_reader_is_ready_wait_for_it(
    shop: Callable[..., Any], reader: FakeBackend, database: Database
) -> None:
    client = await shop()
    pipeline = client.app.state.pipeline
    ready, pipeline.state = pipeline.state, type(pipeline.state)(False, "The reader is loading.")
    id = (await send(client)).json()["id"]
    assert (await done(client, id, wait=0.5))["status"] == "queued"
    assert (await done(client, id, wait=0))["attempts"] == 0, "nothing is begun that a failing start could be blamed for"
    pipeline.state = ready
    assert (await done(client, id))["status"] == "done"


async def test_old_jobs_are_forgotten_and_their_records_stay(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop(retention_hours=1)
    id = (await send(client, headers={"Idempotency-Key": "k"})).json()["id"]
    await done(client, id)
    services = services_of(client)
    from datetime import timedelta

    from hunyuanocr.store import jobs

    now = services.job_service.now()
    assert await services.store.write(jobs.delete_expired, now - timedelta(hours=1)) == 0
    assert await services.store.write(jobs.delete_expired, now + timedelta(seconds=1)) == 1
    assert (await client.get(f"/v1/jobs/{id}")).status_code == 404
    assert (await client.get(f"/v1/records/{id}")).status_code == 200
    assert (await send(client, headers={"Idempotency-Key": "k"})).json()["id"] != id


async def test_a_misspelled_key_is_reported_in_the_result_of_a_job(shop: Any) -> None:
    client = await shop()
    single = (await send(client, Instruction="total")).json()["id"]
    await client.post("/v1/batch?instruction=total", files={"file": ("a.png", picture(2))}, data={"feilds": "total"})
    batch = (await client.get("/v1/jobs")).json()["data"][0]["id"]
    for id, count in ((single, 1), (batch, 2)):
        warnings = [w for w in (await done(client, id))["result"]["warnings"] if w["code"] == "unknown_key"]
        assert len(warnings) == count
    assert "'Instruction'" in (await done(client, single))["result"]["warnings"][-1]["message"]


async def test_a_key_of_a_job_is_a_conflict_for_a_batch_and_the_reverse(shop: Any) -> None:
    client = await shop()
    for first, second in (("/v1/jobs", "/v1/batch"), ("/v1/batch", "/v1/jobs")):
        headers = {"Idempotency-Key": first}
        files = {"file": ("a.png", picture(1))}
        assert (await client.post(first, files=files, headers=headers)).status_code == 202
        answer = await client.post(second, files=files, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
        again = await client.post(first, files=files, headers=headers)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
