"""Nothing leaves the building: page and API work without a route, and with one, nothing goes out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = Path(__file__).parent / "support" / "offline_probe.py"


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not can_make_namespaces(), reason="needs root, unshare and ip (iproute2) to make a network namespace"),
]


def probe(mode: str) -> dict:
    done = subprocess.run(["unshare", "-n", sys.executable, str(PROBE), mode], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_page_and_api_work_without_a_route() -> None:
    seen = probe("none")
    assert (seen["page"], seen["docs"], seen["ocr"]) == (200, 200, 200)
    assert "36.80" in seen["fields"]["total_amount"]


def test_nothing_tries_to_leave_where_it_could() -> None:
    seen = probe("watched")
    own, rest = seen["packets"][:1], seen["packets"][1:]
    assert own
    assert "192.0.2.1" in own[0]
    assert "probe" in own[0]  # the watch sees what leaves
    assert rest == []
    assert seen["ocr"] == 200
