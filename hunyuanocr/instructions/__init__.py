"""Instructions in people's own words, in Chinese and English."""

from hunyuanocr.instructions.names import extract_field_names
from hunyuanocr.instructions.parse import MAX_FIELDS, MAX_INSTRUCTION, parse_instruction

__all__ = ["MAX_FIELDS", "MAX_INSTRUCTION", "extract_field_names", "parse_instruction"]
