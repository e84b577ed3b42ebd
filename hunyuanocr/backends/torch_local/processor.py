"""Converts images and text to the inputs of HunyuanOCR: token ids, M-RoPE positions, image patches.

The result equals, bit for bit, that of transformers' `HunYuanVLProcessor` with `HunYuanVLImageProcessorPil` and of
`HunYuanVLModel.get_rope_index` for a single request, and is computed faster. Images are always scaled with PIL's bicubic filter,
as in Tencent's implementation, regardless of `resample` in the checkpoint. torchvision is never used, so the values do not depend
on the installed packages.
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

MAX_ASPECT_RATIO = 200  # longer side : shorter side; the model's own limit
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)
class Prompt:
    """The model's input for one request of N tokens.

    `ids` [N] with the image placeholders expanded; `positions` [axes, N], the axes being sequence, width, height, image index.
    Per image, in order: `patches` [h·w, 3·16·16], `grids` (h, w) in patches, `spans` [start, end) in `ids`.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    patches: tuple[NDArray[np.float32], ...]
    grids: tuple[tuple[int, int], ...]
    spans: tuple[tuple[int, int], ...]


class Processor:
    """Applies the tokenizer, chat template and image settings of a checkpoint folder. Thread-safe."""

    def __init__(self, folder: Path, axes: int = 4, image_token_id: int | None = None) -> None:
        """`axes` is the length of `mrope_section`. Raises WeightsMissing or WeightsInvalid for an unusable folder."""
        self.axes = axes
        self.scaler = ImageScaler(_image_settings(folder))
        self.tokenizer = _tokenizer(folder)
        self._template = _template(folder, self.tokenizer)
        self._control_tokens = _control_tokens(self.tokenizer)
        config = _json(folder / "config.json")
        self.image_token_id = _image_token_id(config, self.tokenizer, folder) if image_token_id is None else image_token_id
        self._image_marks = _image_marks(config, self.tokenizer)
        # A private copy: changing truncation or padding of a shared tokenizer fails while another thread encodes.
        self._encoder = type(self.tokenizer.backend_tokenizer).from_str(self.tokenizer.backend_tokenizer.to_str())
        self._encoder.no_truncation()
        self._encoder.no_padding()
        _check_vocabulary(self.tokenizer, (config.get("text_config") or config).get("vocab_size"), folder)
        self._encode("x", 1)  # report an unsuitable template at start

    def __call__(self, images: Sequence[NDArray[np.uint8]], text: str) -> Prompt:
        """Build the prompt of RGB images [h, w, 3] and the user's text. Raises UnreadableImage above MAX_ASPECT_RATIO."""
        scaled = [self.scaler.patches(image) for image in images]
        grids = tuple(grid for _, grid in scaled)
        short = self._encode(text, len(images))
        ids, spans = _expand(short, self.image_token_id, [self._num_tokens(grid) for grid in grids])
        positions = _positions(len(ids), self.axes, [self._merged_grid(grid) for grid in grids], spans)
        return Prompt(ids, positions, tuple(patches for patches, _ in scaled), grids, spans)

    def length(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return the number of prompt tokens for images of (height, width), in pixels."""
        grids = [self.scaler.grid(height, width) for height, width in sizes]
        return len(self._encode(text, len(sizes))) + sum(self._num_tokens(grid) - 1 for grid in grids)

    def _merged_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        return grid[0] // self.scaler.merge, grid[1] // self.scaler.merge

    def _num_tokens(self, grid: tuple[int, int]) -> int:
        """Return the number of placeholders of an image: merged patches, a newline per row, begin and end."""
        height, width = self._merged_grid(grid)
        return height * (width + 1) + 2

    def _encode(self, text: str, images: int) -> NDArray[np.int64]:
        """Return the token ids of the conversation, with one placeholder per image."""
        content = [{"type": "image", "image": ""}] * images + [{"type": "text", "text": _escape(text, self._control_tokens)}]
        messages: list[Any] = [{"role": "system", "content": ""}, {"role": "user", "content": content}]
        prompt = self.tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        ids = np.array(self._encoder.encode(prompt, add_special_tokens=False).ids, dtype=np.int64)
        if (count := int((ids == self.image_token_id).sum())) != images:
            raise WeightsInvalid(
                f"The chat template produces {count} image tokens (id {self.image_token_id}) for {images} images."
            )
        return _add_image_marks(ids, self.image_token_id, self._image_marks)


class ImageScaler:
    """Scales an image to whole merged patches within the model's pixel limits, normalizes it and cuts it into patches."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings` as in preprocessor_config.json, with either spelling of the pixel limits."""
        size = settings.get("size") or {}
        self.low = _first(settings.get("min_pixels"), size.get("shortest_edge"), size.get("min_pixels"), 512 * 512)
        self.high = _first(settings.get("max_pixels"), size.get("longest_edge"), size.get("max_pixels"), 2048 * 2048)
        self.patch, self.merge = int(settings.get("patch_size", 16)), int(settings.get("merge_size", 2))
        mean, std = (np.array(settings.get(k, d), np.float32) for k, d in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD)))
        # transformers rescales in float64, rounds, then normalizes in float32. There are only 256 values per channel: a table.
        levels = (np.arange(256, dtype=np.float64) * settings.get("rescale_factor", 1 / 255)).astype(np.float32)
        self._table = np.ascontiguousarray((levels[:, None] - mean) / std)[None]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return (h, w) in patches, each a positive multiple of the merge size. Raises UnreadableImage above MAX_ASPECT_RATIO."""
        if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
            # Not ImageTooLarge: a smaller copy would fail as well.
            raise UnreadableImage(
                f"The image is {width} × {height} pixels; its longer side may be at most {MAX_ASPECT_RATIO} times the shorter.",
                hint="Crop the image to the part with text, or send it in parts.",
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
        """Convert an RGB image [h, w, 3] to patches [n, 3·patch·patch], row by row, and their grid (h, w)."""
        p = self.patch
        rows, columns = self.grid(*image.shape[:2])
        if image.shape[:2] != (rows * p, columns * p):
            scaled = Image.fromarray(image).resize((columns * p, rows * p), Image.Resampling.BICUBIC)
            image = np.asarray(scaled)
        values = cv2.LUT(image, self._table).reshape(rows, p, columns, p, 3)
        return np.ascontiguousarray(values.transpose(0, 2, 4, 1, 3)).reshape(rows * columns, 3 * p * p), (rows, columns)


def _first(*values: int | None) -> int:
    return next(int(v) for v in values if v is not None)


def _add_image_marks(ids: NDArray[np.int64], image: int, ends: tuple[int, int] | None) -> NDArray[np.int64]:
    """Insert start and end marks around image placeholders without them: some published templates omit them."""
    if ends is None:
        return ids
    padded, index = np.pad(ids, 1, constant_values=-1), np.flatnonzero(ids == image)
    before, after = index[padded[index] != ends[0]], index[padded[index + 2] != ends[1]] + 1
    # End marks first: between adjacent images both are inserted at the same index, in this order.
    return np.insert(ids, np.concatenate([after, before]), np.repeat(ends[::-1], (len(after), len(before))))


def _expand(ids: NDArray[np.int64], image: int, counts: Sequence[int]) -> tuple[NDArray[np.int64], tuple[tuple[int, int], ...]]:
    """Repeat the n-th placeholder `counts[n]` times. Return the new ids and the [start, end) of each image."""
    index = np.flatnonzero(ids == image)
    repeats = np.ones(len(ids), dtype=np.int64)
    repeats[index] = counts
    ends = np.cumsum(repeats)[index]
    return np.repeat(ids, repeats), tuple((int(end) - n, int(end)) for end, n in zip(ends, counts, strict=True))


def _positions(n: int, axes: int, merged: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Return M-RoPE positions [axes, n]: the token index, but column, row and image index on the last three axes of an image.

    The begin and end tokens of an image have text positions. `merged` are the grids in merged patches.
    """
    positions = np.tile(np.arange(n, dtype=np.int64), (axes, 1))
    for index, ((height, width), (start, end)) in enumerate(zip(merged, spans, strict=True)):
        row, column = np.divmod(np.arange(height * (width + 1)), width + 1)
        positions[-3:, start + 1 : end - 1] = np.stack([column, row, np.full_like(row, index)])
    return positions


