"""Rule-based field extraction from the lines of a page."""
