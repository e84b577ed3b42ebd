"""HunyuanOCR on vLLM: a server of its own, which this process starts and watches, or one that runs elsewhere."""

from hunyuanocr.backends.vllm_server.generator import VllmGenerator

__all__ = ["VllmGenerator"]
