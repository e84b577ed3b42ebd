"""The tensors of a HunyuanOCR checkpoint by its config.json, for both generations of configs and tensor names.

Releases of 2025 have a flat config (`pad_id`, `attention_head_dim`, `rope_scaling` with `xdrope_section`) and names such as
`vit.…` and `model.layers.…`; transformers has a nested `text_config` and names such as `model.vision_tower.…` and
`model.language_model.…` (`HunYuanVLConfig` and `conversion_mapping.py` in transformers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hunyuanocr.errors import WeightsInvalid

NAME = "HunYuanVLForConditionalGeneration"
UNUSED = frozenset({"model.vision_tower.patch_merger.image_sep"})  # published, but not used by the forward pass
Shape = tuple[int, ...]

# Old name → new name, in order, as transformers renames them when it loads.
_RENAMES = (
    (re.compile(r"^(model\.)?vit\."), "model.vision_tower."),
    (re.compile(r"^model\.(?!language_model\.|vision_tower\.)"), "model.language_model."),
    (re.compile(r"\.mlp\.dense_h_to_4h\."), ".mlp.fc1."),
    (re.compile(r"\.mlp\.dense_4h_to_h\."), ".mlp.fc2."),
    (re.compile(r"^(model\.vision_tower\.layers\.\d+)\.input_layernorm\."), r"\1.layer_norm1."),
    (re.compile(r"^(model\.vision_tower\.layers\.\d+)\.post_attention_layernorm\."), r"\1.layer_norm2."),
    (re.compile(r"\.perceive\.proj\.0\."), ".patch_merger.proj_conv."),
    (re.compile(r"\.perceive\.proj\.2\."), ".patch_merger.proj_out."),
    (re.compile(r"\.perceive\."), ".patch_merger."),
)


def canonical_name(name: str) -> str:
    """Return the name of a tensor in transformers."""
    for old, new in _RENAMES:
        name = old.sub(new, name)
    return name


@dataclass(frozen=True)
class TextConfig:
    """The sizes of the language model."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    bias: bool
    tied: bool
    sections: tuple[int, ...]


@dataclass(frozen=True)
class VisionConfig:
    """The sizes of the vision tower; the defaults are those of HunYuanVLVisionConfig in transformers."""

    hidden: int = 1152
    inner: int = 4304
    layers: int = 27
    channels: int = 3
    patch: int = 16
    merge: int = 2
    side: int = 2048


@dataclass(frozen=True)
class Architecture:
    """The sizes of both parts of the model."""

    text: TextConfig
    vision: VisionConfig

    def layers_of(self, name: str) -> int | None:
        """Return the number of layers of the part that a layer's tensor belongs to; None for other tensors."""
        part = re.match(r"model\.(language_model|vision_tower)\.layers\.\d+\.", name)
        return None if part is None else (self.text if part[1] == "language_model" else self.vision).layers

    def tensors(self) -> dict[str, Shape]:
        """Return the required tensors and their shapes."""
        return dict([*_text(self.text), *_tower(self.vision), *_merger(self.vision, self.text.hidden)])


def parse_config(config: Mapping[str, Any]) -> Architecture:
    """Parse a config.json. Raises WeightsInvalid if it belongs to another model, or a size is missing or inconsistent."""
    kind, classes = config.get("model_type"), config.get("architectures") or []
    if kind != "hunyuan_vl" and NAME not in classes:
        raise WeightsInvalid(f"The model has the type {kind!r} ({', '.join(classes) or 'no architecture'}), not HunyuanOCR.")
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) else config
    # As in transformers: either part may tie the head to the embeddings, and a flat config always does.
    tied = text is config or any(part.get("tie_word_embeddings", True) for part in (config, text))
    try:
        return Architecture(_read_text(text, tied), _read_vision(config))
    except (KeyError, TypeError, ValueError) as e:
        reason = f"{e} is missing" if isinstance(e, KeyError) else str(e)
        raise WeightsInvalid(f"The sizes in config.json are invalid: {reason}.") from e


