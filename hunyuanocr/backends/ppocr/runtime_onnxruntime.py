"""Networks on onnxruntime: every processor that it knows, ARM included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from hunyuanocr.backends.ppocr.network import EngineOptions, Network, Output, Pictures, picture_shape

ort.disable_telemetry_events()  # a no-op on Linux wheels; others have a sender


class OnnxruntimeNetwork(Network):
    """A session; onnxruntime lets several threads run one."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # The arena never gives back what the largest picture took.
        settings.enable_cpu_mem_arena = False
        settings.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        except Exception as e:  # its classes derive from Exception directly, one for each status
            raise ValueError(str(e)) from e
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs, but one is wanted")
        self._input = inputs[0].name
        self.shape = picture_shape(inputs[0].shape)
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, batches: Iterable[Pictures]) -> Iterator[Output]:
        """See Network; one batch after another, on all threads."""
        for batch in batches:
            samples = np.multiply(batch.transpose(0, 3, 1, 2), np.float32(1 / 127.5), dtype=np.float32, order="C")
            samples -= 1
            yield self._session.run(None, {self._input: samples})[0]
