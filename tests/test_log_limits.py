"""A flood of lines that are alike is counted, not written; lines that differ are all there."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from hunyuanocr.log_limits import RepeatFilter, limit_errors


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log() -> Iterator[Any]:
    """A logger with a limited handler, what was written, and the clock."""
    clock, written = Clock(), io.StringIO()
    handler = logging.StreamHandler(written)
    limiter = RepeatFilter(handler, clock)
    handler.addFilter(limiter)
    logger = logging.Logger("flooded")
    logger.addHandler(handler)
    yield logger, written, clock, limiter
    handler.close()


def test_a_repeated_warning_is_written_some_times_and_then_counted(log: Any) -> None:
    logger, written, clock, _ = log
    for n in range(5000):
        logger.warning("socket.accept() out of system resource %d", n)
    lines = written.getvalue().splitlines()
    assert len(lines) == 20
    clock.now = 11.0
    logger.warning("something else")
    assert written.getvalue().splitlines()[20:] == [
        "Repeated 4980 more times: socket.accept() out of system resource 0",
        "something else",
    ]
    logger.warning("socket.accept() out of system resource %d", 1)
    assert written.getvalue().endswith("resource 1\n"), "a new window"


def test_failures_at_different_places_are_different(log: Any) -> None:
    logger, written, _, _ = log

    def fail(kind: Any) -> None:
        try:
            raise kind("x")
        except Exception:
            logger.exception("request %s failed", kind)

    for kind in (ValueError, KeyError, TypeError):
        for _ in range(30):
            fail(kind)
    assert written.getvalue().count("request <class") == 60


def test_lines_about_different_requests_are_all_written(log: Any) -> None:
    logger, written, _, _ = log
    for n in range(500):
        logger.info("GET /v1/ocr 200 request=%d", n)
    assert len(written.getvalue().splitlines()) == 500
    for _ in range(500):
        logger.info("the same")
    assert len(written.getvalue().splitlines()) == 520


def test_it_remembers_no_more_than_so_many_kinds_and_counts_at_the_end(log: Any) -> None:
    logger, written, _, limiter = log
    for n in range(3000):
        logger.info("line %d", n)
    assert len(limiter.kinds) <= 1001
    for _ in range(30):
        logger.error("the last")
    limiter.flush()
    assert written.getvalue().splitlines()[-1] == "Repeated 10 more times: the last"


def test_a_handler_that_cannot_write_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(io.StringIO):
        def write(self, _: Any) -> None:
            raise OSError(28, "No space left on device")

    handler = logging.StreamHandler(Broken())
    limit_errors(handler)
    logger = logging.Logger("broken")
    logger.addHandler(handler)
    for n in range(100):
        logger.error("line %d", n)
    said = capsys.readouterr().err
    assert said == "The log cannot be written now: OSError\n"
