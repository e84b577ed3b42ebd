"""So many frames a second, by the camera's own clock."""

from __future__ import annotations

from typing import Any

import pytest

from hunyuanocr.services.camera.rate_limit import FrameRateLimiter


def taken(sampler: FrameRateLimiter, stamps: list[Any], arrivals: list[Any] | None = None) -> list[int]:
    arrivals = stamps if arrivals is None else arrivals
    return [n for n, (stamp, now) in enumerate(zip(stamps, arrivals, strict=True)) if sampler.accept(stamp, now)]


def test_twelve_frames_at_sixty_a_second() -> None:
    assert taken(FrameRateLimiter(15), [n / 60 for n in range(12)]) == [0, 4, 8]


@pytest.mark.parametrize("fps", [5, 10, 15, 16, 20, 24, 25, 29.97, 30, 50, 60, 120])
def test_the_rate_is_kept_on_the_average_whatever_the_camera_sends(fps: float) -> None:
    count = len(taken(FrameRateLimiter(15), [n / fps for n in range(int(fps * 20))]))
    assert count == pytest.approx(20 * min(15, fps), rel=0.02)


def test_the_cameras_clock_counts_and_not_the_arrival() -> None:
    stamps = [n / 60 for n in range(60)]
    assert len(taken(FrameRateLimiter(15), stamps, [0.0] * 60)) == 15, "all came at once"


def test_a_pause_is_not_made_up_for() -> None:
    sampler = FrameRateLimiter(10)
    assert taken(sampler, [0.0, 10.0, 10.01, 10.02, 10.1]) == [0, 1, 4]


def test_milliseconds_are_understood() -> None:
    start = 1_795_000_000_000
    assert taken(FrameRateLimiter(15), [start + 1000 * n / 60 for n in range(12)], [n / 60 for n in range(12)]) == [0, 4, 8]


def test_a_missing_timestamp_is_the_arrival() -> None:
    sampler = FrameRateLimiter(10)
    assert [sampler.accept(None, n / 20) for n in range(6)] == [True, False, True, False, True, False]


def test_a_clock_that_is_set_back_does_not_stop_the_camera() -> None:
    sampler = FrameRateLimiter(10)
    assert taken(sampler, [1000.0, 1000.1, 5.0, 5.02, 5.1], [0, 0.1, 0.2, 0.22, 0.3]) == [0, 1, 2, 4]


def test_a_clock_that_stands_still_does_not_stop_the_camera() -> None:
    sampler = FrameRateLimiter(10)
    assert taken(sampler, [0.0] * 50, [n / 10 for n in range(50)]) == [0, 20, 40]


def test_a_frame_out_of_order_is_not_a_clock_that_was_set() -> None:
    assert taken(FrameRateLimiter(10), [1.0, 0.95, 1.1]) == [0, 2]
