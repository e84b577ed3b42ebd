"""Order of settings, and mistakes said at start."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.config import Settings, load_settings
from hunyuanocr.config.environment import OTHER_VARIABLES, setting_variables
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


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("HUNYUANOCR_DATA_DIR", "HUNYUANOCR_DATA"),
        ("HUNYUANOCR_SERVRE__PORT", "HUNYUANOCR_SERVER__PORT"),
        ("HUNYUANOCR_SERVER_PORT", "HUNYUANOCR_SERVER__PORT"),
        ("HUNYUANOCR_PORT", "HUNYUANOCR_SERVER__PORT"),
        ("HUNYUANOCR_HOST", "HUNYUANOCR_SERVER__HOST"),
        ("HUNYUANOCR_SERVER__PRT", "HUNYUANOCR_SERVER__PORT"),
        ("HUNYUANOCR_JWT__SECRET", "HUNYUANOCR_SECURITY__JWT__SECRET"),
        ("hunyuanocr_modelpath", "HUNYUANOCR_MODEL_PATH"),
    ],
)
def test_an_unknown_environment_variable_is_an_error_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: Any, nearest: Any
) -> None:
    monkeypatch.setenv(name, "s3cret")
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert name.upper() in refused.value.message
    assert f"Did you mean {nearest}?" in refused.value.hint
    assert "s3cret" not in refused.value.message + refused.value.hint


def test_an_unknown_environment_variable_without_a_similar_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_XYZZY", "1")
    with pytest.raises(ConfigError, match="HUNYUANOCR_XYZZY is not a setting"):
        load_settings()


SERVICE = {  # variables that Kubernetes sets for a Service `hunyuanocr` with two ports, and for `hunyuanocr-gpu`
    "HUNYUANOCR_SERVICE_HOST": "10.96.3.4",
    "HUNYUANOCR_SERVICE_PORT": "7860",
    "HUNYUANOCR_SERVICE_PORT_HTTP": "7860",
    "HUNYUANOCR_SERVICE_PORT_API": "8000",
    "HUNYUANOCR_PORT": "tcp://10.96.3.4:7860",
    "HUNYUANOCR_PORT_7860_TCP": "tcp://10.96.3.4:7860",
    "HUNYUANOCR_PORT_7860_TCP_PROTO": "tcp",
    "HUNYUANOCR_PORT_7860_TCP_PORT": "7860",
    "HUNYUANOCR_PORT_7860_TCP_ADDR": "fd00::4",
    "HUNYUANOCR_GPU_SERVICE_HOST": "10.96.3.5",
    "HUNYUANOCR_GPU_PORT": "tcp://[fd00::5]:7860",
}


def test_the_variables_of_a_kubernetes_service_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICE.items():
        monkeypatch.setenv(name, value)
    assert load_settings().server.port == 7860


@pytest.mark.parametrize("name", ["HUNYUANOCR_KEY", "HUNYUANOCR_OFFLINE", "HUNYUANOCR_PYTHON", "HUNYUANOCR_TESTS_VLLM"])
def test_variables_of_the_program_that_are_no_settings_are_accepted(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    monkeypatch.setenv(name, "1")
    load_settings()


def test_every_variable_that_the_program_uses_is_known() -> None:
    """A new variable of a script or of the code must be a setting or be listed as another variable."""
    used = subprocess.run(
        ["git", "grep", "-ohE", r"HUNYUANOCR_[A-Z0-9_]*[A-Z0-9]", "--", "*.py", "*.sh", "*.md", "*.yaml", "docker", ":!tests"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    known = {name for name, _ in setting_variables(Settings)} | OTHER_VARIABLES | SERVICE.keys()
    groups = {name for name in used if any(other.startswith(f"{name}_") for other in known)}
    assert set(used) - known - groups == set()


def test_a_settings_file_of_a_windows_editor_is_read(file: Any) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + '[server]\r\nport = 7005\r\nhost = "127.0.0.2" # 收银台\r\n'.encode())
    assert (load_settings().server.port, load_settings().server.host) == (7005, "127.0.0.2")


@pytest.mark.parametrize("content", ['device = "收"'.encode("gbk"), 'device = "cpu"'.encode("utf-16")])
def test_a_settings_file_in_another_encoding_is_an_error_with_a_hint(file: Any, content: Any) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is not UTF-8") as refused:
        load_settings()
    assert "UTF-8" in refused.value.hint


def test_a_settings_file_that_is_a_folder_is_an_error(file: Any) -> None:
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("erp.local", ("erp.local",)),
        ("erp.local, 192.168.1.20:8080,", ("erp.local", "192.168.1.20:8080")),
        ('["erp.local", "b"]', ("erp.local", "b")),
        (' ["erp.local"] ', ("erp.local",)),
        ("", ()),
        ("[]", ()),
    ],
)
def test_a_list_in_the_environment_is_json_or_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, value: Any, hosts: Any
) -> None:
    monkeypatch.setenv("HUNYUANOCR_JOBS__WEBHOOK_HOSTS", value)
    assert load_settings().jobs.webhook_hosts == hosts


def test_a_list_of_networks_in_the_environment_may_be_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("hunyuanocr_network__allow", "192.168.1.0/24,127.0.0.1,fd00::/8")
    monkeypatch.setenv("HUNYUANOCR_SYNC__FIELDS", "total_amount,date")
    settings = load_settings()
    assert [str(network) for network in settings.network.allow] == ["192.168.1.0/24", "127.0.0.1/32", "fd00::/8"]
    assert settings.sync.fields == ["total_amount", "date"]


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("HUNYUANOCR_NETWORK__ALLOW", "192.168.1.0/24,shop", "network.allow"),
        ("HUNYUANOCR_NETWORK__ALLOW", '["192.168.1.0/24"', "HUNYUANOCR_NETWORK__ALLOW is not a valid JSON list"),
        ("HUNYUANOCR_SERVER", "0.0.0.0", "HUNYUANOCR_SERVER is a group"),
        ("HUNYUANOCR_SERVER", "[1]", "HUNYUANOCR_SERVER is a group"),
        ("HUNYUANOCR_SERVER__PORT__X", "1", "HUNYUANOCR_SERVER__PORT__X is not a setting"),
    ],
)
def test_a_wrong_value_in_the_environment_names_the_setting_and_no_file(
    monkeypatch: pytest.MonkeyPatch, name: Any, value: Any, named: Any
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert named in refused.value.message
    assert "file" not in refused.value.message
    assert "None" not in refused.value.message


def test_a_group_in_the_environment_may_be_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_SERVER", '{"port": 7006}')
    monkeypatch.setenv("HUNYUANOCR_SERVER__HOST", "127.0.0.2")
    assert (load_settings().server.port, load_settings().server.host) == (7006, "127.0.0.2")


PATHS = [name for name, field in setting_variables(Settings) if "Path" in str(field.annotation) or "UserPath" in repr(field)]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    ("path", "problem"), [("~nosuchuser/x", "~nosuchuser"), ("/a/" + 256 * "x", "too long"), (2100 * "/x", "too long")]
)
def test_a_path_that_no_file_can_have_is_an_error_at_start(
    monkeypatch: pytest.MonkeyPatch, name: Any, path: Any, problem: Any
) -> None:
    assert len(PATHS) >= 10
    monkeypatch.setenv(name, path)
    with pytest.raises(ConfigError, match=problem):
        load_settings()


def test_a_path_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HUNYUANOCR_DATA", "~/ocr")
    assert load_settings().data == tmp_path / "ocr"
    assert load_settings(model_path=255 * "x").model_path.name == 255 * "x"
