"""The appliance as `./launch_vllm.sh` starts it, in an environment without PyTorch, while its engine is killed under load."""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from demo_model.heldout import page
from demo_model.renderer import faces
from synthesis.fonts import FontsMissing
from tests.backends.vllm_server.conftest import START_S, all_gone, bash, engines, noise, settings_of
from tests.support.appliance import ROOT, Appliance, appliance

pytestmark = pytest.mark.timeout(2400)
DEMO = ROOT / "models" / "hunyuanocr-demo"
READ = {"instruction": "", "task": "read", "evidence": "none"}
CLIENTS = 6
DEADLINE_S = 200
RETRYABLE = {429, 503, 504}
TORCH = {
    "torch",
    "torchgen",
    "functorch",
    "transformers",
    "xgrammar",
    "safetensors",
    "tokenizers",
}  # what the extra [torch] brings


@pytest.fixture(scope="module")
def launcher(installed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """launch_vllm.sh in a folder whose `.venv` has all packages of ours but those of PyTorch, and counts as installed."""
    home = tmp_path_factory.mktemp("shop")
    for name in ("launch_vllm.sh", "pyproject.toml", "constraints.txt", "constraints-vllm.txt"):
        shutil.copy(ROOT / name, home / name)
    shutil.copytree(ROOT / "scripts", home / "scripts")
    for name in ("app_web.py", ".venv-vllm"):
        (home / name).symlink_to(ROOT / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / ".venv")], check=True, timeout=60)
    (packages,) = (home / ".venv" / "lib").glob("python3*/site-packages")
    for package in Path(cv2.__file__).parents[1].iterdir():
        if package.name.split("-")[0] not in TORCH:
            (packages / package.name).symlink_to(package)
    (home / ".venv" / ".installed").write_text(bash(home, 'PYTHON="$ROOT/.venv/bin/python"; state_hash') + "\n\n")
    without = subprocess.run(
        [str(home / ".venv" / "bin" / "python"), "-c", "import fastapi, torch"], capture_output=True, text=True
    )
    assert "No module named 'torch'" in without.stderr
    return home / "launch_vllm.sh"


@contextmanager
def launched(launcher: Path, checkpoint: Path) -> Iterator[Appliance]:
    flags = ("--no-page", "--backend", "vllm", "--device", "cpu", "--model-path", str(checkpoint), "--vram-gb", "5")
    settings = {"DEADLINE_S": str(DEADLINE_S), "CACHE_MB": "0", "EVIDENCE_BACKEND": "off"}
    more: dict[str, Any] = {f"HUNYUANOCR_PIPELINE__{name}": value for name, value in settings.items()}
    with appliance(*flags, "--dtype", "float32", program=("bash", str(launcher)), **more) as served:
        yield served


async def load(client: httpx.AsyncClient, seen: Counter[str], stop: asyncio.Event) -> None:
    """Asks without a pause. Whatever comes must come before the deadline: httpx raises after it."""
    number = 0
    while not stop.is_set():
        number += 1
        picture = cv2.imencode(".png", noise(64, 64, number))[1].tobytes()
        answer = await client.post("/ocr", files={"file": picture}, data=READ)
        assert answer.status_code == 200 or (answer.status_code in RETRYABLE and answer.json()["hint"]), answer.text
        seen["result" if answer.status_code == 200 else answer.json()["code"]] += 1
        if answer.status_code != 200:
            await asyncio.sleep(0.2)


async def ready(client: httpx.AsyncClient, status: int, seconds: float) -> float:
    """The seconds until /ready says so. The appliance answers all the while."""
    began = time.monotonic()
    while (await client.get("/ready")).status_code != status:
        assert time.monotonic() - began < seconds, f"/ready never was {status}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def one_more(seen: Counter[str]) -> None:
    """Until another picture has been read."""
    before = seen["result"]
    async with asyncio.timeout(DEADLINE_S):
        while seen["result"] == before:
            await asyncio.sleep(0.05)


async def kill(client: httpx.AsyncClient, parent: int, turn: int) -> tuple[str, float, Counter[str]]:
    """Kill one of its processes, each in its turn, from the engine's core upwards; until it serves again."""
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    clients = [asyncio.create_task(load(client, seen, stop)) for _ in range(CLIENTS)]
    try:
        await one_more(seen)
        before = engines(parent)
        parts = [p for p in before if "resource_tracker" not in " ".join(p.cmdline())]  # without which it does not die
        victim = list(reversed(parts))[turn % len(parts)]
        name = victim.name()
        victim.send_signal(signal.SIGKILL)
        seconds = await ready(client, 503, 120)
        seconds += await ready(client, 200, START_S)
        await one_more(seen)
    finally:
        stop.set()
        ends = await asyncio.gather(*clients, return_exceptions=True)
    assert ends == [None] * CLIENTS
    assert await asyncio.to_thread(all_gone, before)
    return name, seconds, seen


