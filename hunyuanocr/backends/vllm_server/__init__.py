"""HunyuanOCR on vLLM: a server that this process starts and supervises, or one that runs elsewhere."""

from hunyuanocr.backends.vllm_server.generator import VllmGenerator

__all__ = ["VllmGenerator"]
