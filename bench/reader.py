"""Seconds per receipt and line accuracy of the ppocr backend, compared with RapidOCR's default configuration.

    python bench/reader.py ../shared/data/sroie-dev [--files 20] [--rounds 3]

Both process the file's bytes. Rounds are interleaved, so that other load on the machine affects both; the ratio is the median
over files of the ratio of the best rounds. Ground truth is a CSV next to each image, with `x1,y1,…,x4,y4,transcript` per line.
A line is correct if a box overlaps it by IoU >= 0.5 and letters and digits are equal, ignoring case.
`bench/http_overhead.py` measures the overhead of HTTP.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hunyuanocr.backends.ppocr.ocr import PageReader
from hunyuanocr.config import ImageSettings, PpocrSettings
from hunyuanocr.cpu_count import usable_cpus
from hunyuanocr.images import open_pages

Lines = list[tuple[np.ndarray, str]]  # quads [4, 2] and texts
RESULTS = Path(__file__).parent / "results" / "reader.json"


def truth(picture: Path) -> Lines:
    lines = []
    for row in picture.with_suffix(".csv").read_text(encoding="utf-8", errors="replace").splitlines():
        parts = row.split(",", 8)
        if len(parts) == 9:
            lines.append((np.array(parts[:8], dtype=float).reshape(4, 2), parts[8]))
    return lines


def plain(text: str) -> str:
    return "".join(c for c in text.upper() if c.isalnum())


def overlaps(a: Lines, b: Lines) -> np.ndarray:
    """Return the IoU [len(a), len(b)] of the upright rectangles around the quads."""
    first, second = (np.array([[*q.min(0), *q.max(0)] for q, _ in lines]) for lines in (a, b))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def right_lines(expected: Lines, got: Lines) -> int:
    if not expected or not got:
        return 0
    iou = overlaps(expected, got)
    used_a, used_b, right = set(), set(), 0
    for flat in np.argsort(-iou, axis=None):
        i, j = divmod(int(flat), len(got))
        if iou[i, j] < 0.5:
            break
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            right += plain(expected[i][1]) == plain(got[j][1])
    return right


def rapidocr_reader() -> Callable[[bytes], Lines]:
    from rapidocr import RapidOCR

    engine = RapidOCR(params={"Global.log_level": "error"})

    def read(data: bytes) -> Lines:
        result = engine(data)
        return [] if result.boxes is None else list(zip(result.boxes, result.txts, strict=True))

    return read


def our_reader(settings: PpocrSettings) -> Callable[[bytes], Lines]:
    reader = PageReader(settings)
    reader.warm_up()

    def read(data: bytes) -> Lines:
        pages = open_pages(data, ImageSettings())
        return [(np.array(line.box), line.text) for page in pages for row in reader.read(page) for line in row]

    return read


def compare(pictures: Sequence[Path], rounds: int, settings: PpocrSettings) -> dict[str, object]:
    readers = {"rapidocr": rapidocr_reader(), "ours": our_reader(settings)}
    for read in readers.values():
        read(pictures[0].read_bytes())
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    right = dict.fromkeys(readers, 0)
    lines = 0
    for picture in pictures:
        data, expected = picture.read_bytes(), truth(picture)
        lines += len(expected)
        best = dict.fromkeys(readers, float("inf"))
        for _ in range(rounds):
            for name, read in readers.items():
                started = time.perf_counter()
                got = read(data)
                best[name] = min(best[name], time.perf_counter() - started)
                if _ == 0:
                    right[name] += right_lines(expected, got)
        for name in readers:
            seconds[name].append(best[name])
        print(f"{picture.name}  rapidocr {best['rapidocr']:.3f} s  ours {best['ours']:.3f} s", flush=True)
    ratios = [a / b for a, b in zip(seconds["rapidocr"], seconds["ours"], strict=True)]
    return {
        "files": len(pictures),
        "rounds": rounds,
        "seconds_median": {name: round(statistics.median(s), 4) for name, s in seconds.items()},
        "times_as_fast_median": round(statistics.median(ratios), 2),
        "times_as_fast_least": round(min(ratios), 2),
        "lines": lines,
        "line_accuracy": {name: round(right[name] / max(1, lines), 4) for name in readers},
    }


def machine() -> dict[str, object]:
    cpu = next((row.split(":")[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row), "")
    names = ("rapidocr", "openvino", "onnxruntime", "opencv-python-headless", "numpy")
    return {"cpu": cpu, "cpus": usable_cpus(), "python": platform.python_version(), "versions": {n: version(n) for n in names}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=0, help="Number of files, evenly spread (0: all).")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--int8", action="store_true", help="Use 8-bit weights in the ppocr backend.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    kinds = {".jpg", ".png"}
    pictures = sorted(p for p in given.folder.glob("*") if p.suffix.lower() in kinds and p.with_suffix(".csv").exists())
    if given.files:
        pictures = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(given.files, len(pictures))).astype(int)]
    result = {**machine(), **compare(pictures, given.rounds, PpocrSettings(int8=given.int8))}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
