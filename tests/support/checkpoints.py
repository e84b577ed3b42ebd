"""Checkpoints of the HunyuanOCR architecture with random weights: they read nothing, but all of the engine runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo_model.chat_template import CHAT_TEMPLATE, SPECIAL

TINY_TEXT: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "max_position_embeddings": 16384, "initializer_range": 0.1,
    "rope_parameters": {
        "rope_type": "dynamic", "alpha": 1000.0, "rope_theta": 10000.0, "mrope_section": [4, 4, 4, 4], "factor": 1.0,
    },
}  # fmt: skip
TINY_VISION: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_image_size": 1024,
}
FULL_TEXT: dict[str, Any] = {
    "vocab_size": 120818, "hidden_size": 1024, "intermediate_size": 3584, "num_hidden_layers": 24, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 32768, "initializer_range": 0.02,
    "rope_parameters": {
        "rope_type": "dynamic", "alpha": 1000.0, "rope_theta": 10000.0, "mrope_section": [16, 16, 16, 16], "factor": 1.0,
    },
}  # fmt: skip
FULL_VISION: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "max_image_size": 2048,
}


def byte_tokenizer() -> Any:
    """A byte-level BPE tokenizer of 256 bytes, some merges that JSON and receipts use, and the model's special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for left, right in [
        ("t", "o"),
        ("to", "t"),
        ("tot", "a"),
        ("tota", "l"),
        ('"', ":"),
        ('"', ","),
        ("n", "u"),
        ("l", "l"),
        ("nu", "ll"),
        (",", '"'),
        ("{", '"'),
        ("0", "0"),
        ("Ġ", "t"),
        ("ä", "¸"),
        ("ä¸", "Ń"),
    ]:
        merges.append((left, right))
        vocab[left + right] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, special=True) for s in SPECIAL.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL["bos"],
        eos_token=SPECIAL["eos"],
        pad_token=SPECIAL["pad"],
        extra_special_tokens={
            "image_token": SPECIAL["image"],
            "image_start_token": SPECIAL["image_start"],
            "image_end_token": SPECIAL["image_end"],
        },
    )


def random_checkpoint(
    folder: Path,
    *,
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    pixels: tuple[int, int] = (64 * 64, 1024 * 1024),
    stop: float = 1.0,
) -> Path:
    """Write a checkpoint of random weights (tiny unless `text` and `vision` say otherwise) and return its folder.

    `stop` stretches the embedding of the stop token: above 1 the weights write it the sooner.
    """
    import torch
    from transformers import HunYuanVLConfig, HunYuanVLForConditionalGeneration, HunYuanVLProcessor
    from transformers.models.hunyuan_vl.image_processing_pil_hunyuan_vl import HunYuanVLImageProcessorPil

    tokenizer = byte_tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(s) for name, s in SPECIAL.items()}
    text_config = TINY_TEXT | {"vocab_size": len(tokenizer)} | (text or {})
    text_config |= {"bos_token_id": ids["bos"], "eos_token_id": ids["eos"], "pad_token_id": ids["pad"]}
    hidden = text_config["hidden_size"]
    config = HunYuanVLConfig(
        text_config=text_config,
        vision_config=TINY_VISION | (vision or {}) | {"text_hidden_size": hidden, "out_hidden_size": hidden},
        image_token_id=ids["image"],
        im_start_id=ids["image_start"],
        im_end_id=ids["image_end"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    with torch.device("cpu"):
        default = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            model = HunYuanVLForConditionalGeneration(config)
        finally:
            torch.set_default_dtype(default)
    model.get_input_embeddings().weight.data[ids["eos"]] *= stop
    model.generation_config.eos_token_id = ids["eos"]
    model.generation_config.pad_token_id = ids["pad"]
    model.save_pretrained(folder)
    images = HunYuanVLImageProcessorPil(size={"shortest_edge": pixels[0], "longest_edge": pixels[1]})
    HunYuanVLProcessor(image_processor=images, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder
