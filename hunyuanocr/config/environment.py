"""Settings from the environment: an unknown name is an error, and a list may be separated by commas.

The prefix also belongs to variables that are no settings: the program's own, and those that Kubernetes sets in every container of
a namespace with a Service called `hunyuanocr` or `hunyuanocr-…`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from hunyuanocr.errors import ConfigError

PREFIX = "HUNYUANOCR_"
OTHER_VARIABLES = frozenset(
    {
        "HUNYUANOCR_CONFIG",  # the settings file
        "HUNYUANOCR_KEY",  # the key of `hunyuanocr soak` and of client programs
        "HUNYUANOCR_OFFLINE",  # forbids downloads (hunyuanocr.telemetry)
        "HUNYUANOCR_SWITCHES",  # set by hunyuanocr.telemetry
        "HUNYUANOCR_PYTHON",  # the Python of the launchers and of the installation
        "HUNYUANOCR_TESTS_VLLM",  # run_tests.sh
    }
)
_KUBERNETES = re.compile(  # name=value; kubernetes.io/docs/concepts/services-networking/service, "Environment variables"
    r"""HUNYUANOCR_(?:[A-Z0-9_]{1,100}_)?(?:
        SERVICE_HOST=[0-9a-fA-F.:]+ | SERVICE_PORT(?:_[A-Z0-9_]{1,100})?=[0-9]+
      | PORT=(?:tcp|udp|sctp)://\S+ | PORT_[0-9]+_(?:TCP|UDP|SCTP)=(?:tcp|udp|sctp)://\S+
      | PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO=(?:tcp|udp|sctp) | PORT=[0-9]+ | ADDR=[0-9a-fA-F.:]+)
    )""",
    re.VERBOSE,
)
_MIN_SIMILARITY = 0.6


class EnvironmentSource(EnvSettingsSource):
    """The environment variables of the settings. Raises ConfigError for unknown names and for groups and lists of no valid form.

    Names are compared without case. Values are never part of a message, because they may be secret.
    """

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        known = dict(setting_variables(settings_cls))
        variables = {
            name: value for name, value in self.env_vars.items() if name.upper().startswith(PREFIX) and value is not None
        }
        _refuse_unknown(variables, known)
        lists = {
            name: _as_json(name.upper(), value, known[name.upper()])
            for name, value in variables.items()
            if name.upper() in known and _is_complex(known[name.upper()])
        }
        self.env_vars = {**self.env_vars, **lists}


def setting_variables(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the environment variable of each setting, and of each group, which accepts a JSON object."""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        yield variable, field
        if (group := _group(field)) is not None:
            yield from setting_variables(group, f"{variable}__")


def _group(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _is_complex(field: FieldInfo) -> bool:
    return _group(field) is not None or get_origin(field.annotation) in (list, tuple)


def _refuse_unknown(variables: dict[str, str], known: dict[str, FieldInfo]) -> None:
    unknown = sorted(
        name
        for name, value in variables.items()
        if name.upper() not in known
        and name.upper() not in OTHER_VARIABLES
        and not _KUBERNETES.fullmatch(f"{name.upper()}={value}")
    )
    if not unknown:
        return
    name = unknown[0].upper()
    nearest = _nearest(name, [variable for variable, field in known.items() if _group(field) is None])
    hint = f"Did you mean {nearest}?" if nearest else "Remove it."
    more = f" ({len(unknown)} unknown variables: {', '.join(each.upper() for each in unknown)})" if unknown[1:] else ""
    raise ConfigError(
        f"The environment variable {name} is not a setting{more}.", hint=f"{hint} docs/settings.md lists all names."
    )


def _nearest(name: str, known: list[str]) -> str | None:
    """Return the setting that ends with the same words, or the most similar one; None if none is similar."""

    def words(variable: str) -> str:
        return variable.removeprefix(PREFIX).replace("__", "_")

    ending = [variable for variable in known if f"_{words(variable)}".endswith(f"_{words(name)}")]
    if ending:
        return min(ending, key=len)
    by_words = {words(variable): variable for variable in known}
    similar = difflib.get_close_matches(words(name), by_words, n=1, cutoff=_MIN_SIMILARITY)
    return by_words[similar[0]] if similar else None


def _as_json(name: str, value: str, field: FieldInfo) -> str:
    """Return the value of a list or group as JSON. A list is JSON, or text whose parts are separated by commas."""
    text = value.strip()
    group = _group(field)
    if group is None and not text.startswith("["):
        return json.dumps([part.strip() for part in text.split(",") if part.strip()])
    try:
        parsed: Any = json.loads(text)
    except ValueError:
        parsed = None
    if group is not None and not isinstance(parsed, dict):
        first = next(iter(group.model_fields)).upper()
        raise ConfigError(f"The environment variable {name} is a group of settings.", hint=f"Set its members: {name}__{first} …")
    if group is None and not isinstance(parsed, list):
        raise ConfigError(
            f"The environment variable {name} is not a valid JSON list.", hint=f'Set {name}=a,b or {name}=["a", "b"].'
        )
    return text
