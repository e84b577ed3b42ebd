"""JSON strings as rules."""

from __future__ import annotations

from hunyuanocr.grammar.ast import Rule, alternation, char_class, concat, literal, repeat_until

# Any character but the quote, the backslash, control characters and surrogates. `\u` escapes are left out: each character can be
# written as itself, and an unpaired surrogate could not be encoded. So are \b, \f and \r, which text does not need and which a
# model would write by mistake in LaTeX (\frac, \beta).
_PLAIN = char_class(" ", (0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, 0x10FFFF))
_CHARACTER = alternation(_PLAIN, *(literal(escape) for escape in ('\\"', "\\\\", "\\n", "\\t", "\\/")))
_QUOTE = literal('"')
_UNBOUNDED = concat(_QUOTE, repeat_until(_CHARACTER, None, _QUOTE))
_MAX_COUNTED = 12  # characters; a counted string is expensive to compile (see `ebnf`)


def string(max_length: int | None) -> Rule:
    """Return the rule of a JSON string of at most `max_length` characters.

    A limit above 12 is left out: the engines count characters themselves, up to the longest limit of the schema (`lengths`).
    """
    if max_length is None or max_length > _MAX_COUNTED:
        return _UNBOUNDED
    return concat(_QUOTE, repeat_until(_CHARACTER, max_length, _QUOTE))
