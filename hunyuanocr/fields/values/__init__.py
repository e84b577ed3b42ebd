"""Printed values: find and normalise money, dates, telephone numbers and more."""
