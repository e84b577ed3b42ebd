"""Webhooks: what is signed and how, who is called and who never, and what happens when nobody takes the message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import update

from api.schemas.jobs import SERIALIZERS
from hunyuanocr.clock import Clock, utc_now
from hunyuanocr.config import JobSettings, load_settings
from hunyuanocr.errors import ConfigError, WebhookNotAllowed
from hunyuanocr.ids import new_id
from hunyuanocr.services import webhooks
from hunyuanocr.services.jobs import JobService
from hunyuanocr.services.webhook_client import sign
from hunyuanocr.services.webhooks import Webhooks, retry_delay, validate_webhook_url
from hunyuanocr.store import audit, deliveries, jobs
from hunyuanocr.store.database import Database
from hunyuanocr.store.deliveries import Delivery
from hunyuanocr.store.jobqueue import QueueLimits
from hunyuanocr.store.jobs import Job
from tests.support.fake_backend import wait_until
from tests.support.webhooks import SECRET, receiving


def allowing(*hosts: str, secret: str | None = SECRET) -> JobSettings:
    return JobSettings(webhook_hosts=hosts, webhook_secret=secret)


def test_the_signature_is_the_specifications() -> None:
    """The example of standardwebhooks.com, made with its reference library."""
    body = b'{"event_type":"ping"}'
    assert sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    ) == ("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    assert sign(SECRET, "a", 1, body) != sign(SECRET, "b", 1, body) != sign(SECRET, "b", 2, body)
    assert sign(SECRET, "a", 1, body) == sign(SECRET.removeprefix("whsec_"), "a", 1, body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "not base64 at all!", "whsec_" + "A" * 100])
def test_a_key_that_cannot_sign_is_reported_at_the_start(secret: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand"):
        allowing("a", secret=secret)
    with pytest.raises(ConfigError, match=r"jobs\.webhook_secret") as e:
        load_settings(jobs={"webhook_secret": secret})
    assert len(secret) < 10 or secret not in str(e.value), "a secret is not printed, even a bad one"


@pytest.mark.parametrize(
    "url",
    [
        "http://erp.local/hook",
        "https://erp.local/hook?till=2",
        "http://ERP.local:80/",
        "http://192.168.1.20:8080/x",
        "http://[::1]:9/x",
    ],
)
def test_hosts_that_the_owner_names_may_be_called(url: str) -> None:
    validate_webhook_url(url, allowing("erp.local", "192.168.1.20:8080", "[::1]:9"))


@pytest.mark.parametrize(
    "url",
    [
        "http://other.local/",
        "http://erp.local:8080/",
        "http://192.168.1.20/",
        "http://192.168.1.20:8081/",
        "ftp://erp.local/",
        "file:///etc/passwd",
        "http://erp.local@evil.example/",
        "http://evil.example/erp.local",
        "http://erp.local.evil.example/",
        "http://evil.example#erp.local",
        "http://user:pw@erp.local/",
        "//erp.local/",
        "erp.local",
        "",
        "http://",
        "http://[::1/",
        "http://erp.local:99999/",
        "http://evil.example\\@erp.local/",
        "http://erp.local/ x",
        "http://erp.local/\r\nX: y",
        "http://érp.local/",
    ],
)
def test_nobody_else_is_called(url: str) -> None:
    with pytest.raises(WebhookNotAllowed):
        validate_webhook_url(url, allowing("erp.local", "192.168.1.20:8080"))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(WebhookNotAllowed) as e:
        validate_webhook_url("http://erp.local/", JobSettings())
    assert "jobs.webhook_hosts" in e.value.hint
    with pytest.raises(WebhookNotAllowed) as e:
        validate_webhook_url("http://erp.local/", allowing("erp.local", secret=None))
    assert "jobs.webhook_secret" in e.value.hint


def test_rests_grow_and_differ() -> None:
    rests = [retry_delay(n).total_seconds() for n in range(1, webhooks.ATTEMPTS)]
    assert 4 <= rests[0] <= 6
    assert rests[:5] == sorted(rests[:5])
    assert max(rests) <= 8 * 3600 * 1.2
    assert len({retry_delay(3) for _ in range(10)}) == 10
    assert 30 * 3600 <= sum(rests) <= 50 * 3600, "long enough for a server that is repaired the next day"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    yield made
    made.close()


@pytest.fixture
async def shop(database: Any) -> AsyncIterator[Callable[..., Any]]:
    """`await shop(receiver)` → a desk, and the sender that calls this receiver."""
    async with AsyncExitStack() as stack:

        async def make(receiver: Any, worker: str = "w", **chosen: Any) -> Any:
            settings = chosen.get("settings") or allowing(receiver.address.removeprefix("http://"))
            desk = JobService(database, settings, Clock())
            sender = Webhooks(database, desk.events, desk.clock, settings, worker=worker, body=SERIALIZERS.job)
            task = asyncio.create_task(sender.run())

            async def end() -> None:
                task.cancel()
                await asyncio.wait((task,))

            stack.push_async_callback(end)
            return desk, sender, end

        yield make


async def over(desk: JobService, url: str, owner: str = "local") -> str:
    """A job that was cancelled at once, which is reported like every other end."""
    job = Job(new_id(), owner, desk.now(), {}, 1, webhook=url)
    await desk.database.write(jobs.add, job, b"x", QueueLimits(10, 100))
    await desk.cancel(owner, job.id)
    return job.id


async def delivery(desk: JobService, id: str) -> Delivery:
    return (await desk.database.read(deliveries.by_job, [id]))[id]


async def settled(desk: JobService, id: str, attempts: int = 1) -> Delivery:
    while (found := await delivery(desk, id)).attempts < attempts:
        await asyncio.sleep(0.005)
    return found


async def test_a_message_is_delivered_once_signed_and_whole(shop: Callable[..., Any]) -> None:
    with receiving() as receiver:
        desk, sender, _ = await shop(receiver)
        id = await over(desk, f"{receiver.address}/done")
        found = await settled(desk, id)
        assert (found.status, found.attempts, found.last_error) == ("delivered", 1, None)
        ((message_id, message),) = receiver.messages.items()
        assert message_id == found.id
        assert (message["type"], message["data"]["id"], message["data"]["status"]) == ("job.cancelled", id, "cancelled")
        assert receiver.forged == 0
        assert sender.counts == {"delivered": 1, "failed": 0}


async def test_a_message_that_is_not_taken_is_sent_again_under_the_same_id(
    shop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhooks, "retry_delay", staticmethod(lambda attempts: timedelta(seconds=0.01)))
    with receiving(lambda n: 503 if n < 4 else 200) as receiver:
        desk, _, _ = await shop(receiver)
        id = await over(desk, f"{receiver.address}/done")
        found = await settled(desk, id, 4)
        assert found.status == "delivered"
        assert receiver.heard == [found.id] * 4


async def test_it_is_given_up_at_last(shop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webhooks, "retry_delay", staticmethod(lambda attempts: timedelta(seconds=0.001)))
    with receiving(lambda n: 500) as receiver:
        desk, _, _ = await shop(receiver)
        id = await over(desk, f"{receiver.address}/done")
        found = await settled(desk, id, webhooks.ATTEMPTS)
        await asyncio.sleep(0.1)
        assert (found.status, found.last_error) == ("given_up", "Response status 500.")
        assert len(receiver.heard) == webhooks.ATTEMPTS


async def test_redirects_are_not_followed(shop: Callable[..., Any]) -> None:
    with receiving(lambda n: 307) as receiver:
        desk, _, _ = await shop(receiver)
        began = desk.now()
        found = await settled(desk, await over(desk, f"{receiver.address}/done"))
        await asyncio.sleep(0.1)
        assert (found.status, found.last_error) == ("pending", "Response status 307.")
        assert len(receiver.heard) == 1
        assert found.due_at > began + timedelta(seconds=1)


async def test_one_that_wants_no_more_is_left_alone(shop: Callable[..., Any]) -> None:
    with receiving(lambda n: 410) as receiver:
        desk, _, _ = await shop(receiver)
        found = await settled(desk, await over(desk, f"{receiver.address}/done"))
        assert found.status == "given_up"


async def test_what_went_out_stands_in_the_audit_log(shop: Callable[..., Any]) -> None:
    """Each attempt that reached somebody, with what he answered; not the address's path, which may be a secret."""
    answers = iter([500, 200])
    with receiving(lambda n: next(answers)) as receiver:
        desk, _, _ = await shop(receiver)
        id = await over(desk, f"{receiver.address}/a-secret-path", owner="clinic")
        await settled(desk, id)
        await desk.database.write(_due_now)
        desk.events.webhook_due.publish()
        message = (await settled(desk, id, attempts=2)).id
        lines = await desk.database.read(audit.list_latest, 10)
    assert [(line.owner, line.who, line.action, line.status) for line in lines] == [
        ("clinic", "webhook", "send", 200),
        ("clinic", "webhook", "send", 500),
    ]
    assert {(line.address, line.what, line.request_id) for line in lines} == {("127.0.0.1", f"/v1/jobs/{id}", message)}


