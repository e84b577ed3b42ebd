"""HunyuanOCR on one machine: from an image and an instruction to structured JSON with the position of each value."""

__version__ = "0.2.0"
