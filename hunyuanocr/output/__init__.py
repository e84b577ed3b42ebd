"""What a language model wrote → lines, values, Markdown, confidences: small pure functions; none fails on what is written."""
