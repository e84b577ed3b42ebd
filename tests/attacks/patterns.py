"""Every regular expression of the product, found by importing and by reading its modules, and texts that may make one slow."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from re import _constants as signs
from re import _parser as parser
from typing import Any

from tests.attacks.processes import ROOT

TOPS = ("hunyuanocr", "api", "web", "app_web")
_NOT_IMPORTED = {"hunyuanocr.store.migrations.env"}  # runs migrations
_METHODS = ("search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
_ANCHORED = {"match", "fullmatch"}
UNITS = (
    " ",
    "1",
    ",",
    "a",
    "A",
    "一",
    "：",
    ":",
    "1,",
    " a",
    "1 ",
    "a ",
    "-",
    ".",
    "1.",
    "(",
    "（",
    "[",
    '"',
    "'",
    "{",
    "<",
    "\n",
    "a,",
    "/",
    "#",
    "x",
    "总",
    "\\",
    "_",
    "金额",
    "1-",
    "0",
    "年",
    "a1",
    " 1",
    "\t",
    "(a",
    "1:",
    "a@",
    "$",
    "¥",
    '\\"',
    "%",
    "1%",
    " -",
    "of ",
    " of a",
    "一 ",
)


@dataclass
class Found:
    """A pattern, where it stands, and by which methods it is used; all of them where that cannot be seen."""

    pattern: str
    flags: int
    place: str
    methods: set[str] = field(default_factory=set)


def product_patterns() -> tuple[list[Found], list[str]]:
    """The patterns, and the calls whose pattern could not be found out."""
    found: dict[tuple[str, int, bool], Found] = {}
    unknown: list[str] = []
    sources = {name: path.read_text(encoding="utf-8") for name, path in _modules()}
    for name, text in sources.items():
        if name in _NOT_IMPORTED or not re.search(r"\bimport re\b|\bfrom re\b|\bre import", text):
            continue
        module = importlib.import_module(name)
        for label, value in vars(module).items():
            for compiled in _leaves(value, re.Pattern):
                if isinstance(compiled.pattern, str) and _compiled_here(compiled, text, label):
                    methods = _methods(label, value, name, sources)
                    _add(found, Found(compiled.pattern, compiled.flags & ~re.DEBUG, f"{name}.{label}", methods))
        for pattern in _inline(name, text, vars(module), unknown):
            _add(found, pattern)
    return list(found.values()), unknown


def _add(found: dict[tuple[str, int, bool], Found], new: Found) -> None:
    found.setdefault((new.pattern, new.flags, bool(new.methods - _ANCHORED) or not new.methods), new)


def _modules() -> Iterator[tuple[str, Path]]:
    for top in TOPS:
        paths = sorted((ROOT / top).rglob("*.py")) or [ROOT / f"{top}.py"]
        for path in paths:
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def _leaves(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part, kind)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from _leaves(part, kind)


def _compiled_here(compiled: re.Pattern[str], text: str, label: str) -> bool:
    """Defined in the module itself, not imported."""
    return re.search(rf"^{re.escape(label)}\b.*=", text, re.MULTILINE) is not None


def _methods(label: str, value: Any, module: str, sources: dict[str, str]) -> set[str]:
    """By which methods a name is used, in its own module and where it is imported from it; empty where it has none in sight."""
    if not isinstance(value, re.Pattern):
        return set()
    used: set[str] = set()
    for name, text in sources.items():
        if name == module or re.search(rf"from {re.escape(module)} import [^\n]*\b{re.escape(label)}\b", text):
            seen = re.findall(rf"\b{re.escape(label)}\b(?!\s*[:=][^=])(\.\w+\()?", text)
            calls = {call[1:-1] for call in seen if call}
            imported = len(re.findall(rf"import .*\b{label}\b", text))
            bare = text.count(label) - text.count(f"{label} =") - sum(map(bool, seen)) - imported
            used |= calls if bare <= 0 or calls else set(_METHODS)
    return used


def _inline(name: str, text: str, names: dict[str, Any], unknown: list[str]) -> Iterator[Found]:
    """Patterns in calls like re.search(…) within functions."""
    tree = ast.parse(text)
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]
    within = {id(inner) for n in functions for inner in ast.walk(n)}
    loops = [(n.target, n.iter) for n in ast.walk(tree) if isinstance(n, (ast.For, ast.comprehension))]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = node.func
        if not isinstance(call, ast.Attribute) or not isinstance(call.value, ast.Name) or call.value.id != "re":
            continue
        if call.attr not in (*_METHODS, "compile") or not node.args or (call.attr == "compile" and id(node) not in within):
            continue  # what a module compiles is found as its value
        known = list(_values(node.args[0], names, loops))
        if not known:
            unknown.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
        flags = re.IGNORECASE if "IGNORECASE" in ast.unparse(node) else 0
        flags |= re.DOTALL if "DOTALL" in ast.unparse(node) else 0
        methods = set() if call.attr == "compile" else {call.attr}
        yield from (Found(pattern, flags, f"{name}:{node.lineno}", methods) for pattern in known if isinstance(pattern, str))


def _values(node: ast.expr, names: dict[str, Any], loops: list[tuple[ast.expr, ast.expr]]) -> Iterator[Any]:
    try:
        yield eval(compile(ast.Expression(node), "", "eval"), {**vars(builtins), **names})
        return
    except Exception:  # noqa: BLE001 -- what needs a function's own variables
        pass
    for target, values in loops:
        if isinstance(node, ast.Name) and any(isinstance(n, ast.Name) and n.id == node.id for n in ast.walk(target)):
            for value in _values(values, names, []):
                yield from _leaves(value, str)


def texts(pattern: str, flags: int, *, every: bool) -> list[Callable[[int], str]]:
    """Makers of texts of about so many characters: everyday signs again and again, and each repeat of the pattern as often, then
    a mismatch. With `every` also other mismatches.
    """
    pairs = {("", unit) for unit in UNITS} | set(_derived(parser.parse(pattern, flags), ""))
    heads = sorted(pairs | {("", before + unit) for before, unit in pairs})
    return [partial(_text, *head, end) for head in heads for end in (("\x00", "\n\x00", "a") if every else ("\x00",))]


def _text(before: str, unit: str, end: str, n: int) -> str:
    return before + unit * (n // len(unit)) + end


def _derived(items: Iterable[Any], before: str) -> Iterator[tuple[str, str]]:
    for op, value in items:
        if op in (signs.MAX_REPEAT, signs.MIN_REPEAT, signs.POSSESSIVE_REPEAT):
            if value[1] > 8:
                yield from ((before, unit) for unit in _samples(value[2]))
            yield from _derived(value[2], before)
        elif op is signs.BRANCH:
            for branch in value[1]:
                yield from _derived(branch, before)
        elif op in (signs.SUBPATTERN, signs.ASSERT, signs.ASSERT_NOT):
            yield from _derived(value[-1], before)
        elif op is signs.ATOMIC_GROUP:
            yield from _derived(value, before)
        before += next(iter(_samples([(op, value)])))


def _samples(items: Any) -> list[str]:
    """Some texts that a part of a pattern matches, or nearly."""
    items = list(items)
    if len(items) != 1:
        return ["".join(_samples([item])[0] for item in items)[:200] or "a"] if items else [""]
    op, value = items[0]
    if op is signs.LITERAL:
        return [chr(value)]
    if op is signs.IN:
        return _members(value)
    if op in (signs.ANY, signs.NOT_LITERAL):
        return ["a", "1", " ", "一"]
    if op in (signs.MAX_REPEAT, signs.MIN_REPEAT, signs.POSSESSIVE_REPEAT):
        return [sample * min(value[0], 50) for sample in _samples(value[2])]
    if op is signs.BRANCH:
        return [sample for branch in value[1] for sample in _samples(branch)][:12] or [""]
    if op is signs.SUBPATTERN:
        return _samples(value[-1])
    return _samples(value) if op is signs.ATOMIC_GROUP else [""]


def _members(parts: Any) -> list[str]:
    negated = parts[0][0] is signs.NEGATE
    kinds: dict[str, Callable[[str], bool]] = {
        "DIGIT": str.isdigit,
        "SPACE": str.isspace,
        "WORD": lambda c: c.isalnum() or c == "_",
    }
    found = []
    for letter in " 1a,A一.:-/：\n总(\"'x0\\年":
        inside = False
        for op, value in parts:
            if op is signs.CATEGORY:
                name = str(value).removeprefix("CATEGORY_").removeprefix("UNI_")
                inside |= kinds[name.removeprefix("NOT_")](letter) != name.startswith("NOT_")
            elif op is signs.RANGE:
                inside |= value[0] <= ord(letter) <= value[1]
            elif op is signs.LITERAL:
                inside |= value == ord(letter)
        if inside != negated:
            found.append(letter)
    named = [chr(v if op is signs.LITERAL else v[0]) for op, v in parts if op in (signs.LITERAL, signs.RANGE)]
    return found or named[:3] or ["\x01"]
