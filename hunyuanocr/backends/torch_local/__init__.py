"""HunyuanOCR on PyTorch: our own prefill, decode, KV cache and batching around transformers' vision tower."""

import os

# Matrix products compiled for a shape, kept by oneDNN and by PyTorch's layer above it, 1,024 each by default: pictures come in
# thousands of shapes, and hundreds of megabytes would go there. Read when torch is imported.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "32")

from hunyuanocr.backends.torch_local.generator import TorchGenerator  # noqa: E402

__all__ = ["TorchGenerator"]
