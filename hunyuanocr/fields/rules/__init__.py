"""Where on a page the answer to a question stands, by rules."""
