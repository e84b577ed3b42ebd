"""Create 8-bit versions of the PP-OCR networks (`ppocr.int8`), calibrated on a folder of images.

    python -m synthesis.render --count 40 --seed 1 calibration && python bench/quantise.py calibration

Static quantisation by onnxruntime: weights per channel, activations by their minimum and maximum on the images.
Requires the package onnx (extra `dev`). Takes half a minute. See docs/reader.md for its effect.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from hunyuanocr.backends.ppocr.crops import crop_line, crop_widths, initial_rotation, rotate_quads
from hunyuanocr.backends.ppocr.ocr import INT8_FOLDER, PageReader, weight_file
from hunyuanocr.config import ImageSettings, PpocrSettings
from hunyuanocr.images import open_pages

DETECTOR, RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
SIDE = 640  # of the detector's calibration windows


class Calibration(CalibrationDataReader):
    def __init__(self, pictures: list[np.ndarray]) -> None:
        self._left: Iterator[np.ndarray] = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self._left, None)
        if picture is None:
            return None
        return {"x": ((picture.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]}


def samples(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return crops of pages for the detector, and line crops for the recogniser, as in production."""
    reader, rng = PageReader(PpocrSettings()), np.random.default_rng(0)
    windows, lines = [], []
    for path in sorted(p for p in folder.iterdir() if p.suffix in {".jpg", ".png"}):
        pixels = open_pages(path.read_bytes(), ImageSettings())[0].pixels
        page = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        if min(page.shape[:2]) >= SIDE and len(windows) < 24:
            windows.append(page[:SIDE, :SIDE])
        quads = reader.detector(pixels)
        reading = rotate_quads(quads, initial_rotation(quads))
        widths = crop_widths(reading, 48)
        for i in rng.permutation(len(quads))[:8]:
            width = -(-int(widths[i]) // 32) * 32
            line = np.full((48, width, 3), 127, np.uint8)
            line[:, : widths[i]] = crop_line(page, reading[i], int(widths[i]), 48)
            lines.append(line)
    return windows, lines


def quantise(name: str, pictures: list[np.ndarray], operators: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        newer, ready = Path(folder, "newer.onnx"), Path(folder, "ready.onnx")
        onnx.save(onnx.version_converter.convert_version(onnx.load(weight_file(name)), 13), newer)  # for scales per channel
        quant_pre_process(str(newer), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(INT8_FOLDER / name),
            Calibration(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=operators,
        )
    sizes = [path.stat().st_size / 1e6 for path in (weight_file(name), INT8_FOLDER / name)]
    print(f"{name}: {sizes[0]:.1f} MB -> {sizes[1]:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    windows, lines = samples(parser.parse_args().folder)
    INT8_FOLDER.mkdir(parents=True, exist_ok=True)
    quantise(DETECTOR, windows, ["Conv", "ConvTranspose"])
    quantise(RECOGNISER, lines, ["Conv", "MatMul"])


if __name__ == "__main__":
    main()
