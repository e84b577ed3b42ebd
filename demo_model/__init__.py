"""The recipe of the demo checkpoint: a small model of HunyuanOCR's architecture for synthetic receipts."""
