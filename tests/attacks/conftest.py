"""The API in process, as its own tests have it."""

from tests.api.conftest import make_client, reader

__all__ = ["make_client", "reader"]
