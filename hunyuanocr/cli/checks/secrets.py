"""Checks that files with secrets are private: the settings file, the key of the certificate, the stored data."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hunyuanocr.cli.checks.result import CheckResult
from hunyuanocr.config import Settings, read_settings_file

_SECRETS = ("密钥文件", "Files with secrets")
_DATA_FILES = ("hunyuanocr.db", "session.key", "images")


def check_secrets(settings: Settings) -> Iterator[CheckResult]:
    """Yield a warning for each file with secrets that all users of the machine can read; one result if there is none."""
    readable = [file for file in _private_files(settings) if _is_world_readable(file)]
    for file in readable:
        detail = (f"{file} 里有密钥或数据，本机所有用户都能读", f"All users of this machine can read {file}, which is secret.")
        command = f"chmod o-rwx {shlex.quote(str(file))}"
        yield CheckResult("secrets", "warn", _SECRETS, detail, (f"请运行：{command}", f"Run: {command}"))
    if not readable:
        yield CheckResult("secrets", "ok", _SECRETS, ("其他用户读不到", "Other users cannot read them."))


def _private_files(settings: Settings) -> Iterator[Path]:
    config = os.environ.get("HUNYUANOCR_CONFIG")
    if config and _has_secret(Settings, read_settings_file(Path(config))):
        yield Path(config).absolute()
    if settings.network.tls_key is not None:
        yield settings.network.tls_key.absolute()
    data = settings.data.absolute()
    if data.is_dir() and _is_world_accessible(data):  # a private folder protects what is in it
        yield from (data / name for name in _DATA_FILES)


def _has_secret(model: type[BaseModel], values: dict[str, Any]) -> bool:
    """Return whether a secret setting of this group, or of a group in it, has a value."""
    for name, field in model.model_fields.items():
        group, value = field.annotation, values.get(name)
        if isinstance(group, type) and issubclass(group, BaseModel):
            if isinstance(value, dict) and _has_secret(group, value):
                return True
        elif "SecretStr" in str(group) and value:
            return True
    return False


def _is_world_readable(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _is_world_accessible(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
