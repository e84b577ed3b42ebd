"""Networks on onnxruntime, for all processors, including ARM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from hunyuanocr.backends.ppocr.network import EngineOptions, Images, Network, Output, picture_shape

ort.disable_telemetry_events()  # no effect in Linux wheels; other platforms send events


class OnnxruntimeNetwork(Network):
    """An inference session. Thread-safe."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # The arena would keep the memory of the largest image.
        settings.enable_cpu_mem_arena = False
        settings.enable_mem_pattern = False
        try:
            self._session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's exceptions have no common base class
            raise ValueError(str(e)) from e
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs; expected 1")
        self._input = inputs[0].name
        self.shape = picture_shape(inputs[0].shape)
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, batches: Iterable[Images]) -> Iterator[Output]:
        """See Network. Batches run one after another, each on all threads."""
        for batch in batches:
            samples = np.multiply(batch.transpose(0, 3, 1, 2), np.float32(1 / 127.5), dtype=np.float32, order="C")
            samples -= 1
            yield self._session.run(None, {self._input: samples})[0]
