"""JSON schemas: those of clients, and those that constrain a model's answer."""
