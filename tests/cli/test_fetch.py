"""`hunyuanocr fetch` against a real server on loopback that behaves as a hub does, well and badly."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from hunyuanocr.cli import app
from hunyuanocr.cli.checks.model import check_weights
from hunyuanocr.cli.checks.result import CheckResult
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, HunyuanOcrError
from hunyuanocr.telemetry import OFFLINE, SET_BY_US, TELEMETRY_ENV
from hunyuanocr.weights import verify
from hunyuanocr.weights.download import download, files_to_fetch
from hunyuanocr.weights.hub import FetchFailed, huggingface, modelscope
from tests.support.checkpoints import random_checkpoint
from tests.support.fake_hub import HubState, serving

pytest.importorskip("torch")
WEIGHTS = "model.safetensors"
BALLAST = {
    "README.md": b"# words", "assets/figure.png": b"\x89PNG", "pytorch_model.bin": b"\x80\x04", ".gitattributes": b"*.bin",
    "modeling.py": b"import os", "dflash/config.json": b"{}", "dflash/model.safetensors": b"draft", "dflash/x.bin": b"\x80",
    "other/model.safetensors": b"other",
}  # fmt: skip
HUBS = {"huggingface": ("HF_ENDPOINT", huggingface), "modelscope": ("MODELSCOPE_ENDPOINT", modelscope)}


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    small = {"num_hidden_layers": 1}
    folder = random_checkpoint(tmp_path_factory.mktemp("published"), vision=small, text=small)
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {"LICENSE": b"Tencent Hunyuan Community License"}


@pytest.fixture
def state(contents: dict[str, bytes]) -> HubState:
    return HubState(contents | BALLAST)


@pytest.fixture
def hub(state: HubState, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a hub that stands for both."""
    for name in (*OFFLINE, "HF_TOKEN", "HUNYUANOCR_CONFIG", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(state) as address:
        for variable, _ in HUBS.values():
            monkeypatch.setenv(variable, address)
        yield address


def fetch(folder: Path, *flags: str) -> Result:
    return CliRunner().invoke(app, ["fetch", "--model-path", str(folder), *flags])


def refused(done: Result) -> HunyuanOcrError:
    assert isinstance(done.exception, HunyuanOcrError), done.output
    return done.exception


def bring(hub: str, source: str, folder: Path) -> None:
    """As the command does, without waiting between attempts."""
    variable, make = HUBS[source]
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        files = make({variable: hub}, None).files(client)
        download(client, files_to_fetch(files, folder), folder, backoff_s=0)


@pytest.mark.parametrize("source", HUBS)
def test_fetches_what_is_needed_once(hub: str, state: HubState, contents: dict[str, bytes], tmp_path: Path, source: str) -> None:
    folder = tmp_path / "new" / "model"
    done = fetch(folder, "--source", source)
    assert done.exit_code == 0, done.output
    assert "European Union, the United Kingdom and South Korea" in done.stderr
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    sums = there.pop("SHA256SUMS").decode()
    assert there == contents, "all of it, and nothing else"
    assert f"{hashlib.sha256(contents['model.safetensors']).hexdigest()}  model.safetensors\n" in sums
    assert not set(BALLAST) & {path.split("/resolve/")[-1].partition("/")[2] for path in state.downloads()}
    verify(folder)

    before = len(state.downloads())
    again = fetch(folder, "--source", source)
    assert again.exit_code == 0
    assert f"0 of {len(contents)} files" in again.stderr
    assert len(state.downloads()) == before

    (folder / "config.json").write_bytes(b" " + contents["config.json"][1:])  # as long, but not the same
    assert fetch(folder, "--source", source).exit_code == 0
    assert (folder / "config.json").read_bytes() == contents["config.json"]
    assert len(state.downloads()) == before + 1
    assert fetch(folder, "--source", source, "--force").exit_code == 0
    assert len(state.downloads()) == before + 1 + len(contents)


def test_the_draft_model_comes_when_asked(hub: str, state: HubState, tmp_path: Path) -> None:
    assert fetch(tmp_path, "--draft").exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "dflash").iterdir()} == {
        "config.json": b"{}",
        "model.safetensors": b"draft",
    }
    assert verify(tmp_path).has_dflash
    for name in [name for name in state.files if name.startswith("dflash/")]:
        del state.files[name]
    assert "no draft model" in refused(fetch(tmp_path, "--draft")).message


