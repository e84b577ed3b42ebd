"""The benches of the PyTorch engine run, say the truth of what they ran, and fail where they must."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.checkpoints import random_checkpoint

pytest.importorskip("torch")

BENCH = Path(__file__).parents[2] / "bench"
SMALL = [
    "--dtype=float32",
    "--runs=1",
    "--tokens=10",
    "--picture=96x64",
    "--compare=1,2",
    "--streams=1,2",
    "--sizes=64x64,128x64",
    "--documents=8",
    "--large=128x128",
    "--large-tokens=30",
    "--vram-gb=0.7",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A bench by its name, imported as it is when it is run: with its folder on the path."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def compare(bench: Any, folder: Path, out: Path, *more: str) -> tuple[int, dict]:
    code = bench("torch_vs_transformers").main(["--checkpoint", str(folder), "--out", str(out), *SMALL, *more])
    return code, json.loads(out.read_text(encoding="utf-8"))


def test_engine_against_transformers(
    bench: Callable[..., Any], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every scenario that needs no process of its own; in float32 both write the same tokens."""
    scenarios = "bandwidth,streams,first_token,documents,memory,compare"
    code, found = compare(bench, folder, tmp_path / "r.json", "--scenarios", scenarios)
    assert code == 0
    assert found["failures"] == []
    for n in (1, 2):
        pair = found[f"compare {n}"]
        assert pair["equal_leading_tokens"] == 1
        assert pair["best_peer"] in {"dynamic cache", "static cache"} < set(pair["ways"])
        assert all(way["tokens_a_second"] > 0 and way["first_token_s"] > 0 for way in pair["ways"].values())
        assert pair["failed"] == {}
    assert [part["streams"] for part in found["streams"]] == [1, 2]
    assert all(0 < part["share_of_bandwidth"] < 1 for part in found["streams"])
    assert found["first_token"][1]["prompt_tokens"] > found["first_token"][0]["prompt_tokens"]
    assert found["memory"]["all_at_once"]
    assert all(part["documents_a_second"] > 0 for part in found["documents"])
    reported = capsys.readouterr().out
    assert "speed relative to the best peer" in reported
    assert "2 streams" in reported


def test_a_scenario_that_fails_is_reported_and_the_others_go_on(
    bench: Callable[..., Any], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = compare(bench, folder, tmp_path / "r.json", "--scenarios", "memory,first_token", "--large-tokens", "1000000")
    assert code == 1
    assert found["failures"] == ["memory"]
    assert "ImageTooLargeForMemory" in found["memory"]
    assert len(found["first_token"]) == 2
    assert "FAILED: memory" in capsys.readouterr().out


@pytest.mark.long
def test_seconds_to_ready(bench: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    _, found = compare(bench, folder, tmp_path / "r.json", "--scenarios", "ready")
    assert 0 < found["ready"]["ready_s"] <= found["ready"]["first_answer_s"]


def test_an_engine_that_does_not_start_is_reported(bench: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        bench("torch_engine_only").ready(tmp_path, "nowhere")


def test_the_rate_is_read_while_all_are_written(bench: Callable[..., Any]) -> None:
    run = bench("torch_engines").Run(10.0, [[11, 12, 13, 14, 15, 16], [13, 14, 15]], [[0] * 6, [0] * 3])
    assert run.rate == 2.0  # two each in the two seconds from 13 to 15; not what the first one wrote alone
    assert (run.all_begun_s, run.seconds_to(2), run.at_once) == (3, 4, True)
    apart = bench("torch_engines").Run(10.0, [[11, 12], [13, 14]], [[0] * 2] * 2)
    assert math.isnan(apart.rate)
    assert not apart.at_once


@pytest.mark.parametrize(("grows", "code"), [(0.0, 0), (2.0, 1)])
def test_memory(
    bench: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grows: float, code: int
) -> None:
    """Requests really run; what the kernel would say of memory is given, as a dozen requests tell nothing."""
    memory, out = bench("torch_memory"), tmp_path / "m.json"
    reported = iter(range(1000))
    monkeypatch.setattr(memory.torch_load, "resident_mib", lambda: 100 + grows * next(reported))
    arguments = ["--checkpoint", str(folder), "--requests", "12", "--early", "6", "--largest", "96", "--out", str(out)]
    assert memory.main(arguments) == code
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [n for n, _ in found["curve"]] == list(range(13))
    assert (found["growth"] > 0) == (grows > 0)


def test_resident_memory_is_a_process_size(bench: Callable[..., Any]) -> None:
    assert 50 < bench("torch_load").resident_mib() < 50_000


def test_float16_range(bench: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.json"
    assert bench("fp16_range").main(["--model-path", str(folder), "--tokens", "6", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    kinds = set(found["largest"])
    assert {
        "text residual stream",
        "text logits",
        "vision residual stream",
        "text queries, keys, values",
        "text attention out",
        "text mlp intermediate",
        "vision mlp intermediate",
        "vision patch merger",
    } <= kinds
    assert all(0 < value < 65504 for value in found["largest"].values())
    assert found["equal_leading_tokens"] > 0.5
    assert found["overflow"] is None


def test_float16_that_overflows_is_reported(
    bench: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights so large that the residual stream leaves the range."""
    large = random_checkpoint(tmp_path / "large", text={"initializer_range": 40.0})
    assert bench("fp16_range").main(["--model-path", str(large), "--tokens", "4", "--out", str(tmp_path / "f.json")]) == 1
    found = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert found["largest"]["text residual stream"] > 65504
    assert "overflowed" in found["overflow"]
    assert "VALUES DO NOT FIT" in capsys.readouterr().out


def test_evidence_cost(bench: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), "white").save(tmp_path / "blank.png")
    arguments = [
        str(tmp_path),
        "--checkpoint",
        str(folder),
        "--out",
        str(tmp_path / "e.json"),
        "--device=cpu",
        "--vram-gb=0.7",
        "--requests=2",
        "--rounds=1",
        "--at-once=2",
        "--answer-tokens=8",
        "--spotting-tokens=8",
    ]
    assert bench("evidence_cost").main(arguments) == 0
    found = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))["evidence"]
    assert set(found) == {"none", "fast", "full"}
    assert all(part["requests_a_second"] > 0 and part["p50_s"] > 0 for part in found.values())
