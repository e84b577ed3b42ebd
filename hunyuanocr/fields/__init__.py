"""Fields: what people ask for, where it stands on a page, and what it means."""

from hunyuanocr.fields.rules.extractor import extract_fields, ground_values

__all__ = ["extract_fields", "ground_values"]
