"""Metrics in the format of Prometheus: counters and histograms in `registry`, the current state in `gauges` and `gpu`."""

from hunyuanocr.services.metrics.registry import Metrics

__all__ = ["Metrics"]
