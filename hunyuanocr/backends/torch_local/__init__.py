"""HunyuanOCR on PyTorch: our own prefill, decode, KV cache and batching around transformers' vision tower."""

from hunyuanocr.backends.torch_local.generator import TorchGenerator

__all__ = ["TorchGenerator"]
