"""Frames of a camera: every one answered once, the latest first, nothing read twice."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hunyuanocr.config import CameraSettings, PipelineSettings, Settings
from hunyuanocr.errors import BackendFailed, TooManyCameras, UnreadableImage
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.camera import (
    CameraConnection,
    CameraService,
    Frame,
    FrameDelta,
    FrameFailed,
    FrameReply,
    FrameResult,
    FrameSkipped,
)
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.types import Result, TaskKind
from tests.support.fake_backend import FakeBackend, wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kept(Recorder):
    """Keeps results in a list instead of a database."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(None, settings)
        self.results: list[tuple[Result, dict]] = []

    async def record(self, result: Any, **extra: Any) -> Any:
        self.results.append((result, extra))
        return result


class House:
    def __init__(self, reader: FakeBackend, **camera: Any) -> None:
        self.reader, self.clock = reader, Clock()
        self.settings = Settings(camera=CameraSettings(**camera), pipeline=PipelineSettings(cache_mb=0))
        self.pipeline = Pipeline(reader, self.settings)
        self.recorder = Kept(self.settings)
        self.cameras = CameraService(self.pipeline, self.settings, self.recorder, self.clock)

    def open(self, session: str | None = None, owner: str = "local") -> tuple[CameraConnection, list[FrameReply]]:
        reported: list[FrameReply] = []
        return self.cameras.open(owner, session, reported.append), reported


@pytest.fixture
def reader() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def house(reader: FakeBackend) -> AsyncIterator[House]:
    house = House(reader)
    await house.pipeline.start()
    yield house
    await house.pipeline.close()
    house.cameras.close()


def card(bars: int) -> bytes:
    """So many black bars on white paper: each number is another scene."""
    paper = np.full((96, 160, 3), 255, np.uint8)
    for n in range(bars):
        paper[20:76, 8 + 9 * n : 12 + 9 * n] = 0
    out = io.BytesIO()
    Image.fromarray(paper).save(out, "PNG")
    return out.getvalue()


def frame(id: int, bars: int, seconds: float | None = None) -> Frame:
    return Frame(id, float(id) if seconds is None else seconds, lambda: card(bars))


def answers(reported: list[FrameReply]) -> list[FrameReply]:
    return [reply for reply in reported if not isinstance(reply, FrameDelta)]


def brief(reply: FrameReply) -> tuple:
    if isinstance(reply, FrameResult):
        return reply.frame, "unchanged" if reply.unchanged else "read"
    return (reply.frame, reply.reason.value) if isinstance(reply, FrameSkipped) else (reply.frame, "failed")


async def test_a_scene_is_read_once_and_again_when_it_changes(house: House) -> None:
    camera, reported = house.open()
    for id, bars in enumerate((1, 1, 1, 2, 2, 1)):
        camera.submit(frame(id, bars))
        await wait_until(partial(lambda id: len(answers(reported)) == id + 1, id))
    assert [brief(r) for r in answers(reported)] == [
        (0, "read"),
        (1, "unchanged"),
        (2, "unchanged"),
        (3, "read"),
        (4, "unchanged"),
        (5, "read"),
    ]
    assert isinstance(reported[0], FrameDelta), "text comes while it is written"
    results = [r.result for r in answers(reported)]
    assert results[0] == results[1] == results[2] != results[3]
    assert house.reader.ended == 3
    assert [r.id for r, _ in house.recorder.results] == [results[n].id for n in (0, 3, 5)], "what is not read is not recorded"
    assert house.recorder.results[0][1] == {"owner": "local", "source": "ws", "instruction": "", "device": None, "image": card(1)}


async def test_a_slow_reader_gets_the_latest_frame(house: House, reader: FakeBackend) -> None:
    reader.gate = asyncio.Event()
    camera, reported = house.open()
    camera.submit(frame(0, 1))
    await wait_until(lambda: reader.begun == 1)
    for id in range(1, 6):
        camera.submit(frame(id, id + 1))
        await wait_until(partial(lambda id: camera.waiting is not None and camera.waiting.frame.id == id, id))
    reader.gate.set()
    await wait_until(lambda: len(answers(reported)) == 6)
    found = dict(map(brief, answers(reported)))
    assert found == {0: "read", 1: "superseded", 2: "superseded", 3: "superseded", 4: "superseded", 5: "read"}


async def test_frames_that_come_faster_than_they_are_looked_at_supersede_one_another(house: House) -> None:
    camera, reported = house.open()
    for id in range(10):
        camera.submit(frame(id, id))
    await wait_until(lambda: len(answers(reported)) == 10)
    found = [brief(r) for r in answers(reported)]
    assert dict(found)[9] == "read", "the latest is never dropped"
    assert Counter(id for id, _ in found) == Counter(range(10))


