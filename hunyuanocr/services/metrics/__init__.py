"""What a monitor sees: counts of what has happened, and how things stand when it asks. In the form of Prometheus."""

from hunyuanocr.services.metrics.registry import Metrics

__all__ = ["Metrics"]
