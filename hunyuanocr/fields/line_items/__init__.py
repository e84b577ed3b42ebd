"""The lines of goods on a document."""