async def test_a_frame_that_waited_for_what_it_shows_is_not_read_again(house: House, reader: FakeBackend) -> None:
    reader.gate = asyncio.Event()
    camera, reported = house.open()
    camera.submit(frame(0, 1))
    await wait_until(lambda: reader.begun == 1)
    camera.submit(frame(1, 1))
    await wait_until(lambda: camera.waiting is not None)
    reader.gate.set()
    await wait_until(lambda: len(answers(reported)) == 2)
    assert [brief(r) for r in answers(reported)] == [(0, "read"), (1, "unchanged")]
    assert reader.begun == 1


async def test_frames_that_wait_for_a_slow_reader_are_not_decoded_before_their_turn(house: House, reader: FakeBackend) -> None:
    reader.gate = asyncio.Event()
    camera, reported = house.open()
    camera.submit(frame(0, 1))
    await wait_until(lambda: reader.begun == 1)
    camera.submit(frame(1, 2))
    await wait_until(lambda: camera.waiting is not None)
    decoded: list[int] = []

    def load(id: int, data: bytes) -> bytes:
        decoded.append(id)
        return data

    for id in range(2, 9):
        camera.submit(Frame(id, float(id), partial(load, id, card(1) if id == 8 else b"damaged")))
    reader.gate.set()
    await wait_until(lambda: len(answers(reported)) == 9)
    assert decoded == [8]
    assert sorted(map(brief, answers(reported))) == [(0, "read"), *((id, "superseded") for id in range(1, 8)), (8, "unchanged")]


async def test_sampling_is_by_the_frames_own_time(house: House) -> None:
    camera, reported = house.open()
    for n in range(12):
        camera.submit(frame(n, 1, n / 60))
    await wait_until(lambda: len(answers(reported)) == 12)
    assert [r.frame for r in reported if isinstance(r, FrameSkipped) and r.reason == "sampled"] == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    camera.configure(rate=100.0)
    assert camera.session.rate_limiter.rate == 15.0, "the setting is the most"


async def test_frames_of_all_cameras_together_have_a_bound(house: House, reader: FakeBackend) -> None:
    """Large frames that wait for a slow backend: those beyond the budget are refused, and the budget is freed afterwards."""
    reader.gate = asyncio.Event()
    memory = house.cameras.frame_budget
    big, cameras = memory.capacity // 4, [house.open() for _ in range(6)]
    for n, (camera, _) in enumerate(cameras[:4]):
        camera.submit(Frame(n, 0.0, partial(card, n + 1), big))
    assert memory.used == memory.capacity
    camera, reported = cameras[4]
    camera.submit(Frame(4, 0.0, partial(card, 5), big))
    assert [brief(r) for r in reported] == [(4, "no_room")]
    camera, reported = cameras[3]
    camera.submit(Frame(40, 1.0, partial(card, 6), big))
    assert [brief(r) for r in reported] == [(3, "superseded")], "its own older one gave way"
    camera, reported = cameras[5]
    await camera.close()
    reader.gate.set()
    await wait_until(lambda: all(answers(reported) for _, reported in cameras[:4]))
    await wait_until(lambda: memory.used == 0)
    camera, reported = cameras[4]
    camera.submit(Frame(41, 1.0, partial(card, 5), big))
    await wait_until(lambda: len(answers(reported)) == 2)
    assert brief(answers(reported)[1]) == (41, "read")


async def test_a_camera_that_leaves_gives_its_room_back(house: House, reader: FakeBackend) -> None:
    reader.gate = asyncio.Event()
    camera, _ = house.open()
    for n in range(3):
        camera.submit(Frame(n, float(n), partial(card, n + 1), 1000))
    await wait_until(lambda: house.cameras.frame_budget.used >= 1000)
    await camera.close()
    await wait_until(lambda: house.cameras.frame_budget.used == 0)


async def test_damage_and_failures_are_the_frames_own(house: House, reader: FakeBackend) -> None:
    camera, reported = house.open()
    camera.submit(Frame(0, 0.0, lambda: b"\xff\xd8\xff broken"))
    await wait_until(lambda: len(reported) == 1)
    assert isinstance(reported[0], FrameFailed)
    assert isinstance(reported[0].error, UnreadableImage)
    reader.fault = lambda: ValueError("a secret")
    camera.submit(frame(1, 1))
    await wait_until(lambda: len(answers(reported)) == 2)
    assert isinstance(answers(reported)[1].error, BackendFailed)
    reader.fault = None
    camera.submit(frame(2, 1))
    await wait_until(lambda: len(answers(reported)) == 3)
    assert brief(answers(reported)[2]) == (2, "read"), "a failure is nobody's last result"


async def test_a_frame_too_long_is_refused(reader: FakeBackend) -> None:
    house = House(reader, max_bytes=1024)
    await house.pipeline.start()
    camera, reported = house.open()
    camera.submit(Frame(0, 0.0, lambda: b"\xff\xd8\xff" + bytes(2000)))
    await wait_until(lambda: len(reported) == 1)
    assert reported[0].error.code == "image_too_large"
    await house.pipeline.close()


