"""One page at a time, blocking: find lines, cut them out, read them, put them in order. `PpocrBackend` stands around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr import crops, reading_order
from hunyuanocr.backends.ppocr.detector import Detector, DetectorOptions, Quads, clockwise
from hunyuanocr.backends.ppocr.network import EngineOptions
from hunyuanocr.backends.ppocr.recogniser import RecognisedText, Recogniser, load_charset
from hunyuanocr.backends.ppocr.runtimes import choose_runtime, load_network
from hunyuanocr.config import PpocrSettings
from hunyuanocr.cpu_count import usable_cpus
from hunyuanocr.errors import ConfigError, MissingDependency
from hunyuanocr.malloc import trim_memory
from hunyuanocr.types import Line, Page

_DETECTOR, _RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
INT8_FOLDER = Path("models/ppocr-int8")  # made by bench/quantise.py
_MIN_CONFIDENCE = 0.5  # below it a line is more likely a smudge than a text
_DOUBTFUL = 0.75  # below it a line may stand upside down
_DOUBTFUL_SHARE = 0.3  # of a page's lines, from which on the page itself may
_SAMPLE = 6  # doubtful lines that are turned first; only if that helps are the others


class PageReader:
    """Detector and recogniser loaded. Methods may be called from several threads."""

    def __init__(self, settings: PpocrSettings) -> None:
        """Load the networks. Raises ConfigError, MissingDependency."""
        runtime = choose_runtime(settings.runtime, small=settings.small_memory)
        threads = settings.threads or usable_cpus()
        half = not settings.int8
        whole = EngineOptions(threads, kernels=500, half=half)  # pages come in many more sizes than lines
        self._detector = Detector(load_network(_weight_file(_DETECTOR, settings), runtime, whole), _detector_options(settings))
        # Lines are many and small: a stream for each thread wastes no time on sharing one line's work out.
        lines = EngineOptions(threads, streams=1 if settings.small_memory else threads, half=half)
        self._recogniser = _recogniser(settings, runtime, lines)
        self._small = settings.small_memory

    def warm_up(self) -> None:
        """Meet the commonest sizes once, so that the first picture is not the slow one."""
        self._detector(np.full((1536, 896, 3), 255, np.uint8))
        widths = range(32, 513, 16)
        self._recogniser.read([np.full((self._recogniser.height, w, 3), 255, np.uint8) for w in widths])

    def read(self, page: Page, check_cancelled: Callable[[], None] = lambda: None) -> list[list[Line]]:
        """Lines of a page by row, in reading order. `check_cancelled` is called between steps and may raise to stop."""
        check_cancelled()
        if self._small:
            trim_memory()  # what decoding left would stand beside what detection needs
        picture = cv2.cvtColor(page.pixels, cv2.COLOR_RGB2BGR)  # the order that the networks were trained with
        quads = self._detector(picture)
        if self._small:
            trim_memory()
        if len(quads) == 0:
            return []
        texts, reading = self._texts(picture, quads, crops.initial_rotation(quads), check_cancelled)
        kept = [i for i, t in enumerate(texts) if t.text and t.confidence >= _MIN_CONFIDENCE]
        lengths = np.array([len(texts[i].text) for i in kept], dtype=np.float32)
        return [
            [self._line(page, reading[kept[i]], texts[kept[i]]) for i in row]
            for row in reading_order.group_rows(reading[kept], lengths)
        ]

    def _texts(
        self, picture: NDArray[np.uint8], quads: Quads, turns: NDArray[np.intp], check_cancelled: Callable[[], None]
    ) -> tuple[list[RecognisedText], Quads]:
        """Texts, and the quads in the corner order in which they read best."""
        reading = crops.rotate_quads(quads, turns)
        texts = self._read(picture, reading, check_cancelled)

        def turn_over(lines: list[int], gain: float) -> int:
            """Read lines upside down as well and keep what is better by `gain`; how many that were."""
            won = 0
            other = np.roll(reading[lines], -2, axis=1)
            for i, quad, text in zip(lines, other, self._read(picture, other, check_cancelled), strict=True):
                if text.confidence > texts[i].confidence + gain:
                    texts[i], reading[i] = text, quad
                    won += 1
            return won

        doubtful = sorted((i for i, t in enumerate(texts) if t.confidence < _DOUBTFUL), key=lambda i: -len(texts[i].text))
        if len(doubtful) < _DOUBTFUL_SHARE * len(texts):  # a few smudges, as on any page
            doubtful = [i for i in doubtful if turns[i]]
        sample = doubtful[:_SAMPLE]
        won = turn_over(sample, 0.1) if sample else 0
        if won * 2 > len(sample):  # the page stands upside down: its clear lines may be misread too
            turn_over([i for i in range(len(texts)) if i not in sample], 0.0)
        elif won:
            turn_over(doubtful[_SAMPLE:], 0.1)
        return texts, reading

    def _read(self, picture: NDArray[np.uint8], reading: Quads, check_cancelled: Callable[[], None]) -> list[RecognisedText]:
        height = self._recogniser.height
        widths = crops.crop_widths(reading, height)
        cut = [crops.crop_line(picture, quad, int(width), height) for quad, width in zip(reading, widths, strict=True)]
        return self._recogniser.read(cut, check_cancelled)

    @staticmethod
    def _line(page: Page, quad: NDArray[np.float32], text: RecognisedText) -> Line:
        box = page.to_original([(float(x), float(y)) for x, y in clockwise(crops.shrink_to_text(quad))])
        return Line(text.text, box, round(text.confidence, 4), page.index)


def weight_file(name: str) -> Path:
    """A network file out of RapidOCR's wheel; the package itself is not imported. Raises MissingDependency."""
    spec = find_spec("rapidocr")
    folders: Sequence[str] = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise MissingDependency(f"The package rapidocr, which carries {name}, is not installed.", hint="pip install 'rapidocr>=3.10'")


def _weight_file(name: str, settings: PpocrSettings) -> Path:
    if not settings.int8:
        return weight_file(name)
    path = INT8_FOLDER / name
    if not path.is_file():
        raise ConfigError(
            f"ppocr.int8 is set, but there are no 8-bit networks in {INT8_FOLDER}.",
            hint="Make them once with: python -m synthesis.render --count 40 --seed 1 calibration"
            " && python bench/quantise.py calibration",
        )
    return path


def _detector_options(settings: PpocrSettings) -> DetectorOptions:
    if settings.small_memory:  # the network takes some 250 bytes a pixel of its input
        return DetectorOptions(long_side=1280, pixels=720_000, enlarge=1.0)
    return DetectorOptions(short_side=1100, enlarge=2.5) if settings.upscale_small_images == "auto" else DetectorOptions()


def _recogniser(settings: PpocrSettings, runtime: str, options: EngineOptions) -> Recogniser:
    if settings.dictionary is not None and settings.recogniser is None:
        raise ConfigError("ppocr.dictionary is set without ppocr.recogniser.", hint="Set both, or neither.")
    network = load_network(settings.recogniser or _weight_file(_RECOGNISER, settings), runtime, options)
    number, channels, height, width = network.shape
    probe = np.full((number or 1, height or 48, width or 64, channels or 3), 255, np.uint8)
    for output in network.run([probe]):
        if output.ndim != 3:
            raise ConfigError(f"The recogniser's output is {list(output.shape)}, but [pictures, steps, classes] is wanted.")
        classes = output.shape[2]
    characters = load_charset(network, settings.dictionary, classes)
    return Recogniser(network, characters, batch=2 if settings.small_memory else settings.batch)
