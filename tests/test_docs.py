"""The documents match the code."""

import re
from importlib.util import find_spec
from pathlib import Path

from hunyuanocr.cli.settings import table

ROOT = Path(__file__).parent.parent


def test_settings_page_lists_every_setting() -> None:
    assert table() in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def fenced(text: str) -> list[str]:
    """Code blocks without their comments, which are in the reader's language."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return [re.sub(r"\s*#.*|提取[^\"]*|extract[^\"]*", "", block) for block in blocks]


def test_the_two_readmes_are_equal() -> None:
    """Same headings, same code, same pictures, same linked files."""
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_zh.md"))
    assert len(re.findall(r"^#+ ", english, re.MULTILINE)) == len(re.findall(r"^#+ ", chinese, re.MULTILINE))
    assert fenced(english) == fenced(chinese)
    links = [sorted(re.findall(r"\]\(((?:docs/)[^)]+)\)", text)) for text in (english, chinese)]
    assert links[0] == links[1]
    assert english.count("\n| ") == chinese.count("\n| ")


def test_linked_files_exist() -> None:
    for name in ("README.md", "README_zh.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{name} links to {target}"


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def missing_paths(text: str) -> list[str]:
    """Return the paths in backticks that do not exist. Routes start with "/" and are not paths."""
    named = {name for name in re.findall(r"`([^`\s]+)`", text) if re.search(r"^[^/].*/|\.(py|toml|md|sh)$", name)}
    return sorted(name for name in named if not (ROOT / name).exists())


def test_every_path_of_the_architecture_page_exists() -> None:
    assert missing_paths(ARCHITECTURE.read_text(encoding="utf-8")) == []


def test_a_missing_path_is_found() -> None:
    assert missing_paths("`api/app.py` `api/none.py` `none.py` `/v1/ocr` `ppocr` `api/none/`") == [
        "api/none.py",
        "api/none/",
        "none.py",
    ]


def rows(heading: str) -> list[str]:
    """Return the rows of the table below a heading of the architecture page."""
    _, _, section = ARCHITECTURE.read_text(encoding="utf-8").partition(f"## {heading}\n")
    return re.findall(r"^\| (?!---)(.*) \|$", section.partition("\n## ")[0], re.MULTILINE)[1:]


def test_the_glossary_is_short_and_sorted() -> None:
    terms = [row.partition(" | ")[0] for row in rows("Glossary")]
    assert 20 <= len(terms) <= 40
    assert sorted(terms, key=str.casefold) == terms


def test_ten_changes_have_a_place_and_a_test() -> None:
    assert len(rows("Where do I change …")) == 10
    assert all(row.count("`") >= 4 for row in rows("Where do I change …"))


def modules(text: str) -> set[str]:
    """Return the modules that a text runs with `python -m`."""
    return set(re.findall(r"python -m ([\w.]+)", text)) - {"venv", "pip"}


def test_every_module_that_a_document_runs_exists() -> None:
    folders = (".", "docs", "models", "models/hunyuanocr-demo", "synthesis", "bench", "examples")
    documents = [path for folder in folders for path in (ROOT / folder).glob("*.md")]
    assert {ROOT / "README.md", ROOT / "models" / "hunyuanocr-demo" / "README.md"} <= set(documents)
    missing = [
        (path.name, name) for path in documents for name in modules(path.read_text(encoding="utf-8")) if not is_module(name)
    ]
    assert missing == []


def is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_a_module_that_was_moved_is_found() -> None:
    assert modules("python -m demo_model render OUT, python -m moved.away build") == {"demo_model", "moved.away"}
    assert is_module("demo_model")
    assert not is_module("moved.away")
