"""Which reader serves, and why; how many CPUs it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hunyuanocr import backends
from hunyuanocr.backends import create_backend, has_gpu
from hunyuanocr.backends.base import BackendName
from hunyuanocr.backends.ppocr.cpus import usable_cpus
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError


def test_asked_for() -> None:
    backend, why = create_backend(Settings(backend="ppocr"))
    assert backend.name is BackendName.PPOCR
    assert "asked for" in why


@pytest.mark.parametrize("name", ["torch", "vllm"])
def test_readers_of_later_versions_are_refused_plainly(name: str) -> None:
    with pytest.raises(ConfigError, match="CPU reader only") as refusal:
        create_backend(Settings(backend=name))  # type: ignore[arg-type]
    assert refusal.value.hint == "--backend ppocr"


def test_auto_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, why = create_backend(Settings(model_path=tmp_path / "none"))
    assert "no folder of weights" in why
    monkeypatch.setattr(backends, "has_gpu", lambda: False)
    assert "no NVIDIA GPU" in create_backend(Settings(model_path=tmp_path))[1]
    monkeypatch.setattr(backends, "has_gpu", lambda: True)
    assert "no GPU reader yet" in create_backend(Settings(model_path=tmp_path))[1]


def test_gpu_is_told_by_its_device_file_or_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(tmp_path)  # the driver without a device
    (tmp_path / "nvidia0").touch()
    assert has_gpu(tmp_path)


def test_the_factory_loads_no_engine() -> None:
    code = (
        "import sys; from hunyuanocr.backends import create_backend; from hunyuanocr.config import Settings;"
        "create_backend(Settings());"
        "print([m for m in ('cv2', 'openvino', 'onnxruntime', 'torch', 'rapidocr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no package for this processor")
def test_the_reader_imports_openvino_without_its_telemetry() -> None:
    code = (
        "import sys, hunyuanocr.backends.ppocr.engine_openvino, openvino;"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry') and sys.modules[m] is not None])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def group(root: Path, path: str, quota: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(quota)


def test_cpus_by_affinity_and_quota(tmp_path: Path) -> None:
    mine = len(os.sched_getaffinity(0))
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    assert usable_cpus(tmp_path, own) == mine  # no groups at all
    group(tmp_path, "a/b", "max 100000")
    assert usable_cpus(tmp_path, own) == mine
    group(tmp_path, "a", "50000 100000")  # half a CPU, set further up
    assert usable_cpus(tmp_path, own) == 1
    group(tmp_path, "a", "10000000 100000")  # more than there are
    assert usable_cpus(tmp_path, own) == mine


def test_cpus_by_the_older_control_groups(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert usable_cpus(tmp_path, tmp_path / "none") == 1
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert usable_cpus(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))
