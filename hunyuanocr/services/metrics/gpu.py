"""NVIDIA GPUs, asked of the driver's own library (NVML): whoever uses them, PyTorch or vLLM. Nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pynvml
from prometheus_client.metrics_core import GaugeMetricFamily, Metric


@dataclass(frozen=True)
class Gpu:
    """One GPU. `utilization` is the share of the last second in which it worked, 0…1; None where the driver does not tell."""

    index: int
    name: str
    memory: int
    used: int
    utilization: float | None
    celsius: float | None


@dataclass(frozen=True)
class Gpus:
    """All of this machine, and the version of their driver."""

    driver: str
    all: tuple[Gpu, ...]


def gpus() -> Gpus | None:
    """Blocking for some milliseconds. None without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        found = tuple(_gpu(n) for n in range(pynvml.nvmlDeviceGetCount()))
        return Gpus(pynvml.nvmlSystemGetDriverVersion(), found)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        index, pynvml.nvmlDeviceGetName(handle), int(memory.total), int(memory.used),
        _told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        _told(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
    )  # fmt: skip


def _told(ask: Callable[[], float]) -> float | None:
    """A part of a GPU (MIG) has no use and no temperature of its own."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def collect() -> Iterator[Metric]:
    """Their memory, use and temperature."""
    found = gpus()
    if found is None or not found.all:
        return
    for name, meaning, values in (
        ("memory_bytes", "Memory of the GPU.", [one.memory for one in found.all]),
        ("memory_used_bytes", "Memory of the GPU in use, by whomever.", [one.used for one in found.all]),
        ("utilization_ratio", "Share of the time in which the GPU works.", [one.utilization for one in found.all]),
        ("celsius", "Temperature of the GPU.", [one.celsius for one in found.all]),
    ):
        family = GaugeMetricFamily(f"hunyuanocr_gpu_{name}", meaning, labels=["gpu"])
        for one, value in zip(found.all, values, strict=True):
            if value is not None:
                family.add_metric([str(one.index)], value)
        yield family
