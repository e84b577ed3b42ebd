"""The header of a safetensors file, read by hand: 8 bytes little-endian length n, n bytes of JSON, then the numbers.

Format: https://huggingface.co/docs/safetensors#format
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.errors import WeightsInvalid

WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}  # bytes a number, of the types that the engines load
MAX_HEADER_LENGTH = 100_000_000  # bytes; the limit of the format's own reader


@dataclass(frozen=True)
class Tensor:
    """What the header says of one tensor."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(file: Path) -> dict[str, Tensor]:
    """Tensors of one file by name. Raises WeightsBroken when it is cut off, padded, no safetensors file, or of other types."""
    size = file.stat().st_size
    with file.open("rb") as f:
        start = f.read(8)
        length = int.from_bytes(start, "little")
        if start == b"version ":
            raise WeightsInvalid(f"{file} is a Git LFS pointer, not the weights: they were cloned without git-lfs.")
        if len(start) < 8 or length > min(size - 8, MAX_HEADER_LENGTH):
            raise WeightsInvalid(f"{file} is no safetensors file, or cut off within its first bytes ({size:,} bytes).")
        raw = f.read(length)
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        tensors = {name: _tensor(name, entry, file) for name, entry in entries.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
        raise WeightsInvalid(f"The header of {file} cannot be read: {type(e).__name__}: {e}.") from e
    if size < end:
        raise WeightsInvalid(f"{file} is cut off: {size:,} of {end:,} bytes are there.")
    if size > end:
        raise WeightsInvalid(f"{file} has {size - end:,} bytes more than its header says: it was not saved whole.")
    return tensors


def _tensor(name: str, entry: dict[str, Any], file: Path) -> Tensor:
    tensor = Tensor(tuple(int(n) for n in entry["shape"]), str(entry["dtype"]))
    if tensor.dtype not in WIDTHS:
        raise WeightsInvalid(
            f"{name} in {file} is of type {tensor.dtype}; the engines load {', '.join(WIDTHS)}.",
            hint="Take the checkpoint as Tencent publishes it, not a quantised one: .venv/bin/hunyuanocr fetch",
        )
    begin, end = entry["data_offsets"]
    if end - begin != tensor.numbers * WIDTHS[tensor.dtype]:
        raise WeightsInvalid(f"The header of {file} contradicts itself: {name} has {end - begin:,} bytes, shape {tensor.shape}.")
    return tensor
