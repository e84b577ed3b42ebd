"""LoRA: only the language model's projections learn, states hold nothing else, and what is written is base plus adapter."""

import json
import shutil
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from PIL import Image
from safetensors.torch import load_file

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import ConfigError, MissingDependency, WeightsInvalid
from hunyuanocr.finetune import checkpoint, lora, model
from hunyuanocr.finetune.batching import Batch
from hunyuanocr.finetune.config import Adapter, CurriculumStage, TrainConfig
from hunyuanocr.finetune.run import FineTuneRun, RunConfig
from hunyuanocr.finetune.trainer import Trainer
from hunyuanocr.weights.architecture import canonical_name
from hunyuanocr.weights.verify import verify
from tests.support.checkpoints import random_checkpoint

IMAGES = ImageSettings()
RECIPE = TrainConfig(
    (CurriculumStage("documents", 2),), rate=5e-3, warmup=1, weight_decay=0.0, adapter=Adapter(rank=4, alpha=6.0)
)
STEP: dict[str, Any] = {"rtol": 2**-8, "atol": 0.0}  # to the nearest number of 8 bits


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 1, "max_image_size": 128}
    return random_checkpoint(
        tmp_path_factory.mktemp("base"),
        text={**text, "num_key_value_heads": 1, "initializer_range": 0.05},
        vision=vision,
        dtype="bfloat16",
    )


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for number in range(5):
        Image.new("RGB", (64, 64), (250 - 40 * number,) * 3).save(folder / f"{number}.png")
        (folder / f"{number}.json").write_text(json.dumps({"total": "7.00", "shade": str(number)}), encoding="utf-8")
    return folder


def tuning(base: Path, documents: Path, out: Path, **others: Any) -> FineTuneRun:
    usual: dict[str, Any] = {"recipe": RECIPE, "hold_out": 0.2, "device": "cpu"}
    return FineTuneRun(RunConfig(documents, base, out, **(usual | others)), IMAGES)


def started(base: Path, documents: Path, out: Path, steps: int = 6, **others: Any) -> FineTuneRun:
    ours = tuning(base, documents, out, **others)
    ours.start(steps=steps)
    return ours


def test_an_adapter_changes_nothing_yet_and_only_it_is_trained(base: Path, documents: Path, tmp_path: Path) -> None:
    ours = started(base, documents, tmp_path)
    assert ours.before == ours.measure()
    trained = {name: w for name, w in ours.net.named_parameters() if w.requires_grad}
    assert all(name.startswith("model.language_model.layers.") and ".lora_" in name for name in trained)
    assert len(trained) == 2 * 2 * 7, "two matrices for seven projections in two layers"
    assert sum(w.numel() for w in trained.values()) == ours.estimate().trained
    before = {name: value.clone() for name, value in ours.net.state_dict().items()}
    ours.trainer.run(steps=2)
    changed = {name for name, value in ours.net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert changed <= trained.keys()


def test_what_is_written_is_base_plus_adapter(base: Path, documents: Path, tmp_path: Path) -> None:
    ours = started(base, documents, tmp_path)
    ours.trainer.run(steps=6)
    after = ours.measure()
    ours.write()
    assert after is not None
    assert ours.before is not None
    assert after.loss < 0.9 * ours.before.loss
    assert verify(tmp_path).dtype == verify(base).dtype == "BF16"
    first, last = load_file(base / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    adapter = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert first.keys() == last.keys()
    parts = {name.removeprefix("base_model.model.").rsplit(".lora_", 1)[0] for name in adapter}
    merged = set()
    for name, value in last.items():
        expected = first[name]
        if (part := canonical_name(name).removesuffix(".weight")) in parts:
            a, b = (adapter[f"base_model.model.{part}.lora_{side}.weight"] for side in "AB")
            assert b.any()
            expected = expected.float() + 6.0 / 4 * (b @ a)
            assert not torch.allclose(expected, first[name].float(), **STEP), name
            merged.add(part)
        assert torch.allclose(value.float(), expected.float(), **STEP), name
    assert merged == parts
    assert len(parts) == 14
    assert (tmp_path / "chat_template.jinja").read_bytes() == (base / "chat_template.jinja").read_bytes()
    assert model.load(tmp_path).config.text_config.hidden_size == 64
    assert not list(tmp_path.rglob("*.part"))
    assert len({file.stat().st_mode for file in tmp_path.rglob("*") if file.is_file()}) == 1, (
        "all files have the same permissions"
    )


def test_states_hold_the_adapter_alone_and_resuming_is_exact(base: Path, documents: Path, tmp_path: Path) -> None:
    straight = started(base, documents, tmp_path / "a")
    straight.trainer.run(steps=6)
    started(base, documents, tmp_path / "b").trainer.run(steps=3)
    found = checkpoint.load_latest(tmp_path / "b/training")
    assert found is not None
    assert all(".lora_" in name for name in found[1]["model"])
    resumed = started(base, documents, tmp_path / "b")
    assert resumed.trainer.progress.step == 3
    assert resumed.before == straight.before, "that of the first call"
    resumed.trainer.run(steps=3)
    assert resumed.trainer.progress.running == straight.trainer.progress.running
    other = resumed.net.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in straight.net.state_dict().items())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_computing_anew_changes_nothing_but_the_memory(base: Path, documents: Path, tmp_path: Path, method: Any) -> None:
    plain = started(base, documents, tmp_path / "a", method=method)
    anew = started(base, documents, tmp_path / "b", method=method, recipe=replace(RECIPE, recompute=True))
    batch = plain.collator(plain.source.batch(0, 0, 2))
    kept = [kept_for_gradients(ours.net, batch) for ours in (plain, anew)]
    assert kept[1] < 0.6 * kept[0]
    assert anew.estimate().memory < plain.estimate().memory
    for ours in (plain, anew):
        ours.trainer.run(steps=2)
    other = anew.net.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in plain.net.state_dict().items())


