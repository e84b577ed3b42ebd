"""The tokenizer of the demo checkpoint: byte-level BPE trained on synthetic text, with HunyuanOCR's special tokens."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from demo_model import lexicon
from demo_model.chat_template import SPECIAL
from hunyuanocr import prompts
from hunyuanocr.fields.catalogue import KNOWN

_VOCABULARY_SIZE = 1400
_CHARACTER_COUNT, _MIN_COUNT = 1000, 3  # every character becomes a token before prompts are merged further


def build() -> Any:
    """Train the tokenizer, deterministically. Each digit and each character of the lexicon is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        min_frequency=_MIN_COUNT,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_text(), trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in SPECIAL.values()])
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


def _text() -> list[str]:
    """Return the training text: single characters, prompts, and answers without values."""
    fixed = [prompts.TEXT, prompts.SPOTTING, prompts.FIELDS, "其中 是，是。"]
    keys = [*lexicon.ASKED, *lexicon.NEVER, *(key for asked in lexicon.ASKED.values() for key in asked)]
    explained = [f"{key} 是{(KNOWN[key].zh or (key,))[0]}，" for key in keys if key in KNOWN]
    answers = [json.dumps({key: None, other: ""}, separators=(",", ":"), ensure_ascii=False) for key in keys for other in keys]
    single = sorted({char for text in [*fixed, *explained, *keys] for char in text} | set(lexicon.glyphs()))
    return [*(char for char in single for _ in range(_CHARACTER_COUNT)), *fixed * 20, *explained * 5, *answers, "),(" * 20]
