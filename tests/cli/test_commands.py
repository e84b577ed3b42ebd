"""The command as a person uses it, with the real CPU backend."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hunyuanocr.cli import app, main
from hunyuanocr.cli.common import settings_from
from hunyuanocr.errors import ConfigError
from hunyuanocr.loadtest.receipts import draw_text

LINES = ("CORNER SHOP", "Date: 2026-03-14", "Total: $36.80", "memo [red] :car:")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def receipts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two receipts, one with a name that looks like markup, a broken file and one that is not there."""
    folder = tmp_path_factory.mktemp("receipts")
    picture = draw_text(LINES, font_size=44, width=640, spacing=2)
    good, odd, broken = folder / "a.png", folder / "b [bold]c[" / "d.png", folder / "[x] broken.jpg"
    odd.parent.mkdir()
    good.write_bytes(picture)
    odd.write_bytes(picture)
    broken.write_text("no picture")
    return good, broken, folder / "missing.jpg", odd


def test_one_failure_leaves_the_rest_done(receipts: Any) -> None:
    done = run("read", *receipts, "--json", "-i", "extract total and date")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["file"] for a in answers] == [str(path) for path in receipts]
    assert [a.get("code") for a in answers] == [None, "unsupported_media_type", "unreadable_file", None]
    assert all(a["fields"] == {"total_amount": "$36.80", "date": "2026-03-14"} for a in (answers[0], answers[3]))
    assert done.exit_code == 1
    assert str(receipts[1]) in done.stderr, "said as it is called, brackets and all"


def test_a_table_has_a_column_for_each_field(receipts: Any) -> None:
    good, broken, *_ = receipts
    done = run("read", good, broken, "--csv", "-i", "total, cashier")
    head, first, second = csv.reader(io.StringIO(done.stdout))
    assert head == ["file", "total_amount", "cashier", "error"]
    assert first == [str(good), "$36.80", "", ""]
    assert (second[:3], bool(second[3])) == ([str(broken), "", ""], True)


def test_a_table_computes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "formula.png"
    file.write_bytes(draw_text(["=SUM(A1:A9)"], font_size=64, width=900, margin=40))
    plain = json.loads(run("read", file, "--json").stdout)["text"]
    assert plain.startswith("="), "it is read"
    head, row = csv.reader(io.StringIO(run("read", file, "--csv").stdout))
    assert (head, row[1]) == (["file", "text", "error"], f"'{plain}")


def test_text_is_shown_as_it_stands(receipts: Any) -> None:
    done = run("read", receipts[0], receipts[3])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("Total: $36.80") == 2
    assert "[red]" in done.stdout
    assert ":car:" in done.stdout
    assert str(receipts[3]) in done.stdout


def test_environment_counts_where_no_flag_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_from(None, None).backend == "auto"
    monkeypatch.setenv("HUNYUANOCR_BACKEND", "ppocr")
    monkeypatch.setenv("HUNYUANOCR_PIPELINE__QUEUE_SIZE", "3")
    settings = settings_from(None, None)
    assert (settings.backend, settings.pipeline.queue_size, settings.pipeline.cache_mb) == ("ppocr", 3, 0)
    assert settings_from("torch", None).backend == "torch"
    with pytest.raises(ConfigError):
        settings_from("tesseract", None)


def test_what_cannot_be_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("read", "a.png", "--json", "--csv").exit_code == 2
    assert run("read").exit_code == 2
    for arguments in (["read", "a.png", "--backend", "tesseract"], ["eval", str(tmp_path / "[b]none")]):
        monkeypatch.setattr("sys.argv", ["hunyuanocr", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr().err.strip()
        assert (left.value.code, said.count("\n")) == (2, 0), said
        assert arguments[0] == "read" or "[b]none" in said


def test_serve_has_the_flags_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):  # argparse leaves by itself
        app(["serve", "--help"], standalone_mode=False)
    assert "--api-port" in capsys.readouterr().out


def test_eval_prints_figures_for_the_users_own_folder(receipts: Any, tmp_path: Path) -> None:
    picture = tmp_path / "1.png"
    picture.write_bytes(receipts[0].read_bytes())
    picture.with_suffix(".json").write_text(json.dumps({"total": "36.80", "date": "2026-03-14", "doctor": None}))
    details = tmp_path / "details.jsonl"
    done = run("eval", tmp_path, "--json", "--details", details)
    assert done.exit_code == 0, done.stderr
    fields = json.loads(done.stdout)["fields"]
    assert (fields["total"]["f1"], fields["date"]["f1"]) == (1.0, 1.0)
    assert (fields["doctor"]["f1"], fields["doctor"]["null_accuracy"]) == (None, 1.0)
    total = json.loads(details.read_text())["fields"]["total"]
    assert total.items() >= {"truth": "36.80", "also": [], "answer": "$36.80", "grounded": True, "doubts": []}.items()
    assert total["confidence"] > 0.8
    assert run("eval", tmp_path, "--details", tmp_path / "no" / "such.jsonl").exit_code == 2
    table = run("eval", tmp_path)
    assert table.exit_code == 0
    assert "null if absent" in table.stdout


def test_settings_lists_every_group() -> None:
    done = run("settings")
    assert "HUNYUANOCR_PPOCR__SMALL_MEMORY" in done.stdout
