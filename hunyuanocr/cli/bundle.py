"""`hunyuanocr bundle`: an archive for installation without a network. `hunyuanocr sbom`: the installed packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hunyuanocr.cli.common import errors
from hunyuanocr.errors import ConfigError

_ROOT = Path(__file__).resolve().parents[2]


def bundle(
    out: Annotated[Path, typer.Argument(help="Archive to write: NAME.tar.gz, NAME.tar.zst or NAME.tar.")],
    extra: Annotated[list[str] | None, typer.Option(help="Extra: torch, cluster …; repeatable.", show_default="none")] = None,
    weights: Annotated[list[Path] | None, typer.Option(help="Folder of weights to include.", show_default="none")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML) for a new installation.")] = None,
    update: Annotated[Path | None, typer.Option(help="An older bundle or its bundle.json: include changed files only.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only verify the checksums of an existing archive OUT.")] = False,
) -> None:
    """Write the appliance, its packages and weights to one archive that installs on a machine without a network.

    Packages are downloaded with pip's own settings, for this Python version and machine type. On the other machine, unpack the
    archive and run its ./install.sh (docs/install.md).
    """
    from hunyuanocr.bundle import BundleSpec, build, check_archive
    from hunyuanocr.telemetry import offline_variable

    if check:
        errors.print(f"{out}: checksums of all {len(check_archive(out)['files'])} files are correct.")
        return
    if name := offline_variable():
        raise ConfigError(f"{name} is set: downloads are disabled.", hint="Unset it so that pip can download the packages.")
    errors.print("Downloading the packages …", style="dim")
    info = build(out, _ROOT, BundleSpec(tuple(extra or ()), tuple(weights or ()), config, update))
    errors.print(f"{info.path}: {info.bytes / 1e6:.0f} MB, {info.carried} of {info.files} files.")
    if info.driver:
        errors.print(f"PyTorch is built for CUDA {info.cuda}: the machine needs NVIDIA driver {info.driver} or newer.")


def sbom(
    extra: Annotated[list[str] | None, typer.Option(help="Only these extras; repeatable.", show_default="all but dev")] = None,
) -> None:
    """Print the software bill of materials of this installation (CycloneDX 1.6, JSON).

    Lists the installed packages of the appliance and its extras; development packages are left out.
    """
    import sys
    from importlib.metadata import version

    from hunyuanocr.bundle.requirements import extras, requirements
    from hunyuanocr.bundle.sbom import PROJECT, build_sbom, installed_dependencies

    try:
        lines = requirements(_ROOT, extras(_ROOT) if extra is None else extra)
    except KeyError as e:
        raise ConfigError(f"Unknown extra {e}.", hint="See pyproject.toml for the list of extras.") from e
    sys.stdout.write(build_sbom(installed_dependencies(lines).values(), version(PROJECT)).decode())
