"""JSON schemas: the clients', and those that the model's answer follows."""
