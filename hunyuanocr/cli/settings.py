"""`hunyuanocr settings`: print every setting with its environment variable, default and description (docs/settings.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pydantic import BaseModel

from hunyuanocr.config import Settings


def settings() -> None:
    """Print all settings as a Markdown table: name in the file, environment variable, default, description."""
    sys.stdout.write(table() + "\n")


def table() -> str:
    """Return all settings as a Markdown table."""
    rows = (f"| `{name}` | `{_variable(name)}` | `{default}` | {meaning} |" for name, default, meaning in _walk(Settings, ""))
    return "\n".join(["| setting | environment | default | |", "|---|---|---|---|", *rows])


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, object, str]]:
    for name, field in model.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from _walk(group, f"{prefix}{name}.")
        else:
            yield prefix + name, field.default, field.description or ""


def _variable(name: str) -> str:
    return "HUNYUANOCR_" + name.replace(".", "__").upper()
