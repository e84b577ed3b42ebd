"""One module for each feature; each module defines a `router`."""
