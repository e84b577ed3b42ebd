"""Authentication and authorisation: one middleware around everything that the app serves."""
