"""What every test gets: a data folder that is not the working tree's."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _data_folder(tmp_path_factory):
    """For every Settings() of this process and its children. Tests that count records give a folder of their own."""
    before = os.environ.get("HUNYUANOCR_DATA")
    os.environ["HUNYUANOCR_DATA"] = str(tmp_path_factory.mktemp("data"))
    yield
    if before is None:
        del os.environ["HUNYUANOCR_DATA"]
    else:
        os.environ["HUNYUANOCR_DATA"] = before
