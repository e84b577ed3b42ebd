"""Mixed traffic for minutes or days, and what it does to a server: memory, descriptors, latency, with verdicts and pictures."""
