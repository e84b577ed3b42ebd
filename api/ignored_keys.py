"""Warn about keys of a request that have no effect although they resemble parameters: misspelled ones, or in the wrong place.

Other unknown keys are ignored silently: existing clients send keys of other services.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

from pydantic import AliasChoices, BaseModel

from hunyuanocr.types import ResultWarning

UNKNOWN_KEY = "unknown_key"
_MAX_LENGTH = 40  # of a key that may resemble a parameter
_MAX_KEYS = 100  # compared per request
_CUTOFF = (
    0.82  # of difflib's ratio: "tasks", "field" and "instrution" resemble parameters, "response_type" and "image_url" do not
)
_SEPARATORS = re.compile(r"[^a-z0-9]")


def parameter_names(form: type[BaseModel]) -> frozenset[str]:
    """Return the names and aliases of the parameters of a request."""
    names: set[str] = set()
    for name, field in form.model_fields.items():
        alias = field.validation_alias
        names |= {name} | {str(choice) for choice in (alias.choices if isinstance(alias, AliasChoices) else [alias or name])}
    return frozenset(names)


def similar_name(key: str, names: Collection[str]) -> str | None:
    """Return the name that an unknown key resembles, or None."""
    if len(key) > _MAX_LENGTH or not key.isprintable():
        return None
    by_letters = {_SEPARATORS.sub("", name.lower()): name for name in sorted(names)}
    nearest = difflib.get_close_matches(_SEPARATORS.sub("", key.lower()), by_letters, n=1, cutoff=_CUTOFF)
    return by_letters[nearest[0]] if nearest else None


def ignored_key_warnings(sent: Iterable[str], query: Iterable[str], names: Collection[str]) -> tuple[ResultWarning, ...]:
    """Return a warning for each ignored key that resembles one of `names`, among those of the body and of the query string.

    `sent` are the keys of the body without the parameters themselves.
    """
    found: list[ResultWarning] = []
    for key in list(sent)[:_MAX_KEYS]:
        if key not in names and (name := similar_name(key, names)) is not None:
            found.append(ResultWarning(UNKNOWN_KEY, f"The key '{key}' is unknown and was ignored. Did you mean '{name}'?"))
    for key in list(query)[:_MAX_KEYS]:
        if (name := key if key in names else similar_name(key, names)) is not None:
            message = f"The query parameter '{key}' was ignored. Send '{name}' in the body of the request."
            found.append(ResultWarning(UNKNOWN_KEY, message))
    return tuple(found)
