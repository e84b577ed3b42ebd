"""Extraction of line items."""
