"""The command as a child process, from the demo checkpoint on ten cut receipts: stopped, gone on with, loaded, and refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file

from hunyuanocr import prompts
from hunyuanocr.cli import main
from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.weights.architecture import canonical_name
from hunyuanocr.weights.verify import verify
from synthesis.fonts import FontsMissing, installed

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "models/hunyuanocr-demo"
STEPS = 25
KEPT = 96  # rows of pixels of each receipt


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The heads of ten receipts, with a field of the shop's own that is the same on all of them: soon learnt."""
    try:
        installed(chinese=True)
    except FontsMissing as missing:
        pytest.skip(str(missing))
    from demo_model import heldout

    folder = tmp_path_factory.mktemp("documents")
    heldout.save(folder, 10, seed=11)
    for picture in folder.glob("*.jpg"):
        with Image.open(picture) as whole:
            cut = whole.crop((0, 0, whole.width, KEPT))
        cut.save(picture)
        rows = picture.with_suffix(".csv").read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if float(row.split(",")[5]) < KEPT]
        picture.with_suffix(".csv").write_text("\n".join(kept), encoding="utf-8")
        fields = {"branch": "east 7", "tax_number": None}
        picture.with_suffix(".json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


def command(documents: Path, out: Path, *others: str) -> list[str]:
    return ["finetune", str(documents), "--model-path", str(DEMO), "--out", str(out), "--device", "cpu", *others]


def child(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from hunyuanocr.cli import main; sys.argv[0] = 'hunyuanocr'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=250)
    finally:
        process.kill()
    return process.returncode, out, err


def losses(said: str) -> tuple[float, float]:
    before, after = (line.split("loss ")[1].split(",")[0] for line in said.splitlines() if line.startswith("held out"))
    return float(before), float(after)


@pytest.mark.timeout(600)
async def test_a_stopped_run_goes_on_and_its_result_is_served(documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("save_minutes = 0.0\nrate = 1.0\n")  # a state after every step, so that it is seen when one is done
    expected = command(documents, out, "--steps", str(STEPS), "--batch", "2", "--hold-out", "0.2")
    expected += ["--recipe", str(recipe), "--rate", "2e-3"]  # a flag wins over the file
    first = child(*expected)
    assert first.stderr is not None
    heard = [first.stderr.readline() for _ in range(3)]
    assert "10 documents (2 held out; 1 image sizes); 4 steps per epoch, 25 steps in total" in heard[0]
    assert "training 327,680 of 7,147,648 parameters (lora); about" in heard[1]
    assert heard[2].startswith("Held out, before: loss ")
    until = time.monotonic() + 250
    while not list(out.glob("training/state-*.pt")) and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    code, _, err = finished(first)
    assert (code, "and saved; the same command resumes" in err) == (130, True), err
    assert not (out / "config.json").exists(), "no checkpoint half-way"
    code, said, err = finished(child(*expected))
    assert code == 0, err
    step = int(err.split("Resuming after step ")[1].split(".")[0])
    assert 0 < step < STEPS
    before, after = losses(said)
    assert f"loss {before:.4f}" in heard[2]
    assert after < 0.9 * before
    assert said.splitlines()[-1] == str(out)
    assert (out / f"training/state-{STEPS:08d}.pt").stat().st_size < 0.5 * (DEMO / "model.safetensors").stat().st_size
    merged_weights_are_base_plus_adapter(out)
    await served(out)


def merged_weights_are_base_plus_adapter(out: Path) -> None:
    first, last = load_file(DEMO / "model.safetensors"), load_file(out / "model.safetensors")
    adapter = load_file(out / "adapter/adapter_model.safetensors")
    settings = json.loads((out / "adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == DEMO.name, "nothing about this machine"
    strength = settings["lora_alpha"] / settings["r"]
    assert first.keys() == last.keys()
    for name, value in last.items():
        key = f"base_model.model.{canonical_name(name).removesuffix('.weight')}.lora_"
        base = first[name].float()
        added = strength * (adapter[f"{key}B.weight"] @ adapter[f"{key}A.weight"]) if f"{key}A.weight" in adapter else 0 * base
        assert float((value.float() - base - added).abs().max()) <= 2**-8 * float((base + added).abs().max()), name
        assert bool(added.any()) == (f"{key}A.weight" in adapter)


async def served(folder: Path) -> None:
    """PyTorch's own engine loads it and answers in the schema."""
    from hunyuanocr.backends.base import Generation
    from hunyuanocr.backends.torch_local import TorchGenerator
    from hunyuanocr.config import Settings, TorchSettings

    assert verify(folder).parameters == verify(DEMO).parameters
    memory = TorchSettings(dtype="float32", vram_gb=0.4)
    engine = TorchGenerator(Settings(backend="torch", model_path=folder, device="cpu", torch=memory))
    await engine.start()
    ask = prompts.build_prompt(parse_instruction(fields=["branch"]))
    assert "branch" not in KNOWN, "a word of the shop's own"
    expected = Generation((np.full((KEPT, 448, 3), 255, np.uint8),), ask.prompt, ask.schema, 40, ask.repetition_penalty)
    written = "".join([token.text async for chunk in engine.generate(expected) for token in chunk.tokens])
    await engine.close()
    assert json.loads(written).keys() == {"branch"}


def refused(monkeypatch: Any, capsys: Any, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["hunyuanocr", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said: str = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_the_checkpoint_to_begin_with_is_never_written_to(documents: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    base = shutil.copytree(DEMO, tmp_path / "base")
    link = tmp_path / "link"
    link.symlink_to(base)
    stamps = {file: file.stat().st_mtime_ns for file in base.iterdir()}
    for out in (base, link, base / "new", tmp_path):
        said = refused(monkeypatch, capsys, "finetune", str(documents), "--model-path", str(base), "--out", str(out))
        assert "would overwrite the original checkpoint" in said
    assert stamps == {file: file.stat().st_mtime_ns for file in base.iterdir()}
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    assert "is not empty" in refused(monkeypatch, capsys, *command(documents, other))
    assert "contains the documents" in refused(monkeypatch, capsys, *command(documents, documents))


def test_what_cannot_be_trained_is_reported_before_anything_is_written(
    documents: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    out, bare = tmp_path / "out", tmp_path / "bare"
    bare.mkdir()
    Image.new("RGB", (64, 64)).save(bare / "a.png")
    assert "contains no labelled image" in refused(monkeypatch, capsys, *command(bare, out))
    some = shutil.copytree(documents, tmp_path / "some")
    (some / "0003.json").write_text("{")
    assert "0003.json is not JSON" in refused(monkeypatch, capsys, *command(some, out))
    broken = shutil.copytree(DEMO, tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:-1000])
    said = refused(monkeypatch, capsys, *command(documents, out), "--model-path", str(broken))
    assert "weights_broken" in said
    assert "is truncated" in said
    assert "use only one of" in refused(monkeypatch, capsys, *command(documents, out), "--steps", "3", "--epochs", "1")
    recipe = tmp_path / "r.toml"
    mistakes = {
        "speed = 3": "speed", "rate = 'fast'": "rate = 'fast'", "[[levels]]\nname='a'\nbatch=1": "levels",
        "adapter = 3": "adapter is not a table", "[adapter]\nrank = -1": "rank = -1", "recompute = 1": "boolean",
        "[adapter]\nrank = 0": "rank", "rate = nan": "rate = nan", "save_minutes = inf": "save_minutes = inf",
    }  # fmt: skip
    for text, wrong in mistakes.items():
        recipe.write_text(text)
        assert wrong in refused(monkeypatch, capsys, *command(documents, out), "--recipe", str(recipe))
    assert not out.exists()
