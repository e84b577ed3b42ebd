"""Fields: what people ask for, where it stands on a page, and what it means."""

from hunyuanocr.fields.associate import find_fields, ground_values

__all__ = ["find_fields", "ground_values"]
