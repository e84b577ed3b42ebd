"""Verify that a folder is a complete HunyuanOCR checkpoint. Only headers are read, which takes milliseconds."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.errors import WeightsInvalid, WeightsMissing
from hunyuanocr.weights.architecture import NAME, UNUSED, Architecture, canonical_name, parse_config
from hunyuanocr.weights.safetensors_header import Tensor, read_header

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A verified folder. `dtype` is that of most parameters in the notation of safetensors (BF16); `parameters` is their number;
    `bytes` is the size of the weight files; `axes` is the number of M-RoPE axes.
    """

    folder: Path
    name: str
    architecture: str
    dtype: str
    parameters: int
    bytes: int
    files: tuple[Path, ...]
    axes: int
    has_dflash: bool


def find(model_path: Path) -> Path:
    """Return the folder with the checkpoint's config.json. Raises WeightsMissing, with a subfolder that has one, if any."""
    try:
        return _find(model_path.expanduser())
    except OSError as e:
        hint = "Give this program's user read permission for the folder, or choose another one with --model-path."
        raise WeightsMissing(f"The model folder {model_path} cannot be read: {e.strerror}.", hint=hint) from e


def _find(folder: Path) -> Path:
    if (folder / "config.json").is_file():
        return folder
    if not folder.is_dir():
        raise WeightsMissing(f"The model folder {folder} does not exist.", hint=_fetch_hint(folder))
    inner = sorted(file.parent for file in folder.glob("*/config.json") if file.parent.name != "dflash")
    if inner:
        raise WeightsMissing(f"There is no config.json in {folder}, only in {inner[0]}.", hint=f"Use --model-path {inner[0]}")
    raise WeightsMissing(f"There is no config.json in {folder}.", hint=_fetch_hint(folder))


def verify(model_path: Path) -> Checkpoint:
    """Verify that config, tokenizer, processor files and the headers of all weight files are present and consistent.

    Raises WeightsMissing for a missing file and WeightsInvalid for an inconsistent one; the hint is the command that downloads
    it. Parameters are not read: `fetch` compares checksums.
    """
    folder = find(model_path)
    try:
        config = _object(folder / "config.json")
        shape = parse_config(config)
        _companions(folder)
        files = _weight_files(folder)
        tensors = _tensors(files)
        _compare(shape, tensors)
    except (WeightsMissing, WeightsInvalid) as e:
        specific = e.hint != type(e).hint
        raise type(e)(e.message, hint=e.hint if specific else _fetch_hint(folder, again=isinstance(e, WeightsInvalid))) from e
    except OSError as e:
        raise WeightsInvalid(f"{e.filename} cannot be read: {e.strerror}.", hint="Check the read permission of the file.") from e
    parameters = Counter[str]()
    for tensor in tensors.values():
        parameters[tensor.dtype] += tensor.numbers
    return Checkpoint(
        folder=folder,
        name=folder.resolve().name,
        architecture=NAME,
        dtype=parameters.most_common(1)[0][0],
        parameters=parameters.total(),
        bytes=sum(file.stat().st_size for file in files),
        files=files,
        axes=len(shape.text.sections),
        has_dflash=(folder / "dflash" / "config.json").is_file(),
    )


def _fetch_hint(folder: Path, *, again: bool = False) -> str:
    action = "Download the weights again" if again else "Download the weights"
    return f"{action}: .venv/bin/hunyuanocr fetch --model-path {shlex.quote(str(folder))}"


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except ValueError as e:
        raise WeightsInvalid(f"{file} is not valid JSON, possibly truncated: {e}.") from e
    if not isinstance(found, dict):
        raise WeightsInvalid(f"{file} is not a JSON object.")
    return found


