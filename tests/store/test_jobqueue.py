"""The order of queued jobs: clients alternate, a client's own jobs by priority, nobody is shut out by another's queue."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from hunyuanocr.errors import QueueFull
from hunyuanocr.ids import new_id
from hunyuanocr.store import batches, jobqueue, jobs, migrations
from hunyuanocr.store.database import Database
from hunyuanocr.store.jobqueue import QueueLimits
from hunyuanocr.store.jobs import Job

NOW = datetime(2026, 7, 1, tzinfo=UTC)
PLENTY = QueueLimits(10_000, 10**9)


def job(owner: str, priority: int = 0, **more: object) -> Job:
    return Job(new_id(), owner, NOW, {}, 1, priority=priority, **more)  # type: ignore[arg-type]


def send(database: Database, one: Job, bounds: QueueLimits = PLENTY, data: bytes = b"x") -> Job:
    with database.transaction() as conn:
        jobs.add(conn, replace(one, size=len(data)), data, bounds)
    return one


def send_batch(database: Database, owner: str, count: int) -> list[Job]:
    many = [job(owner, batch_id=f"batch-of-{owner}") for _ in range(count)]
    with database.transaction() as conn:
        batches.insert_chunk(conn, [(one, b"x") for one in many], PLENTY)
        batches.commit_batch(conn, owner, f"batch-of-{owner}", NOW)
    return many


def take(database: Database, *, end: bool = True) -> Job | None:
    with database.transaction() as conn:
        taken = jobs.claim(conn, "w", NOW, 60, suspects=True)
        if taken is not None and end:
            jobs.finish(conn, taken[0], "done", NOW, pages=1)
    return None if taken is None else taken[0]


def taken_owners(database: Database) -> str:
    owners = ""
    while (one := take(database)) is not None:
        owners += one.owner
    return owners


def ahead(database: Database, one: Job) -> int:
    with database.read_transaction() as conn:
        return jobqueue.queue_position(conn, one.id)


def test_after_a_batch_of_a_thousand_another_clients_job_is_next(database: Database) -> None:
    send_batch(database, "a", 1000)
    assert take(database).owner == "a"
    single = send(database, job("b"))
    assert ahead(database, single) == 0
    assert take(database).id == single.id
    assert take(database).owner == "a"


def test_clients_alternate_whatever_each_has_queued(database: Database) -> None:
    send_batch(database, "a", 20)
    for _ in range(5):
        send(database, job("b"))
    send(database, job("c"))
    order = taken_owners(database)
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert order[:11].count("b") == 5
    assert order.endswith("a" * 14)


def test_what_was_used_before_counts_for_nothing_once_the_queue_was_empty(database: Database) -> None:
    send_batch(database, "a", 30)
    assert taken_owners(database) == "a" * 30
    for _ in range(5):
        send(database, job("b"))
    for _ in range(5):
        send(database, job("a"))
    order = taken_owners(database)
    assert abs(order[:6].count("a") - 3) <= 1, order


def test_sending_one_at_a_time_wins_nothing(database: Database) -> None:
    """A client that sends its next job when the one before has been taken has its share, and no more."""
    send_batch(database, "a", 40)
    order = ""
    for _ in range(20):
        with database.read_transaction() as conn:
            queued = conn.scalar(text("SELECT count(*) FROM jobs WHERE owner = 'b' AND status = 'queued'"))
        if not queued:
            send(database, job("b"))
        order += take(database).owner
    assert 8 <= order.count("b") <= 11, order


def test_priority_is_a_matter_between_a_clients_own_jobs(database: Database) -> None:
    low, high = send(database, job("a")), send(database, job("a", priority=9))
    for _ in range(3):
        send(database, job("a", priority=9))
    other = send(database, job("b"))
    first, second = take(database), take(database)
    assert {first.id, second.id} == {high.id, other.id}
    order = [take(database).id for _ in range(4)]
    assert order[-1] == low.id


def test_the_place_in_the_queue_is_the_order_in_which_jobs_are_taken(database: Database) -> None:
    dice = random.Random(5)
    sent = [send(database, job(dice.choice("abc"), priority=dice.choice((0, 0, 0, 1, 5)))) for _ in range(40)]
    for _ in range(10):
        done = take(database)
        sent = [one for one in sent if one.id != done.id]
    places = {one.id: ahead(database, one) for one in sent}
    order = []
    while (one := take(database)) is not None:
        order.append(one.id)
    assert [places[id] for id in order] == list(range(len(order)))


def test_a_batch_stands_where_the_queue_is_when_it_is_opened(database: Database) -> None:
    send_batch(database, "a", 60)
    many = [job("b", batch_id="late") for _ in range(10)]
    with database.transaction() as conn:
        batches.insert_chunk(conn, [(one, b"x") for one in many], PLENTY)
    for _ in range(30):
        assert take(database).owner == "a"
    with database.transaction() as conn:
        batches.commit_batch(conn, "b", "late", NOW)
    order = "".join(take(database).owner for _ in range(20))
    assert 9 <= order.count("b") <= 10, order
    assert "bbb" not in order


def test_a_full_queue_shuts_out_only_those_who_fill_it(database: Database) -> None:
    bounds = QueueLimits(20, 1000)
    for _ in range(20):
        send(database, job("a"), bounds)
    with pytest.raises(QueueFull) as e:
        send(database, job("a"), bounds)
    assert e.value.retry_after == bounds.retry_after
    for _ in range(2):
        send(database, job("b"), bounds)
    with pytest.raises(QueueFull):
        send(database, job("b"), bounds)
    with pytest.raises(QueueFull, match="bytes"):
        send(database, job("c"), QueueLimits(100, 1000), b"x" * 990)
    with pytest.raises(QueueFull):
        send(database, job("c"), QueueLimits(20, 1000), b"x" * 101)


def test_there_is_a_bound_for_all_however_many_clients(database: Database) -> None:
    bounds = QueueLimits(10, 1000)
    accepted = 0
    for n in range(40):
        try:
            send(database, job(f"client-{n}"), bounds)
            accepted += 1
        except QueueFull:
            pass
    assert accepted == 20


def test_workers_that_take_jobs_at_once_take_different_ones(database: Database) -> None:
    for owner in "abc":
        send_batch(database, owner, 10)
    send(database, job("a", priority=9))
    with ThreadPoolExecutor(4) as threads:
        taken = [one.id for one in threads.map(lambda _: take(database, end=False), range(40)) if one is not None]
    while (one := take(database, end=False)) is not None:  # two that look at the same instant may find nothing
        taken.append(one.id)
    assert len(taken) == len(set(taken)) == 31


def test_what_was_queued_before_the_update_keeps_its_order(database: Database) -> None:
    with database.transaction() as conn:
        migrations.downgrade(conn, "0003")
        for n, (owner, priority) in enumerate([("a", 0), ("a", 0), ("b", 0), ("a", 5)]):
            conn.execute(
                text(
                    "INSERT INTO jobs (id, owner, created_at, status, priority, wanted, size, attempts) "
                    "VALUES (:id, :owner, :at, 'queued', :priority, '{}', 1, 0)"
                ),
                {"id": str(n), "owner": owner, "priority": priority, "at": NOW.replace(tzinfo=None) if database.sqlite else NOW},
            )
            values = {"id": str(n), "owner": owner, "data": b"x"}
            conn.execute(text("INSERT INTO job_inputs VALUES (:id, :owner, :data)"), values)
        migrations.upgrade(conn)
    assert [take(database).id for _ in range(4)] == ["2", "3", "0", "1"]
    assert take(database) is None
