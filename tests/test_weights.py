"""Model folders: whole ones of both generations pass, each kind of damage is named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.errors import ConfigError, WeightsInvalid, WeightsMissing
from hunyuanocr.weights import find, verify
from tests.support.checkpoints import FULL_TEXT, FULL_VISION, random_checkpoint

pytest.importorskip("torch")
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("checkpoints") / "whole")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be harmed."""
    return Path(shutil.copytree(whole, tmp_path / "model one"))


def tensors_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def write(folder: Path, tensors: dict[str, Any], name: str = "model.safetensors") -> None:
    from safetensors.torch import save_file

    save_file(tensors, folder / name, metadata={"format": "pt"})


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def shard(folder: Path) -> None:
    """One file → two shards and an index."""
    tensors = tensors_of(folder)
    names = sorted(tensors)
    places = {name: SHARDS[n % 2] for n, name in enumerate(names)}
    for file in SHARDS:
        write(folder, {name: tensors[name] for name in names if places[name] == file}, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "model.safetensors").unlink()


def as_of_2025(folder: Path) -> None:
    """Flat config with the old spellings, preprocessor_config.json; the tensors have the old names already."""

    def flatten(config: dict[str, Any]) -> None:
        text = config.pop("text_config")
        rope = text.pop("rope_parameters")
        config |= {k: v for k, v in text.items() if k not in {"model_type", "pad_token_id", "head_dim", "vocab_size"}}
        config |= {"pad_id": text["pad_token_id"], "attention_head_dim": text["head_dim"], "org_vocab_size": text["vocab_size"]}
        sections = {"xdrope_section": rope["mrope_section"]}
        config["rope_scaling"] = {"type": "xdrope", "alpha": rope["alpha"], "factor": rope["factor"]} | sections
        config["rope_theta"] = rope["rope_theta"]
        config["torch_dtype"] = config.pop("dtype")

    edit(folder / "config.json", flatten)
    nested = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    size = nested.pop("size")
    nested |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(nested))
    (folder / "processor_config.json").unlink()
    assert {name.split(".")[0] for name in tensors_of(folder)} == {"vit", "model"}


def as_in_memory(folder: Path) -> None:
    """Tensors under the names that transformers gives them when they are loaded."""
    from transformers import HunYuanVLForConditionalGeneration

    model = HunYuanVLForConditionalGeneration.from_pretrained(folder)
    tensors = {name: t for name, t in model.state_dict().items() if name != "lm_head.weight"}
    assert all(re.match(r"model\.(language_model|vision_tower)\.", name) for name in tensors)
    write(folder, {name: t.clone() for name, t in tensors.items()})


@pytest.mark.parametrize("form", [as_of_2025, as_in_memory, shard], ids=lambda f: f.__name__)
def test_every_form_verifies_and_loads_to_the_same_weights(whole: Path, folder: Path, form: Callable[..., Any]) -> None:
    import torch
    from transformers import HunYuanVLForConditionalGeneration

    plain = verify(folder)
    form(folder)
    assert (plain.parameters, plain.axes) == (verify(folder).parameters, 4)
    model, expected = (HunYuanVLForConditionalGeneration.from_pretrained(f, use_safetensors=True) for f in (folder, whole))
    ours, theirs = model.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    rope, right = model.model.language_model.rotary_emb, expected.model.language_model.rotary_emb
    assert torch.equal(rope.inv_freq, right.inv_freq)
    assert list(rope.mrope_section) == list(right.mrope_section)


def test_what_is_reported_of_a_whole_one(folder: Path) -> None:
    (folder / "dflash").mkdir()
    shutil.copy(folder / "config.json", folder / "dflash")
    found = verify(folder)
    tensors = tensors_of(folder)
    assert (found.folder, found.name, found.dtype, found.has_dflash) == (folder, "model one", "F32", True)
    assert found.parameters == sum(t.numel() for t in tensors.values())
    assert found.bytes == (folder / "model.safetensors").stat().st_size


def test_expected_tensors_are_those_of_transformers_at_full_size() -> None:
    import torch
    from transformers import HunYuanVLConfig, HunYuanVLForConditionalGeneration

    from hunyuanocr.weights.architecture import parse_config

    config = HunYuanVLConfig(
        text_config=FULL_TEXT,
        vision_config=FULL_VISION | {"out_hidden_size": 1024},
        architectures=["HunYuanVLForConditionalGeneration"],
    )
    with torch.device("meta"):
        model = HunYuanVLForConditionalGeneration(config)
    theirs = {name: tuple(t.shape) for name, t in model.state_dict().items() if name != "lm_head.weight"}
    assert parse_config(config.to_dict()).tensors() == theirs


