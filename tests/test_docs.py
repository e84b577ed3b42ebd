"""The documents say what the code does."""

import re
from pathlib import Path

from hunyuanocr.cli.settings import table

ROOT = Path(__file__).parent.parent


def test_settings_page_lists_every_setting():
    assert table() in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def fenced(text: str) -> list[str]:
    """Code blocks without their comments, which are in the reader's language."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return [re.sub(r"\s*#.*|提取[^\"]*|extract[^\"]*", "", block) for block in blocks]


def test_the_two_readmes_are_equal():
    """Same headings, same code, same pictures, same linked files."""
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_zh.md"))
    assert len(re.findall(r"^#+ ", english, re.MULTILINE)) == len(re.findall(r"^#+ ", chinese, re.MULTILINE))
    assert fenced(english) == fenced(chinese)
    links = [sorted(re.findall(r"\]\(((?:docs/)[^)]+)\)", text)) for text in (english, chinese)]
    assert links[0] == links[1]
    assert english.count("\n| ") == chinese.count("\n| ")


def test_linked_files_exist():
    for name in ("README.md", "README_zh.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{name} links to {target}"
