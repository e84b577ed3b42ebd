"""OCR of one page, blocking: detect lines, crop them, recognise them, sort them. `PpocrBackend` calls it in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.crops import Crop, crop_line, crop_widths, initial_rotation, rotate_quads, shrink_to_text
from hunyuanocr.backends.ppocr.detector import Detector, DetectorOptions, Quads, clockwise
from hunyuanocr.backends.ppocr.digital import confirmed, layer_quads, uncovered
from hunyuanocr.backends.ppocr.legibility import legibility_warnings
from hunyuanocr.backends.ppocr.network import EngineOptions
from hunyuanocr.backends.ppocr.reading_order import group_rows
from hunyuanocr.backends.ppocr.recogniser import RecognisedText, Recogniser, load_charset
from hunyuanocr.backends.ppocr.runtimes import choose_runtime, load_network
from hunyuanocr.backends.ppocr.scripts import known_scripts
from hunyuanocr.config import PpocrSettings
from hunyuanocr.cpu_count import usable_cpus
from hunyuanocr.errors import ConfigError, MissingDependency
from hunyuanocr.malloc import trim_memory
from hunyuanocr.types import Line, Page, ResultWarning

_DETECTOR, _RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
INT8_FOLDER = Path("models/ppocr-int8")  # made by bench/quantise.py
_MIN_CONFIDENCE = 0.5  # below it a line is more likely noise than text
_DOUBTFUL = 0.75  # confidence below which a line may be upside down
_DOUBTFUL_SHARE = 0.3  # of a page's lines, from which the whole page may be upside down
_SAMPLE = 6  # doubtful lines that are rotated first; the others follow only if that helps


@dataclass(frozen=True)
class PageText:
    """The lines of a page by row, in reading order, and warnings about text that cannot be read."""

    rows: list[list[Line]]
    notices: tuple[ResultWarning, ...] = ()


class PageReader:
    """The loaded detector and recogniser. Thread-safe."""

    def __init__(self, settings: PpocrSettings) -> None:
        """Load the networks. Raises ConfigError, MissingDependency."""
        runtime = choose_runtime(settings.runtime, small=settings.small_memory)
        threads = settings.threads or usable_cpus()
        half = not settings.int8
        detection = EngineOptions(threads, kernels=500, half=half)  # pages have many more sizes than lines
        self.detector = Detector(load_network(_weight_file(_DETECTOR, settings), runtime, detection), _detector_options(settings))
        # Lines are many and small: one stream per thread is faster than sharing a line among threads.
        recognition = EngineOptions(threads, streams=1 if settings.small_memory else threads, half=half)
        self._recogniser = _recogniser(settings, runtime, recognition)
        self.scripts = known_scripts(self._recogniser.characters)
        self._small_memory = settings.small_memory

    def warm_up(self) -> None:
        """Run the most common input sizes once, so that the first image is not slow."""
        self.detector(np.full((1536, 896, 3), 255, np.uint8))
        widths = range(32, 513, 16)
        self._recogniser.read([np.full((self._recogniser.height, w, 3), 255, np.uint8) for w in widths])

    def read(self, page: Page, check_cancelled: Callable[[], None] = lambda: None) -> list[list[Line]]:
        """Return the lines of a page by row, in reading order. See `read_page`."""
        return self.read_page(page, check_cancelled).rows

    def read_page(self, page: Page, check_cancelled: Callable[[], None] = lambda: None) -> PageText:
        """Return the lines and warnings of a page. `check_cancelled` is called between steps and may raise.

        The text layer of a digital document is taken as it is; OCR reads what it does not cover.
        """
        check_cancelled()
        if self._small_memory:
            trim_memory()  # returns the memory of decoding before detection needs its own
        image = page.pixels
        quads = self.detector(image)
        if self._small_memory:
            trim_memory()
        layer = layer_quads(page)
        if page.text_layer and self._is_confirmed(page, image, layer, check_cancelled):
            quads = quads[uncovered(quads, layer)]
        else:
            layer = layer[:0]
        lines, places = list(page.text_layer[: len(layer)]), [layer]
        notices: tuple[ResultWarning, ...] = ()
        if len(quads):
            texts, upright = self._texts(image, quads, initial_rotation(quads), check_cancelled)
            kept = [i for i, t in enumerate(texts) if t.text and t.confidence >= _MIN_CONFIDENCE]
            lines += [self._line(page, upright[i], texts[i]) for i in kept]
            places.append(upright[kept])
            if not len(layer):
                notices = self._legibility(page, image, upright, texts, check_cancelled)
        lengths = np.array([len(line.text) for line in lines], dtype=np.float32)
        return PageText([[lines[i] for i in row] for row in group_rows(np.concatenate(places), lengths)], notices)

    def _legibility(
        self,
        page: Page,
        image: NDArray[np.uint8],
        quads: Quads,
        texts: Sequence[RecognisedText],
        check_cancelled: Callable[[], None],
    ) -> tuple[ResultWarning, ...]:
        def read_mirrored(sample: Sequence[int]) -> list[RecognisedText]:
            crops = self._crops(image, quads[list(sample)])
            both = [np.ascontiguousarray(crop) for crop in (*(c[:, ::-1] for c in crops), *(c[::-1] for c in crops))]
            texts = self._recogniser.read(both, check_cancelled)  # a mirrored line may be taken for one upside down
            pairs = zip(texts[: len(crops)], texts[len(crops) :], strict=True)
            return [max(pair, key=lambda text: text.confidence) for pair in pairs]

        return legibility_warnings(page, quads, texts, read_mirrored)

    def _is_confirmed(self, page: Page, image: NDArray[np.uint8], layer: Quads, check_cancelled: Callable[[], None]) -> bool:
        def read(quads: Quads) -> list[str]:
            return [text.text for text in self._recognise(image, quads, check_cancelled)]

        return confirmed(page.text_layer, layer, self._recogniser.characters, read)

    def _texts(
        self, image: NDArray[np.uint8], quads: Quads, turns: NDArray[np.intp], check_cancelled: Callable[[], None]
    ) -> tuple[list[RecognisedText], Quads]:
        """Return the texts, and the quads in the corner order of the most confident reading."""
        upright = rotate_quads(quads, turns)
        texts = self._recognise(image, upright, check_cancelled)

        def try_upside_down(lines: list[int], min_gain: float) -> int:
            """Recognise lines rotated by 180° and keep results that are better by `min_gain`; return their number."""
            improved = 0
            rotated = np.roll(upright[lines], -2, axis=1)
            for i, quad, text in zip(lines, rotated, self._recognise(image, rotated, check_cancelled), strict=True):
                if text.confidence > texts[i].confidence + min_gain:
                    texts[i], upright[i] = text, quad
                    improved += 1
            return improved

        doubtful = sorted((i for i, t in enumerate(texts) if t.confidence < _DOUBTFUL), key=lambda i: -len(texts[i].text))
        if len(doubtful) < _DOUBTFUL_SHARE * len(texts):  # noise, as on any page
            doubtful = [i for i in doubtful if turns[i]]
        sample = doubtful[:_SAMPLE]
        improved = try_upside_down(sample, 0.1) if sample else 0
        if improved * 2 > len(sample):  # the page is upside down: confident lines may be misread too
            try_upside_down([i for i in range(len(texts)) if i not in sample], 0.0)
        elif improved:
            try_upside_down(doubtful[_SAMPLE:], 0.1)
        return texts, upright

    def _recognise(self, image: NDArray[np.uint8], quads: Quads, check_cancelled: Callable[[], None]) -> list[RecognisedText]:
        return self._recogniser.read(self._crops(image, quads), check_cancelled)

    def _crops(self, image: NDArray[np.uint8], quads: Quads) -> list[Crop]:
        height = self._recogniser.height
        widths = crop_widths(quads, height)
        crops = (crop_line(image, quad, int(width), height) for quad, width in zip(quads, widths, strict=True))
        return [np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), np.uint8) for crop in crops]  # as in the network's training

    @staticmethod
    def _line(page: Page, quad: NDArray[np.float32], text: RecognisedText) -> Line:
        box = page.to_original([(float(x), float(y)) for x, y in clockwise(shrink_to_text(quad))])
        return Line(text.text, box, round(text.confidence, 4), page.index, letters=text.letters)


def weight_file(name: str) -> Path:
    """Return the path of a network in RapidOCR's wheel, without importing it. Raises MissingDependency."""
    spec = find_spec("rapidocr")
    folders: Sequence[str] = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    message = f"The package 'rapidocr' is not installed, or does not contain {name}."
    raise MissingDependency(message, hint="Run: .venv/bin/pip install 'rapidocr>=3.10'")


