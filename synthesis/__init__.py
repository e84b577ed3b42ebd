"""Synthetic receipts, prescriptions and other documents with ground truth, for tests, evaluation and training."""
