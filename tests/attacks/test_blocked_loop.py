"""SIGTERM ends the process within the grace period and a margin, also where something blocks the event loop."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.exit_watchdog import MARGIN_S
from tests.support.appliance import appliance

GRACE_S = 0.5
PROGRAM = (sys.executable, "-m", "tests.attacks.blocked_program", str(GRACE_S))


def seconds_to_end(how: Any, signals: list[Any], data: Path) -> Any:
    """From the first signal to the end of a program whose loop is blocked in this way; and what it has printed."""
    with appliance(program=PROGRAM, HUNYUANOCR_DATA=str(data)) as running:
        running.until_ready()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{running.api}/block/{how}", timeout=0.5)
        began = time.monotonic()
        for number in signals:
            running.process.send_signal(number)
            time.sleep(0.2)  # two that are pending at once are one
        assert running.process.wait(GRACE_S + MARGIN_S + 15) == 1
        took = time.monotonic() - began
    return took, "".join(running.printed)


def test_a_second_signal_ends_a_blocked_program_soon(tmp_path: Path) -> None:
    took, printed = seconds_to_end("digest", [signal.SIGTERM] * 2, tmp_path)
    assert took < 8.0
    assert "blocked_program.py" in printed, "it says what blocked it"


@pytest.mark.long
@pytest.mark.parametrize("how", ["sleep", "digest", "device", "pattern"])
def test_one_signal_is_enough(how: str, tmp_path: Path) -> None:
    took, _ = seconds_to_end(how, [signal.SIGTERM], tmp_path)
    assert GRACE_S + MARGIN_S - 1 < took < GRACE_S + MARGIN_S + 3
