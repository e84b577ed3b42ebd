"""Fine-tune a checkpoint on a user's documents: check, train, evaluate and write, in this order.

The output folder contains the checkpoint; `adapter/`, if LoRA was trained; `training/`, which is needed to resume.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from hunyuanocr.backends.torch_local.loader import choose_device
from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import ConfigError, InvalidValue
from hunyuanocr.files import write_atomic
from hunyuanocr.finetune import dataset, lora, model
from hunyuanocr.finetune.batching import IGNORED, Collator, Sample
from hunyuanocr.finetune.config import TrainConfig
from hunyuanocr.finetune.dataset import DocumentDataset, TrainingDocument
from hunyuanocr.finetune.resources import ResourceEstimate, estimate
from hunyuanocr.finetune.trainer import Trainer
from hunyuanocr.weights.architecture import parse_config
from hunyuanocr.weights.verify import verify

RUN = "run.json"
_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
_CHANGEABLE = ("decay_minutes", "decay_steps", "save_minutes", "recompute")  # settings that may change when a run is resumed


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run. `recipe` has one level; `hold_out`: share of the documents used only for evaluation."""

    documents: Path
    base: Path
    out: Path
    recipe: TrainConfig
    method: Literal["lora", "full"] = "lora"
    hold_out: float = 0.1
    device: str = "auto"


@dataclass(frozen=True)
class EvalMetrics:
    """Metrics on the held-out documents: mean loss per answer token, share of answers that greedy decoding reproduces."""

    documents: int
    loss: float
    exact_match: float


