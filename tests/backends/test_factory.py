"""Which reader serves, and why; how many CPUs it takes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hunyuanocr import backends
from hunyuanocr.backends import create_backend, create_evidence_backend, has_gpu
from hunyuanocr.backends.base import BackendName
from hunyuanocr.config import PipelineSettings, Settings, load_settings
from hunyuanocr.cpu_count import usable_cpus
from hunyuanocr.errors import ConfigError, MissingDependency, WeightsInvalid, WeightsMissing
from hunyuanocr.types import TaskKind
from tests.support.checkpoints import random_checkpoint


def test_asked_for() -> None:
    backend, why = create_backend(Settings(backend="ppocr"))
    assert backend.name is BackendName.PPOCR
    assert "requested" in why


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("models") / "tiny-hunyuan")


def test_the_model_is_made_without_loading_it(weights: Path) -> None:
    backend, why = create_backend(Settings(backend="torch", model_path=weights, device="cpu"))
    assert (backend.name, backend.model) == (BackendName.TORCH, "tiny-hunyuan")
    assert TaskKind.TRANSLATE in backend.tasks
    assert why == "HunyuanOCR (tiny-hunyuan) runs on the CPU (slow) because it was requested."
    assert not asyncio.run(backend.health()).ready
    asyncio.run(backend.close())


def test_a_model_without_weights_is_reported_at_once(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(WeightsMissing, match="does not exist") as missing:
        create_backend(Settings(backend="torch", model_path=tmp_path / "none"))
    assert "hunyuanocr fetch" in missing.value.hint
    cut = Path(shutil.copytree(weights, tmp_path / "cut"))
    with (cut / "model.safetensors").open("r+b") as f:
        f.truncate(100_000)
    with pytest.raises(WeightsInvalid):
        create_backend(Settings(backend="torch", model_path=cut))
    assert "PP-OCR" in create_backend(Settings(model_path=cut))[1], "auto goes on without"


def test_packages_that_are_not_installed_are_named_with_the_install_line(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "xgrammar" else find_spec(name))
    monkeypatch.setattr(backends, "has_gpu", lambda: True)
    with pytest.raises(MissingDependency, match=r": xgrammar\.") as missing:
        create_backend(Settings(backend="torch", model_path=weights))
    assert "./launch_web_pt.sh --backend torch" in missing.value.hint
    assert ".venv/bin/pip install -e '.[torch]'" in missing.value.hint
    assert "requires packages: xgrammar" in create_backend(Settings(model_path=weights))[1]


@pytest.mark.parametrize("device", ["cuda:99", "cuda:7"])
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(weights: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=device) as refusal:
        create_backend(Settings(backend="torch", model_path=weights, device=device))
    assert "--device cpu" in refusal.value.hint


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:", "cuda:x", "CPU", ""])
def test_a_device_that_cannot_be_is_refused_by_the_settings(device: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        load_settings(device=device)


def test_vllm_needs_its_environment_or_an_address(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hunyuanocr.backends.vllm_server.command.PYTHON", tmp_path / "none")
    with pytest.raises(MissingDependency, match="vLLM is not installed") as missing:
        create_backend(Settings(backend="vllm", model_path=weights))
    assert "./launch_vllm.sh" in missing.value.hint
    with pytest.raises(ConfigError, match="does not exist"):
        create_backend(Settings(backend="vllm", model_path=tmp_path / "none"))
    backend, why = create_backend(load_settings(backend="vllm", vllm={"url": "http://127.0.0.1:9"}))
    assert backend.name == "vllm"
    assert why == "HunyuanOCR runs on the vLLM server at http://127.0.0.1:9."


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", ""])
def test_an_address_that_cannot_be_is_refused_by_the_settings(url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        load_settings(vllm={"url": url})


def test_auto_says_what_is_missing(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, why = create_backend(Settings(model_path=tmp_path / "none"))
    assert why.startswith("PP-OCR runs on the CPU because the model's weights cannot be used: ")
    monkeypatch.setattr(backends, "has_gpu", lambda: False)
    for device in ("auto", "cuda:0"):
        assert "no NVIDIA GPU" in create_backend(Settings(model_path=weights, device=device))[1]
    assert "--device cpu" in create_backend(Settings(model_path=weights, device="cpu"))[1]


def test_auto_takes_the_model_where_pytorch_can_use_the_gpu(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(backends, "has_gpu", lambda: True)
    backend, why = create_backend(Settings(model_path=weights))
    if torch.cuda.is_available():
        assert backend.name is BackendName.TORCH
        assert "on the GPU cuda:0 because its weights and a GPU are available" in why
    else:  # a driver that does not fit, or a build without CUDA
        assert backend.name is BackendName.PPOCR
        assert "PyTorch cannot use the GPU" in why


def test_a_model_gets_a_witness_and_the_cpu_reader_none(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(backend="torch", model_path=weights, device="cpu")
    model, _ = create_backend(settings)
    evidence_reader = create_evidence_backend(settings, model)
    assert evidence_reader is not None
    assert evidence_reader.name is BackendName.PPOCR
    off = Settings(pipeline=PipelineSettings(evidence_backend="off"))
    assert create_evidence_backend(off, model) is None
    assert create_evidence_backend(settings, create_backend(Settings(backend="ppocr"))[0]) is None
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert create_evidence_backend(settings, model) is None
    asyncio.run(model.close())


def test_gpu_is_reported_by_its_device_file_or_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "import sys, hunyuanocr.backends.ppocr.runtime_openvino, openvino;"
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