def kills(served: Appliance, times: int) -> None:
    """Every request ends in a result or in an error that may be sent again, and what was killed leaves nothing behind."""

    async def all_of_them() -> None:
        async with httpx.AsyncClient(base_url=served.api, timeout=DEADLINE_S + 20) as client:
            for turn in range(times):
                name, seconds, seen = await kill(client, served.process.pid, turn)
                print(f"{name} killed: back after {seconds:.1f} s; {dict(seen)}")  # noqa: T201 -- shown by -rA

    before = len(served.printed)  # the documents' test may have had an answer cut off, which is logged in full
    asyncio.run(all_of_them())
    ours = engines(served.process.pid)
    assert len(ours) >= 3
    homes = {Path(p.cwd()) for p in ours}
    assert homes & set(_homes())
    served.stop(signal.SIGKILL)
    assert all_gone(ours)
    assert not homes & set(_homes())
    failures = [line for line in served.printed[before:] if line.startswith("Traceback")]  # else: vLLM's last words
    assert not failures


def _homes() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("hunyuanocr-vllm-*"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Path:
    return DEMO if (DEMO / "config.json").is_file() else checkpoint


@pytest.fixture(scope="module")
def served(launcher: Path, model: Path) -> Iterator[Appliance]:
    with launched(launcher, model) as running:
        assert httpx.get(f"{running.api}/ready", timeout=60).status_code == 503
        running.until_ready(START_S)
        assert "Installing" not in "".join(running.printed), "the launcher takes both environments for whole"
        yield running


@pytest.fixture(scope="module")
def on_torch(model: Path) -> Iterator[TestClient]:
    given = settings_of(model)
    limits = given.pipeline.model_copy(update={"evidence_backend": "off", "deadline_s": DEADLINE_S})
    app = create_app(given.model_copy(update={"backend": "torch", "pipeline": limits}))
    with TestClient(app, client=("127.0.0.1", 999)) as client:
        while client.get("/ready").status_code != 200:
            time.sleep(0.1)
        yield client


def documents() -> Iterator[tuple[bytes, dict[str, str]]]:
    """Ten receipts that the demo checkpoint has not seen, and what is asked about them."""
    asked = [
        {"instruction": "extract total amount"}, {"instruction": "提取商户、日期和总金额"},
        {"instruction": "", "fields": "合计,note"},
        {"instruction": "read", "task": "spot"}, {"instruction": "read"},
    ]  # fmt: skip
    for n in range(10):
        yield cv2.imencode(".png", page(5, n).image[:, :, ::-1])[1].tobytes(), asked[n % len(asked)]


def test_documents_are_read_as_on_pytorch(served: Appliance, on_torch: TestClient) -> None:
    try:
        faces()
    except FontsMissing as missing:
        pytest.skip(str(missing))
    for picture, asked in documents():
        one = httpx.post(f"{served.api}/ocr", files={"file": picture}, data=asked, timeout=DEADLINE_S + 20)
        other = on_torch.post("/ocr", files={"file": picture}, data=asked)
        assert other.status_code == 200, other.text
        if other.json()["truncated"] and other.json()["fields"]:  # JSON that runs out of room is closed there and refused here
            assert one.json()["code"] == "output_truncated"
            continue
        assert one.status_code == 200, one.text
        one, other = one.json(), other.json()
        assert (one.pop("backend"), other.pop("backend")) == ("vllm", "torch")
        sure = [_without_confidence(answer) for answer in (one, other)]
        assert sure[0] == pytest.approx(sure[1], abs=2e-4)
        assert one == other


def _without_confidence(answer: dict) -> list[float]:
    """Takes out what differs from run to run, and the confidences, which it returns."""
    del answer["id"], answer["elapsed_ms"]
    found = []

    def take(part: Any) -> None:
        if isinstance(part, dict):
            if (confidence := part.pop("confidence", None)) is not None:
                found.append(confidence)
            for inner in part.values():
                take(inner)
        elif isinstance(part, list):
            for inner in part:
                take(inner)

    take(answer)
    return found


@pytest.mark.long
def test_killed_under_load_it_serves_again_and_its_own_end_takes_the_engine_along(served: Appliance) -> None:
    kills(served, 1)


@pytest.mark.long
@pytest.mark.timeout(6000)
def test_killed_twenty_times(launcher: Path, checkpoint: Path) -> None:
    with launched(launcher, checkpoint) as running:
        running.until_ready(START_S)
        kills(running, 20)


@pytest.mark.long
def test_sigterm_ends_the_engine_too(launcher: Path, checkpoint: Path) -> None:
    with launched(launcher, checkpoint) as served:
        served.until_ready(START_S)
        ours = engines(served.process.pid)
        assert served.stop() == 0
        assert all_gone(ours)
        assert not psutil.pid_exists(served.process.pid)
