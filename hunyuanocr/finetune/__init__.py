"""Training of a HunyuanOCR checkpoint on images with prompts and answers, on a CPU or a GPU."""
