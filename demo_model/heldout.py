"""Receipts for evaluation, with seeds, shops and layouts that are not in the training data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from demo_model import curriculum, lexicon
from demo_model.augment import worn
from demo_model.receipts import receipt
from demo_model.renderer import Page, draw
from hunyuanocr import prompts
from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.finetune import model as models
from hunyuanocr.finetune.batching import Collator, Sample
from synthesis.render import corners

ABSENT = 4  # fields per document that are requested but not printed


def page(seed: int, index: int) -> Page:
    """Draw held-out receipt `index` of a seed."""
    rng = random.Random(f"unseen:{seed}:{index}")
    return draw(receipt(rng, unseen=True), rng)


def truth(found: Page, seed: int, index: int) -> dict[str, Any]:
    """Return the fields as printed, and some that are not printed as null; always total and date."""
    rng = random.Random(f"absent:{seed}:{index}")
    fields: dict[str, str | None] = {name: value for name, (value, _) in found.fields.items()}
    pool = [name for name in (*lexicon.ASKED, *lexicon.NEVER) if name not in fields]
    fields |= dict.fromkeys(["total_amount", "date"]) | dict.fromkeys(rng.sample(pool, ABSENT)) | fields
    boxes = {name: corners(box) for name, (_, box) in found.fields.items()}
    return {**fields, "_boxes": boxes, "_meta": {"kind": "receipt", "seed": seed, "index": index, "labelled": True}}


def save(out: Path, count: int, seed: int, *, spoilt: bool = False) -> None:
    """Write NNNN.jpg, .csv and .json for `hunyuanocr eval`; `spoilt`: with the degradations of `augment.WEAR`."""
    out.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        found = page(seed, index)
        stem = out / f"{index:04d}"
        image, degradations = worn(found.image, random.Random(f"worn:{seed}:{index}")) if spoilt else (found.image, ())
        Image.fromarray(image).save(stem.with_suffix(".jpg"), quality=93)
        rows = (",".join(str(round(v)) for point in corners(box) for v in point) + f",{text}\n" for text, box in found.runs)
        stem.with_suffix(".csv").write_text("".join(rows), encoding="utf-8")
        record = truth(found, seed, index)
        record["_meta"]["degradations"] = list(degradations)
        stem.with_suffix(".json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def measure(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Return the shares of fields and texts whose every token is the most likely one, as greedy decoding generates it."""
    net, collator = models.load(folder).eval(), Collator(Processor(folder))
    hits: dict[str, list[float]] = {"total_amount": [], "date": [], "merchant": [], "absent": [], "text": [], "text_tokens": []}
    for index in range(count):
        found = page(seed, index)
        names = {name: value for name, value in truth(found, seed, index).items() if not name.startswith("_")}
        asked = [(key, value) for key, value in names.items() if key in hits or value is None]
        questions = [
            (curriculum.asked((key,)), json.dumps({key: value}, ensure_ascii=False, separators=(",", ":")))
            for key, value in asked
        ]
        turns = [*questions, (prompts.TEXT, found.text)]
        for (key, value), turn in zip([*asked, ("text", "")], turns, strict=True):
            result = models.compute_losses(net, collator([Sample(found.image, (turn,))]))
            hits["absent" if value is None else key].append(result.exact_match)
            if key == "text":
                hits["text_tokens"].append(result.right)
    return {name: {"share": round(sum(found) / len(found), 4), "of": len(found)} for name, found in hits.items() if found}