def _due_now(conn: Any) -> None:
    conn.execute(update(deliveries.deliveries).values(due_at=utc_now()))


async def test_nobody_listens(shop: Callable[..., Any]) -> None:
    with receiving() as receiver:
        address = receiver.address
        desk, _, _ = await shop(receiver)
    found = await settled(desk, await over(desk, f"{address}/done"))
    assert found.status == "pending"
    assert "Connect" in found.last_error
    assert await desk.database.read(audit.list_latest, 10) == [], "nothing left the machine"


async def test_a_host_that_is_not_allowed_any_more_is_not_called(shop: Callable[..., Any]) -> None:
    with receiving() as receiver:
        desk, _, _ = await shop(receiver, settings=allowing("erp.local"))
        found = await settled(desk, await over(desk, f"{receiver.address}/done"))
        assert found.status == "given_up"
        assert "jobs.webhook_hosts" in found.last_error
        assert receiver.heard == []


async def test_a_proxy_of_the_environment_is_not_asked(shop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        monkeypatch.setenv("http_proxy", proxy.address)
        desk, _, _ = await shop(receiver)
        await settled(desk, await over(desk, f"{receiver.address}/done"))
        assert (len(receiver.heard), len(proxy.heard)) == (1, 0)


async def test_what_a_dead_sender_had_taken_is_due_at_its_next_start(shop: Callable[..., Any], database: Database) -> None:
    desk = JobService(database, JobSettings(), Clock())
    with receiving() as receiver:
        id = await over(desk, f"{receiver.address}/done")
        taken = await database.write(deliveries.take, "w", desk.now(), 60.0, [id])
        assert [d.job_id for d in taken] == [id]
        assert await database.write(deliveries.take, "other", desk.now(), 60.0, [id]) == [], "one at a time"
        await database.write(deliveries.release_stale, "somebody else", desk.now())
        assert (await delivery(desk, id)).due_at > desk.now() + timedelta(seconds=30)
        await database.write(deliveries.release_stale, "w", desk.now())
        await shop(receiver)
        await wait_until(lambda: len(receiver.messages) == 1)
        assert list(receiver.messages) == [taken[0].id]


async def test_a_slow_receiver_does_not_hold_up_the_others(shop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()

    def answer(n: Any) -> int:
        if n == 1:
            gate.wait(60)
        return 200

    with receiving(answer) as receiver:
        desk, _, _ = await shop(receiver)
        ids = [await over(desk, f"{receiver.address}/{n}") for n in range(5)]
        await wait_until(lambda: len(receiver.messages) == 4)
        gate.set()
        for id in ids:
            await settled(desk, id)
    assert {m["data"]["id"] for m in receiver.messages.values()} == set(ids)
