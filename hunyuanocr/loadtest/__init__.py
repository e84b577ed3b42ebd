"""Load test: mixed traffic for minutes or days, measurement of memory, descriptors and latency, and a report with plots."""