class FineTuneRun:
    """One fine-tuning run. Nothing is written before `start`."""

    def __init__(self, run_config: RunConfig, images: ImageSettings, on_progress: Callable[[], None] | None = None) -> None:
        """Check everything that can be checked early.

        Raises ConfigError, WeightsMissing, WeightsInvalid, InvalidValue and MissingDependency.
        """
        if run_config.method == "lora":
            lora.require_peft()
        validate_output_dir(run_config)
        self.run_config, self._images = run_config, images
        self.checkpoint = verify(run_config.base)
        self.device = choose_device(run_config.device)
        self.processor = Processor(self.checkpoint.folder)
        config = json.loads((self.checkpoint.folder / "config.json").read_text(encoding="utf-8"))
        self._shape = parse_config(config)
        max_tokens = int((config.get("text_config") or config).get("max_position_embeddings", 32768))
        documents = dataset.load(run_config.documents, self.processor, images, max_tokens=max_tokens, on_progress=on_progress)
        self.train, self.held = dataset.split(documents, run_config.hold_out, run_config.recipe.seed)
        self.source = DocumentDataset(self.train, images, run_config.recipe.seed)
        self.collator = Collator(self.processor)
        self.before: EvalMetrics | None = None  # on the held-out documents, with the original weights
        self._record: dict[str, Any] | None = None
        self._check_run()

    @property
    def documents(self) -> list[TrainingDocument]:
        """All documents."""
        return self.train + self.held

    @property
    def batches(self) -> int:
        """Steps per epoch."""
        return self.source.batches(self.run_config.recipe.levels[0].batch)

    def estimate(self) -> ResourceEstimate:
        """Return the resources that training needs."""
        return estimate(
            self._shape,
            parameters=self.checkpoint.parameters,
            documents=self.documents,
            recipe=self.run_config.recipe,
            full=self.run_config.method == "full",
        )

    def start(self, *, steps: int | None = None, minutes: float | None = None) -> None:
        """Load the weights, evaluate them on the held-out documents (once), and resume the run if it was started.

        `steps` or `minutes` are totals of all calls; the learning rate decays over their last fifth unless the recipe sets it.
        """
        self.net = model.load(self.checkpoint.folder, str(self.device))
        self._adapted = (
            lora.add_adapter(self.net, self.run_config.recipe.adapter, self.run_config.recipe.seed)
            if self.run_config.method == "lora"
            else None
        )
        if self.run_config.recipe.recompute:
            model.enable_gradient_checkpointing(self.net)
        if self._record is None:
            self.before = self.measure()
            self._write_record()
        recipe = self.run_config.recipe
        if not (recipe.decay_steps or recipe.decay_minutes):
            recipe = replace(recipe, decay_steps=(steps or 0) // 5, decay_minutes=(minutes or 0) / 5)
        self.trainer = Trainer(
            self.net, self.source, collator=self.collator, recipe=recipe, folder=self.run_config.out / "training"
        )

    def measure(self) -> EvalMetrics | None:
        """Evaluate the model on the held-out documents; None without any."""
        return evaluate(self.net, self.collator, self.held, self._images) if self.held else None

    def write(self) -> Path:
        """Write checkpoint and adapter; do not use the model afterwards. Returns the folder."""
        out, part = self.run_config.out, self.run_config.out / "training" / "checkpoint"
        shutil.rmtree(part, ignore_errors=True)
        net = self.net
        if self._adapted is not None:
            lora.write(self._adapted, part / "adapter")
            net = lora.merge_adapter(self._adapted)
        model.save(net, self.checkpoint.folder, part, _DTYPES[self.checkpoint.dtype])
        for file in part.rglob("*.safetensors"):  # written with mode 600
            file.chmod((part / "config.json").stat().st_mode)
        (out / "config.json").unlink(missing_ok=True)  # it is written last: without it the folder is not a checkpoint
        shutil.rmtree(out / "adapter", ignore_errors=True)
        for file in sorted(part.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(out / file.name)
        part.rmdir()
        return out

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Settings that must not change when the run is resumed."""
        recipe = {name: value for name, value in asdict(self.run_config.recipe).items() if name not in _CHANGEABLE}
        return json.loads(json.dumps({  # type: ignore[no-any-return]
            "method": self.run_config.method, "model": _digest(self.checkpoint.files),
            "documents": _digest(_label_files(self.documents)),
            "hold_out": self.run_config.hold_out, **recipe,
        }))  # fmt: skip

    def _check_run(self) -> None:
        """Read the record of an earlier call. Raises ConfigError if its settings differ."""
        file = self.run_config.out / "training" / RUN
        if not file.is_file():
            return
        try:
            self._record = json.loads(file.read_text(encoding="utf-8"))
            settings, before = self._record["settings"], self._record["before"]
            self.before = EvalMetrics(**before) if before else None
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(f"Cannot read {file}: {e}.", hint="Use another --out, or delete this file.") from e
        if changed := sorted(
            name for name in self._settings.keys() | settings.keys() if self._settings.get(name) != settings.get(name)
        ):
            raise ConfigError(
                f"{self.run_config.out} contains a run with different settings: {', '.join(changed)}.",
                hint="Use the same settings, or another --out.",
            )

    def _write_record(self) -> None:
        file = self.run_config.out / "training" / RUN
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"Cannot create {file.parent}: {e.strerror}.", hint="Choose another folder with --out.") from e
        self._record = {"settings": self._settings, "before": asdict(self.before) if self.before else None}
        write_atomic(file, (json.dumps(self._record, ensure_ascii=False, indent=1) + "\n").encode())


def validate_output_dir(run_config: RunConfig) -> None:
    """Raise ConfigError unless the output folder is new, empty, or contains an earlier run."""
    folders = (run_config.out, run_config.base, run_config.documents)
    out, base, documents = (path.expanduser().resolve() for path in folders)
    hint = "Choose another folder with --out."
    if out == base or out in base.parents or base in out.parents:
        raise ConfigError(f"{run_config.out} would overwrite the original checkpoint.", hint=hint)
    if out == documents:
        raise ConfigError(f"{run_config.out} contains the documents.", hint=hint)
    if run_config.out.exists() and not run_config.out.is_dir():
        raise ConfigError(f"{run_config.out} is not a folder.", hint=hint)
    if run_config.out.is_dir() and any(run_config.out.iterdir()) and not (run_config.out / "training" / RUN).is_file():
        raise ConfigError(f"{run_config.out} is not empty and contains no earlier run.", hint=hint)


@torch.no_grad()
def evaluate(net: Any, collator: Collator, documents: Sequence[TrainingDocument], images: ImageSettings) -> EvalMetrics:
    """Return the metrics over all turns of the documents."""
    net.eval()
    device = next(net.parameters()).device
    loss = exact = tokens = answers = 0.0
    for document in documents:
        batch = collator([Sample(dataset.load_pixels(document.path, images), document.all_turns())])
        with model.mixed_precision(device):
            losses = model.compute_losses(net, batch.to(device))
        if losses.answer is None:
            raise InvalidValue(f"{document.path} has no answers.")
        count, turns = int((batch.labels != IGNORED).sum()), len(document.all_turns())
        loss, exact = loss + float(losses.answer) * count, exact + losses.exact_match * turns
        tokens, answers = tokens + count, answers + turns
    net.train()
    return EvalMetrics(len(documents), loss / tokens, exact / answers)


def _label_files(documents: Sequence[TrainingDocument]) -> list[Path]:
    """Return images and label files of all documents, sorted."""
    paths = sorted(document.path for document in documents)
    return [file for path in paths for file in (path, path.with_suffix(".csv"), path.with_suffix(".json")) if file.is_file()]


def _digest(files: Sequence[Path]) -> str:
    """Return a digest of names and contents."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as f:
            digest.update(f"{file.name}:{hashlib.file_digest(f, 'sha256').hexdigest()};".encode())
    return digest.hexdigest()[:16]
