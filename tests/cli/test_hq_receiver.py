"""`hunyuanocr hq-keys` and `hq-receiver` as programs, over real HTTPS with a shop's own authority."""

from __future__ import annotations

import gzip
import json
import os
import re
import select
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from nacl.public import SealedBox
from pydantic import SecretStr

from hunyuanocr.clock import utc_now
from hunyuanocr.config import Settings, SyncSettings
from hunyuanocr.errors import BadRequest
from hunyuanocr.services.encryption import decrypt_batch, encrypt_batch, generate_keypair, private_key, public_key
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.sync import DeliveryError, Sync
from hunyuanocr.store.database import Database
from tests.store.results import result
from tests.support.certificates import certificate

PROGRAM = [sys.executable, "-c", "from hunyuanocr.cli import main; main()"]


def make_keys(folder: Path) -> str:
    done = subprocess.run([*PROGRAM, "hq-keys", "--key", folder / "hq.key"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts receivers; each is ended by its own process."""
    running = []

    def start(*flags: Any, key: Any = "hq.key") -> Any:
        command: list[str | Path] = [
            *PROGRAM,
            "hq-receiver",
            "--key",
            tmp_path / key,
            "--database",
            tmp_path / "hq.db",
            "--port",
            "0",
            *flags,
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        running.append(process)
        return re.search(r"https?://\S+", process.stdout.readline())[0]

    yield start
    for process in running:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def kept(folder: Path) -> list[Any]:
    connection = sqlite3.connect(folder / "hq.db")
    try:
        return connection.execute("SELECT id, site FROM records").fetchall()
    finally:
        connection.close()


def test_keys_are_for_their_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    public_key(make_keys(tmp_path))
    assert stat.S_IMODE((tmp_path / "hq.key").stat().st_mode) == 0o600
    before = (tmp_path / "hq.key").read_text()
    again = subprocess.run([*PROGRAM, "hq-keys", "--key", tmp_path / "hq.key"], capture_output=True, text=True, timeout=100)
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    assert (tmp_path / "hq.key").read_text() == before


def test_the_receiver_keeps_once_and_refuses_strangers(tmp_path: Path, receiver: Callable[..., Any]) -> None:
    public = public_key(make_keys(tmp_path))
    (tmp_path / "token").write_text("s3cret\n")
    url = receiver("--token-file", tmp_path / "token")
    batch = {"version": 1, "batch": "b1", "site": "店1", "records": [{"id": "r1", "created_at": datetime.now(UTC).isoformat()}]}
    sealed, right = encrypt_batch(batch, public), {"Authorization": "Bearer s3cret"}
    with httpx.Client(timeout=60) as client:
        rejected: tuple[Any, ...] = (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer é".encode()},
        )
        for headers in rejected:
            assert client.post(url, content=sealed, headers=headers).status_code == 401
        first = client.post(url, content=sealed, headers=right)
        again = client.post(url, content=sealed, headers=right)
        assert (first.json(), again.json()) == ({"batch": "b1", "new": 1}, {"batch": "b1", "new": 0})
        assert client.post(url, content=b"no batch", headers=right).status_code == 400
        assert client.post(url, content=b"x" * (17 * 1024 * 1024), headers=right).status_code == 413
    assert kept(tmp_path) == [("r1", "店1")]
    assert stat.S_IMODE((tmp_path / "hq.db").stat().st_mode) == 0o600, "records of patients"


def sealed_json(plain: Any, public: Any) -> Any:
    """A batch with this JSON; zeros of gzip make gigabytes of kilobytes."""
    return bytes(SealedBox(public).encrypt(gzip.compress(plain, mtime=0)))


@pytest.mark.parametrize(
    ("plain", "problem"),
    [
        (b"[" + b"[]," * 20_000_000 + b"[]]", "too large"),  # 58 KB; 1.7 GB of lists
        (b'{"records": "' + b" " * (16 << 20) + b'"}', "too large"),
        (b"[" + b"[]," * 5_000_000 + b"[]]", "too many values"),
        (b'[{"a":1}' + b',{"a":1}' * 1_000_000 + b"]", "too many values"),
    ],
)
def test_a_small_batch_does_not_take_much_memory(plain: Any, problem: Any) -> None:
    texts = generate_keypair()
    private, public = private_key(texts[0]), public_key(texts[1])
    sealed = sealed_json(plain, public)
    assert len(sealed) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest, match=problem):
            decrypt_batch(sealed, private)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_the_largest_batch_of_a_sender_is_accepted() -> None:
    texts = generate_keypair()
    private, public = private_key(texts[0]), public_key(texts[1])
    items = [{"name": "矿泉水", "amount": "9.00", "count": 1}] * 400
    record = {"id": "r", "created_at": "now", "fields": {"items": items}, "text": "矿泉水\n9.00,\n" * 200}
    batch = {"site": "s", "batch": "b", "records": [record] * 200}
    assert len(json.dumps(batch, ensure_ascii=False).encode()) > 4_000_000
    assert decrypt_batch(encrypt_batch(batch, public), private) == batch


def test_what_cannot_be_kept_is_not_confirmed(tmp_path: Path, receiver: Any) -> None:
    public = public_key(make_keys(tmp_path))
    url = receiver()
    record, deep = {"id": "r1", "created_at": "now"}, gzip.compress(b"[" * 100_000)
    wrong = [
        {"site": None, "batch": "b", "records": [record]}, {"site": "s", "batch": 5, "records": [record]},
        {"site": "s", "batch": "b", "records": [record | {"id": {}}]}, {"site": "s", "batch": "b", "records": ["r1"]},
        {"site": "s", "batch": "b", "records": [{"id": "r1"}]}, ["site"],
    ]  # fmt: skip
    halves = gzip.compress(b'{"site": "s", "batch": "b", "records": [{"id": "r1", "created_at": "now", "text": "\\ud800"}]}')
    with httpx.Client(timeout=60) as client:
        for sealed in (
            *(encrypt_batch(batch, public) for batch in wrong),
            *(SealedBox(public).encrypt(packed) for packed in (deep, halves)),
        ):
            assert client.post(url, content=bytes(sealed)).status_code == 400
        assert (
            client.post(url, content=encrypt_batch({"site": "s", "batch": "b", "records": [record]}, public)).json()["new"] == 1
        )
    assert kept(tmp_path) == [("r1", "s")]


@pytest.mark.parametrize("flags", [["--host", "0.0.0.0"], ["--token-file", "/dev/null"]])
def test_nobody_sends_without_a_token_over_the_network(tmp_path: Path, flags: list[str]) -> None:
    make_keys(tmp_path)
    command: list[str | Path] = [
        *PROGRAM,
        "hq-receiver",
        "--key",
        tmp_path / "hq.key",
        "--database",
        tmp_path / "hq.db",
        "--port",
        "0",
        *flags,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "--token-file" in done.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate (apt install openssl)")
async def test_a_shop_sends_over_https_to_an_hq_of_its_own_authority(tmp_path: Path, receiver: Callable[..., Any]) -> None:
    public = make_keys(tmp_path)
    certificate(tmp_path / "tls.pem", tmp_path / "tls.key")
    (tmp_path / "token").write_text("s3cret")
    url = receiver(
        "--token-file", tmp_path / "token", "--certificate", tmp_path / "tls.pem", "--certificate-key", tmp_path / "tls.key"
    )
    assert url.startswith("https://")
    settings = Settings(
        data=tmp_path,
        sync=SyncSettings(
            enabled=True,
            url=url,
            public_key=public,
            site="shop",
            token=SecretStr("s3cret"),
            ca_file=tmp_path / "tls.pem",
        ),
    )
    database = Database(settings.database_url)
    recorder = Recorder(database, settings)
    answer = result()
    await database.write(recorder.write, recorder.prepare(answer, owner="local", source="ocr"))

    async def give_up(_: Any) -> None:
        raise DeliveryError("enough")

    stranger = Sync(database, settings.sync.model_copy(update={"ca_file": None}), clock=utc_now, sleep=give_up)
    with pytest.raises(DeliveryError, match="enough"):
        await stranger.send_all()  # a certificate that no known authority signed
    assert "CERTIFICATE_VERIFY_FAILED" in (await stranger.state()).last_error
    await Sync(database, settings.sync, clock=utc_now, sleep=give_up).send_all()
    assert kept(tmp_path) == [(answer.id, "shop")]
    database.close()
    place = ("127.0.0.1", int(url.split(":")[2].split("/")[0]))
    with ExitStack() as stack:  # handshakes that never end
        held = [stack.enter_context(socket.create_connection(place, 60)) for _ in range(300)]
        closed = select.select(held, [], [], 60)[0]
    assert closed, "beyond 256 connections of one address"
