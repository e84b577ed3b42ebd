"""How vLLM would be started: flags and environment as a pure function of the settings, the card and the model's folder."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.backends.vllm_server import command
from hunyuanocr.backends.vllm_server.command import Gpu
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import ConfigError, MissingDependency
from tests.support.appliance import ROOT

CARD = Gpu(1, 24 * 2**30)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PYTHON", Path(sys.executable))


def settings(**torch: Any) -> Settings:
    return Settings(torch=TorchSettings(**torch))


def flags(given: Settings, folder: Path = Path("/models/x"), gpu: Gpu | None = CARD) -> dict[Any, Any]:
    words = command.build_command(given, folder, "x", Path("/home"), gpu)
    return dict(zip(words, [*words[1:], ""], strict=True))


def test_the_share_of_the_card_is_worked_out_from_its_real_size() -> None:
    assert float(flags(settings(vram_gb=8))["--gpu-memory-utilization"]) == pytest.approx(8e9 / (24 * 2**30), abs=1e-4)
    assert float(flags(settings(vram_gb=8), gpu=Gpu(0, 10**10))["--gpu-memory-utilization"]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("gigabytes", "card", "words"),
    [
        (3.9, CARD, "requires 4 GB"),
        (26, CARD, "has 25.8 GB, less than"),
        (8, Gpu(0, 8 * 10**9), "less than --vram-gb 8"),
    ],
)
def test_memory_that_cannot_do_is_reported(gigabytes: float, card: Gpu, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as reported:
        flags(settings(vram_gb=gigabytes), gpu=card)
    assert "--vram-gb" in reported.value.hint


def test_pictures_come_once_and_the_answer_is_dense() -> None:
    given = flags(settings())
    assert "--no-enable-prefix-caching" in given
    assert given["--mm-processor-cache-gb"] == "0"
    assert json.loads(given["--limit-mm-per-prompt"]) == {"image": command.MAX_IMAGES}
    assert json.loads(given["--structured-outputs-config"])["disable_any_whitespace"]
    assert (given["--dtype"], given["--uds"], given["--model"]) == ("float16", "/home/socket", "/home/model")
    assert flags(settings(dtype="bfloat16"))["--dtype"] == "bfloat16"


def test_without_a_card_it_computes_in_float32_without_graphs() -> None:
    given = flags(settings(), gpu=None)
    assert "--enforce-eager" in given
    assert given["--dtype"] == "float32"
    assert "--gpu-memory-utilization" not in given


@pytest.mark.parametrize(
    ("gigabytes", "folder", "card", "writes_ahead"),
    [
        (5.0, True, CARD, True),
        (4.9, True, CARD, False),
        (8.0, False, CARD, False),
        (8.0, True, None, False),
    ],
)
def test_the_draft_model_needs_its_folder_room_and_a_card(
    tmp_path: Path, gigabytes: float, folder: bool, card: Gpu | None, writes_ahead: bool
) -> None:
    if folder:
        (tmp_path / "dflash").mkdir()
    given = flags(settings(vram_gb=gigabytes), tmp_path, card)
    assert ("--speculative-config" in given) == writes_ahead
    if writes_ahead:
        draft = json.loads(given["--speculative-config"])
        assert draft == {"method": "dflash", "model": str(tmp_path / "dflash"), "num_speculative_tokens": 15}
    runner = command.environment(settings(vram_gb=gigabytes), tmp_path, card).get("VLLM_USE_V2_MODEL_RUNNER")
    assert runner == (None if writes_ahead else "0")


def test_nothing_phones_home_and_nothing_of_ours_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_KEY", "x")
    monkeypatch.setenv("VLLM_API_KEY", "x")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = command.environment(settings(), Path("/models/x"), CARD)
    assert not {"HUNYUANOCR_KEY", "VLLM_API_KEY", "PYTHONPATH"} & set(found)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
        assert found[name] == "1"
    assert found["PATH"] == os.environ["PATH"]
    assert (found["CUDA_VISIBLE_DEVICES"], found["CUDA_DEVICE_ORDER"]) == ("1", "PCI_BUS_ID")


@pytest.mark.parametrize(("gigabytes", "cache"), [(5, "1"), (8, "4"), (3, "1"), (12.9, "8")])
def test_on_a_cpu_what_the_weights_leave_is_cache(gigabytes: float, cache: str) -> None:
    found = command.environment(settings(vram_gb=gigabytes), Path("/models/x"), None)
    assert (found["VLLM_CPU_KVCACHE_SPACE"], found["CUDA_VISIBLE_DEVICES"]) == (cache, "")


def test_weights_that_are_none_of_the_models_are_left_out(tmp_path: Path) -> None:
    folder, home = tmp_path / "m", tmp_path / "home"
    home.mkdir()
    (folder / "dflash").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "reading.safetensors", "dflash/model.safetensors"):
        (folder / name).touch()
    for _ in range(2):  # every start
        (home / "socket").touch()
        command.prepare_home(folder, home)
        assert {entry.name for entry in (home / "model").iterdir()} == {"config.json", "model.safetensors", "dflash"}
        assert not (home / "socket").exists()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    command.prepare_home(folder, home)
    assert "model-00001-of-00001.safetensors" in {entry.name for entry in (home / "model").iterdir()}, "an index names these"
    assert (folder / "dflash" / "model.safetensors").exists(), "what is removed are links"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A stand-in for the driver's program with a given output."""

    def says(words: str, status: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{words}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return says


def test_cards_are_found(nvidia_smi: Callable[..., Any]) -> None:
    nvidia_smi("24564\\n16376\\n")
    assert command.find_gpu("auto") == command.find_gpu("cuda") == command.find_gpu("cuda:0") == Gpu(0, 24564 * 2**20)
    assert command.find_gpu("cuda:1") == Gpu(1, 16376 * 2**20)
    assert command.find_gpu("cpu") is None
    with pytest.raises(ConfigError, match="lists 2 GPUs"):
        command.find_gpu("cuda:2")


@pytest.mark.parametrize(("words", "status"), [("", 9), ("No devices were found\\n", 6), ("[N/A]\\n", 0)])
def test_without_cards_auto_is_the_cpu(nvidia_smi: Callable[..., Any], words: str, status: int) -> None:
    nvidia_smi(words, status)
    assert command.find_gpu("auto") is None
    with pytest.raises(ConfigError, match="lists 0 GPUs"):
        command.find_gpu("cuda")


def test_vllm_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PYTHON", Path("/no/python"))
    with pytest.raises(MissingDependency) as reported:
        flags(settings())
    assert "launch_vllm.sh" in reported.value.hint


def test_both_environments_scale_pictures_with_one_pillow() -> None:
    """13 scales with rows and columns in another order than 12, and the engines would see other pixels."""

    def pinned(name: str) -> str:
        rows = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return next(row for row in rows if row.lower().startswith("pillow=="))

    assert pinned("constraints.txt") == pinned("constraints-vllm.txt")
