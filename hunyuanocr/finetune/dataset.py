"""A person's own folder of documents with truth (`hunyuanocr.evaluate.dataset`) as something to train on.

About each page is asked what serving asks: its text or its runs with their places, where the lines are known; one field; and
several, half of the time all of them in the file's order. A field that the truth says is not printed is answered null.
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

PLACES = 0.5  # share of spotting among the questions for text: serving asks it wherever it needs boxes
_STRAY = 0.05  # of the page's sides: how far a place may lie outside the picture


@dataclass(frozen=True)
class TrainingDocument:
    """A page and its truth as questions and answers.

    `grid` is the picture's size in patches as the processor scales it; `tokens` are those of the picture and of all turns that
    may be asked at once, `answers` those of their answers.
    """

    path: Path
    grid: tuple[int, int]
    reading: tuple[Turn, ...]  # the text, and its runs with their places; neither where the lines are not known
    fields: Mapping[str, Any]
    tokens: int
    answers: int
    items_left_out: bool

    def turns(self, rng: random.Random) -> tuple[Turn, ...]:
        """What is asked about it this time."""
        asked = [self.reading[rng.random() < PLACES]] if self.reading else []
        names = list(self.fields)
        if names:
            asked.append(self._extraction([rng.choice(names)]))
        if len(names) > 1:
            asked.append(self._extraction(names if rng.random() < 0.5 else rng.sample(names, rng.randint(2, len(names)))))
        return tuple(asked)

    def all_turns(self) -> tuple[Turn, ...]:
        """Everything that is known of it: for looking at a model's losses."""
        return (*self.reading, *([self._extraction(list(self.fields))] if self.fields else []))

    def _extraction(self, names: Sequence[str]) -> Turn:
        return targets.extraction_target({name: self.fields[name] for name in names})


