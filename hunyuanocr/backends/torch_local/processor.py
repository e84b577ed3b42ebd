"""Pictures and words → what HunyuanOCR takes: token ids, M-RoPE positions, patches.

Equal bit for bit to transformers' `HunYuanVLProcessor` with `HunYuanVLImageProcessorPil` and to `HunYuanVLModel.get_rope_index`
of one request, and faster. Pictures are always scaled by PIL's bicubic filter, as Tencent's own implementation does, whatever
`resample` says in the folder; torchvision is never used, so that values do not depend on which packages a machine has.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import PreTrainedTokenizerFast

from hunyuanocr.errors import UnreadableImage, WeightsInvalid, WeightsMissing

MAX_ASPECT_RATIO = 200  # width : height (or the other way round) that the model takes at most
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)
class Prompt:
    """One request as the model takes it; N tokens, images in the order they came.

    `ids` [N] with the image placeholders expanded; `positions` [axes, N], axes being sequence, width, height, image index;
    `patches` a [h·w, 3·16·16] array an image; `grids` its (h, w) in patches; `spans` its [start, end) in `ids`.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    patches: tuple[NDArray[np.float32], ...]
    grids: tuple[tuple[int, int], ...]
    spans: tuple[tuple[int, int], ...]


class Processor:
    """Reads tokenizer, chat template and image settings of a checkpoint folder. May be called from several threads."""

    def __init__(self, folder: Path, axes: int = 4, image_token_id: int | None = None) -> None:
        """`axes` is the length of `mrope_section`; raises WeightsMissing or WeightsBroken where the folder cannot serve."""
        self.axes = axes
        self.scaler = ImageScaler(_image_settings(folder))
        self.tokenizer = _tokenizer(folder)
        self._template = _template(folder, self.tokenizer)
        self._marks = _marks(self.tokenizer)
        config = _json(folder / "config.json")
        self.image_token_id = _image_token_id(config, self.tokenizer, folder) if image_token_id is None else image_token_id
        self._ends = _ends(config, self.tokenizer)
        # A copy of its own: others may switch truncation or padding of theirs, which fails while a thread encodes.
        self._encoder = type(self.tokenizer.backend_tokenizer).from_str(self.tokenizer.backend_tokenizer.to_str())
        self._encoder.no_truncation()
        self._encoder.no_padding()
        _check_vocabulary(self.tokenizer, (config.get("text_config") or config).get("vocab_size"), folder)
        self._encode("x", 1)  # a template that does not fit is told at start

    def __call__(self, images: Sequence[NDArray[np.uint8]], words: str) -> Prompt:
        """Images are RGB [h, w, 3]. Raises UnreadableImage for one more than 200 times as long as wide."""
        scaled = [self.scaler.patches(image) for image in images]
        grids = tuple(grid for _, grid in scaled)
        short = self._encode(words, len(images))
        ids, spans = _expand(short, self.image_token_id, [self._tokens(grid) for grid in grids])
        positions = _positions(len(ids), self.axes, [self._merged(grid) for grid in grids], spans)
        return Prompt(ids, positions, tuple(patches for patches, _ in scaled), grids, spans)

    def length(self, sizes: Sequence[tuple[int, int]], words: str) -> int:
        """Number of prompt tokens for images of (height, width), without their pixels."""
        grids = [self.scaler.grid(height, width) for height, width in sizes]
        return len(self._encode(words, len(sizes))) + sum(self._tokens(grid) - 1 for grid in grids)

    def _merged(self, grid: tuple[int, int]) -> tuple[int, int]:
        return grid[0] // self.scaler.merge, grid[1] // self.scaler.merge

    def _tokens(self, grid: tuple[int, int]) -> int:
        """Placeholders of an image: its merged patches, a line break after each row, begin and end."""
        height, width = self._merged(grid)
        return height * (width + 1) + 2

    def _encode(self, words: str, images: int) -> NDArray[np.int64]:
        """Token ids of the whole conversation, one placeholder an image."""
        content = [{"type": "image", "image": ""}] * images + [{"type": "text", "text": _harmless(words, self._marks)}]
        messages: list[Any] = [{"role": "system", "content": ""}, {"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        ids = np.array(self._encoder.encode(text, add_special_tokens=False).ids, dtype=np.int64)
        if (found := int((ids == self.image_token_id).sum())) != images:
            raise WeightsInvalid(f"The chat template makes {found} image tokens (id {self.image_token_id}) of {images} images.")
        return _wrap(ids, self.image_token_id, self._ends)


class ImageScaler:
    """Scales a picture to whole merged patches within the model's pixel limits, normalises it, cuts it."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings` as in preprocessor_config.json; both spellings of the pixel limits."""
        size = settings.get("size") or {}
        self.low = _first(settings.get("min_pixels"), size.get("shortest_edge"), size.get("min_pixels"), 512 * 512)
        self.high = _first(settings.get("max_pixels"), size.get("longest_edge"), size.get("max_pixels"), 2048 * 2048)
        self.patch, self.merge = int(settings.get("patch_size", 16)), int(settings.get("merge_size", 2))
        mean, std = (np.array(settings.get(k, d), np.float32) for k, d in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD)))
        # transformers rescales in float64, rounds, then normalises in float32: 256 values a channel, computed once.
        shades = (np.arange(256, dtype=np.float64) * settings.get("rescale_factor", 1 / 255)).astype(np.float32)
        self._table = np.ascontiguousarray((shades[:, None] - mean) / std)[None]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in patches, each a multiple of the merge size and at least it; raises UnreadableImage if too elongated."""
        if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
            # Not ImageTooLarge: sending it smaller would not help.
            raise UnreadableImage(
                f"The picture is {width} × {height} pixels; the model reads none more than {MAX_ASPECT_RATIO} times as long "
                "as wide.",
                hint="Cut the picture to the part with text, or send it in pieces.",
            )
        factor = self.patch * self.merge
        h, w = round(height / factor) * factor, round(width / factor) * factor
        if h * w > self.high:
            beta = math.sqrt(height * width / self.high)
            h, w = (math.floor(side / beta / factor) * factor for side in (height, width))
        elif h * w < self.low:
            beta = math.sqrt(self.low / (height * width))
            h, w = (math.ceil(side * beta / factor) * factor for side in (height, width))
        return max(h, factor) // self.patch, max(w, factor) // self.patch

    def patches(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """RGB [h, w, 3] → patches [n, 3·patch·patch] row by row, and their grid."""
        p = self.patch
        rows, columns = self.grid(*image.shape[:2])
        if image.shape[:2] != (rows * p, columns * p):
            scaled = Image.fromarray(image).resize((columns * p, rows * p), Image.Resampling.BICUBIC)
            image = np.asarray(scaled)
        values = cv2.LUT(image, self._table).reshape(rows, p, columns, p, 3)
        return np.ascontiguousarray(values.transpose(0, 2, 4, 1, 3)).reshape(rows * columns, 3 * p * p), (rows, columns)


def _first(*values: int | None) -> int:
    return next(int(v) for v in values if v is not None)


def _wrap(ids: NDArray[np.int64], image: int, ends: tuple[int, int] | None) -> NDArray[np.int64]:
    """Put a start and an end mark around placeholders that have none: some published templates forget them."""
    if ends is None:
        return ids
    padded, at = np.pad(ids, 1, constant_values=-1), np.flatnonzero(ids == image)
    before, after = at[padded[at] != ends[0]], at[padded[at + 2] != ends[1]] + 1
    # End marks first: between two neighbours both go to the same place, in this order.
    return np.insert(ids, np.concatenate([after, before]), np.repeat(ends[::-1], (len(after), len(before))))


def _expand(ids: NDArray[np.int64], image: int, counts: Sequence[int]) -> tuple[NDArray[np.int64], tuple[tuple[int, int], ...]]:
    """Repeat the n-th placeholder `counts[n]` times; the new ids and [start, end) of each run."""
    at = np.flatnonzero(ids == image)
    repeats = np.ones(len(ids), dtype=np.int64)
    repeats[at] = counts
    ends = np.cumsum(repeats)[at]
    return np.repeat(ids, repeats), tuple((int(end) - n, int(end)) for end, n in zip(ends, counts, strict=True))


def _positions(n: int, axes: int, merged: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """All axes count tokens; within an image the last three are column, row and which image. Begin and end stay ordinary."""
    positions = np.tile(np.arange(n, dtype=np.int64), (axes, 1))
    for index, ((height, width), (start, end)) in enumerate(zip(merged, spans, strict=True)):
        row, column = np.divmod(np.arange(height * (width + 1)), width + 1)
        positions[-3:, start + 1 : end - 1] = np.stack([column, row, np.full_like(row, index)])
    return positions


def _marks(tokenizer: PreTrainedTokenizerFast) -> re.Pattern[str]:
    """Matches the control tokens: those declared special, and those of their form, as some checkpoints do not declare all."""
    found = {
        token.content for token in tokenizer.added_tokens_decoder.values()
        if re.fullmatch(r"\S\S.*", token.content) and (token.special or re.fullmatch(r"<.*>", token.content))
    }  # fmt: skip
    return re.compile("|".join(map(re.escape, sorted(found, key=len, reverse=True))) or r"(?!)")


def _harmless(words: str, marks: re.Pattern[str]) -> str:
    """The user's words with every control token broken by a space after its first character: text, not a command."""
    while marks.search(words):  # again, as what is left may overlap; each round breaks at least one
        words = marks.sub(lambda m: f"{m[0][0]} {m[0][1:]}", words)
    return words


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """From tokenizer.json itself: transformers' AutoTokenizer may build another class from the model's type."""
    if not (folder / "tokenizer.json").is_file():
        raise WeightsMissing(f"There is no tokenizer.json in {folder}.")
    try:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as e:  # the Rust reader raises bare Exception
        raise WeightsInvalid(f"The tokenizer in {folder} cannot be read: {e}.") from e
    return tokenizer


