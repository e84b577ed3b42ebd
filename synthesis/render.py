"""Render synthetic documents with their ground truth: `python -m synthesis.render --count N --seed S OUT`.

Document i of a seed does not depend on the count, given the same options and fonts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from synthesis import augment
from synthesis.document import Document, Language
from synthesis.documents import MAKERS, document
from synthesis.fonts import FontsMissing
from synthesis.layout import Box, draw
from synthesis.paper_style import choose_paper


@dataclass(frozen=True, eq=False)
class Rendered:
    """An image (uint8 RGB [h, w, 3]), its lines (text, quad [4, 2] in pixels, clockwise from top-left) and the truth as JSON."""

    image: NDArray[np.uint8]
    lines: tuple[tuple[str, NDArray[np.float64]], ...]
    truth: dict[str, Any]

    def jpeg(self) -> bytes:
        """The image as a JPEG file."""
        done, data = cv2.imencode(".jpg", self.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93])
        if not done:
            raise RuntimeError("JPEG encoding failed")
        return data.tobytes()

    def csv(self) -> str:
        """The lines as CSV, one per row: x1,y1,x2,y2,x3,y3,x4,y4,transcript."""
        return "".join(",".join(str(round(v)) for v in quad.ravel()) + f",{text}\n" for text, quad in self.lines)


def render(
    seed: int,
    index: int,
    *,
    clean: bool = False,
    language: Language | None = None,
    size: int | None = None,
    kind: str | None = None,
) -> Rendered:
    """Render document `index` of `seed`, of `kind` (one of `documents.MAKERS`) or of a common kind.

    `clean` applies no degradations; `size` is the paper's width in pixels.
    """
    rng, noise = random.Random(f"{seed}:{index}"), np.random.default_rng([seed, index])
    content = document(rng, language, kind)
    paper = choose_paper(rng, content, size)
    image, drawn = draw(content, paper, rng)
    boxes = _field_boxes(mark for run in drawn for mark in run.marks)
    points = np.array([corners(run.box) for run in drawn] + [corners(box) for box in boxes.values()]).reshape(-1, 2)
    names = () if clean else augment.choose(noise)
    for name in names:
        image, points = augment.ORDER[name](image, points, noise)
    height, width = image.shape[:2]
    quads = np.clip(points, 0, [width, height]).reshape(-1, 4, 2)
    lines = tuple((run.text, quad) for run, quad in zip(drawn, quads, strict=False))
    placed = dict(zip(boxes, quads[len(drawn) :], strict=True))
    meta = {"seed": seed, "index": index, "degradations": list(names), "font": paper.face.name, "clean": clean}
    return Rendered(image, lines, _truth(content, placed, meta))


def corners(box: Box) -> list[list[float]]:
    """Return the four corners of a box (left, top, right, bottom), clockwise from the top left."""
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _field_boxes(marks: Iterable[tuple[str, Box]]) -> dict[str, Box]:
    """Return one box per field, around all its parts."""
    boxes: dict[str, Box] = {}
    for name, box in marks:
        old = boxes.get(name, box)
        boxes[name] = (min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3]))
    return boxes


def _truth(content: Document, placed: dict[str, NDArray[np.float64]], meta: dict[str, Any]) -> dict[str, Any]:
    about = {
        "kind": content.kind,
        "variant": content.variant,
        "language": content.language,
        "labelled": content.labelled,
        "unlabelled": list(content.unlabelled),
    }
    boxes = {name: [[round(float(v), 1) for v in point] for point in quad] for name, quad in placed.items()}
    return {
        **content.fields,
        "items": [dict(one) for one in content.items],
        "_boxes": boxes,
        "_meta": about | meta | {"cents": dict(content.cents)},
    }


def save(rendered: Rendered, stem: Path) -> None:
    """Write stem.jpg, stem.csv and stem.json."""
    stem.with_suffix(".jpg").write_bytes(rendered.jpeg())
    stem.with_suffix(".csv").write_text(rendered.csv(), encoding="utf-8")
    stem.with_suffix(".json").write_text(json.dumps(rendered.truth, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


app = typer.Typer(add_completion=False)


@app.command()
def main(  # noqa: PLR0917  typer reads the options from the signature
    out: Annotated[Path, typer.Argument(help="Output folder for NNNN.jpg, .csv, .json; created if missing.")],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Number of documents.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same documents.")] = 1,
    clean: Annotated[bool, typer.Option("--clean", help="Apply no degradations (folds, glare, blur …).")] = False,
    language: Annotated[str | None, typer.Option(help="zh or en; both by default.")] = None,
    size: Annotated[int | None, typer.Option(min=320, max=2400, help="Width of the paper in pixels; varied by default.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"{', '.join(MAKERS)}; by default receipts, prescriptions and slips.")] = None,
) -> None:
    """Render documents with their ground truth into a folder."""
    if language not in {None, "zh", "en"}:
        raise typer.BadParameter("--language takes zh or en")
    if kind is not None and kind not in MAKERS:
        raise typer.BadParameter(f"--kind takes {', '.join(MAKERS)}")
    out.mkdir(parents=True, exist_ok=True)
    try:
        for index in track(range(count), description="rendering"):
            made = render(seed, index, clean=clean, language=language, size=size, kind=kind)  # type: ignore[arg-type]
            save(made, out / f"{index:04d}")
    except FontsMissing as missing:
        typer.echo(str(missing), err=True)
        raise typer.Exit(1) from missing


if __name__ == "__main__":
    app()
