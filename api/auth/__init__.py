"""Who asks, and what he may do: one guard around everything that is served."""