def kept_for_gradients(net: Any, batch: Batch) -> int:
    """Bytes that a pass forward keeps, without the weights."""
    own = {value.untyped_storage().data_ptr() for value in net.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        model.compute_losses(net.train(), batch)
    return sum(value.untyped_storage().nbytes() for place, value in kept.items() if place not in own)


def test_everything_learns_by_the_full_method(base: Path, documents: Path, tmp_path: Path) -> None:
    ours = started(base, documents, tmp_path, method="full", recipe=RECIPE)
    before = {name: value.clone() for name, value in ours.net.named_parameters()}
    ours.trainer.run(steps=3)
    still = {name for name, value in ours.net.named_parameters() if torch.equal(value, before[name])}
    assert not {name for name in still if "language_model.layers" in name}
    assert any("vision_tower.layers" in name for name in before.keys() - still)
    assert sum(value.numel() for value in before.values()) == ours.estimate().trained
    ours.write()
    assert verify(tmp_path).parameters == verify(base).parameters
    assert not (tmp_path / "adapter").exists()
    found = checkpoint.load_latest(tmp_path / "training")
    assert found is not None
    assert found[1]["model"].keys() == model.load(base).state_dict().keys()


def test_a_run_is_not_gone_on_from_as_another(base: Path, documents: Path, tmp_path: Path) -> None:
    started(base, documents, tmp_path).trainer.run(steps=1)
    with pytest.raises(ConfigError, match="different settings: method"):
        tuning(base, documents, tmp_path, method="full")
    with pytest.raises(ConfigError, match="different settings: adapter, hold_out"):
        tuning(base, documents, tmp_path, hold_out=0.4, recipe=replace(RECIPE, adapter=Adapter()))
    assert tuning(base, documents, tmp_path, recipe=replace(RECIPE, save_minutes=9.0)).before is not None
    more = shutil.copytree(documents, tmp_path / "more")
    (more / "0.json").write_text('{"total": "8.00", "shade": "0"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="different settings: documents"):
        tuning(base, more, tmp_path)
    ours = started(base, documents, tmp_path / "other", method="full")
    with pytest.raises(WeightsInvalid, match="has other weights"):
        Trainer(ours.net, ours.source, collator=ours.collator, recipe=RECIPE, folder=tmp_path / "training")


def test_without_peft_the_install_line_is_reported(base: Path, documents: Path, tmp_path: Path, monkeypatch: Any) -> None:
    find = util.find_spec
    monkeypatch.setattr(lora, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(MissingDependency) as raised:
        tuning(base, documents, tmp_path)
    assert "pip install -e '.[torch,finetune]'" in raised.value.hint
    assert tuning(base, documents, tmp_path, method="full").batches == 2


def test_the_rate_falls_over_the_last_fifth_of_the_steps(base: Path, documents: Path, tmp_path: Path) -> None:
    ours = started(base, documents, tmp_path, steps=20)
    assert ours.trainer.recipe.decay_steps == 4
    paces = []
    for step in (0, 15, 16, 17, 19):
        ours.trainer.progress.step = step
        paces.append(ours.trainer.pace_at(0.0, None, 20))
    assert paces == [1.0, 1.0, 1.0, 0.75, 0.25]
    again = tuning(base, documents, tmp_path, recipe=replace(RECIPE, decay_steps=2))
    again.start(steps=20)
    assert again.trainer.recipe.decay_steps == 2, "as the recipe says"
