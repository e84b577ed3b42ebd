"""The CPU backend: PP-OCR networks (weights from RapidOCR's wheel) on OpenVINO or onnxruntime."""

from hunyuanocr.backends.ppocr.backend import PpocrBackend

__all__ = ["PpocrBackend"]
