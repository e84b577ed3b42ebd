"""The grammar of an answer's JSON Schema, for engines that constrain decoding. Depends on no engine and no tokenizer."""
