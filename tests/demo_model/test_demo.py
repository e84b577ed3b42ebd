"""The demo checkpoint's recipe: its lexicon, tokenizer, documents, and a run in miniature that serving can load."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo_model import curriculum, heldout, lexicon
from demo_model.receipts import Receipt, choose_layout, receipt, shop
from demo_model.renderer import STEP, WIDTH, Page, draw
from hunyuanocr import prompts
from hunyuanocr.evaluate.dataset import load_dataset as load_truth
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.output.spotting import parse
from synthesis.fonts import FontsMissing, installed

pytest.importorskip("torch")
try:
    installed(chinese=True)
except FontsMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return [draw(receipt(random.Random(n)), random.Random(n)) for n in range(40)]


def test_the_lexicon_is_closed_and_small(pages: list[Page]) -> None:
    glyphs = lexicon.glyphs()
    assert len(glyphs) == len(set(glyphs)) <= lexicon.MAX_GLYPHS
    assert {char for page in pages for text, _ in page.runs for char in text} <= {*glyphs, " "}


def test_every_character_is_one_token_and_comes_back() -> None:
    from demo_model.chat_template import SPECIAL
    from demo_model.tokenizer import build

    tokenizer = build()
    assert all(len(tokenizer.encode(char, add_special_tokens=False)) == 1 for char in lexicon.glyphs())
    for text in (lexicon.glyphs(), '{"total_amount":"￥36.80","date":null}', "a b  c\n龘 emoji 🙂", "".join(SPECIAL.values())):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert len(tokenizer.encode("2026", add_special_tokens=False)) == 4, "digits stay single"
    assert build().get_vocab() == tokenizer.get_vocab()


def test_pages_are_small_and_truth_stands_on_ink(pages: list[Page]) -> None:
    for page in pages:
        tall, wide = page.image.shape[:2]
        assert wide == WIDTH
        assert tall % STEP == 0
        assert tall <= 640
        assert len(page.rows) <= 12
        for text, (left, top, right, bottom) in page.runs:
            part = page.image[round(top) : round(bottom), round(left) : round(right)]
            assert part.size
            assert part.min() < page.image.max() - 60, text
        for name, (value, box) in page.fields.items():
            assert any(value in text for text, _ in page.runs), name
            assert 0 <= box[0] < box[2] <= wide


def test_glyphs_stand_where_they_are_said_to() -> None:
    from demo_model.receipts import Cell

    page = draw(Receipt([(Cell("合1"), Cell("总", "right"))]), random.Random(3))
    (first, x1, y1), (_, x2, _), (last, x3, _) = page.glyphs
    assert (first, last) == ("合", "总")
    assert x1 < x2 < WIDTH / 2 < x3
    (_, box), (_, other) = page.runs
    assert box[0] <= x1 <= box[2]
    assert box[1] < y1 < box[3]
    assert other[0] < x3 < other[2]


def test_sums_add_up() -> None:
    from decimal import Decimal

    found = 0
    for n in range(60):
        made = receipt(random.Random(n))
        texts = [[cell.text for cell in row] for row in made.rows if row]
        amounts = [Decimal(row[1]) for row in texts if len(row) == 2 and row[1].replace(".", "").isdigit()]
        fields = {name: value for row in made.rows if row for cell in row for name, value in cell.fields}
        total = Decimal(fields["total_amount"].lstrip("￥¥"))
        if not {"discount", "paid_amount"} & fields.keys() and not any(
            f == "total_amount" for row in made.rows if row and len(row) == 2 for f, _ in row[1].fields
        ):
            assert sum(amounts) == total
            found += 1
        if "change" in fields:
            assert Decimal(fields["paid_amount"].lstrip("￥¥")) - Decimal(fields["change"].lstrip("￥¥")) == total
    assert found > 5


def test_evaluation_shares_no_shop_and_no_layout_with_training() -> None:
    rng = random.Random(1)
    seen, kept = ({choose_layout(rng, unseen=unseen).key() for _ in range(300)} for unseen in (False, True))
    assert kept
    assert not seen & kept
    seen, kept = ({shop(rng, unseen=unseen) for _ in range(500)} for unseen in (False, True))
    assert kept
    assert not seen & kept


def test_samples_depend_on_level_and_step_only() -> None:
    first, second = curriculum.Curriculum(1), curriculum.Curriculum(1)
    second.batch(1, 4, 2)
    for level in range(5):
        a, b = first.batch(level, 7, 3), second.batch(level, 7, 3)
        assert all(x.turns == y.turns and np.array_equal(x.image, y.image) for x, y in zip(a, b, strict=True))
        assert len({x.image.shape for x in a}) == 1
    assert first.batch(1, 7, 1)[0].turns != first.batch(1, 8, 1)[0].turns


def test_questions_are_those_of_serving_and_answers_are_compact(pages: list[Page]) -> None:
    nulls = 0
    for n, page in enumerate(pages):
        prompt, answer = curriculum.extraction(page, random.Random(n), 3)
        given = json.loads(answer)
        assert answer == json.dumps(given, ensure_ascii=False, separators=(",", ":"))
        assert len(given) == 3
        assert all(f"'{key}'" in prompt for key in given)
        assert all(any(value in text for text, _ in page.runs) for value in given.values() if value is not None)
        nulls += list(given.values()).count(None)
        runs = parse(curriculum.spotted(page))
        assert [run.text for run in runs] == [text for text, _ in page.runs]
        assert all(run.box for run in runs)
    assert 0 < nulls < 3 * len(pages)
    assert "其中 total_amount 是总金额" in curriculum.asked(("total_amount",)), "the sentence that explains our names"


def test_evaluation_documents_are_read_by_eval(tmp_path: Path) -> None:
    heldout.save(tmp_path, 4, seed=9)
    samples = load_truth(tmp_path)
    assert len(samples) == 4
    assert all(sample.lines and None in sample.fields.values() for sample in samples)
    assert all({"total_amount", "date"} <= sample.fields.keys() for sample in samples)
    with Image.open(tmp_path / "0000.jpg") as picture:
        assert picture.width == WIDTH


TINY: dict[str, Any] = {
    "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
             "num_key_value_heads": 1, "head_dim": 32,
             "rope_parameters": {"rope_type": "dynamic", "alpha": 1.0, "rope_theta": 10000.0, "mrope_section": [4, 4, 4, 4],
                                 "factor": 1.0}},
    "vision": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2},
}  # fmt: skip
RECIPE = """
rate = 3e-3
warmup = 5
[[levels]]
name = "characters"
batch = 4
[[levels]]
name = "row"
batch = 4
"""


async def test_a_run_in_miniature_is_served(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    from demo_model.run import HEAD, export, trainer
    from hunyuanocr.backends.base import Generation
    from hunyuanocr.backends.torch_local import TorchGenerator
    from hunyuanocr.config import Settings, TorchSettings
    from hunyuanocr.weights.verify import verify

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    ours = trainer(tmp_path / "run", recipe, **TINY)
    ours.run(steps=25)
    ours.progress.level, ours.progress.level_step = 1, 0
    ours.run(steps=5)
    first, last = ours.progress.curve[0][3], ours.progress.reading
    assert last is not None
    assert last < 7.5
    assert first < 7.5
    folder = tmp_path / "model"
    export(tmp_path / "run", folder)
    found = verify(folder)
    assert found.dtype == "BF16"
    assert (folder / HEAD).is_file()
    engine = TorchGenerator(
        Settings(backend="torch", model_path=folder, device="cpu", torch=TorchSettings(dtype="float32", vram_gb=0.4))
    )
    await engine.start()
    ask = prompts.build_prompt(parse_instruction(fields=["total_amount", "date"]))
    expected = Generation((np.full((64, 448, 3), 255, np.uint8),), ask.prompt, ask.schema, 60, ask.repetition_penalty)
    written = "".join([token.text async for chunk in engine.generate(expected) for token in chunk.tokens])
    await engine.close()
    assert json.loads(written).keys() == {"total_amount", "date"}
    assert AutoModelForImageTextToText.from_pretrained(folder).config.model_type == "hunyuan_vl"
    again = trainer(tmp_path / "again", recipe, start=folder)
    assert again.head is not None
    assert again.progress.step == 0
    again.run(steps=1)
    measured = heldout.measure(folder, 2, seed=1)
    assert set(measured) >= {"total_amount", "absent", "text"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_minutes_teach_characters(tmp_path: Path) -> None:
    """The first step of the recipe with a small tower: the loss of reading falls well under that of guessing by frequency."""
    from demo_model.run import trainer

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace("batch = 4", "batch = 12"), encoding="utf-8")
    ours = trainer(tmp_path / "run", recipe, **TINY)
    ours.run(steps=20)
    early = ours.progress.reading
    ours.run(minutes=2)
    assert early is not None
    assert ours.progress.reading is not None
    assert ours.progress.reading < 0.8 * early
