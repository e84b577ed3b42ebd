"""HunyuanOCR on PyTorch: prefill, decode, KV cache and continuous batching; the vision tower is the one of transformers."""

import os

# Capacity of the caches of compiled matrix products, in oneDNN and in PyTorch's layer above it. There is an entry per shape, and
# images have thousands of shapes: the default of 1,024 entries takes hundreds of megabytes. torch reads this on import.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "32")

from hunyuanocr.backends.torch_local.generator import TorchGenerator  # noqa: E402

__all__ = ["TorchGenerator"]
