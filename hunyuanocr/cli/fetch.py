"""`hunyuanocr fetch`: gets the weights from a hub, when a person says so. Nothing else in this program downloads anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from hunyuanocr.cli.common import ModelPathOption, errors
from hunyuanocr.config import load_settings
from hunyuanocr.errors import ConfigError

if TYPE_CHECKING:
    import httpx

    from hunyuanocr.weights.hub import Hub, RemoteFile

LICENCE = (
    "The weights of HunyuanOCR come under the Tencent Hunyuan Community License; it does not extend to the European Union, "
    "the United Kingdom and South Korea. Whoever downloads them accepts it."
)


class Source(StrEnum):
    """Where the weights come from; auto tries Hugging Face, then ModelScope."""

    AUTO = "auto"
    HUGGINGFACE = "huggingface"
    MODELSCOPE = "modelscope"


def fetch(
    model_path: ModelPathOption = None,
    source: Annotated[Source, typer.Option(help="Hub; auto takes ModelScope where Hugging Face fails.")] = Source.AUTO,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.", show_default="the newest")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Also the draft model for speculative decoding (dflash).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Download again what is already there.")] = False,
) -> None:
    """Download the HunyuanOCR weights (2 GB) and check them; goes on where an earlier run stopped.

    Honours HF_ENDPOINT and MODELSCOPE_ENDPOINT (mirrors), HF_TOKEN, and proxies. HUNYUANOCR_OFFLINE=1 forbids it.
    """
    from hunyuanocr.telemetry import offline_variable
    from hunyuanocr.weights import verify
    from hunyuanocr.weights.download import download, files_to_fetch, unexpected_files

    if name := offline_variable():
        raise ConfigError(f"{name} is set: this machine stays offline.", hint="Unset it to download, or copy the folder here.")
    given = {} if model_path is None else {"model_path": model_path}
    folder = load_settings(**given).model_path.expanduser()
    errors.print(LICENCE, style="yellow")
    with _client() as client:
        hub, files = _choose(client, source, revision, draft=draft)
        if others := unexpected_files(files, folder):
            raise ConfigError(
                f"{folder} holds weight files of another release: {', '.join(others)}.",
                hint="Remove them, or name another folder with --model-path.",
            )
        wanted = files_to_fetch(files, folder, force=force)
        errors.print(f"{len(wanted)} of {len(files)} files come from {hub.title} ({hub.endpoint}) into {folder}.")
        if wanted:
            with _progress() as bar:
                task = bar.add_task("weights", total=sum(f.size or 0 for f in wanted) or None)
                download(client, wanted, folder, lambda n: bar.advance(task, n))
    found = verify(folder)
    _write_sums(folder, files)
    errors.print(f"Whole: {found.parameters / 1e6:,.0f} M parameters, {found.dtype}, {found.bytes / 1e9:.2f} GB.", style="green")


def _write_sums(folder: Path, files: Sequence[RemoteFile]) -> None:
    """The hub's checksums, for `hunyuanocr doctor`: all were compared when they came, and may change on the disk later."""
    from hunyuanocr.cli.checks.model import SUMS

    lines = [f"{file.sha256}  {file.name}\n" for file in files if file.sha256 is not None and (folder / file.name).is_file()]
    if lines:
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _client() -> httpx.Client:
    import httpx

    from hunyuanocr import __version__

    return httpx.Client(
        headers={"User-Agent": f"hunyuanocr/{__version__}", "Accept-Encoding": "identity"}, follow_redirects=True,
        timeout=httpx.Timeout(60.0, connect=10.0),
    )  # fmt: skip


def _choose(client: httpx.Client, source: Source, revision: str | None, *, draft: bool) -> tuple[Hub, list[RemoteFile]]:
    """The first hub that answers, and its files; with one source, that or its error."""
    from hunyuanocr.weights.hub import FetchFailed, huggingface, modelscope

    makers = {Source.HUGGINGFACE: huggingface, Source.MODELSCOPE: modelscope}
    reasons = []
    for name, make in makers.items():
        if source not in {name, Source.AUTO}:
            continue
        hub = make(os.environ, revision)
        client.headers.pop("Authorization", None)
        if name is Source.HUGGINGFACE and (token := os.environ.get("HF_TOKEN")):
            client.headers["Authorization"] = f"Bearer {token}"  # httpx drops it when a redirect leads to another host
        try:
            return hub, hub.files(client, draft=draft)
        except FetchFailed as e:
            if source is name:
                raise
            errors.print(e.message, style="dim")
            reasons.append(e.message)
    raise FetchFailed(" ".join(reasons), hint="Look at the network, or set HF_ENDPOINT to a mirror that can be reached.")


def _progress() -> Progress:
    """Bytes, speed and time left on stderr; silent where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip
