"""State of NVIDIA GPUs from the driver's library (NVML), for all processes that use them. Empty without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pynvml
from prometheus_client.metrics_core import GaugeMetricFamily, Metric


@dataclass(frozen=True)
class Gpu:
    """One GPU. `memory`, `used`: bytes. `utilization`: busy share of the last second, 0…1; None where the driver has none."""

    index: int
    name: str
    memory: int
    used: int
    utilization: float | None
    celsius: float | None


@dataclass(frozen=True)
class Gpus:
    """All GPUs of this machine, and the version of their driver."""

    driver: str
    all: tuple[Gpu, ...]


def gpus() -> Gpus | None:
    """Return all GPUs, or None without a driver. Blocking for some milliseconds."""
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
        index,
        pynvml.nvmlDeviceGetName(handle),
        int(memory.total),
        int(memory.used),
        _optional(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        _optional(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
    )


def _optional(query: Callable[[], float]) -> float | None:
    """Return the value, or None where the driver has none: a part of a GPU (MIG) has no utilization and no temperature."""
    try:
        return query()
    except pynvml.NVMLError:
        return None


def collect() -> Iterator[Metric]:
    """Yield memory, utilization and temperature of each GPU."""
    found = gpus()
    if found is None or not found.all:
        return
    for name, help, values in (
        ("memory_bytes", "Memory of the GPU.", [one.memory for one in found.all]),
        ("memory_used_bytes", "Memory of the GPU in use by all processes.", [one.used for one in found.all]),
        ("utilization_ratio", "Share of the time in which the GPU is busy.", [one.utilization for one in found.all]),
        ("celsius", "Temperature of the GPU.", [one.celsius for one in found.all]),
    ):
        family = GaugeMetricFamily(f"hunyuanocr_gpu_{name}", help, labels=["gpu"])
        for one, value in zip(found.all, values, strict=True):
            if value is not None:
                family.add_metric([str(one.index)], value)
        yield family
