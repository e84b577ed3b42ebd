"""A JSON Schema → rules of what an answer may be written as → a grammar for the engines. No engine and no tokenizer in here."""
