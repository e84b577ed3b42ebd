"""Networks on OpenVINO: images are normalised in the graph, batches run concurrently on streams."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hunyuanocr.backends.ppocr.network import EngineOptions, Images, Network, Output, picture_shape

# `import openvino` sends a usage event if this package can be imported; None makes the import fail.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402


class OpenVinoNetwork(Network):
    """A compiled network with a pool of infer requests. Thread-safe."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        core = ov.Core()
        model = core.read_model(path)
        if len(model.inputs) != 1:
            raise ValueError(f"it has {len(model.inputs)} inputs; expected 1")
        self.shape = picture_shape([d.get_length() if d.is_static else None for d in model.inputs[0].partial_shape])
        self.metadata = _metadata(model)
        self._compiled = core.compile_model(_with_normalisation(model), "CPU", _properties(core, options))
        self._max_running = options.streams + (options.streams > 1)  # with several streams, one batch is queued
        self._idle: list[Any] = []

    def run(self, batches: Iterable[Images]) -> Iterator[Output]:
        """See Network. At most one batch more than there are streams is submitted."""
        requests: deque[Any] = deque(self._acquire() for _ in range(self._max_running))
        running: deque[Any] = deque()
        try:
            for batch in batches:
                if not requests:
                    yield from self._next_output(running, requests)
                request = requests.popleft()
                running.append(request)
                # The data is copied: a shared buffer would have to outlive the request.
                request.start_async({0: batch}, share_inputs=False)
            while running:
                yield from self._next_output(running, requests)
        finally:
            for request in running:
                request.wait()
            self._idle += [*requests, *running]

    def _acquire(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    @staticmethod
    def _next_output(running: deque[Any], requests: deque[Any]) -> Iterator[Output]:
        request = running[0]
        request.wait()
        output: Output = request.get_output_tensor(0).data
        yield output
        requests.append(running.popleft())


def _with_normalisation(model: Any) -> Any:
    """Return the network with a conversion of its input: uint8 [n, h, w, c] → float32 [n, c, h, w] in -1 … 1."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(127.5).scale(127.5)
    return steps.build()


def _metadata(model: Any) -> dict[str, str]:
    """Return the metadata of the ONNX file, which OpenVINO stores under `framework`."""
    info = model.get_rt_info()
    entries = info["framework"] if "framework" in info else {}  # noqa: SIM401 - the map has no `get`
    return {str(name): str(entry.value) for name, entry in entries.items()}


def _properties(core: Any, options: EngineOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": options.streams,
        "ENABLE_CPU_PINNING": False,  # another process may be pinned to the same cores
        "CPU_RUNTIME_CACHE_CAPACITY": options.kernels,
    }
    if options.half and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        properties["INFERENCE_PRECISION_HINT"] = "bf16"  # nearly twice as fast, with the same line accuracy (docs/reader.md)
    else:
        properties["INFERENCE_PRECISION_HINT"] = "f32"  # also with 8-bit weights: conversions would cost more than they save
    return properties