def _weight_file(name: str, settings: PpocrSettings) -> Path:
    if not settings.int8:
        return weight_file(name)
    path = INT8_FOLDER / name
    if not path.is_file():
        raise ConfigError(
            f"The setting ppocr.int8 requires 8-bit networks, but {INT8_FOLDER} does not contain {name}.",
            hint="Create them with: python -m synthesis.render --count 40 --seed 1 calibration"
            " && python bench/quantise.py calibration",
        )
    return path


def _detector_options(settings: PpocrSettings) -> DetectorOptions:
    if settings.small_memory:  # the network needs about 250 bytes per pixel of its input
        return DetectorOptions(long_side=1280, pixels=720_000, enlarge=1.0)
    return DetectorOptions(short_side=1100, enlarge=2.5) if settings.upscale_small_images == "auto" else DetectorOptions()


def _recogniser(settings: PpocrSettings, runtime: str, options: EngineOptions) -> Recogniser:
    if settings.dictionary is not None and settings.recogniser is None:
        raise ConfigError("The setting ppocr.dictionary requires ppocr.recogniser.", hint="Set both settings or neither.")
    network = load_network(settings.recogniser or _weight_file(_RECOGNISER, settings), runtime, options)
    number, channels, height, width = network.shape
    probe = np.full((number or 1, height or 48, width or 64, channels or 3), 255, np.uint8)
    for output in network.run([probe]):
        if output.ndim != 3:
            raise ConfigError(f"The recogniser's output is {list(output.shape)}; expected [images, steps, classes].")
        classes = output.shape[2]
    characters = load_charset(network, settings.dictionary, classes)
    return Recogniser(network, characters, batch=2 if settings.small_memory else settings.batch)