async def test_another_question_is_another_reading(house: House) -> None:
    camera, reported = house.open()
    camera.submit(frame(0, 1))
    await wait_until(lambda: len(answers(reported)) == 1)
    camera.configure(parse_instruction("提取总金额"))
    camera.submit(frame(1, 1))
    await wait_until(lambda: len(answers(reported)) == 2)
    assert [brief(r) for r in answers(reported)] == [(0, "read"), (1, "read")]
    assert answers(reported)[1].result.task is TaskKind.EXTRACT
    camera.configure(parse_instruction("提取总金额"))  # the same
    camera.submit(frame(2, 1))
    await wait_until(lambda: len(answers(reported)) == 3)
    assert brief(answers(reported)[2]) == (2, "unchanged")


async def test_a_question_that_changes_while_a_frame_is_read_does_not_keep_the_old_answer(
    house: House, reader: FakeBackend
) -> None:
    reader.gate = asyncio.Event()
    camera, reported = house.open()
    camera.submit(frame(0, 1))
    await wait_until(lambda: reader.begun == 1)
    camera.configure(parse_instruction("total"))
    reader.gate.set()
    await wait_until(lambda: len(answers(reported)) == 1)
    assert camera.session.last is None
    camera.submit(frame(1, 1))
    await wait_until(lambda: len(answers(reported)) == 2)
    assert answers(reported)[1].result.task is TaskKind.EXTRACT


async def test_a_camera_that_goes_ends_its_work_and_leaves_the_turns_to_others(house: House, reader: FakeBackend) -> None:
    reader.gate = asyncio.Event()
    first, reported = house.open()
    first.submit(frame(0, 1))
    await wait_until(lambda: reader.begun == 1)
    second, others = house.open()
    second.submit(frame(0, 2))
    await first.close()
    assert reader.cancelled == 1
    reader.gate.set()
    await wait_until(lambda: len(answers(others)) == 1)
    assert reported == []
    assert house.cameras.sessions.open == 1


async def test_every_camera_has_its_turn(house: House, reader: FakeBackend) -> None:
    reader.seconds = 0.002
    cameras = [house.open() for _ in range(10)]
    for id in range(30):
        for n, (camera, _) in enumerate(cameras):
            camera.submit(frame(id, 1 + (id + n) % 15))
        await asyncio.sleep(0.002)
    await wait_until(lambda: all(len(answers(reported)) == 30 for _, reported in cameras))
    for _, reported in cameras:
        assert Counter(r.frame for r in answers(reported)) == Counter(range(30))
        assert dict(map(brief, answers(reported)))[29] in ("read", "unchanged"), "the latest is never dropped"
    reads = [sum(brief(r)[1] == "read" for r in answers(reported)) for _, reported in cameras]
    assert max(reads) <= min(reads) + 3, reads


async def test_a_session_is_resumed_for_a_minute(house: House) -> None:
    first, reported = house.open("till-4711")
    first.configure(parse_instruction("total"))
    first.submit(frame(0, 1))
    await wait_until(lambda: len(answers(reported)) == 1)
    await first.close()
    house.clock.now += 59
    again, reported = house.open("till-4711")
    assert again.session.resumed
    again.submit(frame(1, 1))
    await wait_until(lambda: len(answers(reported)) == 1)
    assert brief(reported[0]) == (1, "unchanged")
    stranger, _ = house.open("till-4711", owner="another")
    assert not stranger.session.resumed
    await again.close()
    await stranger.close()
    house.clock.now += 61
    late, _ = house.open("till-4711")
    assert not late.session.resumed
    assert late.session.last is None
    assert len(house.cameras.sessions) == 1, "what nobody came back to is forgotten"


async def test_sessions_that_nobody_holds_are_bounded(reader: FakeBackend) -> None:
    house = House(reader, connections=3)
    for n in range(10):
        camera, _ = house.open(f"till-{n:04}")
        await camera.close()
        house.clock.now += 1
    assert len(house.cameras.sessions) <= 4
    latest, _ = house.open("till-0009")
    assert latest.session.resumed, "the oldest go first"


async def test_a_connection_that_dies_late_does_not_take_the_session_with_it(house: House) -> None:
    old, _ = house.open("till-4711")
    new, reported = house.open("till-4711")
    assert new.session is old.session
    await old.close()
    house.clock.now += 1000
    another, _ = house.open("till-4712")
    new.submit(frame(0, 1))
    await wait_until(lambda: len(answers(reported)) == 1)
    assert len(house.cameras.sessions) == 2
    await another.close()


async def test_so_many_cameras_and_no_more(reader: FakeBackend) -> None:
    house = House(reader, connections=2)
    first, _ = house.open()
    house.open()
    with pytest.raises(TooManyCameras):
        house.open()
    await first.close()
    house.open()
