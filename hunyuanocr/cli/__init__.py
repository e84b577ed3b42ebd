"""The `hunyuanocr` command: read, serve, watch and more. Each command imports its modules itself, so that `--help` is fast."""

from __future__ import annotations

import sys

import typer

from hunyuanocr.cli import backup, bundle, doctor, evaluation, fetch, finetune, hq, keys, read, serve, settings, soak, watch

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Extract structured JSON from images and PDFs.")
app.command("read")(read.read)
_PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command("serve", context_settings=_PASS_THROUGH, add_help_option=False)(serve.serve)
app.command("eval")(evaluation.evaluate)
app.command("finetune")(finetune.finetune)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("fetch")(fetch.fetch)
app.command("bundle")(bundle.bundle)
app.command("sbom")(bundle.sbom)
app.command("soak")(soak.soak)
app.command("watch")(watch.watch)
app.command("hq-keys")(hq.hq_keys)
app.command("hq-receiver", context_settings=_PASS_THROUGH, add_help_option=False)(hq.hq_receiver)
app.command("settings")(settings.settings)
app.add_typer(keys.app, name="keys")
app.command("audit")(keys.audit)


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit status 2, without a traceback."""
    from hunyuanocr.cli.common import errors
    from hunyuanocr.errors import HunyuanOcrError
    from hunyuanocr.telemetry import disable_telemetry

    disable_telemetry()
    try:
        app()
    except HunyuanOcrError as e:
        errors.print(f"{e.code}: {e.message} {e.hint}", style="red")
        sys.exit(2)
