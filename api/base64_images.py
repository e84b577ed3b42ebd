"""Decode images that clients send as base64 or as a data URI."""

from __future__ import annotations

import base64
import binascii
import re

from hunyuanocr.errors import EmptyInput, InvalidBase64, RemoteImageRefused

_DATA_URI = re.compile(r"data:[^,]{0,200},", re.ASCII | re.IGNORECASE)
_URL = re.compile(r"(?:blob:)?[A-Za-z][A-Za-z0-9+.-]{0,20}://")
_MIN_LINE_LENGTH, _SLACK = 16, 16
_ESCAPES = {"%2B": "+", "%2F": "/", "%3D": "=", "%20": " ", "%0D": "\r", "%0A": "\n"}
_LINE_BREAKS = str.maketrans("", "", "\t\r\n")
_BLANKS_HINT = "The text contains blanks, which '+' becomes in a URL or form that is not escaped. Send '+' as %2B, or use JSON."


def decode_base64(text: str) -> bytes:
    """Decode raw base64 (standard or URL-safe, with or without padding and line breaks) or a base64 data URI.

    Blanks that stand for `+`, and characters that are percent-encoded, are decoded as they were meant. Blocking.
    Raises InvalidBase64, EmptyInput, and RemoteImageRefused for a URL.
    """
    text = text.lstrip().rstrip("\t\r\n")  # a blank at the end may have been "+"
    if _URL.match(text[:64]):
        raise RemoteImageRefused("The image is a URL. The server does not download images.")
    prefix = _DATA_URI.match(text)
    if prefix and not prefix[0].rstrip(", ").lower().endswith(";base64"):
        raise InvalidBase64("The data URI is not base64-encoded.")
    encoded = text[prefix.end() :].lstrip() if prefix else text
    had_blanks = " " in encoded
    encoded = _without_blanks(_join_lines(_unescape(encoded))).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as e:
        raise InvalidBase64("The image is not valid base64.", hint=_BLANKS_HINT if had_blanks else None) from e
    if not data:
        raise EmptyInput("The image is empty.")
    return data


def _unescape(encoded: str) -> str:
    """Return the text without percent-encoding, which no other character of base64 can be mistaken for."""
    for escape, character in _ESCAPES.items() if 0 < encoded.count("%") < _most(encoded) else ():
        encoded = encoded.replace(escape, character).replace(escape.lower(), character)
    return encoded


def _join_lines(encoded: str) -> str:
    """Return the text without line breaks, and without the indentation of its lines."""
    if " " in encoded and 0 < encoded.count("\n") < _most(encoded):
        first, *others = encoded.split("\n")
        if all(line[:1].isspace() for line in others):
            encoded = first + "".join(line.strip() for line in others)
    return encoded.translate(_LINE_BREAKS)


def _without_blanks(encoded: str) -> str:
    """Return base64 without blanks. A blank separates lines, or it was a `+` that a decoder of URLs or forms has replaced.

    Such a decoder replaces every `+`, at irregular distances. At regular distances, as of a single blank, the length decides.
    """
    if " " not in encoded:
        return encoded
    separated = encoded.replace(" ", "")
    if encoded.count(" ") > _most(encoded) or any(sign in encoded for sign in "+-_"):  # a decoder leaves no "+"
        return separated
    replaced = encoded.replace(" ", "+")
    if _is_regular(encoded):
        return separated if _plausibility(separated) >= _plausibility(replaced) else replaced
    return replaced if _plausibility(replaced) else separated


def _most(encoded: str) -> int:
    """Return the largest number of escapes, blanks or line breaks that the text of an encoder has; more would only cost time."""
    return _SLACK + len(encoded) // _MIN_LINE_LENGTH


def _plausibility(encoded: str) -> int:
    """Return 2 for whole groups of four characters, 1 for base64 without padding, 0 for a length that base64 does not have."""
    return 2 if len(encoded) % 4 == 0 else int(len(encoded) % 4 != 1 and "=" not in encoded)


def _is_regular(encoded: str) -> bool:
    """Return whether all lines between the blanks have the same length, except for the last one."""
    width = encoded.index(" ")
    blanks = encoded[width :: width + 1]
    return blanks.count(" ") == len(blanks) == encoded.count(" ")
