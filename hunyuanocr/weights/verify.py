"""Is this folder a whole HunyuanOCR checkpoint? Only headers are read: milliseconds for the 2 GB of the model."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.errors import WeightsInvalid, WeightsMissing
from hunyuanocr.weights import architecture
from hunyuanocr.weights.safetensors_header import Tensor, read_header

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A folder that was verified. `dtype` is that of most numbers, as safetensors spells it (BF16); `parameters` counts them;
    `bytes` those of its weight files; `axes` is the number of M-RoPE axes."""

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
    """The folder with the checkpoint's config.json. Raises WeightsMissing, naming a place where one was seen instead."""
    folder = model_path.expanduser()
    if (folder / "config.json").is_file():
        return folder
    if not folder.is_dir():
        raise WeightsMissing(f"There is no folder {folder}.", hint=_get(folder))
    inner = sorted(file.parent for file in folder.glob("*/config.json") if file.parent.name != "dflash")
    if inner:
        raise WeightsMissing(f"There is no config.json in {folder}, but in {inner[0]}.", hint=f"Use --model-path {inner[0]}")
    raise WeightsMissing(f"There is no config.json in {folder}.", hint=_get(folder))


def verify(model_path: Path) -> Checkpoint:
    """Check config, tokenizer, processor files and the header of every weight file against each other.

    Raises WeightsMissing for what is not there and WeightsBroken for what does not fit; the message names it, the hint is the
    command that gets it. Numbers are not read: a bit that flipped is found by `fetch`, which compares checksums.
    """
    folder = find(model_path)
    try:
        config = _object(folder / "config.json")
        shape = architecture.parse_config(config)
        _companions(folder)
        files = _weight_files(folder)
        tensors = _tensors(files)
        _compare(shape, tensors)
    except (WeightsMissing, WeightsInvalid) as e:
        own = e.hint != type(e).hint  # a remedy of its own
        raise type(e)(e.message, hint=e.hint if own else _get(folder, again=isinstance(e, WeightsInvalid))) from e
    except OSError as e:
        raise WeightsInvalid(f"{e.filename} cannot be read: {e.strerror}.", hint="Correct the file's rights.") from e
    numbers = Counter[str]()
    for tensor in tensors.values():
        numbers[tensor.dtype] += tensor.numbers
    return Checkpoint(
        folder=folder, name=folder.resolve().name, architecture=architecture.NAME, dtype=numbers.most_common(1)[0][0],
        parameters=numbers.total(), bytes=sum(file.stat().st_size for file in files), files=files,
        axes=len(shape.text.sections), has_dflash=(folder / "dflash" / "config.json").is_file(),
    )  # fmt: skip


def _get(folder: Path, *, again: bool = False) -> str:
    words = "Get them again with" if again else "Get them with"
    return f"{words}: .venv/bin/hunyuanocr fetch --model-path {shlex.quote(str(folder))}"


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except ValueError as e:
        raise WeightsInvalid(f"{file} is no JSON, perhaps cut off: {e}.") from e
    if not isinstance(found, dict):
        raise WeightsInvalid(f"{file} holds no JSON object.")
    return found


def _companions(folder: Path) -> None:
    """Tokenizer, chat template and image settings are there and whole."""
    for names in (("tokenizer.json",), ("processor_config.json", "preprocessor_config.json")):
        if not any((folder / name).is_file() for name in names):
            raise WeightsMissing(f"There is no {' or '.join(names)} in {folder}.")
    with (folder / "tokenizer.json").open("rb") as f:  # 10 MB that the reader parses later; a cut or a pointer shows at the ends
        first = f.read(1)
        f.seek(-min(64, (folder / "tokenizer.json").stat().st_size), 2)
        if first != b"{" or not f.read().rstrip().endswith(b"}"):
            raise WeightsInvalid(f"{folder / 'tokenizer.json'} is no JSON object, perhaps cut off or a Git LFS pointer.")
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            _object(folder / name)
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return
    settings = folder / "tokenizer_config.json"
    if not settings.is_file() or not _object(settings).get("chat_template"):
        raise WeightsMissing(f"There is no chat template in {folder} (chat_template.jinja, or within tokenizer_config.json).")


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that will be loaded, as transformers chooses them: one file, else the shards of the index."""
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if (folder / INDEX).is_file():
        return _shards(folder)
    if any(folder.glob("*.safetensors")):
        raise WeightsMissing(f"There are weight files in {folder}, but neither {SINGLE} nor {INDEX}.")
    pickled = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if pickled:
        raise WeightsInvalid(
            f"The weights in {folder} are pickled ({_some(pickled)}), and loading a pickle runs whatever program is "
            "hidden in it: only safetensors files are loaded.",
            hint=_get(folder),
        )
    raise WeightsMissing(f"There are no weights in {folder}: neither {SINGLE} nor {INDEX}.")


def _shards(folder: Path) -> tuple[Path, ...]:
    """The shards of the index, all there, each with the tensors that the index places in it."""
    places = _object(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsInvalid(f"{folder / INDEX} has no weight_map.")
    names = sorted({str(name) for name in places.values()})
    if odd := [name for name in names if name != Path(name).name or not name.endswith(".safetensors")]:
        raise WeightsInvalid(f"{folder / INDEX} names files that are no shards of it: {_some(odd)}.")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise WeightsMissing(f"{len(absent)} of {len(names)} weight files are not in {folder}: {_some(absent)}.")
    for shard in names:
        held = read_header(folder / shard)
        if lost := [tensor for tensor, name in places.items() if name == shard and tensor not in held]:
            raise WeightsInvalid(f"{folder / shard} lacks tensors that the index places there: {_some(lost)}.")
    return tuple(folder / name for name in names)


def _tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """All tensors under their modern names."""
    found: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if (modern := architecture.canonical_name(name)) in found:
                raise WeightsInvalid(f"{modern} is there twice, the second time as {name} in {file}.")
            found[modern] = tensor
    return found


def _compare(shape: architecture.Architecture, tensors: dict[str, Tensor]) -> None:
    """Every tensor of the architecture is there, as large as config.json says, and no more layers than it says."""
    expected = shape.tensors()
    if lost := [name for name in expected if name not in tensors and name not in architecture.UNUSED]:
        raise WeightsInvalid(f"{len(lost)} of {len(expected)} tensors are not in the weight files: {_some(lost)}.")
    expected.setdefault("lm_head.weight", (shape.text.vocabulary, shape.text.hidden))  # some files hold the tied head as well
    wrong = [
        f"{name} is {list(tensors[name].shape)} instead of {list(size)}"
        for name, size in expected.items() if name in tensors and tensors[name].shape != size
    ]  # fmt: skip
    if wrong:
        raise WeightsInvalid(f"The weights do not fit config.json: {_some(wrong)}.")
    if beyond := [name for name in tensors if name not in expected and shape.layers_of(name) is not None]:
        raise WeightsInvalid(f"The weights have layers or parts of layers that config.json does not know: {_some(beyond)}.")


def _some(names: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