def _read_text(config: Mapping[str, Any], tied: bool) -> TextConfig:
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    head = int(_either(config, "head_dim", "attention_head_dim") or hidden // heads)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    sections = tuple(int(n) for n in _either(rope, "mrope_section", "xdrope_section") or ())
    if len(sections) < 3 or sum(sections) != head // 2:
        raise ValueError(f"mrope_section {list(sections)} must have 3 or 4 parts with the sum {head // 2}")
    vocabulary = _either(config, "vocab_size", "org_vocab_size")
    if vocabulary is None:
        raise KeyError("vocab_size")
    return TextConfig(
        int(vocabulary),
        hidden,
        int(config["intermediate_size"]),
        int(config["num_hidden_layers"]),
        heads,
        int(config.get("num_key_value_heads") or heads),
        head,
        bool(config.get("attention_bias", False)),
        tied,
        sections,
    )


def _read_vision(config: Mapping[str, Any]) -> VisionConfig:
    vision = config["vision_config"]
    names = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_channels",
        "patch_size",
        "spatial_merge_size",
        "max_image_size",
    )
    defaults = VisionConfig()
    sizes = zip(
        names,
        (defaults.hidden, defaults.inner, defaults.layers, defaults.channels, defaults.patch, defaults.merge, defaults.side),
        strict=True,
    )
    return VisionConfig(*(int(vision.get(name, default)) for name, default in sizes))


def _either(config: Mapping[str, Any], new: str, old: str) -> Any:
    return config[new] if config.get(new) is not None else config.get(old)


def _text(t: TextConfig) -> Iterator[tuple[str, Shape]]:
    yield "model.language_model.embed_tokens.weight", (t.vocabulary, t.hidden)
    yield "model.language_model.norm.weight", (t.hidden,)
    if not t.tied:
        yield "lm_head.weight", (t.vocabulary, t.hidden)
    projections = {
        "q_proj": (t.heads * t.head, t.hidden),
        "k_proj": (t.kv_heads * t.head, t.hidden),
        "v_proj": (t.kv_heads * t.head, t.hidden),
        "o_proj": (t.hidden, t.heads * t.head),
    }
    for n in range(t.layers):
        layer = f"model.language_model.layers.{n}."
        for name, shape in projections.items():
            yield f"{layer}self_attn.{name}.weight", shape
            if t.bias:
                yield f"{layer}self_attn.{name}.bias", shape[:1]
        for name in ("query_layernorm", "key_layernorm"):
            yield f"{layer}self_attn.{name}.weight", (t.head,)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{name}.weight", (t.hidden,)
        for name in ("gate_proj", "up_proj"):
            yield f"{layer}mlp.{name}.weight", (t.inner, t.hidden)
        yield f"{layer}mlp.down_proj.weight", (t.hidden, t.inner)


def _tower(v: VisionConfig) -> Iterator[tuple[str, Shape]]:
    embeddings = "model.vision_tower.embeddings."
    yield from _linear(embeddings + "patch_embedding", (v.hidden, v.channels, v.patch, v.patch))
    yield embeddings + "position_embedding.weight", ((v.side // v.patch) ** 2 + 1, v.hidden)
    for n in range(v.layers):
        layer = f"model.vision_tower.layers.{n}."
        for name in ("layer_norm1", "layer_norm2"):
            yield from _linear(layer + name, (v.hidden,))
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield from _linear(f"{layer}self_attn.{name}", (v.hidden, v.hidden))
        yield from _linear(layer + "mlp.fc1", (v.inner, v.hidden))
        yield from _linear(layer + "mlp.fc2", (v.hidden, v.inner))


def _merger(v: VisionConfig, out: int) -> Iterator[tuple[str, Shape]]:
    merger = "model.vision_tower.patch_merger."
    yield from _linear(merger + "proj_conv", (2 * v.hidden, v.hidden, v.merge, v.merge))
    yield from _linear(merger + "proj_out", (4 * v.hidden, 2 * v.hidden, 1, 1))
    yield from _linear(merger + "mlp", (out, 4 * v.hidden))
    yield merger + "image_newline", (4 * v.hidden,)
    for name in ("image_begin", "image_end", "image_sep", "after_rms.weight"):
        yield merger + name, (out,)
    yield merger + "before_rms.weight", (v.hidden,)


def _linear(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield name + ".weight", shape
    yield name + ".bias", shape[:1]
