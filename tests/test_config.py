"""Order of settings, and mistakes said at start."""

from pathlib import Path

import pytest

from hunyuanocr.config import load_settings
from hunyuanocr.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("HUNYUANOCR_CONFIG", str(path))
    return path


def test_flag_over_environment_over_file_over_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[server]\nhost = "10.0.0.1"\nport = 1\napi_port = 2\n')
    monkeypatch.setenv("HUNYUANOCR_SERVER__PORT", "3")
    monkeypatch.setenv("HUNYUANOCR_SERVER__API_PORT", "4")
    server = load_settings(server={"api_port": 5}).server
    assert (server.host, server.port, server.api_port, server.page) == ("10.0.0.1", 3, 5, True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[server]\nporrt = 1\n", "server.porrt"),
        ("bakend = 'ppocr'\n", "bakend"),
        ("[server]\nport = 'x'\n", "server.port"),
        ("[pipeline]\nqueue_size = 0\n", "pipeline.queue_size"),
        ("backend = 'magic'\n", "backend"),
        ("not toml at all", "settings.toml"),
    ],
)
def test_a_mistake_in_the_file_is_named(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_settings()


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings\.toml"):
        load_settings()


def test_two_calls_do_not_share_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_SERVER__PORT", "7001")
    assert load_settings().server.port == 7001
    monkeypatch.setenv("HUNYUANOCR_SERVER__PORT", "7002")
    assert load_settings().server.port == 7002
