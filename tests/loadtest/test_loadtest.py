"""The soak: real traffic for one minute, its report; and verdicts that see a leak, a slower server, and too short a run."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from api.app import create_app
from hunyuanocr.cli import app
from hunyuanocr.errors import ConfigError
from hunyuanocr.line_plot import draw
from hunyuanocr.loadtest.report import report
from hunyuanocr.loadtest.sampler import parse_metrics, sample_metrics
from hunyuanocr.loadtest.server import server
from hunyuanocr.loadtest.stats import KINDS, RunStats, Sample
from hunyuanocr.loadtest.traffic import Target
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import quick_settings, served
from tests.support.appliance import appliance
from tests.support.fake_backend import FakeBackend, wait_until

pytestmark = pytest.mark.timeout(900)
DEMO = Path(__file__).parents[2] / "models" / "hunyuanocr-demo"


def soak(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["soak", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def one_minute(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("soak")
    data = out / "data"
    with appliance("--no-page", HUNYUANOCR_DATA=str(data)) as running:
        running.until_ready()
        kept = httpx.post(f"{running.api}/ocr", files={"file": _drawn()}, timeout=120).json()["id"]
        done = soak("--minutes", 1, "--url", running.api, "--out", out)
        records = httpx.get(f"{running.api}/v1/records", params={"limit": 200}, timeout=60).json()["data"]
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done, json.loads((out / "report.json").read_text()), out, kept, [record["id"] for record in records]


def _drawn() -> bytes:
    import random

    from hunyuanocr.loadtest.receipts import receipt

    return receipt(random.Random(1))[0]


def test_every_kind_of_client_was_answered_and_nothing_failed(one_minute: Any) -> None:
    done, made, *_ = one_minute
    assert made["first_failures"] == []
    assert made["verdicts"]["nothing_failed"] is True
    assert all(made["requests"][kind]["answered"] > 0 for kind in KINDS), made["requests"]
    right, asked = made["totals_read_right"]
    assert right >= 0.9 * asked > 0, "the traffic is real: totals are read"
    assert json.loads(done.stdout)["server"] == made["server"]
    assert made["serves"]["backend"] == "ppocr"


def test_descriptors_do_not_grow(one_minute: Any) -> None:
    _, made, *_ = one_minute
    assert made["verdicts"]["descriptors"] is True, made["descriptors"]
    assert len(made["samples"]) >= 10
    assert all(sample["rss"] > 1e7 and sample["fds"] > 3 for sample in made["samples"])


def test_pictures_show_lines(one_minute: Any) -> None:
    _, made, out, *_ = one_minute
    assert {"latency.png", "throughput.png", "memory.png", "descriptors.png", "cpu.png"} <= set(made["pictures"])
    for name in made["pictures"]:
        with Image.open(out / name) as picture:
            colours: Any = picture.convert("RGB").getcolors(1 << 20)
        assert sum(count for count, colour in colours if max(colour) - min(colour) > 80) > 50, "a line is drawn"


def test_its_records_are_deleted_and_no_others(one_minute: Any) -> None:
    *_, kept, left = one_minute
    assert left == [kept]


def run_of(
    seconds: int = 600, per_s: int = 10, *, leak: float = 0.0, fds: int = 0, slower: float = 0.0, failures: int = 0
) -> RunStats:
    """A run as it would be: so many bytes more a request, descriptors more in all, the end so much slower than the beginning."""
    tally, spread = RunStats(), (0.9, 1.0, 1.1, 1.0)
    for n in range(seconds * per_s):
        share = n / (seconds * per_s)
        tally.done("ocr", n / per_s, 0.5 * spread[n % 4] * (1 + slower * share))
    for second in range(seconds):
        busy = second % 3
        tally.samples.append(
            Sample(second, second * per_s, 5e8 + second * per_s * leak + 1e6 * busy, 30 + busy + fds * second / seconds, 1.0)
        )
    for _ in range(failures):
        tally.failure("job", "500")
    return tally


def test_a_healthy_run_passes() -> None:
    made = report(run_of(), 600)
    assert set(made["verdicts"].values()) == {True}
    assert made["passed"]
    assert abs(made["memory_mb_per_1000_requests"]) < 0.05
    assert made["requests_per_s"] == 10


@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [
        ({"leak": 1500.0}, "memory"),
        ({"fds": 20}, "descriptors"),
        ({"slower": 0.2}, "latency"),
        ({"failures": 1}, "nothing_failed"),
    ],
)
def test_what_goes_wrong_is_seen(trouble: dict[str, Any], verdict: str) -> None:
    made = report(run_of(**trouble), 600)
    assert [name for name, good in made["verdicts"].items() if good is False] == [verdict]
    assert not made["passed"]


def test_a_short_run_claims_nothing() -> None:
    made = report(run_of(seconds=5, per_s=2), 5)
    assert made["verdicts"] == {"nothing_failed": True, "memory": None, "descriptors": None, "latency": None}
    assert report(RunStats(), 5)["verdicts"]["nothing_failed"] is False, "nobody was answered"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    done = soak("--minutes", 0.03, "--url", "http://127.0.0.1:1", "--out", tmp_path)
    made = json.loads((tmp_path / "report.json").read_text())
    assert done.exit_code == 1
    assert made["verdicts"]["nothing_failed"] is False
    assert "Connect" in made["first_failures"][0]
    assert soak("--out", tmp_path).exit_code == 2, "for how long?"


def test_a_server_that_does_not_start_is_reported(tmp_path: Path) -> None:
    flags = ["--backend", "torch", "--model-path", str(tmp_path)]
    with pytest.raises(ConfigError, match="did not start"), server(flags, tmp_path / "server.log"):
        pass
    assert "config.json" in (tmp_path / "server.log").read_text()


def test_figures_of_several_gpus() -> None:
    text = 'hunyuanocr_gpu_utilization_ratio{gpu="0"} 0.2\nhunyuanocr_gpu_utilization_ratio{gpu="1"} 0.9\n'
    text += 'hunyuanocr_gpu_memory_used_bytes{gpu="0"} 5\nhunyuanocr_gpu_memory_used_bytes{gpu="1"} 6\n'
    assert parse_metrics(text) == {"hunyuanocr_gpu_utilization_ratio": 0.9, "hunyuanocr_gpu_memory_used_bytes": 11}


async def test_an_engine_with_processes_of_its_own_is_counted_in() -> None:
    settings = quick_settings()
    tally, end, hungry = RunStats(), asyncio.Event(), "room = bytearray(200_000_000); print(flush=True); input()"
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as address:
        looking = asyncio.create_task(sample_metrics(Target(address), tally, 0.05, end))
        await wait_until(lambda: len(tally.samples) > 1)
        with subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            await asyncio.to_thread(child.stdout.readline)
            count = len(tally.samples)
            await wait_until(lambda: len(tally.samples) > count + 1)
            own = psutil.Process().num_fds()
            child.communicate()
        end.set()
        await looking
    grown = tally.samples[count + 1].rss - tally.samples[0].rss
    assert 150e6 < grown < 400e6
    assert tally.samples[count + 1].fds > own, "the three of the child are counted as well"


def test_odd_lines_can_be_drawn(tmp_path: Path) -> None:
    draw("nothing", {"a": [], "b": [(0.0, 0.0), (1.0, 0.0)]}, 1.0, tmp_path / "x.png", str)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (960, 420)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("flags", [["--backend", "ppocr"], ["--backend", "torch", "--model-path", DEMO]], ids=["cpu", "demo"])
def test_half_an_hour(tmp_path: Path, flags: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With all limits on memory, descriptors and latency; other work on the machine would change the figures."""
    monkeypatch.setenv("HUNYUANOCR_TORCH__VRAM_GB", "0.5")
    monkeypatch.setenv("HUNYUANOCR_DEVICE", "cpu")
    done = soak("--minutes", 30, "--out", tmp_path, *flags)
    made = json.loads((tmp_path / "report.json").read_text())
    assert set(made["verdicts"].values()) == {True}, done.stdout
