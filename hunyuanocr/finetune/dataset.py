"""A user's folder of labelled documents (`hunyuanocr.evaluate.dataset`) as training data.

The prompts about each page are those of serving: its text or its text with coordinates, if the lines are labelled; one field; and
several fields, half of the time all of them in the order of the file. A field that is labelled null is answered null.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import HunyuanOcrError, InvalidValue
from hunyuanocr.evaluate import dataset
from hunyuanocr.fields.layout import Layout
from hunyuanocr.finetune import targets
from hunyuanocr.finetune.batching import Sample
from hunyuanocr.finetune.targets import Turn
from hunyuanocr.images import open_pages
from hunyuanocr.types import Line, Page

SPOTTING_SHARE = 0.5  # share of spotting among the prompts for text: serving uses it whenever it needs boxes
_MAX_OUTSIDE = 0.05  # share of the page's sides by which a coordinate may be outside the image


@dataclass(frozen=True)
class TrainingDocument:
    """A page and its labels as prompts and answers.

    `grid`: size in patches after the processor has scaled the image; `tokens`: those of the image and of all turns that can be
    used at the same time; `answers`: those of their answers.
    """

    path: Path
    grid: tuple[int, int]
    reading: tuple[Turn, ...]  # text, and text with coordinates; empty if the lines are not labelled
    fields: Mapping[str, Any]
    tokens: int
    answers: int
    items_left_out: bool

    def turns(self, rng: random.Random) -> tuple[Turn, ...]:
        """Return the turns for one step."""
        turns = [self.reading[rng.random() < SPOTTING_SHARE]] if self.reading else []
        names = list(self.fields)
        if names:
            turns.append(self._extraction([rng.choice(names)]))
        if len(names) > 1:
            turns.append(self._extraction(names if rng.random() < 0.5 else rng.sample(names, rng.randint(2, len(names)))))
        return tuple(turns)

    def all_turns(self) -> tuple[Turn, ...]:
        """Return all turns, for the evaluation of a model."""
        return (*self.reading, *([self._extraction(list(self.fields))] if self.fields else []))

    def _extraction(self, names: Sequence[str]) -> Turn:
        return targets.extraction_target({name: self.fields[name] for name in names})


class DocumentDataset:
    """Documents as a sample source (`batching.SampleSource`): each once per epoch, shuffled; batches of one image size."""

    def __init__(self, documents: Sequence[TrainingDocument], images: ImageSettings, seed: int = 1) -> None:
        self.documents = tuple(documents)
        self._images, self._seed = images, seed

    def batches(self, count: int) -> int:
        """Return the batches per epoch. Rare image sizes make small batches."""
        return sum(-(-n // count) for n in Counter(document.grid for document in self.documents).values())

    def batch(self, level: int, step: int, count: int) -> list[Sample]:
        """Return at most `count` samples of one image size; `level` is ignored."""
        del level
        epoch, index = divmod(step, self.batches(count))
        chosen = self._order(epoch, count)[index]
        return [
            Sample(load_pixels(d.path, self._images), d.turns(random.Random(f"{self._seed}:{step}:{d.path.name}")))  # noqa: S311
            for d in chosen
        ]

    def _order(self, epoch: int, count: int) -> list[list[TrainingDocument]]:
        rng = random.Random(f"{self._seed}:epoch:{epoch}")  # noqa: S311  not a secret
        groups: dict[tuple[int, int], list[TrainingDocument]] = {}
        for document in rng.sample(self.documents, len(self.documents)):
            groups.setdefault(document.grid, []).append(document)
        batches = [group[n : n + count] for group in groups.values() for n in range(0, len(group), count)]
        rng.shuffle(batches)
        return batches


def load(
    folder: Path, processor: Processor, images: ImageSettings, *, max_tokens: int, on_progress: Callable[[], None] | None = None
) -> list[TrainingDocument]:
    """Load and check every document of the folder; `max_tokens` fit the model. `on_progress` is called after each document.

    Raises InvalidValue, with the file, for invalid labels, an image without labels, an unreadable one, several pages, coordinates
    outside the image, and more text than fits the model.
    """
    samples = dataset.load_dataset(folder)
    labelled = {sample.path for sample in samples}
    unlabelled = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in dataset.PICTURES and p not in labelled)
    if unlabelled:
        names = f"{', '.join(unlabelled[:5])}{' …' * (len(unlabelled) > 5)}"
        raise InvalidValue(
            f"{len(unlabelled)} images in {folder} have no labels: {names}.",
            hint="Write NAME.csv or NAME.json next to them, or move them to another folder.",
        )
    documents = []
    for sample in samples:
        with _add_path(sample.path):
            documents.append(_document(sample, processor, images, max_tokens))
        if on_progress is not None:
            on_progress()
    return documents


def split(
    documents: Sequence[TrainingDocument], share: float, seed: int
) -> tuple[list[TrainingDocument], list[TrainingDocument]]:
    """Return (training, held-out) documents, split by name, so that the split does not depend on order or other documents."""
    if not share:
        return list(documents), []
    count = max(1, round(share * len(documents)))
    if count >= len(documents):
        raise InvalidValue(
            f"{count} of {len(documents)} documents are held out; none is left for training.",
            hint="Add documents, or use --hold-out 0.",
        )
    shuffled = sorted(documents, key=lambda d: hashlib.sha256(f"{seed}:{d.path.name}".encode()).digest())
    held_out = {document.path for document in shuffled[:count]}
    return [d for d in documents if d.path not in held_out], [d for d in documents if d.path in held_out]


def load_pixels(path: Path, images: ImageSettings) -> Any:
    """Return the image (uint8 RGB [h, w, 3]) as in serving. Raises InvalidValue if it is missing or has changed."""
    with _add_path(path):
        return _page(path, images).pixels


@contextmanager
def _add_path(path: Path) -> Iterator[None]:
    """Add the path of the document to error messages."""
    try:
        yield
    except HunyuanOcrError as e:
        specific = isinstance(e, InvalidValue) and e.hint != InvalidValue.hint
        raise InvalidValue(f"{path}: {e.message}", hint=e.hint if specific else "Correct it, or move it elsewhere.") from e
    except OSError as e:
        raise InvalidValue(f"Cannot read {path}: {e.strerror}.", hint="Correct it, or move it elsewhere.") from e


def _page(path: Path, images: ImageSettings) -> Page:
    pages = open_pages(path.read_bytes(), images)
    if len(pages) > 1:
        raise InvalidValue(f"It has {len(pages)} pages; labels are for one page.", hint="Save its pages as separate files.")
    return pages[0]


def _document(sample: dataset.LabelledDocument, processor: Processor, images: ImageSettings, max_tokens: int) -> TrainingDocument:
    page = _page(sample.path, images)
    size = page.pixels.shape[:2]
    grid = processor.scaler.grid(*size)
    fields, left_out = _fields(sample)
    reading = () if sample.lines is None else _reading(sample.lines, page)
    turns = (*reading, *([targets.extraction_target(fields)] if fields else []))
    if not turns:
        raise InvalidValue("Its labels are empty: neither lines nor fields.", hint="Label it, or move it elsewhere.")
    image_tokens = processor.length([size], "")
    answers = [len(processor.tokenizer.encode(answer, add_special_tokens=False)) + 1 for _, answer in turns]
    lengths = [processor.length([size], text) - image_tokens + count for (text, _), count in zip(turns, answers, strict=True)]
    if image_tokens + max(lengths) > max_tokens:
        message = f"Image and answer have {image_tokens + max(lengths)} tokens; the model accepts {max_tokens}."
        raise InvalidValue(message, hint="Cut the page.")
    return TrainingDocument(sample.path, grid, reading, fields, image_tokens + sum(lengths), sum(answers), left_out)


def _fields(sample: dataset.LabelledDocument) -> tuple[dict[str, Any], bool]:
    """Return fields and line items for the answer, and whether the items were left out.

    Serving requests fixed columns. If the labels lack some of them, training would teach that they are not printed.
    """
    fields: dict[str, Any] = dict(sample.fields)
    if sample.items is None:
        return fields, False
    columns = targets.row_columns("items")
    if any(column not in row for row in sample.items for column in columns):
        return fields, True
    rows = [{column: row[column] for column in columns} for row in sample.items]
    return fields | {"items": rows or None}, False


def _reading(lines: Sequence[Line], page: Page) -> tuple[Turn, Turn]:
    """Return the text and the spotting turn of a page, in reading order."""
    printed = [line for line in lines if line.text]
    for line in printed:
        for x, y in line.box:
            if not (-_MAX_OUTSIDE <= x / page.width <= 1 + _MAX_OUTSIDE and -_MAX_OUTSIDE <= y / page.height <= 1 + _MAX_OUTSIDE):
                raise InvalidValue(
                    f"Line {line.text!r} at ({x:g}, {y:g}) is outside the image of {page.width} × {page.height} pixels.",
                    hint="Coordinates are pixels of the upright image in the file.",
                )
    rows = [[printed[cell.line] for cell in row] for row in Layout(printed).rows]
    runs = [(line.text, _bounding_box(line)) for row in rows for line in row]
    return targets.text_target([line.text for line in row] for row in rows), targets.spotting_target(
        runs, page.width, page.height
    )


def _bounding_box(line: Line) -> targets.Box:
    xs, ys = [x for x, _ in line.box], [y for _, y in line.box]
    return min(xs), min(ys), max(xs), max(ys)
