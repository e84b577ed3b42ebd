"""The trainer: losses fall, resuming is exact, turns do not see one another, states are whole or not there."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image
from transformers import HunYuanVLForConditionalGeneration

from hunyuanocr import line_plot
from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.errors import InvalidValue, WeightsInvalid
from hunyuanocr.finetune import checkpoint as state
from hunyuanocr.finetune import config, loss_plot, model
from hunyuanocr.finetune.batching import IGNORED, Collator, Sample
from hunyuanocr.finetune.char_head import CharacterHead
from hunyuanocr.finetune.config import CurriculumStage, TrainConfig
from hunyuanocr.finetune.trainer import Trainer
from tests.support.checkpoints import random_checkpoint

LEVELS = (CurriculumStage("one", 3, until=0.0), CurriculumStage("two", 3))


class Shades:
    """Pictures of one shade each, which is asked for: easy enough to learn in a few steps."""

    def batch(self, level: int, step: int, count: int) -> list[Sample]:
        rng = random.Random(f"{level}:{step}")
        return [self._sample(rng.randrange(2), level) for _ in range(count)]

    def _sample(self, dark: int, level: int) -> Sample:
        image = np.full((64, 64, 3), 250 - 240 * dark, np.uint8)
        return Sample(image, (("shade", "01"[dark]), ("other", "ba"[dark] * (level + 1))), (("ab"[dark], 20.0, 10.0),))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ck")
    text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 1, "max_image_size": 128}
    return random_checkpoint(folder, text={**text, "num_key_value_heads": 1, "initializer_range": 0.05}, vision=vision)


def trainer(checkpoint: Path, folder: Path, levels: tuple[CurriculumStage, ...] = LEVELS, **settings: Any) -> Trainer:
    processor = Processor(checkpoint)
    torch.manual_seed(5)
    head = CharacterHead(64, torch.tensor([processor.tokenizer.convert_tokens_to_ids(c) for c in "ab"]))
    recipe = TrainConfig(levels=levels, **({"rate": 3e-3, "warmup": 2} | settings))
    return Trainer(model.load(checkpoint), Shades(), collator=Collator(processor, "ab"), recipe=recipe, folder=folder, head=head)


def test_the_losses_fall(checkpoint: Path, tmp_path: Path) -> None:
    ours = trainer(checkpoint, tmp_path)
    heard: list[str] = []
    ours.run(steps=1)
    first = (ours.progress.running or 0, ours.progress.reading or 0)
    ours.run(steps=74, on_progress=heard.append)
    assert (ours.progress.running or 9) < 0.6 * first[0]
    assert (ours.progress.reading or 9) < first[1]
    assert len(heard) == 3
    assert "step 75" in heard[-1]
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (line_plot.WIDTH, line_plot.HEIGHT)


def test_resuming_is_exact(checkpoint: Path, tmp_path: Path) -> None:
    straight = trainer(checkpoint, tmp_path / "a")
    straight.run(steps=12)
    trainer(checkpoint, tmp_path / "b").run(steps=7)
    resumed = trainer(checkpoint, tmp_path / "b")
    assert resumed.progress.step == 7
    resumed.run(steps=5)
    assert resumed.progress.running == straight.progress.running
    for (name, a), b in zip(straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_levels_rise_when_the_loss_is_low_and_old_ones_are_repeated(checkpoint: Path, tmp_path: Path) -> None:
    ours = trainer(checkpoint, tmp_path, (CurriculumStage("one", 1, until=100.0), CurriculumStage("two", 1)), review=0.5)
    ours.run(steps=99)
    assert ours.progress.level == 0, "a running loss of few steps says nothing"
    ours.run(steps=2)
    assert ours.progress.level == 1
    assert {ours.level_of(step) for step in range(40)} == {0, 1}


def test_what_is_saved_loads_and_says_the_same(checkpoint: Path, tmp_path: Path) -> None:
    ours = trainer(checkpoint, tmp_path / "run")
    ours.run(steps=3)
    model.save(ours.model, checkpoint, tmp_path / "out", torch.float32)
    again = model.load(tmp_path / "out")
    batch = ours.collator(Shades().batch(0, 1, 2))
    assert torch.equal(model.compute_losses(again, batch).answer, model.compute_losses(ours.model, batch).answer)
    assert not list(tmp_path.glob("out/*.part"))


def test_our_pass_is_that_of_transformers(checkpoint: Path) -> None:
    """One turn a sample, scored by transformers' own forward."""
    processor = Processor(checkpoint)
    net: Any = HunYuanVLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    image = np.random.default_rng(1).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    batch = Collator(processor)([Sample(image, (("read", "total 12"),))])
    with torch.no_grad():
        ours = model.compute_losses(net, batch).answer
        theirs = net(
            input_ids=batch.ids,
            attention_mask=torch.ones_like(batch.ids),
            labels=batch.labels,
            pixel_values=batch.patches[0],
            image_grid_thw=torch.tensor([[1, *batch.grid]]),
            position_ids=batch.positions,
            mm_token_type_ids=(batch.ids == processor.image_token_id).int(),
        ).loss
    assert ours is not None
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_turns_of_a_sample_do_not_see_one_another(checkpoint: Path) -> None:
    processor, net = Processor(checkpoint), model.load(checkpoint).eval()
    image = np.full((64, 64, 3), 90, np.uint8)
    first, second = ("one", "1234"), ("two", "abcdef")
    collator = Collator(processor)
    with torch.no_grad():
        apart = [model.compute_losses(net, collator([Sample(image, (turn,))])).answer for turn in (first, second)]
        both = model.compute_losses(net, collator([Sample(image, (first, second))]))
        padded = model.compute_losses(net, collator([Sample(image, (first,)), Sample(image, (second,))]))
    assert both.answer is not None
    assert padded.answer is not None
    assert None not in apart
    mean = (5 * apart[0] + 7 * apart[1]) / 12  # by tokens, each with its end
    assert torch.allclose(both.answer, mean, atol=1e-5)
    assert torch.allclose(padded.answer, mean, atol=1e-5)


