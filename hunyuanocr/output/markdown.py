"""Cleaning of generated Markdown and HTML: removes wrappers, and closes truncated tables."""

from __future__ import annotations

import re

_FENCED = re.compile(r"```(?:html|markdown|md|latex|tex|text|json)?[ \t]*\n(.*?)(?:\n?```)?", re.DOTALL | re.IGNORECASE)
_COORDINATES = re.compile(
    r"^(?:[ \t]*\n)?[ \t]*\([0-9]{1,4}, ?[0-9]{1,4}\),? ?\([0-9]{1,4}, ?[0-9]{1,4}\)[ \t]*$\n?", re.MULTILINE
)
_TAG = re.compile(r"<(/?)(table|thead|tbody|tr|td|th)\b[^<>]*>", re.IGNORECASE)
_INCOMPLETE_TAG = re.compile(r"</?\w*[^<>]*$")
_FORMULA = (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"), ("$", "$"))


def strip_code_fence(text: str) -> str:
    """Remove a code fence around the whole text; keep fences within it, and of other languages (Mermaid)."""
    stripped = text.strip()
    match = _FENCED.fullmatch(stripped)
    return match[1].strip() if match and "```" not in match[1] else stripped


def strip_coordinates(markdown: str) -> str:
    """Remove lines that contain only the coordinates of a figure: `(156,68),(783,758)`."""
    return _COORDINATES.sub("", markdown).strip()


def close_tables(html: str) -> str:
    """Close truncated tables; remove an incomplete tag at the end."""
    open_tags: list[str] = []
    for tag in _TAG.finditer(html):
        name = tag[2].lower()
        if not tag[1]:
            open_tags.append(name)
        elif name in open_tags:
            while open_tags.pop() != name:
                continue
    if not open_tags:
        return html
    return _INCOMPLETE_TAG.sub("", html) + "".join(f"</{name}>" for name in reversed(open_tags))


def strip_math_delimiters(text: str) -> str:
    r"""Remove the delimiters around a LaTeX formula ($$…$$, \[…\], \(…\), $…$)."""
    stripped = strip_code_fence(text)
    for opening, closing in _FORMULA:
        inner = stripped[len(opening) : -len(closing)]
        if stripped.startswith(opening) and stripped.endswith(closing) and inner.strip() and opening not in inner:
            return inner.strip()
    return stripped
