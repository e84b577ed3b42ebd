"""Parsing of a language model's output: lines, values, Markdown, confidences. Pure functions that accept any text."""
