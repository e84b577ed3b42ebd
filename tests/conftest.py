"""What every test gets: a data folder that is not the working tree's. And databases for those that ask."""

import itertools
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from hunyuanocr.services.recorder import Recorder
from hunyuanocr.store.database import Database
from tests.support import postgres
from tests.support.postgres import Server

_NUMBER = itertools.count()

# The same examples in every run, and no clock: a busy machine is no mistake, and a new find belongs at a desk.
settings.register_profile("ours", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """With several workers a file stays in one piece, so that what its fixtures start is started once; so do tests of vLLM."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: Any) -> str:
            file = Path(nodeid.partition("::")[0])
            return str(file.parent if file.parent.name == "vllm_server" else file)

    return Files(config, log)


@pytest.fixture(scope="session", autouse=True)
def _data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what outlives a test: servers of a module or of the session."""
    before = os.environ.get("HUNYUANOCR_DATA")
    os.environ["HUNYUANOCR_DATA"] = str(tmp_path_factory.mktemp("data"))
    yield
    if before is None:
        del os.environ["HUNYUANOCR_DATA"]
    else:
        os.environ["HUNYUANOCR_DATA"] = before


@pytest.fixture(autouse=True)
def _data_folder_of_one_test(
    _data_folder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For every Settings() of a test: another one's queue and records are not its own. Made only when something is kept."""
    monkeypatch.setenv("HUNYUANOCR_DATA", str(tmp_path_factory.getbasetemp() / "data-of" / str(next(_NUMBER))))


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with something else is no database that is away, and nobody who hinders the scrubbing."""
    monkeypatch.setattr(Recorder, "wait_s", 60.0)
    monkeypatch.setattr(Database, "truncate_attempts", 300)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real PostgreSQL, or a skip that says what is missing."""
    if why := postgres.missing():
        pytest.skip(why)
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders cannot be entered by the user who runs the server
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o700)
        with postgres.server(folder / "data") as running:
            yield running


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The address of an empty database."""
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty Database of each kind."""
    url = f"sqlite:///{tmp_path / 'shop.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = Database(url)
    yield made
    made.close()
