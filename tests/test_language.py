"""The language of the code: words of the private dialect that names, messages, help texts, comments and docs no longer use."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("hunyuanocr", "api", "web", "synthesis", "demo_model")
# Parts of identifiers, and the standard term.
NAMES = {
    "desk": "service, controller", "shelf": "upload_store", "hand": "worker", "hands": "workers", "door": "route, policy",
    "doors": "routes, policies", "look": "scan, check", "looks": "scans, checks", "told": "reported, notified",
    "wanted": "requested", "witness": "evidence backend", "testimony": "evidence reading", "testify": "read_evidence",
    "patience": "timeout", "knock": "request", "knocking": "route_walker", "cabinet": "image_store", "tray": "upload_store",
    "keyring": "api_keys", "trail": "audit_log", "stepper": "model_runner", "whoever": "client, user", "beside": "concurrently",
    "glance": "thumbnail", "phrases": "patterns",
    "understood": "parsed",
}  # fmt: skip
# Phrases of texts that people read.
PHRASES = {
    r"\bwhoever\b": "who, clients that",
    r"\b(?:is|are|was|were|be|been) told\b": "is reported, is notified",
    r"\bwitness\b": "evidence backend",
    r"\btestimony\b": "evidence",
    r"\bshelf\b": "upload store",
    r"\bknocks?\b": "requests",
    r"\bfor ever\b": "indefinitely",
    r"\bmerely\b": "only",
    r"\blets? (?:it|them|him|in|this)\b.*\bin\b": "allows",
    r"\bon a diet\b": "with limits",
    r"\bWho asks\b": "Authentication required",
    r"\bstay(?:s|ing)? home\b": "sends nothing",
    r"\bmend(?:s|ed|ing)?\b": "repair, fix",
    r"\bthere is room\b": "there is capacity",
    r"\bnobody's\b": "of no client",
    r"\bas it lies\b": "as stored",
    r"\bin one go\b": "at once",
    r"\bthe house\b": "the machine",
    r"\bhears\b": "receives",
    r"\bgives? way\b": "yields",
    r"\bcomes? to an end\b": "ends",
    r"\bat its end\b": "ended",
    r"\bat work\b": "running",
    r"\bturn(?:s|ed)? away\b": "refused",
    r"\bgave up on\b": "stopped",
    r"(?<![\"`])\bbeside\b(?![\"`])": "next to",
}
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def sources() -> list[Path]:
    """Return the Python files of the product."""
    return [ROOT / "app_web.py", *sorted(path for top in PRODUCT for path in (ROOT / top).rglob("*.py"))]


def documents() -> list[Path]:
    """Return the documents in English."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything that a file defines: modules are named by `path_parts`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the words of every string and comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            yield token.start[0], token.string


def faults(source: str) -> list[str]:
    """Return what a source file says in the private dialect: "line: word → standard term"."""
    found = []
    for line, name in identifiers(ast.parse(source)):
        for word in WORDS.findall(name):
            if word.lower() in NAMES:
                found.append(f"{line}: {name} → {NAMES[word.lower()]}")
    for line, text in texts(source):
        found += [f"{line}: {match[0]} → {term}" for phrase, term in PHRASES.items() for match in re.finditer(phrase, text)]
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_code_uses_standard_terms(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []
    parts = {word.lower() for part in path.relative_to(ROOT).with_suffix("").parts for word in WORDS.findall(part)}
    assert parts & NAMES.keys() == set()


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_standard_terms(path: Path) -> None:
    text = re.sub(r"`[^`]*`", "", path.read_text(encoding="utf-8"))  # the changelog names what was renamed
    assert [match[0] for phrase in PHRASES for match in re.finditer(phrase, text)] == []


@pytest.mark.parametrize(("source", "word"), [
    ("def look_up(): pass", "look_up"),
    ("class JobDesk: pass", "JobDesk"),
    ("def f(wanted): pass", "wanted"),
    ("told_later = 1", "told_later"),
    ("self.hands = 3", "hands"),
    ('raise ValueError("Whoever asks is told.")', "is told"),
    ('"""Wait for ever."""', "for ever"),
    ("x = 1  # the witness", "witness"),
    ('x = f"the house has {n}"', "the house"),
])  # fmt: skip
def test_a_word_of_the_dialect_is_found(source: str, word: str) -> None:
    assert any(word in fault for fault in faults(source)), faults(source)


def test_standard_terms_are_not_faults() -> None:
    assert faults('def handle(worker: str) -> str:\n    """Return the handler of shelfware."""\n    return worker') == []
