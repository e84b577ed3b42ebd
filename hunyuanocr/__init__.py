"""HunyuanOCR on one machine: a photo and an instruction in, structured JSON with evidence out."""

__version__ = "0.2.0"
