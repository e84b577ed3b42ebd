"""A checkpoint taught a person's own documents: what is checked, trained, measured and written, in this order.

In the folder of the result: the checkpoint itself; `adapter/`, where LoRA was trained; `training/`, from which the run goes on.
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
_FREE = ("decay_minutes", "decay_steps", "save_minutes", "recompute")  # settings that may change between calls


@dataclass(frozen=True)
class RunConfig:
    """What is to be done. `recipe` has one level; `hold_out` is the share of the documents that is not trained on."""

    documents: Path
    base: Path
    out: Path
    recipe: TrainConfig
    method: Literal["lora", "full"] = "lora"
    hold_out: float = 0.1
    device: str = "auto"


@dataclass(frozen=True)
class EvalMetrics:
    """Of documents that were not trained on: mean loss of the answers' tokens, and the share of answers that a greedy decoder
    writes without any mistake."""

    documents: int
    loss: float
    exact_match: float


class FineTuneRun:
    """One run of one job. Nothing is written before `start`."""

    def __init__(self, run_config: RunConfig, images: ImageSettings, on_progress: Callable[[], None] | None = None) -> None:
        """Checks all that can be checked. Raises ConfigError, WeightsMissing, WeightsBroken, InvalidValue, MissingDependency."""
        if run_config.method == "lora":
            lora.require_peft()
        validate_output_dir(run_config)
        self.run_config, self._images = run_config, images
        self.checkpoint = verify(run_config.base)
        self.device = choose_device(run_config.device)
        self.processor = Processor(self.checkpoint.folder)
        config = json.loads((self.checkpoint.folder / "config.json").read_text(encoding="utf-8"))
        self._shape = parse_config(config)
        longest = int((config.get("text_config") or config).get("max_position_embeddings", 32768))
        found = dataset.load(run_config.documents, self.processor, images, longest=longest, on_progress=on_progress)
        self.train, self.held = dataset.split(found, run_config.hold_out, run_config.recipe.seed)
        self.source = DocumentDataset(self.train, images, run_config.recipe.seed)
        self.collator = Collator(self.processor)
        self.before: EvalMetrics | None = None  # of the documents held out, with the weights to begin with
        self._record: dict[str, Any] | None = None
        self._check_run()

    @property
    def documents(self) -> list[TrainingDocument]:
        """All of them."""
        return self.train + self.held

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return self.source.batches(self.run_config.recipe.levels[0].batch)

    def estimate(self) -> ResourceEstimate:
        """What training will take."""
        return estimate(
            self._shape, parameters=self.checkpoint.parameters, documents=self.documents, recipe=self.run_config.recipe,
            full=self.run_config.method == "full",
        )  # fmt: skip

    def start(self, *, steps: int | None = None, minutes: float | None = None) -> None:
        """Load the weights, measure the documents held out (once), and take up the run where it stands.

        `steps` or `minutes` are of all calls; over their last fifth the rate falls, unless the recipe says over what.
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
        """How the model does on the documents held out; None without any."""
        return evaluate(self.net, self.collator, self.held, self._images) if self.held else None

    def write(self) -> Path:
        """Write checkpoint and adapter whole; the model is used up. Returns the folder."""
        out, part = self.run_config.out, self.run_config.out / "training" / "checkpoint"
        shutil.rmtree(part, ignore_errors=True)
        net = self.net
        if self._adapted is not None:
            lora.write(self._adapted, part / "adapter")
            net = lora.merge_adapter(self._adapted)
        model.save(net, self.checkpoint.folder, part, _DTYPES[self.checkpoint.dtype])
        for file in part.rglob("*.safetensors"):  # which its writer makes for its owner alone
            file.chmod((part / "config.json").stat().st_mode)
        (out / "config.json").unlink(missing_ok=True)  # without it a folder is no checkpoint: it comes last
        shutil.rmtree(out / "adapter", ignore_errors=True)
        for file in sorted(part.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(out / file.name)
        part.rmdir()
        return out

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """What a run may not change half-way."""
        recipe = {name: value for name, value in asdict(self.run_config.recipe).items() if name not in _FREE}
        return json.loads(json.dumps({  # type: ignore[no-any-return]
            "method": self.run_config.method, "model": _digest(self.checkpoint.files),
            "documents": _digest(_truths(self.documents)),
            "hold_out": self.run_config.hold_out, **recipe,
        }))  # fmt: skip

    def _check_run(self) -> None:
        """Read what an earlier call has written. Raises ConfigError where it was about something else."""
        file = self.run_config.out / "training" / RUN
        if not file.is_file():
            return
        try:
            self._record = json.loads(file.read_text(encoding="utf-8"))
            settings, before = self._record["settings"], self._record["before"]
            self.before = EvalMetrics(**before) if before else None
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(f"{file} cannot be read: {e}.", hint="Name another --out, or remove this one.") from e
        if other := sorted(
            name for name in self._settings.keys() | settings.keys() if self._settings.get(name) != settings.get(name)
        ):
            raise ConfigError(
                f"{self.run_config.out} holds a run with another: {', '.join(other)}.", hint="Take the same, or another --out."
            )

    def _write_record(self) -> None:
        file = self.run_config.out / "training" / RUN
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"{file.parent} cannot be made: {e.strerror}.", hint="Name another folder with --out.") from e
        self._record = {"settings": self._settings, "before": asdict(self.before) if self.before else None}
        part = file.with_suffix(".part")
        part.write_text(json.dumps(self._record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        part.replace(file)


def validate_output_dir(job: RunConfig) -> None:
    """The result may go into a new or empty folder, or where an earlier call of a run wrote. Raises ConfigError."""
    out, base, documents = (path.expanduser().resolve() for path in (job.out, job.base, job.documents))
    if out == base or out in base.parents or base in out.parents:
        raise ConfigError(f"{job.out} would write into the checkpoint to begin with.", hint="Name another folder with --out.")
    if out == documents:
        raise ConfigError(f"{job.out} holds the documents.", hint="Name another folder with --out.")
    if job.out.exists() and not job.out.is_dir():
        raise ConfigError(f"{job.out} is no folder.", hint="Name another folder with --out.")
    if job.out.is_dir() and any(job.out.iterdir()) and not (job.out / "training" / RUN).is_file():
        raise ConfigError(f"{job.out} is not empty, and what it holds is of no run.", hint="Name a new folder with --out.")


@torch.no_grad()
def evaluate(net: Any, collator: Collator, documents: Sequence[TrainingDocument], images: ImageSettings) -> EvalMetrics:
    """Losses over everything that is known of the documents."""
    net.eval()
    device = next(net.parameters()).device
    lost = whole = tokens = answers = 0.0
    for document in documents:
        batch = collator([Sample(dataset.load_pixels(document.path, images), document.all_turns())])
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found = model.compute_losses(net, batch.to(device))
        if found.answer is None:
            raise InvalidValue(f"{document.path} has no answers.")
        count, turns = int((batch.labels != IGNORED).sum()), len(document.all_turns())
        lost, whole = lost + float(found.answer) * count, whole + found.exact_match * turns
        tokens, answers = tokens + count, answers + turns
    net.train()
    return EvalMetrics(len(documents), lost / tokens, whole / answers)


def _truths(documents: Sequence[TrainingDocument]) -> list[Path]:
    """The files of all documents, in one order."""
    paths = sorted(document.path for document in documents)
    return [file for path in paths for file in (path, path.with_suffix(".csv"), path.with_suffix(".json")) if file.is_file()]


def _digest(files: Sequence[Path]) -> str:
    """Of names and contents."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as f:
            found.update(f"{file.name}:{hashlib.file_digest(f, 'sha256').hexdigest()};".encode())
    return found.hexdigest()[:16]
