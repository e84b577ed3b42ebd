"""launch_vllm.sh: what it installs and when. pip is replaced; tests/backends/vllm_server runs it with the real vLLM."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import ROOT
from tests.test_launch import FAKE, program

COPIED = ("launch_vllm.sh", "pyproject.toml", "constraints.txt", "constraints-vllm.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "the clinic"
    home.mkdir()
    for name in COPIED:
        shutil.copy(ROOT / name, home / name)
    shutil.copytree(ROOT / "scripts", home / "scripts")
    (home / "app_web.py").write_text("")
    return home


@pytest.fixture
def launch(folder: Any, tmp_path: Any) -> Callable[..., Any]:
    """Starts it with a Python whose pip is a stand-in; returns what pip was asked for, and the finished process."""
    program(tmp_path / "fake", "python3.11", FAKE)
    log = tmp_path / "pip.log"

    def go(*arguments: Any, status: int = 0, gpu: bool = False, megabytes: int = 90000, **environment: Any) -> Any:
        program(tmp_path / "fake", "nvidia-smi", "exit 0\n" if gpu else "exit 9\n")
        program(tmp_path / "fake", "df", f"echo Filesystem; echo '/dev/x 99999 9 {megabytes} 9% /'\n")
        log.write_text("")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HUNYUANOCR_")}
        path = {"PATH": f"{tmp_path / 'fake'}:{os.environ['PATH']}", "PIP_LOG": str(log)}
        command = ["bash", str(folder / "launch_vllm.sh"), *arguments, "--port", "0", "--api-port", "0"]
        done = subprocess.run(command, cwd="/", env=clean | path | environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == status, done.stderr
        return log.read_text(), done

    return go


def test_the_first_start_makes_both_environments_and_the_second_installs_nothing(
    folder: Path, launch: Callable[..., Any]
) -> None:
    asked, done = launch("--model-path", "m")
    ours, pins, plugin = (line.partition("pip install ")[2] for line in asked.splitlines())
    assert ours.endswith(f"-e {folder} -c {folder}/constraints.txt"), "without the extra [torch]"
    assert pins.endswith(f"--no-deps -r {folder}/constraints-vllm.txt")
    assert "--no-deps --force-reinstall" in plugin
    assert done.stdout.splitlines()[-1].startswith("served --backend vllm --model-path m")
    assert launch()[0] == ""


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--vllm-url", "http://a:8000"), {}),
        (("--vllm-url=http://a",), {}),
        ((), {"HUNYUANOCR_VLLM__URL": "http://a"}),
        (("--help",), {}),
    ],
)
def test_a_server_elsewhere_needs_no_vllm_here(
    folder: Path, launch: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, Any]
) -> None:
    asked, done = launch(*arguments, **environment)
    assert len(asked.splitlines()) == 1
    assert "served --backend vllm" in done.stdout
    assert not (folder / ".venv-vllm").exists()


@pytest.mark.parametrize("name", ["constraints-vllm.txt", "scripts/vllm_plugin/hunyuanocr_vllm_plugin.py"])
def test_what_has_changed_is_installed_again(folder: Path, launch: Callable[..., Any], name: str) -> None:
    launch()
    with (folder / name).open("a") as file:
        file.write("\n")
    assert len(launch()[0].splitlines()) == 2, "pins and plugin; nothing of .venv"
    assert launch()[0] == ""


def test_an_interrupted_installation_is_begun_afresh(folder: Path, launch: Callable[..., Any]) -> None:
    launch()
    (folder / ".venv-vllm" / ".installing").touch()
    (folder / ".venv-vllm" / "half").touch()
    asked, done = launch()
    assert "interrupted" in done.stdout
    assert len(asked.splitlines()) == 2
    assert not (folder / ".venv-vllm" / "half").exists()


def test_a_failed_installation_is_reported_and_tried_again(folder: Path, launch: Callable[..., Any]) -> None:
    launch("--vllm-url", "http://a")  # .venv
    _, done = launch(status=2, PIP_FAILS="1")
    assert "vLLM could not be installed" in done.stderr
    assert "served" not in done.stdout
    assert len(launch()[0].splitlines()) == 2


def test_with_a_gpu_it_is_the_vllm_for_it_and_the_transformers_that_know_the_model(
    folder: Path, launch: Callable[..., Any]
) -> None:
    asked, _ = launch(gpu=True)
    _, package, transformers, _ = asked.splitlines()
    assert package.endswith("vllm==0.32.0")
    assert "--no-deps transformers==" in transformers


@pytest.mark.parametrize(("gpu", "megabytes", "needed"), [(False, 3400, "3500 MB"), (True, 23000, "24000 MB")])
def test_a_disk_that_is_too_small_is_reported_with_the_way_round(
    folder: Path, launch: Callable[..., Any], gpu: bool, megabytes: int, needed: str
) -> None:
    launch("--vllm-url", "http://a")
    asked, done = launch(status=2, gpu=gpu, megabytes=megabytes)
    assert asked == ""
    assert f"{needed} required" in done.stderr
    assert "launch_web_pt.sh" in done.stderr
    assert not (folder / ".venv-vllm").exists()
