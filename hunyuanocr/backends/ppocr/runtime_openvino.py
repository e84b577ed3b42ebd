"""Networks on OpenVINO: pictures are normalised inside the graph, batches run side by side on the streams."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hunyuanocr.backends.ppocr.network import EngineOptions, Network, Output, Pictures, picture_shape

# `import openvino` sends a usage event through this package unless it is absent; for this process it is.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402


class OpenVinoNetwork(Network):
    """A compiled network with a store of infer requests, so that several threads may run it."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        core = ov.Core()
        model = core.read_model(path)
        if len(model.inputs) != 1:
            raise ValueError(f"it has {len(model.inputs)} inputs, but one is wanted")
        self.shape = picture_shape([d.get_length() if d.is_static else None for d in model.inputs[0].partial_shape])
        self.metadata = _metadata(model)
        self._compiled = core.compile_model(_normalising(model), "CPU", _properties(core, options))
        self._ahead = options.streams + (options.streams > 1)  # one waits ready, where there is a stream to wait for
        self._idle: list[Any] = []

    def run(self, batches: Iterable[Pictures]) -> Iterator[Output]:
        """See Network; up to one batch more than there are streams is under way."""
        requests: deque[Any] = deque(self._take() for _ in range(self._ahead))
        flying: deque[Any] = deque()
        try:
            for batch in batches:
                if not requests:
                    yield from self._land(flying, requests)
                request = requests.popleft()
                flying.append(request)
                # The data are copied: a shared buffer would have to outlive the request.
                request.start_async({0: batch}, share_inputs=False)
            while flying:
                yield from self._land(flying, requests)
        finally:
            for request in flying:
                request.wait()
            self._idle += [*requests, *flying]

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    @staticmethod
    def _land(flying: deque[Any], requests: deque[Any]) -> Iterator[Output]:
        request = flying[0]
        request.wait()
        output: Output = request.get_output_tensor(0).data
        yield output
        requests.append(flying.popleft())


def _normalising(model: Any) -> Any:
    """Put uint8 [n, h, w, c] → float32 [n, c, h, w] in -1 … 1 before the network."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(127.5).scale(127.5)
    return steps.build()


def _metadata(model: Any) -> dict[str, str]:
    """What the ONNX file says of itself; OpenVINO keeps it under `framework`."""
    info = model.get_rt_info()
    kept = info["framework"] if "framework" in info else {}  # noqa: SIM401 - the map has no `get`
    return {str(name): str(any_value.value) for name, any_value in kept.items()}


def _properties(core: Any, options: EngineOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": options.streams,
        "ENABLE_CPU_PINNING": False,  # another process may be pinned to the same cores
        "CPU_RUNTIME_CACHE_CAPACITY": options.kernels,
    }
    if options.half and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        properties["INFERENCE_PRECISION_HINT"] = "bf16"  # nearly twice as fast; line accuracy is the same (docs/reader.md)
    else:
        properties["INFERENCE_PRECISION_HINT"] = "f32"  # what is left beside 8 bit, too: changing formats costs more than it wins
    return properties
