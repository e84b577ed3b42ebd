"""Any CTC recogniser in ONNX form replaces the built-in one: a tiny one, made here, tells dark, grey and bright columns apart."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hunyuanocr.backends.ppocr import PpocrBackend
from hunyuanocr.backends.ppocr.crops import split_at_gaps
from hunyuanocr.backends.ppocr.network import EngineOptions
from hunyuanocr.backends.ppocr.ocr import PageReader
from hunyuanocr.backends.ppocr.recogniser import Recogniser, load_charset
from hunyuanocr.backends.ppocr.runtimes import load_network
from hunyuanocr.config import PpocrSettings
from hunyuanocr.errors import ConfigError
from tests.backends.contract import read, text_page

RUNTIMES = ["openvino", "onnxruntime"] if find_spec("openvino") else ["onnxruntime"]
Size = tuple[int | str, int, int, int | str]


def column_reader(path: Path, size: Size = ("n", 1, 16, "w"), classes: int = 3, softmax: bool = False) -> Path:
    """A CRNN's skeleton: strips of 4 columns → features → classes [n, steps, classes]. Grey is the blank, black A, white B."""
    number, channels, height, width = size
    weight = np.zeros((classes, channels, 1, 1), np.float32)
    weight[1], weight[2] = -12 / channels, 12 / channels
    bias = np.full(classes, -9, np.float32)
    bias[:3] = (0, -4, -4)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["strips"], kernel_shape=[height, 4], strides=[height, 4]),
        helper.make_node("Conv", ["strips", "weight", "bias"], ["maps"]),
        helper.make_node("Squeeze", ["maps", "two"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["logits"], perm=[0, 2, 1]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["chances"], axis=2))
    constants = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([2], np.int64), "two"),
    ]
    steps = width // 4 if isinstance(width, int) else "steps"
    graph = helper.make_graph(
        nodes,
        "columns",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [number, channels, height, width])],
        [helper.make_tensor_value_info("chances" if softmax else "logits", TensorProto.FLOAT, [number, steps, classes])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def bars(letters: str, height: int, gap: int = 12) -> np.ndarray:
    """Bars 8 pixels wide and ¾ high on grey: A black, B white."""
    crop = np.full((height, gap + len(letters) * (8 + gap), 3), 127, np.uint8)
    for n, letter in enumerate(letters):
        at = gap + n * (8 + gap)
        crop[height // 8 : -height // 8, at : at + 8] = {"A": 0, "B": 255}[letter]
    return crop


def recogniser(path: Path, runtime: str, letters: str = "AB", batch: int = 1) -> Recogniser:
    return Recogniser(load_network(path, runtime, EngineOptions(threads=1, streams=1)), letters, batch=batch)


def reported(reader: Recogniser, crops: Sequence[np.ndarray]) -> list[str]:
    return [t.text.replace(" ", "") for t in reader.read(crops)]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("size", [("n", 1, 16, "w"), ("n", 3, 32, "w"), ("n", 1, 16, 96), (1, 3, 32, 96), (4, 1, 64, 96)])
def test_every_form_of_input(tmp_path: Path, runtime: str, size: Size) -> None:
    reader = recogniser(column_reader(tmp_path / "r.onnx", size), runtime, batch=3)
    assert reader.height == size[2]
    words = ["A", "AAB", "BABA", "ABBABAABBA", "B", "BB", "ABAB"]
    assert reported(reader, [bars(word, reader.height) for word in words]) == words


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("softmax", [False, True])
def test_confidence_from_logits_and_from_probabilities(tmp_path: Path, runtime: str, softmax: bool) -> None:
    reader = recogniser(column_reader(tmp_path / "r.onnx", softmax=softmax), runtime)
    clear, pale = bars("AB", 16), bars("AB", 16)
    pale[pale == 0] = 50
    first, second = reader.read([clear, pale])
    assert first.text == second.text == "AB"
    assert first.confidence == pytest.approx(1 / (1 + np.exp(-5) + np.exp(-18)), abs=0.01)
    assert 0.5 < second.confidence < first.confidence - 0.05


def test_a_crop_without_ink_says_nothing(tmp_path: Path) -> None:
    reader = recogniser(column_reader(tmp_path / "r.onnx"), "onnxruntime")
    (nothing,) = reader.read([np.full((16, 60, 3), 127, np.uint8)])
    assert (nothing.text, nothing.confidence) == ("", 0.0)
    assert reader.read([]) == []


def test_long_lines_are_cut_at_gaps_only() -> None:
    crop = bars("AB" * 40, 16)
    pieces = split_at_gaps(crop, 100)
    assert max(piece.shape[1] for piece, _ in pieces) <= 100
    assert sum(piece.shape[1] for piece, _ in pieces) == crop.shape[1]
    for piece, _ in pieces[1:]:
        assert (piece[:, 0] == 127).all()
    assert [len(split_at_gaps(crop[:, :w], 100)) for w in (1, 99, 100)] == [1, 1, 1]


def test_a_wide_gap_at_the_cut_is_a_space() -> None:
    close, wide = bars("AAAAAA", 48, gap=8), bars("AAAAAA", 48, gap=8)
    wide = np.concatenate([wide[:, :60], np.full((48, 24, 3), 127, np.uint8), wide[:, 60:]], axis=1)
    assert [spaced for _, spaced in split_at_gaps(close, 80)] == [False, False]
    assert any(spaced for _, spaced in split_at_gaps(wide, 100))


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_it_serves_by_setting(tmp_path: Path, runtime: str) -> None:
    file = column_reader(tmp_path / "columns.onnx", classes=4)
    letters = tmp_path / "letters.txt"
    letters.write_text("A\nB\nC\n")
    backend = PpocrBackend(PpocrSettings(runtime=runtime, recogniser=file, dictionary=letters))
    assert "columns" in backend.model
    await backend.start()
    reading = await read(backend, [text_page(["HHHHHHHH", "IIIIIIII"])])
    assert reading.lines  # what the bars of H and I mean to it
    assert set(reading.text) <= {"A", "B", "\n", " "}
    await backend.close()


@pytest.mark.parametrize("letters", ["A\n", "A\nB\nC\nD\n", ""])
def test_a_dictionary_of_the_wrong_size_is_said_at_start(tmp_path: Path, letters: str) -> None:
    file, words = column_reader(tmp_path / "r.onnx", classes=4), tmp_path / "d.txt"
    words.write_text(letters)
    with pytest.raises(ConfigError, match="classes"):
        PageReader(PpocrSettings(recogniser=file, dictionary=words))


def test_one_class_more_is_the_space(tmp_path: Path) -> None:
    network = load_network(column_reader(tmp_path / "r.onnx", classes=4), "onnxruntime", EngineOptions(1))
    words = tmp_path / "d.txt"
    words.write_text("A\r\nB\r\n")
    assert load_charset(network, words, 4) == ["A", "B", " "]


def test_without_characters_anywhere(tmp_path: Path) -> None:
    file = column_reader(tmp_path / "r.onnx")
    with pytest.raises(ConfigError, match="characters"):
        PageReader(PpocrSettings(recogniser=file))
    with pytest.raises(ConfigError, match="cannot be read"):
        PageReader(PpocrSettings(recogniser=file, dictionary=tmp_path / "none.txt"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_characters_in_the_file_itself(tmp_path: Path, runtime: str) -> None:
    model = onnx.load(column_reader(tmp_path / "r.onnx"))
    helper.set_model_props(model, {"character": "A\nB"})
    onnx.save(model, tmp_path / "named.onnx")
    network = load_network(tmp_path / "named.onnx", runtime, EngineOptions(1))
    assert load_charset(network, None, 3) == ["A", "B"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_of_another_kind_is_refused(tmp_path: Path, runtime: str) -> None:
    value = helper.make_tensor_value_info
    relu = helper.make_node("Relu", ["x"], ["y"])
    shape: list[Any]
    for shape in (["n", 8], ["n", 5, 48, "w"]):
        graph = helper.make_graph([relu], "g", [value("x", 1, cast(Any, shape))], [value("y", 1, cast(Any, shape))])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), tmp_path / "odd.onnx")
        with pytest.raises(ConfigError, match="expected"):
            load_network(tmp_path / "odd.onnx", runtime, EngineOptions(1))
    graph = helper.make_graph([relu], "g", [value("x", 1, ["n", 3, 48, "w"])], [value("y", 1, ["n", 3, 48, "w"])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), tmp_path / "maps.onnx")
    with pytest.raises(ConfigError, match="output"):
        PageReader(PpocrSettings(recogniser=tmp_path / "maps.onnx", runtime=runtime))
