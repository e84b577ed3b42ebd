"""One file for each feature; every file offers a `router`."""
