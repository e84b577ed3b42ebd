"""Made-up receipts and prescriptions with their truth, for tests, evaluation and training (`python -m synthesis.render`)."""