def test_auto_takes_modelscope_where_hugging_face_is_cut_off(hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = fetch(tmp_path)
    assert done.exit_code == 0, done.output
    assert "cannot be reached" in done.stderr
    assert "from ModelScope" in done.stderr


def test_auto_names_every_reason_when_no_hub_answers(hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, _ in HUBS.values():
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    message = refused(fetch(tmp_path)).message
    assert "Hugging Face" in message
    assert "ModelScope" in message


def test_the_older_route_of_modelscope(hub: str, state: HubState, tmp_path: Path) -> None:
    state.only_old_route = True
    bring(hub, "modelscope", tmp_path)
    verify(tmp_path)


@pytest.mark.parametrize("source", HUBS)
def test_a_cut_connection_is_resumed_where_it_broke(hub: str, state: HubState, tmp_path: Path, source: str) -> None:
    size = len(state.files[WEIGHTS])
    state.cuts[WEIGHTS] = 2
    bring(hub, source, tmp_path)
    assert state.ranges_of(WEIGHTS) == [None, f"bytes={size // 2}-", f"bytes={size // 2 + (size - size // 2) // 2}-"]
    assert state.sent[WEIGHTS] == size, "no byte came twice"
    assert (tmp_path / WEIGHTS).read_bytes() == state.files[WEIGHTS]


def test_the_command_itself_goes_on_after_a_cut(hub: str, state: HubState, tmp_path: Path) -> None:
    state.cuts[WEIGHTS] = 1
    assert fetch(tmp_path).exit_code == 0
    assert state.sent[WEIGHTS] == len(state.files[WEIGHTS])


def test_a_busy_hub_is_asked_again(hub: str, state: HubState, tmp_path: Path) -> None:
    state.failures[WEIGHTS] = 3
    bring(hub, "huggingface", tmp_path)
    verify(tmp_path)


def test_the_next_run_goes_on_where_one_gave_up(hub: str, state: HubState, tmp_path: Path) -> None:
    arrived = 0

    def switched_off(n: int) -> None:
        nonlocal arrived
        arrived += n
        if arrived > 1_000_000:
            raise KeyboardInterrupt

    with httpx.Client(timeout=60) as client:
        files = huggingface({"HF_ENDPOINT": hub}, None).files(client)
        with pytest.raises(KeyboardInterrupt):
            download(client, [f for f in files if f.name == WEIGHTS], tmp_path, switched_off, backoff_s=0)
    assert not (tmp_path / WEIGHTS).exists(), "half a file is never seen under its name"
    bring(hub, "huggingface", tmp_path)
    verify(tmp_path)
    assert state.ranges_of(WEIGHTS) == [None, f"bytes={arrived}-"]
    assert not (tmp_path / ".fetch").exists()


def test_a_hub_that_stays_away_is_given_up(hub: str, state: HubState, tmp_path: Path) -> None:
    state.failures[WEIGHTS] = 1000
    with pytest.raises(FetchFailed, match=r"model\.safetensors cannot be downloaded: the hub returned HTTP 503") as refusal:
        bring(hub, "huggingface", tmp_path)
    assert "resumes the download" in refusal.value.hint
    assert 1000 - state.failures[WEIGHTS] == 6


@pytest.mark.parametrize("behaviour", [{"etag": "second"}, {"ranges": False}, {"rest_as_200": True}], ids=str)
def test_a_half_file_is_never_joined_to_a_wrong_rest(
    hub: str, state: HubState, tmp_path: Path, behaviour: dict[str, Any]
) -> None:
    """The file changed meanwhile; the hub cannot resume; the hub sends the rest and says 200."""
    part = tmp_path / ".fetch" / f"{WEIGHTS}.part"
    part.parent.mkdir()
    half = len(state.files[WEIGHTS]) // 2
    same = "rest_as_200" in behaviour
    part.write_bytes(state.files[WEIGHTS][:half] if same else b"\0" * half)
    part.with_name(part.name + ".etag").write_text(f'"first-{WEIGHTS}"')
    for name, value in behaviour.items():
        setattr(state, name, value)
    bring(hub, "modelscope", tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() == state.files[WEIGHTS]
    assert state.sent[WEIGHTS] == len(state.files[WEIGHTS]) - (half if same else 0)


def swap(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("source", "name", "reported"),
    [
        ("huggingface", WEIGHTS, "SHA-256"),
        ("modelscope", WEIGHTS, "SHA-256"),
        ("modelscope", "config.json", "SHA-256"),
        ("huggingface", "config.json", "git checksum"),
    ],
)
def test_a_wrong_checksum_is_refused_and_the_old_files_stay(
    hub: str, state: HubState, tmp_path: Path, source: str, name: str, reported: str
) -> None:
    bring(hub, source, tmp_path)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    truth = state.files[name]
    digest = hashlib.sha256(truth + b"x").hexdigest()
    state.listed[name] = (
        {"Sha256": digest}
        if source == "modelscope"
        else {"lfs": {"sha256": digest, "size": len(truth)}}
        if name == WEIGHTS
        else {"blobId": digest[:40]}
    )
    with pytest.raises(FetchFailed, match=f"{name} was received with a wrong {reported}") as refusal:
        bring(hub, source, tmp_path)
    assert "--source" in refusal.value.hint
    assert not (tmp_path / ".fetch" / f"{name}.part").exists()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == old


def test_a_hub_that_sends_another_size_than_it_lists(hub: str, state: HubState, tmp_path: Path) -> None:
    state.listed[WEIGHTS] = {"Size": 1000}
    with pytest.raises(FetchFailed, match=r"lists model\.safetensors with 1,000 bytes, but sends"):
        bring(hub, "modelscope", tmp_path)


def test_there_is_no_such_model(hub: str, state: HubState, tmp_path: Path) -> None:
    state.status = 404
    error = refused(fetch(tmp_path, "--source", "huggingface", "--revision", "v9"))
    assert "tencent/HunyuanOCR (v9)" in error.message
    assert "does not exist" in error.message
    assert state.asked[-1][0] == "/api/models/tencent/HunyuanOCR/revision/v9?blobs=true"


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_how_to_get_in(hub: str, state: HubState, tmp_path: Path, status: int) -> None:
    state.status = status
    error = refused(fetch(tmp_path, "--source", "huggingface"))
    assert "requires a login" in error.message
    assert "Access to model is restricted." in error.message
    assert "HF_TOKEN" in error.hint


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: str, state: HubState, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    elsewhere = HubState(contents)
    with serving(elsewhere) as cdn:
        state.cdn = cdn
        assert fetch(tmp_path, "--source", "huggingface").exit_code == 0
    assert {headers.get("Authorization") for _, headers in state.asked} == {"Bearer hf_secret"}
    assert elsewhere.downloads() == [f"/cdn/{WEIGHTS}"]
    assert all("Authorization" not in headers for _, headers in elsewhere.asked)
    state.cdn, asked = "", len(state.asked)
    assert fetch(tmp_path, "--source", "modelscope").exit_code == 0
    assert all("Authorization" not in headers for _, headers in state.asked[asked:])


@pytest.mark.parametrize("source", HUBS)
@pytest.mark.parametrize("name", ["../../evil.safetensors", "/etc/evil.json", "..\\evil.json", "C:evil.json", "a/../../b.json"])
def test_a_name_that_leads_outside_is_refused(hub: str, state: HubState, tmp_path: Path, source: str, name: str) -> None:
    state.listed[name] = {"rfilename": name, "Path": name, "Type": "blob", "size": 4, "Size": 4}
    folder = tmp_path / "a" / "b" / "c"
    error = refused(fetch(folder, "--source", source))
    assert "outside the folder" in error.message
    assert list(tmp_path.iterdir()) == []
    assert state.downloads() == []


def test_a_full_disk_is_reported_before_anything_comes(hub: str, state: HubState, tmp_path: Path) -> None:
    state.listed[WEIGHTS] = {"Size": 10**18}
    error = refused(fetch(tmp_path, "--source", "modelscope"))
    assert "Not enough disk space" in error.message
    assert "--model-path" in error.hint
    assert state.downloads() == []


def test_a_login_page_is_not_a_listing(hub: str, state: HubState, tmp_path: Path) -> None:
    state.portal = True
    for source in HUBS:
        assert "did not return a list of files" in refused(fetch(tmp_path, "--source", source)).message


def test_releases_are_not_mixed(hub: str, tmp_path: Path) -> None:
    (tmp_path / "model-00001-of-00004.safetensors").write_bytes(b"old")
    error = refused(fetch(tmp_path))
    assert "model-00001-of-00004.safetensors" in error.message
    assert isinstance(error, ConfigError)


def test_what_came_is_verified(hub: str, state: HubState, tmp_path: Path) -> None:
    del state.files["tokenizer.json"]
    assert refused(fetch(tmp_path)).code == "weights_missing"


def test_an_address_that_is_none(hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.com")
    assert "HF_ENDPOINT is not a valid URL" in refused(fetch(tmp_path)).message


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 0),
        ({"HUNYUANOCR_OFFLINE": "1"}, 2),
        ({"HF_HUB_OFFLINE": "1"}, 2),
        ({"HF_HUB_OFFLINE": "0"}, 0),
    ],
    ids=str,
)
def test_the_owner_may_forbid_it_and_our_own_switches_do_not(
    hub: str, state: HubState, tmp_path: Path, given: dict[str, Any], status: int
) -> None:
    """The whole program, started from one that has set the switches of privacy, as the server does."""
    child = [sys.executable, "-c", "from hunyuanocr.cli import main; main()", "fetch", "--model-path", str(tmp_path / "model")]
    start = f"exit(subprocess.call({child!r}))"
    code = f"import subprocess; from hunyuanocr.telemetry import disable_telemetry; disable_telemetry(); {start}"
    clean = {
        name: value for name, value in os.environ.items() if name not in {*TELEMETRY_ENV, SET_BY_US}
    }  # another test may have set them
    done = subprocess.run([sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    if status:
        assert f"{next(iter(given))} is set" in done.stderr
        assert state.asked == []
    else:
        verify(tmp_path / "model")


def test_doctor_tells_of_the_weights(hub: str, state: HubState, tmp_path: Path) -> None:
    def finding() -> CheckResult:
        return check_weights(Settings(model_path=tmp_path / "model"))

    absent = finding()
    assert (absent.verdict, "CPU backend is used" in absent.fix[1], "hunyuanocr fetch" in absent.fix[1]) == ("ok", True, True)
    assert fetch(tmp_path / "model", "--source", "huggingface").exit_code == 0
    whole = finding()
    assert whole.verdict == "ok"
    assert "M, F32" in whole.detail[1]
    kept = (tmp_path / "model" / "model.safetensors").read_bytes()
    (tmp_path / "model" / "model.safetensors").write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert "checksums" in finding().detail[1], "a bit that flipped on the disk"
    (tmp_path / "model" / "model.safetensors").write_bytes(kept)
    config = json.loads(state.files["config.json"])
    config["text_config"]["hidden_size"] = 64
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    broken = finding()
    assert (broken.verdict, "do not match" in broken.detail[1]) == ("fail", True)