def _control_tokens(tokenizer: PreTrainedTokenizerFast) -> re.Pattern[str]:
    """Return a pattern of all control tokens: those declared special, and those in angle brackets, which some checkpoints do not
    declare.
    """
    names = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if re.fullmatch(r"\S\S.*", token.content) and (token.special or re.fullmatch(r"<.*>", token.content))
    }
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")


def _escape(text: str, control_tokens: re.Pattern[str]) -> str:
    """Insert a space after the first character of every control token, so that the user's text cannot contain one."""
    while control_tokens.search(text):  # repeated, because matches may overlap
        text = control_tokens.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)
    return text


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load tokenizer.json directly: AutoTokenizer may choose another class by the model type."""
    if not (folder / "tokenizer.json").is_file():
        raise WeightsMissing(f"tokenizer.json is missing in {folder}.")
    try:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as e:  # the Rust parser raises bare Exception
        raise WeightsInvalid(f"The tokenizer in {folder} cannot be read: {e}.") from e
    return tokenizer


def _check_vocabulary(tokenizer: PreTrainedTokenizerFast, size: int | None, folder: Path) -> None:
    """Raise WeightsInvalid if a token id exceeds the embeddings: on a GPU that is fatal for the process, not the request."""
    largest = max(tokenizer.get_vocab().values())
    if size is not None and largest >= size:
        raise WeightsInvalid(f"The tokenizer in {folder} has ids up to {largest}, but the model has only {size} embeddings.")


def _template(folder: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    template = _json(folder / "chat_template.json").get("chat_template") or tokenizer.chat_template
    if not isinstance(template, str):
        raise WeightsMissing(f"The chat template is missing in {folder}.")
    return template


def _image_settings(folder: Path) -> Mapping[str, Any]:
    """Return the image processor settings, from processor_config.json or, in older checkpoints, preprocessor_config.json."""
    settings = _json(folder / "processor_config.json").get("image_processor") or _json(folder / "preprocessor_config.json")
    if not isinstance(settings, dict) or not settings:
        raise WeightsMissing(f"processor_config.json and preprocessor_config.json are missing in {folder}.")
    return settings


def _image_token_id(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """Return the id from config.json, which the model uses; older tokenizers do not name the token."""
    token_id = config.get("image_token_id", getattr(tokenizer, "image_token_id", None))
    if not isinstance(token_id, int):
        raise WeightsInvalid(f"Neither config.json nor the tokenizer in {folder} defines the image token.")
    return token_id


def _image_marks(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> tuple[int, int] | None:
    """Return the ids of the tokens before and after an image; None if neither the config nor the tokenizer defines them."""
    ids = [
        config.get(f"im_{end}_id", config.get(f"image_{end}_token_id", getattr(tokenizer, f"image_{end}_token_id", None)))
        for end in ("start", "end")
    ]
    return (int(ids[0]), int(ids[1])) if ids[0] is not None and ids[1] is not None else None


def _json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is no such file or it holds something else."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise WeightsInvalid(f"{file} is not valid JSON: {e}.") from e
    return value if isinstance(value, dict) else {}
