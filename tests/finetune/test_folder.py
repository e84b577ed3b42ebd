"""One's own folder as samples: official questions, places in thousandths, batches of one size, and every mistake by its name."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from hunyuanocr import prompts
from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import InvalidValue
from hunyuanocr.finetune import dataset as folders
from hunyuanocr.finetune import targets
from hunyuanocr.finetune.dataset import DocumentDataset, TrainingDocument
from hunyuanocr.output import spotting

DEMO = Path(__file__).parents[2] / "models/hunyuanocr-demo"
IMAGES = ImageSettings()
LINES = "40,10,90,10,90,30,40,30,Corner Shop\n10,50,60,50,60,70,10,70,合计\n100,50,150,52,150,72,100,70,￥36.80\n"
FIELDS = {"merchant": "Corner Shop", "total_amount": "￥36.80", "date": None, "车牌号": "A1", "_meta": {"kind": "receipt"}}


@pytest.fixture(scope="module")
def processor() -> Processor:
    return Processor(DEMO)


def put(folder: Path, name: str, *, size: tuple[int, int] = (200, 100), lines: str | None = LINES, fields: Any = FIELDS) -> Path:
    path = folder / name
    Image.new("RGB", size, "white").save(path)
    if lines is not None:
        path.with_suffix(".csv").write_text(lines, encoding="utf-8")
    if fields is not None:
        path.with_suffix(".json").write_text(json.dumps(fields, ensure_ascii=False), encoding="utf-8")
    return path


def load(folder: Path, processor: Processor, **others: Any) -> list[TrainingDocument]:
    return folders.load(folder, processor, IMAGES, **({"max_tokens": 4096} | others))


def test_questions_are_those_of_serving(tmp_path: Path, processor: Processor) -> None:
    put(tmp_path, "a.png")
    (document,) = load(tmp_path, processor)
    (asked_text, text), (asked_places, placed), (asked_fields, fields) = document.all_turns()
    assert (asked_text, asked_places) == (prompts.TEXT, prompts.SPOTTING)
    assert text == "Corner Shop\n合计 ￥36.80"
    runs = spotting.parse(placed)
    assert [(run.text, run.box) for run in runs] == [
        ("Corner Shop", (200, 100, 450, 300)),
        ("合计", (50, 500, 300, 700)),
        ("￥36.80", (500, 500, 750, 720)),
    ]
    assert asked_fields == targets.extraction_prompt(("merchant", "total_amount", "date", "车牌号"))
    assert "'车牌号'" in asked_fields
    assert fields == '{"merchant":"Corner Shop","total_amount":"￥36.80","date":null,"车牌号":"A1"}'


def test_each_time_something_else_is_asked(tmp_path: Path, processor: Processor) -> None:
    put(tmp_path, "a.png")
    (document,) = load(tmp_path, processor)
    asked = [document.turns(random.Random(n)) for n in range(60)]
    assert {turns[0][0] for turns in asked} == {prompts.TEXT, prompts.SPOTTING}
    one, several = ([json.loads(turns[place][1]) for turns in asked] for place in (1, 2))
    assert {len(answer) for answer in one} == {1}
    assert {len(answer) for answer in several} == {2, 3, 4}
    assert {key: None for answer in one for key, value in answer.items() if value is None} == {"date": None}
    for turns in asked:
        assert all(targets.extraction_prompt(tuple(json.loads(answer))) == words for words, answer in turns[1:])


def test_what_is_not_known_is_not_asked(tmp_path: Path, processor: Processor) -> None:
    put(tmp_path, "fields.png", lines=None, fields={"total": "5"})
    put(tmp_path, "lines.png", fields=None)
    put(tmp_path, "blank.png", lines="", fields=None)
    blank, fields, lines = load(tmp_path, processor)
    assert [len(document.turns(random.Random(1))) for document in (blank, fields, lines)] == [1, 1, 1]
    assert [answer for _, answer in blank.all_turns()] == ["", ""], "a page without text is answered with nothing"
    assert [words for words, _ in fields.all_turns()] == [targets.extraction_prompt(("total",))]


def test_items_are_taught_where_every_column_is_known(tmp_path: Path, processor: Processor) -> None:
    row = {"name": "tea", "quantity": None, "unit_price": None, "amount": "9.00"}
    put(tmp_path, "a.png", fields={"明细": [row | {"code": "7"}]})
    put(tmp_path, "b.png", fields={"total": "9.00", "items": [{"name": "tea", "amount": "9.00"}]})
    whole, part = load(tmp_path, processor)
    assert whole.fields == {"items": [row]}
    assert not whole.items_left_out
    assert part.items_left_out
    assert part.fields == {"total": "9.00"}


def test_places_are_of_the_picture_however_it_is_scaled(tmp_path: Path, processor: Processor) -> None:
    put(tmp_path, "a.png", size=(2000, 1000), lines="400,100,900,100,900,300,400,300,Corner Shop\n")
    (document,) = folders.load(tmp_path, processor, ImageSettings(long_side=256), max_tokens=4096)
    assert spotting.parse(document.reading[1][1])[0].box == (200, 100, 450, 300)
    (large,) = load(tmp_path, processor)
    rows, columns = large.grid
    assert document.grid == (8, 16)
    assert 256 * rows * columns <= processor.scaler.high < 2000 * 1000
    image = DocumentDataset([large], IMAGES).batch(0, 0, 1)[0].image
    assert processor([image], "").grids == (large.grid,)
    assert large.tokens > document.tokens > 8 * 4


def many(folder: Path, processor: Processor) -> DocumentDataset:
    for number in range(7):
        put(folder, f"{number}.png", size=(200, 100 if number < 5 else 200), fields={"total": str(number)}, lines=None)
    return DocumentDataset(load(folder, processor), IMAGES, seed=3)


def test_an_epoch_is_every_document_once_in_batches_of_one_size(tmp_path: Path, processor: Processor) -> None:
    ours = many(tmp_path, processor)
    assert ours.batches(2) == 4
    epochs = [[ours.batch(0, step, 2) for step in range(first, first + 4)] for first in (0, 4)]
    orders = [[sample.turns[0][1] for batch in epoch for sample in batch] for epoch in epochs]
    assert sorted(orders[0]) == sorted(orders[1]) == [f'{{"total":"{number}"}}' for number in range(7)]
    assert orders[0] != orders[1]
    assert sorted(len(batch) for batch in epochs[0]) == [1, 2, 2, 2]
    assert all(len({sample.image.shape for sample in batch}) == 1 for epoch in epochs for batch in epoch)


def test_a_batch_depends_on_its_step_alone(tmp_path: Path, processor: Processor) -> None:
    first = many(tmp_path, processor)
    second, other = (DocumentDataset(load(tmp_path, processor), IMAGES, seed=seed) for seed in (3, 4))
    taken = {step: first.batch(0, step, 3) for step in range(8)}
    for step in (5, 2, 7):
        again = second.batch(0, step, 3)
        assert [s.turns for s in taken[step]] == [s.turns for s in again]
        assert all(np.array_equal(x.image, y.image) for x, y in zip(taken[step], again, strict=True))
    assert [[s.turns for s in taken[n]] for n in taken] != [[s.turns for s in other.batch(0, n, 3)] for n in taken]


def bad(folder: Path, name: str) -> None:
    """One mistake among good documents."""
    put(folder, "good.png")
    if name == "no truth":
        put(folder, "odd.png", lines=None, fields=None)
    elif name == "two pages":
        put(folder, "odd.tif")
        Image.new("L", (64, 64)).save(folder / "odd.tif", save_all=True, append_images=[Image.new("L", (64, 64))])
    else:
        odd = put(
            folder,
            "odd.png",
            lines="0,0,5,0,5,500,0,500,x\n" if name == "outside" else LINES,
            fields={f"f{n}": "1" for n in range(70)} if name == "too many" else FIELDS,
        )
        data = {
            "broken json": (".json", '{"total": '),
            "broken line": (".csv", "1,2,3\n"),
            "a list": (".json", "[1]"),
            "damaged": (".png", "neither a supported image"),
            "empty file": (".png", ""),
        }
        if name in data:
            odd.with_suffix(data[name][0]).write_text(data[name][1], encoding="utf-8")
        if name == "nothing":
            odd.with_suffix(".csv").unlink()
            odd.with_suffix(".json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no truth", "no labels: odd.png"),
        ("two pages", "2 pages"),
        ("outside", "outside the image"),
        ("too many", "limit is 64"),
        ("broken json", "not JSON"),
        ("broken line", "line 1"),
        ("a list", "not a JSON object"),
        ("damaged", "neither"),
        ("empty file", "empty"),
        ("nothing", "labels are empty"),
    ],
)
def test_every_mistake_is_reported_by_the_files_name(tmp_path: Path, processor: Processor, name: str, said: str) -> None:
    bad(tmp_path, name)
    with pytest.raises(InvalidValue, match=said) as raised:
        load(tmp_path, processor)
    assert "odd." in raised.value.message
    assert raised.value.hint != InvalidValue.hint


def test_a_folder_without_documents_and_a_page_that_does_not_fit(tmp_path: Path, processor: Processor) -> None:
    with pytest.raises(InvalidValue, match="no labelled image"):
        load(tmp_path, processor)
    with pytest.raises(InvalidValue, match="is not a folder"):
        load(tmp_path / "none", processor)
    put(tmp_path, "a.png")
    with pytest.raises(InvalidValue, match=r"a\.png: Image and answer have \d+ tokens; the model accepts 60"):
        load(tmp_path, processor, max_tokens=60)


def test_a_picture_that_goes_or_changes_later_is_reported_too(tmp_path: Path, processor: Processor) -> None:
    path = put(tmp_path, "a.png")
    ours = DocumentDataset(load(tmp_path, processor), IMAGES)
    path.write_bytes(b"")
    with pytest.raises(InvalidValue, match=r"a\.png: The file is empty"):
        ours.batch(0, 0, 1)
    path.unlink()
    with pytest.raises(InvalidValue, match=r"Cannot read .*a\.png"):
        ours.batch(0, 0, 1)


def test_what_is_held_out_stays_held_out(tmp_path: Path, processor: Processor) -> None:
    documents = list(many(tmp_path, processor).documents)
    train, held = folders.split(documents, 0.3, seed=1)
    assert (len(train), len(held)) == (5, 2)
    assert {d.path for d in train} | {d.path for d in held} == {d.path for d in documents}
    assert {d.path for d in folders.split(documents[::-1], 0.3, seed=1)[1]} == {d.path for d in held}
    assert any({d.path for d in folders.split(documents, 0.3, seed=n)[1]} != {d.path for d in held} for n in range(2, 6))
    assert folders.split(documents, 0.0, seed=1) == (documents, [])
    assert len(folders.split(documents, 0.01, seed=1)[1]) == 1
    with pytest.raises(InvalidValue, match="none is left"):
        folders.split(documents[:1], 0.1, seed=1)
