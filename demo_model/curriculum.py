"""The curriculum of the demo checkpoint: characters, single rows, a few rows, whole receipts, each with suitable tasks."""

from __future__ import annotations

import random

from demo_model import lexicon
from demo_model.augment import photographed, worn
from demo_model.receipts import Receipt, dense, noise, receipt
from demo_model.renderer import STEP, Page, draw
from hunyuanocr.finetune import targets
from hunyuanocr.finetune.batching import Sample

# Heights in rows of image tokens, and the maximum rows of text. Coordinates are thousandths of the height, so training must cover
# every height: for an unseen one all coordinates would be wrong.
HEIGHTS: tuple[tuple[int, ...], ...] = ((2, 4, 8), (2,), (4,), (5, 6, 7, 8, 9, 10), tuple(range(7, 20)))
ROWS = (7, 1, 3, 7, 12)
SPOTTING_SHARES = (0.0, 0.1, 0.2, 0.5, 0.6)  # by level: coordinates are long, and hard to learn before text
FIELD_COUNTS = (2, 3, 4, 6, 8, 10, 12)  # of one question
WEAR_SHARES = (0.1, 0.1, 0.15, 0.25, 0.3)  # of images with degradations, by level


class Curriculum:
    """Samples by level and step, independent of earlier calls."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self._glyphs = lexicon.glyphs()

    def batch(self, level: int, step: int, count: int) -> list[Sample]:
        """Return `count` samples of one height."""
        height = random.Random(f"{self._seed}:height:{level}:{step}").choice(HEIGHTS[level]) * STEP
        return [self._sample(random.Random(f"{self._seed}:{level}:{step}:{n}"), level, height) for n in range(count)]

    def _sample(self, rng: random.Random, level: int, height: int) -> Sample:
        page = draw(self._content(rng, level, height), rng, height=height)
        image = worn(page.image, rng)[0] if rng.random() < WEAR_SHARES[level] else page.image
        return Sample(photographed(image, rng), turns(page, rng, SPOTTING_SHARES[level]) if level else (), page.glyphs)

    def _content(self, rng: random.Random, level: int, height: int) -> Receipt:
        """Return some rows of a receipt, or of random text; whole receipts at the highest level."""
        most = min(ROWS[level], (height - 8) // (STEP + 1) + 1)
        if rng.random() < (0.75, 0.35, 0.3, 0.25, 0.15)[level]:
            if level == 0:
                return Receipt([dense(rng, self._glyphs) for _ in range(most)])
            return Receipt([noise(rng, self._glyphs) for _ in range(rng.randint(1, most))])
        whole = receipt(rng, max_rows=max(most, 8) if level == len(ROWS) - 1 else 12)
        if level == len(ROWS) - 1:
            return whole
        start = rng.randrange(len(whole.rows))
        return Receipt([row for row in whole.rows[start:] if row][:most] or [row for row in whole.rows if row][:most])


def turns(page: Page, rng: random.Random, places: float = 0.5) -> tuple[tuple[str, str], ...]:
    """Return the tasks of a page: its text or its spotting output, a question for one field and one for several."""
    reading = targets.text_target(page.rows) if rng.random() >= places else targets.spotting_target(page.runs, *_size(page))
    if len(page.rows) == 1 and rng.random() < 0.6:
        return (reading,)
    return reading, extraction(page, rng, 1), extraction(page, rng, rng.choice(FIELD_COUNTS))


def spotted(page: Page) -> str:
    """Return the official format, `text(x1,y1),(x2,y2)` per run."""
    return targets.spotting_target(page.runs, *_size(page))[1]


def extraction(page: Page, rng: random.Random, count: int) -> tuple[str, str]:
    """Return (prompt, answer) for printed and missing fields, most often total and date."""
    often = ["total_amount", "date", *page.fields]
    pool = [*often, *often, *lexicon.ASKED, *rng.sample(lexicon.NEVER, 3)]
    names: list[str] = []
    while len(names) < count:
        name = rng.choice(pool)
        if name not in names:
            names.append(name)
    keys = [rng.choice(lexicon.ASKED[name]) if name in lexicon.ASKED and rng.random() < 0.35 else name for name in names]
    found = {key: page.fields[name][0] if name in page.fields else None for key, name in zip(keys, names, strict=True)}
    return targets.extraction_target(found)


asked = targets.extraction_prompt


def _size(page: Page) -> tuple[int, int]:
    """(width, height)"""
    tall, wide = page.image.shape[:2]
    return wide, tall
