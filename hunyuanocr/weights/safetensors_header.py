"""The header of a safetensors file: its length n in 8 bytes, little-endian, then n bytes of JSON, then the data.

Format: https://huggingface.co/docs/safetensors#format
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.errors import WeightsInvalid

BYTES_PER_ELEMENT = {"F32": 4, "F16": 2, "BF16": 2}  # of the types that the engines load
MAX_HEADER_LENGTH = 100_000_000  # bytes; the limit of the safetensors library


@dataclass(frozen=True)
class Tensor:
    """The entry of one tensor in the header."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


def read_header(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name. Raises WeightsInvalid if it is truncated, padded, invalid, or has other types."""
    size = file.stat().st_size
    with file.open("rb") as f:
        start = f.read(8)
        length = int.from_bytes(start, "little")
        if start == b"version ":
            raise WeightsInvalid(f"{file} is a Git LFS pointer, not a weight file: the repository was cloned without git-lfs.")
        if len(start) < 8 or length > min(size - 8, MAX_HEADER_LENGTH):
            raise WeightsInvalid(f"{file} is not a safetensors file, or its header is truncated ({size:,} bytes).")
        raw = f.read(length)
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        tensors = {name: _tensor(name, entry, file) for name, entry in entries.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
        raise WeightsInvalid(f"The header of {file} cannot be read: {type(e).__name__}: {e}.") from e
    if size < end:
        raise WeightsInvalid(f"{file} is truncated: it has {size:,} of {end:,} bytes.")
    if size > end:
        raise WeightsInvalid(f"{file} has {size - end:,} bytes more than its header states: it was not saved correctly.")
    return tensors


def _tensor(name: str, entry: dict[str, Any], file: Path) -> Tensor:
    tensor = Tensor(tuple(int(n) for n in entry["shape"]), str(entry["dtype"]))
    if tensor.dtype not in BYTES_PER_ELEMENT:
        raise WeightsInvalid(
            f"{name} in {file} has the type {tensor.dtype}; supported types are {', '.join(BYTES_PER_ELEMENT)}.",
            hint="Use the original checkpoint, not a quantised one: .venv/bin/hunyuanocr fetch",
        )
    begin, end = entry["data_offsets"]
    if end - begin != tensor.numbers * BYTES_PER_ELEMENT[tensor.dtype]:
        raise WeightsInvalid(
            f"The header of {file} is inconsistent: {name} has {end - begin:,} bytes and the shape {tensor.shape}."
        )
    return tensor
