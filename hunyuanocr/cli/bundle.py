"""`hunyuanocr bundle`: one archive that installs without any network. `hunyuanocr sbom`: what is installed here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hunyuanocr.cli.common import errors
from hunyuanocr.errors import ConfigError

_ROOT = Path(__file__).resolve().parents[2]


def bundle(
    out: Annotated[Path, typer.Argument(help="The archive: NAME.tar.gz, NAME.tar.zst or NAME.tar.")],
    extra: Annotated[list[str] | None, typer.Option(help="torch, cluster … (may be given again).", show_default="none")] = None,
    weights: Annotated[list[Path] | None, typer.Option(help="Folder of weights to put in.", show_default="none")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings (TOML) that a first installation begins with.")] = None,
    update: Annotated[Path | None, typer.Option(help="An older bundle or its bundle.json: only what has changed.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Make nothing: compare each file in OUT with its checksum.")] = False,
) -> None:
    """Put the appliance, its packages and weights into one archive that installs on a machine without any network.

    Packages come from where pip's own settings say, for the Python and the kind of machine that run this. On the other machine:
    unpack it, and run its ./install.sh (docs/install.md).
    """
    from hunyuanocr.bundle import BundleSpec, build, check_archive
    from hunyuanocr.telemetry import offline_variable

    if check:
        errors.print(f"{out} is whole: {len(check_archive(out)['files'])} files.")
        return
    if name := offline_variable():
        raise ConfigError(f"{name} is set: this machine stays offline.", hint="Unset it to have pip download the packages.")
    errors.print("Bringing the packages …", style="dim")
    made = build(out, _ROOT, BundleSpec(tuple(extra or ()), tuple(weights or ()), config, update))
    errors.print(f"{made.path}: {made.bytes / 1e6:.0f} MB, {made.carried} of {made.files} files.")
    if made.driver:
        errors.print(f"Its PyTorch is built for CUDA {made.cuda}: the machine needs the NVIDIA driver {made.driver} or newer.")


def sbom(
    extra: Annotated[list[str] | None, typer.Option(help="Count this extra alone.", show_default="all but dev")] = None,
) -> None:
    """Print the bill of materials of this installation: CycloneDX 1.6, JSON.

    What is installed here of the appliance's packages and its extras; what only developers need is left out.
    """
    import sys
    from importlib.metadata import version

    from hunyuanocr.bundle.requirements import extras, requirements
    from hunyuanocr.bundle.sbom import PROJECT, build_sbom, installed_dependencies

    try:
        wanted = requirements(_ROOT, extras(_ROOT) if extra is None else extra)
    except KeyError as e:
        raise ConfigError(f"There is no extra {e}.", hint="pyproject.toml lists them.") from e
    sys.stdout.write(build_sbom(installed_dependencies(wanted).values(), version(PROJECT)).decode())
