"""Field extraction: which fields a client requests, where they are on a page, and their typed values."""

from hunyuanocr.fields.rules.extractor import extract_fields, ground_values

__all__ = ["extract_fields", "ground_values"]