def _check_vocabulary(tokenizer: PreTrainedTokenizerFast, size: int | None, folder: Path) -> None:
    """An id beyond the embeddings would end the process on a GPU, not the request."""
    largest = max(tokenizer.get_vocab().values())
    if size is not None and largest >= size:
        raise WeightsInvalid(f"The tokenizer in {folder} has ids up to {largest}, the model only {size} embeddings.")


def _template(folder: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    template = _json(folder / "chat_template.json").get("chat_template") or tokenizer.chat_template
    if not isinstance(template, str):
        raise WeightsMissing(f"There is no chat template in {folder}.")
    return template


def _image_settings(folder: Path) -> Mapping[str, Any]:
    """Settings of the pictures: processor_config.json nests them, older folders have preprocessor_config.json."""
    settings = _json(folder / "processor_config.json").get("image_processor") or _json(folder / "preprocessor_config.json")
    if not isinstance(settings, dict) or not settings:
        raise WeightsMissing(f"There is neither processor_config.json nor preprocessor_config.json in {folder}.")
    return settings


def _image_token_id(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """Of config.json, which is what the model looks for; older tokenizers do not name it."""
    found = config.get("image_token_id", getattr(tokenizer, "image_token_id", None))
    if not isinstance(found, int):
        raise WeightsInvalid(f"Neither config.json nor the tokenizer in {folder} names the image token.")
    return found


def _ends(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> tuple[int, int] | None:
    """Ids of the marks around an image, under either name; None where nothing names them."""
    found = [
        config.get(f"im_{end}_id", config.get(f"image_{end}_token_id", getattr(tokenizer, f"image_{end}_token_id", None)))
        for end in ("start", "end")
    ]
    return (int(found[0]), int(found[1])) if found[0] is not None and found[1] is not None else None


def _json(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no such file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise WeightsInvalid(f"{file} is no JSON: {e}.") from e
    return found if isinstance(found, dict) else {}
