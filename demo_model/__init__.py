"""The recipe of the demo checkpoint: a small model of HunyuanOCR's architecture that reads made-up receipts."""
