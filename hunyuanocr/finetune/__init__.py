"""Training of a HunyuanOCR checkpoint on pictures with questions and answers, on a CPU or a GPU."""