def test_the_check_reads_headers_only(folder: Path) -> None:
    """A sparse file of 2 GB with a true header is checked in a fraction of a second."""
    header = {}
    from hunyuanocr.weights.architecture import parse_config

    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = 4_000_000
    (folder / "config.json").write_text(json.dumps(config))
    end = 0
    for name, shape in parse_config(config).tensors().items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end := end + size]}
    raw = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as f:
        f.write(len(raw).to_bytes(8, "little") + raw)
        f.truncate(8 + len(raw) + end)
    assert end > 2e9
    start = time.process_time()
    assert verify(folder).bytes > 2e9
    assert time.process_time() - start < 0.5


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def cut_in_the_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def padded(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as f:
        f.write(b"\0" * 7)


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1992496992\n")


def tensor_lost(folder: Path) -> None:
    tensors = tensors_of(folder)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    write(folder, tensors)


def tensor_reshaped(folder: Path) -> None:
    tensors = tensors_of(folder)
    tensors["vit.perceive.mlp.weight"] = tensors["vit.perceive.mlp.weight"].T.contiguous()
    write(folder, tensors)


def tensor_twice(folder: Path) -> None:
    tensors = tensors_of(folder)
    tensors["model.language_model.norm.weight"] = tensors["model.norm.weight"].clone()
    write(folder, tensors)


def quantised(folder: Path) -> None:
    import torch

    tensors = tensors_of(folder)
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(torch.int8)
    write(folder, tensors)


def config_with(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", lambda config: config.update(changes))


def text_config_with(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", lambda config: config["text_config"].update(changes))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "hunyuan_vl", ')


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def shard_lost(folder: Path) -> None:
    shard(folder)
    (folder / SHARDS[1]).unlink()


def shard_cut(folder: Path) -> None:
    shard(folder)
    file = folder / SHARDS[1]
    file.write_bytes(file.read_bytes()[:-1])


def shard_without_a_tensor(folder: Path) -> None:
    shard(folder)
    swapped = {"model.norm.weight": SHARDS[0], "model.embed_tokens.weight": SHARDS[1]}  # one of them lies there, one does not
    edit(folder / "model.safetensors.index.json", lambda index: index["weight_map"].update(swapped))


def index_lost(folder: Path) -> None:
    shard(folder)
    (folder / "model.safetensors.index.json").unlink()


def index_leads_outside(folder: Path) -> None:
    shard(folder)
    edit(folder / "model.safetensors.index.json", lambda index: index["weight_map"].update({"x": "../../x.safetensors"}))


def without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def tokenizer_cut(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize(("harm", "error", "reported"), [
    (cut, WeightsInvalid, r"truncated: it has 5,18\d,\d+ of 5,18\d,\d+ bytes"),
    (cut_in_the_header, WeightsInvalid, "header is truncated"),
    (padded, WeightsInvalid, "7 bytes more"),
    (pointer, WeightsInvalid, "Git LFS pointer"),
    (tensor_lost, WeightsInvalid, r"1 of 82 tensors .*language_model\.layers\.1\.mlp\.up_proj\.weight"),
    (tensor_reshaped, WeightsInvalid, r"patch_merger\.mlp\.weight is \[384, 128\] instead of \[128, 384\]"),
    (tensor_twice, WeightsInvalid, "occurs twice"),
    (quantised, WeightsInvalid, "the type I8"),
    (text_config_with(vocab_size=300), WeightsInvalid, r"embed_tokens\.weight is \[279, 128\] instead of \[300, 128\]"),
    (text_config_with(num_hidden_layers=2), WeightsInvalid, r"does not define: model\.language_model\.layers\.2\."),
    (text_config_with(num_hidden_layers=4), WeightsInvalid, r"11 of 93 tensors"),
    (text_config_with(num_key_value_heads=4), WeightsInvalid, r"k_proj\.weight is \[64, 128\] instead of \[128, 128\]"),
    (text_config_with(rope_parameters={"mrope_section": [4, 4, 4]}), WeightsInvalid, "mrope_section"),
    (text_config_with(hidden_size=None), WeightsInvalid, "sizes in config.json"),
    (config_with(text_config=None), WeightsInvalid, "'num_attention_heads' is missing"),
    (config_with(model_type="qwen2_vl", architectures=["Qwen2VLForConditionalGeneration"]), WeightsInvalid, "qwen2_vl"),
    (no_config, WeightsMissing, "no config.json"),
    (broken_config, WeightsInvalid, r"config\.json is not valid JSON"),
    (only_pickles, WeightsInvalid, "pickle files .pytorch_model.bin.. Loading a pickle file can run"),
    (without("model.safetensors"), WeightsMissing, "no weights in"),
    (shard_lost, WeightsMissing, "1 of 2 weight files .*00002-of-00002"),
    (shard_cut, WeightsInvalid, "00002-of-00002.safetensors is truncated"),
    (shard_without_a_tensor, WeightsInvalid, "lacks tensors that the index lists: model"),
    (index_lost, WeightsMissing, "neither model.safetensors nor model.safetensors.index.json"),
    (index_leads_outside, WeightsInvalid, "invalid file names: ../../x.safetensors"),
    (without("tokenizer.json"), WeightsMissing, "no tokenizer.json"),
    (tokenizer_cut, WeightsInvalid, "tokenizer.json is not a JSON object"),
    (without("processor_config.json"), WeightsMissing, "no processor_config.json or preprocessor_config.json"),
    (without("chat_template.jinja"), WeightsMissing, "no chat template"),
], ids=lambda v: getattr(v, "__name__", None))  # fmt: skip
def test_damage_is_reported(folder: Path, harm: Callable[[Path], None], error: type[ConfigError], reported: str) -> None:
    verify(folder)
    harm(folder)
    with pytest.raises(error, match=reported) as refusal:
        verify(folder)
    assert isinstance(refusal.value, ConfigError)
    assert ".venv/bin/hunyuanocr fetch" in refusal.value.hint
    assert "Download the weights" not in refusal.value.hint or f"--model-path '{folder}'" in refusal.value.hint


def test_pickles_beside_the_weights_do_no_harm(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(b"\x80\x04")
    verify(folder)


def test_a_tensor_that_the_model_does_not_use_may_be_absent(folder: Path) -> None:
    tensors = tensors_of(folder)
    del tensors["vit.perceive.image_sep"]
    write(folder, tensors)
    verify(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="does not exist"):
        verify(tmp_path / "none")


def test_a_folder_one_level_too_high(folder: Path) -> None:
    with pytest.raises(WeightsMissing, match="only in") as refusal:
        find(folder.parent)
    assert refusal.value.hint == f"Use --model-path {folder}"


def test_the_check_needs_no_heavy_package() -> None:
    heavy = {"torch", "transformers", "safetensors", "numpy", "httpx"}
    code = f"import sys, hunyuanocr.weights; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
