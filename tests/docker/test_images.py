"""The Dockerfiles, as far as they can be tried without a Docker engine: linted, their files there, their program started."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hunyuanocr.bundle.sbom import installed_dependencies
from tests.docker.dockerfiles import FILES, ROOT, stage
from tests.support.appliance import appliance

CUDA = ("cuda-", "nvidia-")  # what PyTorch's build for CUDA brings, pinned by PyTorch itself; builds for CPUs lack it


def hadolint(*files: Path) -> subprocess.CompletedProcess:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([str(program), *map(str, files)], capture_output=True, text=True, timeout=100)


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    done = hadolint(ROOT / "docker" / "Dockerfile", ROOT / "docker" / "Dockerfile.cpu")
    assert (done.returncode, done.stdout) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN cd /tmp && sudo pip install torch\n")
    assert "DL3007" in hadolint(tmp_path / "Dockerfile").stdout


@pytest.mark.parametrize("image", FILES)
def test_bases_are_pinned_and_nobody_is_root(image: Any) -> None:
    made = stage(image)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", made.arguments["PYTHON_IMAGE"])
    assert made.steps[-1][0] in ("USER", "ENTRYPOINT")
    assert made.last("USER") == "10001:10001"
    assert "HEALTHCHECK" in dict(made.steps)
    assert made.environment()["HUNYUANOCR_SERVER__HOST"] == "0.0.0.0"
    words = " ".join([*made.arguments, *made.environment()]).upper()
    assert not re.search(r"KEY|TOKEN|SECRET|PASSW", words)


@pytest.mark.parametrize("image", FILES)
def test_packages_come_before_the_code(image: Any) -> None:
    """So that a change of the code makes small layers only."""
    steps = stage(image).steps
    code = steps.index(("COPY", "hunyuanocr hunyuanocr"))
    big = [
        n
        for n, (word, rest) in enumerate(steps)
        if word == "RUN" and ("-r /tmp" in rest or "bootstrap_vllm" in rest or "torch==" in rest)
    ]
    assert big
    assert max(big) < code


def shown(path: str) -> bool:
    """Whether .dockerignore lets the builder see it; the patterns that are used there and no more."""
    seen = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern and not pattern.startswith("#"):
            regex = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if re.match(rf"{regex}(/|$)", path):
                seen = line.startswith("!")
    return seen


def test_secrets_and_data_do_not_reach_the_builder() -> None:
    for path in (
        "data/hunyuanocr.db",
        ".git/config",
        ".env",
        "certs/tls.key",
        "hunyuanocr/.env",
        "config.toml",
        ".venv/bin/python",
    ):
        assert not shown(path), path
    assert shown("hunyuanocr/fields/catalogue.toml")


@pytest.mark.parametrize("image", FILES)
def test_everything_that_is_copied_is_there(image: Any) -> None:
    for source, _ in stage(image).copied():
        assert (ROOT / source).exists(), source
        assert shown(source), f"{source} is hidden by .dockerignore"


def pinned() -> dict[str, str]:
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#"))
    return {canonicalize_name(name): number for name, number in (line.split("==") for line in lines)}


def test_pytorch_is_the_pinned_one() -> None:
    assert stage("torch").arguments["TORCH"] == pinned()["torch"]


@pytest.mark.parametrize("image", FILES)
def test_what_the_image_installs_is_pinned_to_the_last_package(image: Any) -> None:
    asked = re.search(r"requirements\.py \. ([a-z ]+)>", " ".join(stage(image).of("RUN")))
    assert asked
    script = [sys.executable, "-I", str(ROOT / "hunyuanocr" / "bundle" / "requirements.py"), str(ROOT), *asked[1].split()]
    lines = subprocess.run(script, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    found = installed_dependencies(lines)
    expected = {canonicalize_name(Requirement(line).name) for line in lines if "platform_machine" not in line}
    assert expected <= set(found), "all of it is installed here, by the same pins"
    loose = {name for name in found if name not in pinned() and not name.startswith(CUDA)}
    assert loose == set()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the CPU image and no others."""
    folder = tmp_path_factory.mktemp("image")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for source, goal in stage("cpu").copied():
        target = folder / goal
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=ignored)
        else:
            target = target / Path(source).name if goal.endswith("/") or goal == "." else target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)
    return folder


def test_the_entry_point_starts_and_the_health_check_tells(tree: Path, tmp_path: Path) -> None:
    made = stage("cpu")
    entry = [sys.executable if part.endswith("/python") else part.replace("/app/", f"{tree}/") for part in made.entry()]
    asked = [sys.executable, "-I", "-S", str(tree / "docker" / "health.py")]
    environment: dict[str, Any] = made.environment() | {
        "HUNYUANOCR_DATA": str(tmp_path / "data"),
        "HUNYUANOCR_SERVER__PAGE": "false",
    }
    with appliance(program=tuple(entry), **environment) as running:
        port = {"HUNYUANOCR_SERVER__API_PORT": running.api.rpartition(":")[2]}
        assert subprocess.run(asked, env=os.environ | port, timeout=120).returncode == 0
        running.until_ready()
        assert httpx.get(f"{running.api}/version", timeout=60).status_code == 200
        assert "Traceback" not in "".join(running.printed)
        assert running.stop() == 0
    assert subprocess.run(asked, env=os.environ | port, timeout=120).returncode == 1


def test_the_health_check_is_the_one_of_the_image(tree: Path) -> None:
    for image in FILES:
        command = stage(image).last("HEALTHCHECK")
        assert '["/app/.venv/bin/python", "-I", "-S", "/app/docker/health.py"]' in command
        assert ("docker/health.py", "docker/") in stage(image).copied()
    assert version("torch").partition("+")[0] == stage("torch").arguments["TORCH"]