def _companions(folder: Path) -> None:
    """Verify that tokenizer, chat template and image settings are present and complete."""
    for names in (("tokenizer.json",), ("processor_config.json", "preprocessor_config.json")):
        if not any((folder / name).is_file() for name in names):
            raise WeightsMissing(f"There is no {' or '.join(names)} in {folder}.")
    with (folder / "tokenizer.json").open("rb") as f:  # 10 MB; truncation or a pointer is visible at its ends
        first = f.read(1)
        f.seek(-min(64, (folder / "tokenizer.json").stat().st_size), 2)
        if first != b"{" or not f.read().rstrip().endswith(b"}"):
            raise WeightsInvalid(f"{folder / 'tokenizer.json'} is not a JSON object, possibly truncated or a Git LFS pointer.")
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            _object(folder / name)
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return
    settings = folder / "tokenizer_config.json"
    if not settings.is_file() or not _object(settings).get("chat_template"):
        raise WeightsMissing(f"There is no chat template in {folder} (chat_template.jinja or tokenizer_config.json).")


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the weight files, as transformers selects them: a single file, or the shards of the index."""
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        return _shards(folder)
    if any(folder.glob("*.safetensors")):
        raise WeightsMissing(f"There are weight files in {folder}, but neither {SINGLE} nor {INDEX}.")
    pickled = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickled:
        raise WeightsInvalid(
            f"The weights in {folder} are pickle files ({_first_names(pickled)}). Loading a pickle file can run arbitrary code, "
            "so only safetensors files are supported.",
            hint=_fetch_hint(folder),
        )
    raise WeightsMissing(f"There are no weights in {folder}: neither {SINGLE} nor {INDEX}.")


def _shards(folder: Path) -> tuple[Path, ...]:
    """Return the shards of the index. Verify that they exist and have the tensors that the index lists."""
    shard_of = _object(folder / INDEX).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise WeightsInvalid(f"{folder / INDEX} has no weight_map.")
    names = sorted({str(name) for name in shard_of.values()})
    if odd := [name for name in names if name != Path(name).name or not name.endswith(".safetensors")]:
        raise WeightsInvalid(f"{folder / INDEX} lists invalid file names: {_first_names(odd)}.")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise WeightsMissing(f"{len(absent)} of {len(names)} weight files are missing in {folder}: {_first_names(absent)}.")
    for shard in names:
        tensors = read_header(folder / shard)
        if missing := [tensor for tensor, name in shard_of.items() if name == shard and tensor not in tensors]:
            raise WeightsInvalid(f"{folder / shard} lacks tensors that the index lists: {_first_names(missing)}.")
    return tuple(folder / name for name in names)


def _tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """Return the tensors of all files by their canonical names."""
    tensors: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if (canonical := canonical_name(name)) in tensors:
                raise WeightsInvalid(f"The tensor {canonical} occurs twice, the second time as {name} in {file}.")
            tensors[canonical] = tensor
    return tensors


def _compare(shape: Architecture, tensors: dict[str, Tensor]) -> None:
    """Verify that the tensors are those of the architecture, with the shapes and number of layers of config.json."""
    expected = shape.tensors()
    if missing := [name for name in expected if name not in tensors and name not in UNUSED]:
        raise WeightsInvalid(
            f"{len(missing)} of {len(expected)} tensors are missing in the weight files: {_first_names(missing)}."
        )
    expected.setdefault("lm_head.weight", (shape.text.vocabulary, shape.text.hidden))  # some files contain the tied head
    wrong = [
        f"{name} is {list(tensors[name].shape)} instead of {list(size)}"
        for name, size in expected.items()
        if name in tensors and tensors[name].shape != size
    ]
    if wrong:
        raise WeightsInvalid(f"The weights do not match config.json: {_first_names(wrong)}.")
    if unexpected := [name for name in tensors if name not in expected and shape.layers_of(name) is not None]:
        raise WeightsInvalid(f"The weights have layers that config.json does not define: {_first_names(unexpected)}.")


def _first_names(names: list[str]) -> str:
    """Return the first three names, and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