class DocumentDataset:
    """Documents as a source of samples (`samples.Source`): every epoch each once, in another order; batches of one size."""

    def __init__(self, documents: Sequence[TrainingDocument], images: ImageSettings, seed: int = 1) -> None:
        self.documents = tuple(documents)
        self._images, self._seed = images, seed

    def batches(self, count: int) -> int:
        """Batches of an epoch. Sizes of which there are few pictures make small ones."""
        return sum(-(-n // count) for n in Counter(document.grid for document in self.documents).values())

    def batch(self, level: int, step: int, count: int) -> list[Sample]:
        """At most `count` samples of one size; there are no levels."""
        del level
        epoch, place = divmod(step, self.batches(count))
        chosen = self._order(epoch, count)[place]
        return [Sample(load_pixels(d.path, self._images), d.turns(random.Random(f"{self._seed}:{step}:{d.path.name}")))  # noqa: S311
                for d in chosen]  # fmt: skip

    def _order(self, epoch: int, count: int) -> list[list[TrainingDocument]]:
        rng = random.Random(f"{self._seed}:epoch:{epoch}")  # noqa: S311  no secret
        groups: dict[tuple[int, int], list[TrainingDocument]] = {}
        for document in rng.sample(self.documents, len(self.documents)):
            groups.setdefault(document.grid, []).append(document)
        batches = [group[n : n + count] for group in groups.values() for n in range(0, len(group), count)]
        rng.shuffle(batches)
        return batches


def load(
    folder: Path, processor: Processor, images: ImageSettings, *, longest: int, on_progress: Callable[[], None] | None = None
) -> list[TrainingDocument]:
    """Every document of the folder, looked through; `longest` tokens fit the model. `on_progress` is called after each.

    Raises InvalidValue, naming the file, for truth that is broken, a picture without truth, one that cannot be read, that has
    several pages, or whose places are not on it, and for more text than fits.
    """
    samples = dataset.load_dataset(folder)
    known = {sample.path for sample in samples}
    strange = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in dataset.PICTURES and p not in known)
    if strange:
        raise InvalidValue(
            f"{len(strange)} of the pictures in {folder} have no truth: {', '.join(strange[:5])}{' …' * (len(strange) > 5)}.",
            hint="Write NAME.csv or NAME.json beside them, or move them elsewhere.",
        )
    documents = []
    for sample in samples:
        with _telling(sample.path):
            documents.append(_document(sample, processor, images, longest))
        if on_progress is not None:
            on_progress()
    return documents


def split(
    documents: Sequence[TrainingDocument], share: float, seed: int
) -> tuple[list[TrainingDocument], list[TrainingDocument]]:
    """(to train on, held out): by their names, so that the same are held out whatever the order or number of the others."""
    if not share:
        return list(documents), []
    count = max(1, round(share * len(documents)))
    if count >= len(documents):
        raise InvalidValue(
            f"Of {len(documents)} documents, {count} are held out: none is left.", hint="Add some, or --hold-out 0."
        )
    drawn = sorted(documents, key=lambda d: hashlib.sha256(f"{seed}:{d.path.name}".encode()).digest())
    held = {document.path for document in drawn[:count]}
    return [d for d in documents if d.path not in held], [d for d in documents if d.path in held]


def load_pixels(path: Path, images: ImageSettings) -> Any:
    """The picture (uint8 RGB [h, w, 3]) as serving opens it. Raises InvalidValue where it is gone or has changed."""
    with _telling(path):
        return _page(path, images).pixels


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Whatever is wrong with a document is told with its name."""
    try:
        yield
    except HunyuanOcrError as e:
        own = isinstance(e, InvalidValue) and e.hint != InvalidValue.hint
        raise InvalidValue(f"{path}: {e.message}", hint=e.hint if own else "Correct it, or move it elsewhere.") from e
    except OSError as e:
        raise InvalidValue(f"{path} cannot be read: {e.strerror}.", hint="Correct it, or move it elsewhere.") from e


def _page(path: Path, images: ImageSettings) -> Page:
    pages = open_pages(path.read_bytes(), images)
    if len(pages) > 1:
        raise InvalidValue(f"It has {len(pages)} pages; truth does not say on which a line stands.", hint="Save its pages apart.")
    return pages[0]


def _document(sample: dataset.LabelledDocument, processor: Processor, images: ImageSettings, longest: int) -> TrainingDocument:
    page = _page(sample.path, images)
    size = page.pixels.shape[:2]
    grid = processor.scaler.grid(*size)
    fields, left_out = _fields(sample)
    reading = () if sample.lines is None else _reading(sample.lines, page)
    turns = (*reading, *([targets.extraction_target(fields)] if fields else []))
    if not turns:
        raise InvalidValue(
            "Its truth says nothing: neither lines nor fields.", hint="Write what stands on it, or move it elsewhere."
        )
    shown = processor.length([size], "")
    answers = [len(processor.tokenizer.encode(answer, add_special_tokens=False)) + 1 for _, answer in turns]
    rest = [processor.length([size], words) - shown + count for (words, _), count in zip(turns, answers, strict=True)]
    if shown + max(rest) > longest:
        raise InvalidValue(f"Picture and answer are {shown + max(rest)} tokens; the model takes {longest}.", hint="Cut the page.")
    return TrainingDocument(sample.path, grid, reading, fields, shown + sum(rest), sum(answers), left_out)


def _fields(sample: dataset.LabelledDocument) -> tuple[dict[str, Any], bool]:
    """Fields and line items as they are to be answered, and whether items had to be left out.

    Serving asks for certain columns; where the truth does not say all of them, what is not known would be taught as not printed.
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
    """The text and the spotting of a page, in reading order."""
    printed = [line for line in lines if line.text]
    for line in printed:
        for x, y in line.box:
            if not (-_STRAY <= x / page.width <= 1 + _STRAY and -_STRAY <= y / page.height <= 1 + _STRAY):
                raise InvalidValue(
                    f"The line {line.text!r} stands at ({x:g}, {y:g}), outside the picture of {page.width} × {page.height}.",
                    hint="Places are pixels of the upright picture as it is in the file.",
                )
    rows = [[printed[cell.line] for cell in row] for row in Layout(printed).rows]
    runs = [(line.text, _hull(line)) for row in rows for line in row]
    return targets.text_target([line.text for line in row] for row in rows), targets.spotting_target(
        runs, page.width, page.height
    )


def _hull(line: Line) -> targets.Box:
    xs, ys = [x for x, _ in line.box], [y for _, y in line.box]
    return min(xs), min(ys), max(xs), max(ys)
