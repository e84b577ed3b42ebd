"""The whole appliance with the CPU backend: bundled, carried to a place without any route, installed, and read with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hunyuanocr.bundle import BundleSpec, build, check_archive
from tests.bundle.conftest import ROOT, install, unpack
from tests.test_offline import can_make_namespaces

pytestmark = [
    pytest.mark.long,
    pytest.mark.netns,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not can_make_namespaces(), reason="needs root, unshare and ip (iproute2) to make a network namespace"),
]


def test_the_bundle_installs_and_reads_a_receipt_without_a_route(tmp_path: Path) -> None:
    made = build(tmp_path / "bundle.tar.gz", ROOT, BundleSpec())
    assert made.bytes < 400e6
    check_archive(made.path)
    folder = tmp_path / "a shop"
    done = install(unpack(made.path, tmp_path / "unpacked"), str(folder), seconds=2000)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    command = ["unshare", "-n", sys.executable, "-m", "tests.support.bundle_fixture", str(folder)]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert asked.returncode == 0, asked.stderr[-2000:]
    seen = json.loads(asked.stdout.splitlines()[-1])
    assert seen["routes"] == ""
    assert (seen["page"], seen["docs"], seen["ocr"]) == (200, 200, 200)
    assert "36.80" in seen["fields"]["total_amount"]
    assert "Installing" not in seen["said"], "the launcher found everything in place"
