"""Train the ranker of values (`hunyuanocr.fields.ranking`): on generated pages, text and boxes only, and on real papers."""
