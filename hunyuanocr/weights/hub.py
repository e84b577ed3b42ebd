"""The files of HunyuanOCR on a model hub, with sizes and checksums. Used by `hunyuanocr fetch` only.

Hugging Face: https://huggingface.co/docs/hub/api; ModelScope: the routes of its own client (modelscope/hub/api.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from hunyuanocr.errors import HunyuanOcrError

NEEDED = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|preprocessor_config"
    r"|processor_config|chat_template)\.json|chat_template\.jinja|merges\.txt|[\w.-]+\.safetensors(\.index\.json)?"
    r"|(LICEN[SC]E|NOTICE)(\.txt|\.md)?",
    re.IGNORECASE,
)
DRAFT = "dflash"  # folder of the draft model for speculative decoding


class FetchFailed(HunyuanOcrError):
    """The weights could not be downloaded."""

    code = "fetch_failed"
    hint = "Check the network and run the command again: it resumes the download."


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub. `git` is the SHA-1 of its git blob. The first existing URL is used."""

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    git: str | None = None


@dataclass(frozen=True)
class Hub:
    """A model hub."""

    title: str
    endpoint: str
    repository: str
    revision: str
    read: Callable[[Hub, httpx.Client], Iterable[RemoteFile]]

    def files(self, client: httpx.Client, *, draft: bool = False) -> list[RemoteFile]:
        """Return the files that the engines need. Raises FetchFailed, also for a file name outside the folder."""
        found = list(self.read(self, client))
        for file in found:
            _check_name(file.name, self)
        where, folders = f"{self.repository} ({self.revision}) on {self.title}", {"", DRAFT} if draft else {""}
        needed = [f for f in found if f.name.rpartition("/")[0] in folders and NEEDED.fullmatch(f.name.rpartition("/")[2])]
        if not any(f.name.endswith(".safetensors") and "/" not in f.name for f in needed):
            raise FetchFailed(f"{where} has no weights.", hint="Check --revision.")
        if draft and not any(f.name.startswith(DRAFT + "/") for f in needed):
            raise FetchFailed(f"{where} has no draft model.", hint="Omit --draft.")
        return needed


def huggingface(environment: Mapping[str, str], revision: str | None) -> Hub:
    """Return Hugging Face, or its mirror HF_ENDPOINT."""
    endpoint = environment.get("HF_ENDPOINT") or "https://huggingface.co"
    return Hub("Hugging Face", _endpoint(endpoint, "HF_ENDPOINT"), "tencent/HunyuanOCR", revision or "main", _read_huggingface)


def modelscope(environment: Mapping[str, str], revision: str | None) -> Hub:
    """Return ModelScope, or its mirror MODELSCOPE_ENDPOINT."""
    endpoint = environment.get("MODELSCOPE_ENDPOINT") or "https://www.modelscope.cn"
    where = _endpoint(endpoint, "MODELSCOPE_ENDPOINT")
    return Hub("ModelScope", where, "Tencent-Hunyuan/HunyuanOCR", revision or "master", _read_modelscope)


def http_error(response: httpx.Response, what: str) -> FetchFailed:
    """Return the error for a status that another attempt would not change."""
    status, detail = response.status_code, response.headers.get("x-error-message", "")
    if status in {401, 403}:
        return FetchFailed(
            f"{what} requires a login ({status}{': ' + detail if detail else ''}).",
            hint="Accept the licence on the model's page and set HF_TOKEN to a token of your account, "
            "or use --source modelscope.",
        )
    if status == 404:
        return FetchFailed(f"{what} does not exist ({status}).", hint="Check --revision and the endpoint.")
    return FetchFailed(f"{what} returned HTTP {status} {response.reason_phrase}.")


def _endpoint(url: str, name: str) -> str:
    if not re.match(r"https?://[^/\s]+", url):
        raise FetchFailed(f"{name} is not a valid URL: {url}", hint="Example: https://hf-mirror.com")
    return url.rstrip("/")


def _check_name(name: str, hub: Hub) -> None:
    """Reject a file name that leads outside the folder: names come from the network and become paths."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", name):
        raise FetchFailed(
            f"{hub.title} at {hub.endpoint} lists a file outside the folder: {name!r}.",
            hint="Do not trust this hub; nothing was downloaded.",
        )


def _read_huggingface(hub: Hub, client: httpx.Client) -> Iterable[RemoteFile]:
    revision = quote(hub.revision, safe="")
    listing = _json(client, f"{hub.endpoint}/api/models/{hub.repository}/revision/{revision}?blobs=true", hub)
    commit = quote(str(listing.get("sha") or hub.revision), safe="")  # all files of one commit, even if the branch changes
    for entry in listing["siblings"]:
        name, lfs = str(entry["rfilename"]), entry.get("lfs") or {}
        yield RemoteFile(
            name,
            (f"{hub.endpoint}/{hub.repository}/resolve/{commit}/{quote(name)}",),
            lfs.get("size") or entry.get("size"),
            lfs.get("sha256"),
            None if lfs else entry.get("blobId"),
        )


def _read_modelscope(hub: Hub, client: httpx.Client) -> Iterable[RemoteFile]:
    revision, api = quote(hub.revision, safe=""), f"{hub.endpoint}/api/v1/models/{hub.repository}/repo"
    listing = _json(client, f"{api}/files?Revision={revision}&Recursive=true", hub)
    for entry in listing["Data"]["Files"]:
        if entry.get("Type") == "tree":
            continue
        name = str(entry["Path"])
        urls = (
            f"{hub.endpoint}/models/{hub.repository}/resolve/{revision}/{quote(name)}",
            f"{api}?Revision={revision}&FilePath={quote(name, safe='')}",  # the older route
        )
        yield RemoteFile(name, urls, entry.get("Size"), (entry.get("Sha256") or "").lower() or None)


def _json(client: httpx.Client, url: str, hub: Hub) -> dict[str, Any]:
    what = f"{hub.title} ({hub.endpoint})"
    try:
        response = client.get(url)
    except httpx.HTTPError as e:
        raise FetchFailed(f"{what} cannot be reached: {e or type(e).__name__}.") from e
    if response.status_code != 200:
        raise http_error(response, f"{hub.repository} ({hub.revision}) on {what}")
    try:
        listing = response.json()
        _ = listing["siblings"] if "siblings" in listing else listing["Data"]["Files"]
    except (ValueError, KeyError, TypeError) as e:
        raise FetchFailed(f"{what} did not return a list of files; a login page of the network may have answered.") from e
    return dict(listing)
