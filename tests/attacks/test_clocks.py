"""The machine's clock jumps: nothing is deleted for it, nothing waits for it, and what has ended stays ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from api.app import create_app
from hunyuanocr.cli.checks import storage
from hunyuanocr.clock import MAX_OFF, PROOF_S, Clock, boot_ticks
from hunyuanocr.config import JobSettings, Settings, StoreSettings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.api_keys import DEFAULT_SCOPES, create_api_key
from hunyuanocr.services.jobs.worker import JobWorkers
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.webhooks import Webhooks
from hunyuanocr.store import keys
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture
from tests.support.webhooks import SECRET, receiving

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Time:
    """The wall clock, which jumps, and the steady one, which does not; `pass_` moves both."""

    def __init__(self) -> None:
        self.wall, self.passed = NOON, 0.0
        self._travel = time_machine.travel(NOON, tick=True)
        self._traveller = self._travel.start()

    def jump(self, by: timedelta) -> None:
        self._traveller.shift(by)

    def pass_(self, by: timedelta) -> None:
        self._traveller.shift(by)
        self.passed += by.total_seconds()

    def ticks(self) -> float:
        return boot_ticks() + self.passed

    def stop(self) -> None:
        self._travel.stop()


@pytest.fixture
def moment() -> Iterator[Time]:
    made = Time()
    yield made
    made.stop()


@asynccontextmanager
async def box(data: Path, moment: Time, **groups: Any) -> AsyncIterator[Any]:
    """The appliance from its start to its end."""
    settings = Settings(data=data, **{"pipeline": {"cache_mb": 0}} | groups)
    pipeline = Pipeline(FakeBackend(), settings)
    app = create_app(settings, pipeline)
    services = app.state.services
    services.recorder.clock.ticks = moment.ticks
    async with (
        app.router.lifespan_context(app),
        AppClient(app, base_url="http://127.0.0.1:8000", timeout=30) as client,
    ):
        await services.keeper.ready()
        yield client, services


async def read(client: Any) -> str:
    """A job that is done."""
    id = (await client.post("/v1/jobs", files={"file": picture()})).json()["id"]
    assert (await client.get(f"/v1/jobs/{id}?wait=30")).json()["status"] == "done"
    return id


async def sweep(services: Any) -> None:
    """All that deletes by age, as it does by itself every ten minutes and every hour."""
    workers = JobWorkers(
        services.database,
        services.job_service.events,
        services.recorder,
        services.background,
        services.settings,
        worker="sweeper",
    )
    await services.keeper.trusted()
    await workers.clean_up()
    await Retention(services.database, services.recorder, services.settings, services.keeper).sweep()


async def there(client: Any, id: str) -> tuple[int, int]:
    return (await client.get(f"/v1/jobs/{id}")).status_code, (await client.get(f"/v1/records/{id}")).status_code


async def until(condition: Callable[..., Any], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("jump", [-30 * DAY, 3 * 365 * DAY, -timedelta(hours=1)], ids=["month back", "years ahead", "hour back"])
async def test_a_pending_webhook_is_tried_again_in_its_normal_time(
    tmp_path: Path, moment: Time, monkeypatch: pytest.MonkeyPatch, jump: timedelta, restart: bool
) -> None:
    monkeypatch.setattr(Webhooks, "retry_delay", staticmethod(lambda attempts: timedelta(seconds=0.5 * 4 ** (attempts - 1))))
    with receiving(lambda n: 500 if n == 1 else 200) as receiver:
        settings = {"jobs": JobSettings(webhook_hosts=[receiver.address.removeprefix("http://")], webhook_secret=SECRET)}
        asked = {"files": {"file": picture()}, "data": {"webhook": f"{receiver.address}/done"}}
        async with box(tmp_path, moment, **settings) as (client, _):
            id = (await client.post("/v1/jobs", **asked)).json()["id"]
            async with asyncio.timeout(10):
                while (await client.get(f"/v1/jobs/{id}")).json()["webhook"]["attempts"] == 0:
                    await asyncio.sleep(0.01)
            moment.jump(jump)
            if not restart:
                await until(lambda: receiver.messages)
        if restart:
            async with box(tmp_path, moment, **settings):
                await until(lambda: receiver.messages)
        assert len(receiver.messages) == 1
        assert receiver.forged == 0


async def test_jobs_end_and_are_reported_while_the_clock_stands_elsewhere(tmp_path: Path, moment: Time) -> None:
    with receiving() as receiver:
        settings = {"jobs": JobSettings(webhook_hosts=[receiver.address.removeprefix("http://")], webhook_secret=SECRET)}
        async with box(tmp_path, moment, **settings) as (client, _):
            for n, jump in enumerate((-30 * DAY, 60 * DAY, 3 * 365 * DAY, -4 * 365 * DAY)):
                moment.jump(jump)
                asked = {"files": {"file": picture(n)}, "data": {"webhook": f"{receiver.address}/done"}}
                id = (await client.post("/v1/jobs", **asked)).json()["id"]
                assert (await client.get(f"/v1/jobs/{id}?wait=30")).json()["status"] == "done"
                await until(lambda n=n: len(receiver.messages) == n + 1)


async def test_three_years_ahead_and_a_restart_delete_nothing_before_the_clock_is_confirmed(tmp_path: Path, moment: Time) -> None:
    """A restart deleted all jobs."""
    async with box(tmp_path, moment) as (client, _):
        id = await read(client)
    moment.jump(3 * 365 * DAY)
    for _ in range(2):
        async with box(tmp_path, moment) as (client, services):
            await asyncio.sleep(0.3)  # the sweeps of the start
            await sweep(services)
            assert await there(client, id) == (200, 200)
            moment.pass_(timedelta(hours=8))
            await sweep(services)
            assert await there(client, id) == (200, 200)
    async with box(tmp_path, moment) as (client, services):
        moment.pass_(timedelta(hours=9))
        await sweep(services)
        assert await there(client, id) == (404, 404), "25 hours of an even run, over three starts, confirm it"
        later = await read(client)
        await sweep(services)
        assert await there(client, later) == (200, 200)


async def test_the_doctor_tells_of_a_clock_that_jumped(tmp_path: Path, moment: Time) -> None:
    async with box(tmp_path, moment):
        pass
    assert [*storage.ages(Settings(data=tmp_path))] == []
    moment.jump(-30 * DAY)
    async with box(tmp_path, moment) as (_, services):
        moment.pass_(timedelta(hours=4))
        await services.keeper.trusted()
    (finding,) = storage.ages(Settings(data=tmp_path))
    assert (finding.verdict, "20 more hours" in finding.detail[1]) == ("warn", True)


async def test_what_is_old_is_deleted_where_the_clock_is_right(tmp_path: Path, moment: Time) -> None:
    """The counter-case: jobs after a week, records after a year, while it runs and after a night that it was off."""
    async with box(tmp_path, moment) as (client, services):
        id = await read(client)
        moment.pass_(6.9 * DAY)
        await sweep(services)
        assert await there(client, id) == (200, 200)
        moment.pass_(0.2 * DAY)
        await sweep(services)
        assert await there(client, id) == (404, 200)
        moment.pass_(357.7 * DAY)
        await sweep(services)
        assert await there(client, id) == (404, 200)
    moment.pass_(0.3 * DAY)
    async with box(tmp_path, moment) as (client, services):
        await sweep(services)
        assert await there(client, id) == (404, 404)


@pytest.mark.parametrize("hours", [1, -1])
async def test_an_hour_of_daylight_saving_changes_nothing(tmp_path: Path, moment: Time, hours: int) -> None:
    settings = {"jobs": JobSettings(retention_hours=0.5), "store": StoreSettings(retention_days=0.5 / 24)}
    async with box(tmp_path, moment, **settings) as (client, services):
        id = await read(client)
        moment.jump(timedelta(hours=hours))
        other = await read(client)
        await sweep(services)
        assert [await there(client, each) for each in (id, other)] == [(200, 200)] * 2
        moment.pass_(timedelta(hours=0.6))
        await sweep(services)
        assert await there(client, id) == (404, 404), "the steady clock goes on"


async def test_what_has_ended_does_not_come_to_life_when_the_clock_goes_back(tmp_path: Path, moment: Time) -> None:
    async with box(tmp_path, moment, security={"require_auth_on_loopback": True}) as (client, services):
        authenticator = client.app.state.authenticator
        made = {
            name: create_api_key(name, name, DEFAULT_SCOPES, expires_at=NOON + timedelta(hours=2)) for name in ("short", "till")
        }
        made["till"] = create_api_key("till", "till", DEFAULT_SCOPES)
        with authenticator.database.transaction() as session:
            for _, key in made.values():
                keys.insert(session, key)
        authenticator.api_keys.invalidate()
        till = await authenticator.identity_from_token(made["till"][0])
        left, _ = authenticator.sessions.create(till)
        short_session, _ = authenticator.sessions.create(await authenticator.identity_from_token(made["short"][0]))
        authenticator.sessions.revoke(left)
        moment.jump(3 * 365 * DAY)
        third, _ = authenticator.sessions.create(till)
        authenticator.sessions.revoke(third)  # what is written now must not forget the earlier logout
        moment.jump(-3 * 365 * DAY)
        assert await authenticator.sessions.identity(left) is None
        moment.pass_(timedelta(hours=3))
        assert await authenticator.identity_from_token(made["short"][0]) is None
        moment.jump(-30 * DAY)
        assert await authenticator.identity_from_token(made["short"][0]) is None
        assert await authenticator.sessions.identity(short_session) is None
        assert await authenticator.identity_from_token(made["till"][0]) is not None, "a key without an end is good"
        await services.keeper.trusted()
    async with box(tmp_path, moment, security={"require_auth_on_loopback": True}) as (client, _):
        authenticator = client.app.state.authenticator
        assert await authenticator.identity_from_token(made["short"][0]) is None, "after a restart neither"
        assert await authenticator.sessions.identity(left) is None


async def test_a_clock_ahead_keeps_no_ephemeral_result_for_longer(tmp_path: Path, moment: Time) -> None:
    async with box(tmp_path, moment, store=StoreSettings(ephemeral=True)) as (client, services):
        await services.ephemeral.sweep()
        moment.jump(3 * 365 * DAY)
        id = (await client.post("/v1/jobs", files={"file": picture()})).json()["id"]
        await until(lambda: services.job_counts["done"] == 1)
        await services.ephemeral.sweep()
        assert (await client.get("/v1/jobs")).json()["data"][0]["id"] == id
        moment.pass_(timedelta(minutes=16))
        await services.ephemeral.sweep()
        assert (await client.get("/v1/jobs")).json()["data"] == []


class Run:
    """A machine that is switched on and off: its clock by hand, and what it wrote down."""

    def __init__(self) -> None:
        self.wall = NOON
        self.saved: dict[str, Any] | None = None
        self.clock = Clock(lambda: self.wall, lambda: 0.0)

    def day(self, hours: float, off: float) -> bool:
        """On for so many hours, looking every hour, then off. Whether the wall clock is believed."""
        self.ticks = 0.0
        self.clock = Clock(lambda: self.wall, lambda: self.ticks)
        self.clock.begin(self.saved, self.wall, self.ticks)
        for _ in range(int(hours)):
            self.wall += timedelta(hours=1)
            self.ticks += 3600
            self.clock.observe(self.wall, self.ticks)
        self.saved, believed = self.clock.state(), not self.clock.doubtful
        self.wall += timedelta(hours=off)
        return believed


def test_a_shop_that_closes_every_night_proves_its_clock_over_several_days() -> None:
    shop = Run()
    assert shop.day(10, 14)
    shop.wall += 20 * DAY  # holidays
    assert [shop.day(10, 14) for _ in range(4)] == [False, False, True, True]
    assert shop.day(10, 62), "a long weekend"
    assert shop.day(10, 14)
    shop.wall += MAX_OFF + DAY
    assert not shop.day(10, 14)
    shop.wall -= MAX_OFF + DAY  # set right again
    assert shop.day(10, 14)


def test_a_jump_of_an_hour_is_no_more_believed_after_a_restart() -> None:
    shop = Run()
    shop.day(3, 0)
    shop.wall += 2 * DAY
    shop.clock.observe(shop.wall, shop.ticks)
    shop.saved = shop.clock.state()
    assert not shop.day(10, 0), "by itself two days off would be"
    assert PROOF_S > 10 * 3600
    assert shop.clock.trusted() < shop.wall - DAY