def test_slots_hold_the_characters_of_each_token_from_left_to_right(checkpoint: Path) -> None:
    collator = Collator(Processor(checkpoint), "abc", slots=2)
    glyphs = (("c", 20.0, 5.0), ("b", 3.0, 5.0), ("a", 40.0, 40.0), ("z", 50.0, 40.0), ("c", 25.0, 6.0))
    batch = collator([Sample(np.zeros((64, 64, 3), np.uint8), (), glyphs)])
    assert batch.slots is not None
    assert batch.slots[0].tolist() == [[2, 3], [0, 0], [0, 0], [1, 0]], "a third does not fit, a stranger is left out"
    assert (batch.labels == IGNORED).all()
    assert Collator(Processor(checkpoint))([Sample(np.zeros((64, 64, 3), np.uint8), (), glyphs)]).slots is None


def test_pictures_of_two_sizes_are_refused(checkpoint: Path) -> None:
    samples = [Sample(np.zeros((64, width, 3), np.uint8), (("a", "b"),)) for width in (64, 128)]
    with pytest.raises(InvalidValue, match="the same size"):
        Collator(Processor(checkpoint))(samples)


def states(folder: Path, *steps: int) -> list[Path]:
    for step in steps:
        state.save(folder, state.TrainState(step=step, curve=[(1, 0, 2.0, 3.0)]), {"model": {"w": torch.full((200,), step)}})
    return sorted(folder.iterdir())


def test_states_are_kept_twice(tmp_path: Path) -> None:
    assert state.load_latest(tmp_path) is None
    assert [file.name for file in states(tmp_path, 1, 2, 3)] == ["state-00000002.pt", "state-00000003.pt"]
    found = state.load_latest(tmp_path)
    assert found is not None
    assert found[0].step == 3
    assert found[0].curve == [(1, 0, 2.0, 3.0)]


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: data[:-40], lambda data: b"", lambda data: b"no state"])
def test_the_state_before_a_broken_one_is_used(tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    older, newer = states(tmp_path, 2, 7)
    newer.write_bytes(damage(newer.read_bytes()))
    found = state.load_latest(tmp_path)
    assert found is not None
    assert (found[0].step, float(found[1]["model"]["w"][0])) == (2, 2.0)
    assert f"Cannot read {newer}" in caplog.text
    assert [file.name for file in states(tmp_path, 5)] == [older.name, "state-00000005.pt"], "the broken one is gone"
    for file in tmp_path.iterdir():
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WeightsInvalid, match="None of the 2 states"):
        state.load_latest(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate = ", "Cannot use"),
        ("speed = 1\n[[levels]]\nname='a'\nbatch=1", "speed"),
        ("rate = 1e-3", "no levels"),
        ("[[levels]]\nname = 'a'", "batch"),
        ("[[levels]]\nname='a'\nbatch=1\nsize=3", "size"),
    ],
)
def test_a_recipe_with_mistakes_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidValue, match=said):
        config.load(file)


def test_the_recipe_of_the_demo_is_read() -> None:
    recipe = config.load(Path(__file__).parents[2] / "demo_model/demo.toml")
    assert [level.name for level in recipe.levels][-1] == "receipt"
    assert recipe.rate > 0


def test_the_curve_takes_levels_and_gaps(tmp_path: Path) -> None:
    loss_plot.plot_losses(
        [(10, 0, float("nan"), 4.0), (20, 0, float("nan"), 2.0), (30, 1, 3.0, 1.0), (40, 1, 1.0, 0.5)], tmp_path / "c.png"
    )
    drawn = np.asarray(Image.open(tmp_path / "c.png"))
    loss_plot.plot_losses([], tmp_path / "e.png")
    for colour in line_plot.COLOURS[:2]:
        assert (drawn == colour).all(-1).sum() > (np.asarray(Image.open(tmp_path / "e.png")) == colour).all(-1).sum()
