"""Errors of the installation: settings, packages, weights. Raised at startup."""

from __future__ import annotations

from hunyuanocr.errors.base import HunyuanOcrError


class MissingDependency(HunyuanOcrError):
    """A required package is not installed; the hint is the command that installs it."""

    code = "missing_dependency"


class ConfigError(HunyuanOcrError):
    """A setting is invalid; raised at startup, never later."""

    code = "config_error"
    hint = "Correct the setting and restart the server."


class WeightsMissing(ConfigError):
    """The model folder or some of its files do not exist."""

    code = "weights_missing"
    hint = "Download the model with: .venv/bin/hunyuanocr fetch"


class WeightsInvalid(ConfigError):
    """The model files are truncated, inconsistent, of another model, or in an unsupported format."""

    code = "weights_broken"
    hint = "Download the model again with: .venv/bin/hunyuanocr fetch --force"
