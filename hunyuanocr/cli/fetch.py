"""`hunyuanocr fetch`: download the weights from a hub, on request. No other part of this program downloads anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import DownloadColumn, TransferSpeedColumn

from hunyuanocr.cli.common import ModelPathOption, errors, progress
from hunyuanocr.config import load_settings
from hunyuanocr.errors import ConfigError

if TYPE_CHECKING:
    import httpx

    from hunyuanocr.weights.hub import Hub, RemoteFile

LICENCE = (
    "The weights of HunyuanOCR are under the Tencent Hunyuan Community License, which does not extend to the European Union, "
    "the United Kingdom and South Korea. By downloading them you accept it."
)


class Source(StrEnum):
    """Hub of the weights; auto tries Hugging Face, then ModelScope."""

    AUTO = "auto"
    HUGGINGFACE = "huggingface"
    MODELSCOPE = "modelscope"


def fetch(
    model_path: ModelPathOption = None,
    source: Annotated[Source, typer.Option(help="Hub; auto uses ModelScope if Hugging Face fails.")] = Source.AUTO,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.", show_default="latest")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Also download the model for speculative decoding (dflash).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Download files again that are already present.")] = False,
) -> None:
    """Download the HunyuanOCR weights (2 GB) and verify them; an interrupted download is resumed.

    Uses HF_ENDPOINT and MODELSCOPE_ENDPOINT (mirrors), HF_TOKEN, and proxy variables. HUNYUANOCR_OFFLINE=1 disables downloads.
    """
    from hunyuanocr.telemetry import offline_variable
    from hunyuanocr.weights import verify
    from hunyuanocr.weights.download import download, files_to_fetch, unexpected_files

    if name := offline_variable():
        raise ConfigError(f"{name} is set: downloads are disabled.", hint="Unset it to download, or copy the folder here.")
    flags = {} if model_path is None else {"model_path": model_path}
    folder = load_settings(**flags).model_path
    errors.print(LICENCE, style="yellow")
    with _client() as client:
        hub, files = _choose(client, source, revision, draft=draft)
        if others := unexpected_files(files, folder):
            raise ConfigError(
                f"{folder} contains weight files of another release: {', '.join(others)}.",
                hint="Remove them, or choose another folder with --model-path.",
            )
        pending = files_to_fetch(files, folder, force=force)
        errors.print(f"Downloading {len(pending)} of {len(files)} files from {hub.title} ({hub.endpoint}) to {folder}.")
        if pending:
            with progress(DownloadColumn(), TransferSpeedColumn()) as bar:
                task = bar.add_task("weights", total=sum(f.size or 0 for f in pending) or None)
                download(client, pending, folder, lambda n: bar.advance(task, n))
    weights = verify(folder)
    _write_checksums(folder, files)
    size = f"{weights.parameters / 1e6:,.0f} M parameters, {weights.dtype}, {weights.bytes / 1e9:.2f} GB"
    errors.print(f"Verified: {size}.", style="green")


def _write_checksums(folder: Path, files: Sequence[RemoteFile]) -> None:
    """Write the hub's checksums for `hunyuanocr doctor`, which detects files that have changed since the download."""
    from hunyuanocr.cli.checks.model import SUMS

    lines = [f"{file.sha256}  {file.name}\n" for file in files if file.sha256 is not None and (folder / file.name).is_file()]
    if lines:
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _client() -> httpx.Client:
    import httpx

    from hunyuanocr import __version__

    return httpx.Client(
        headers={"User-Agent": f"hunyuanocr/{__version__}", "Accept-Encoding": "identity"},
        follow_redirects=True,
        timeout=httpx.Timeout(60.0, connect=10.0),
    )


def _choose(client: httpx.Client, source: Source, revision: str | None, *, draft: bool) -> tuple[Hub, list[RemoteFile]]:
    """Return the first hub that answers and its files. Raises FetchFailed: for one source its own error, for auto all of them."""
    from hunyuanocr.weights.hub import FetchFailed, huggingface, modelscope

    hubs = {Source.HUGGINGFACE: huggingface, Source.MODELSCOPE: modelscope}
    reasons = []
    for name, create_hub in hubs.items():
        if source not in {name, Source.AUTO}:
            continue
        hub = create_hub(os.environ, revision)
        client.headers.pop("Authorization", None)
        if name is Source.HUGGINGFACE and (token := os.environ.get("HF_TOKEN")):
            client.headers["Authorization"] = f"Bearer {token}"  # httpx removes it on a redirect to another host
        try:
            return hub, hub.files(client, draft=draft)
        except FetchFailed as e:
            if source is name:
                raise
            errors.print(e.message, style="dim")
            reasons.append(e.message)
    raise FetchFailed(" ".join(reasons), hint="Check the network, or set HF_ENDPOINT to a mirror that is reachable.")
