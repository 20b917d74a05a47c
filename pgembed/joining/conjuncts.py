"""conjuncts: what a condition demands all at once, as texts: a purely textual look, of which every piece is proven by PostgreSQL later.

AND binds weaker than all that may stand in a condition but OR, so where no OR stands outside of parentheses, the pieces between the ANDs
are what PostgreSQL too would tell apart. What this does not understand it leaves in one piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<string>'[^']*(?:''[^']*)*')
    |(?P<word>"[^"]*(?:""[^"]*)*"|[^\W\d][\w$]*)
    |(?P<number>\d[\w.]*|\.\d\w*)
    |(?P<param>\$\d+)
    |(?P<mark>::|:=|=>|[()\[\],.:;])
    |(?P<symbol>[-+*/<>=~!@\#%^&|`?]+)""",
    re.VERBOSE,
)
# Comments, strings with backslashes or dollars, and operators by their full name: rare, and not worth the risk of reading them wrong.
_UNREAD = re.compile(r"--|/\*|\\|\$[^\W\d]*[\w]*\$|[uU]&|OPERATOR\s*\(", re.IGNORECASE)
# Weaker than a comparison, or of a meaning that depends on more than the two values.
_WEAKER = frozenset({"not", "is", "isnull", "notnull", "and", "or", "between", "in", "like", "ilike", "similar", "collate", "overlaps"})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    depth: int


def split(condition: str) -> list[str]:
    """The conjuncts of a condition, in order; the condition itself where it has but one, or is not understood."""
    tokens = _read(condition)
    if tokens is None:
        return [condition]
    while len(tokens) > 2 and tokens[0].text == "(" and _closing(tokens, 0) == len(tokens) - 1:
        tokens = [_Token(one.kind, one.text, one.start, one.end, one.depth - 1) for one in tokens[1:-1]]
    cuts: list[_Token] = []
    open_between = 0
    for token in tokens:
        word = token.text.lower() if token.kind == "word" and token.depth == 0 else ""
        if word == "or":
            cuts = []
            break
        if word == "between":
            open_between += 1
        elif word == "and" and open_between:
            open_between -= 1
        elif word == "and":
            cuts.append(token)
    if not tokens:
        return [condition]
    if not cuts:
        return [condition[tokens[0].start : tokens[-1].end]]
    starts = [tokens[0].start, *(cut.end for cut in cuts)]
    ends = [*(cut.start for cut in cuts), tokens[-1].end]
    return [piece for start, end in zip(starts, ends, strict=True) for piece in split(condition[start:end].strip())]


def equality(conjunct: str) -> tuple[str, str] | None:
    """Both sides of a conjunct that says a = b; None where it says something else, or is not understood."""
    tokens = _read(conjunct)
    if tokens is None or any(one.kind == "word" and one.text.lower() == "collate" for one in tokens):
        return None
    top = [one for one in tokens if one.depth == 0]
    if any(one.kind == "word" and one.text.lower() in _WEAKER for one in top):
        return None
    signs = [one for one in top if one.kind == "symbol" and re.fullmatch(r"[<>=!]+", one.text)]
    if len(signs) != 1 or signs[0].text != "=":
        return None
    left, right = conjunct[: signs[0].start].strip(), conjunct[signs[0].end :].strip()
    return (left, right) if left and right else None


def _read(condition: str) -> list[_Token] | None:
    """Tokens with their depth in parentheses, brackets and CASE; None where something is not understood."""
    if _UNREAD.search(condition):
        return None
    tokens: list[_Token] = []
    depth = at = 0
    while at < len(condition):
        if condition[at].isspace():
            at += 1
            continue
        found = _TOKEN.match(condition, at)
        if found is None:
            return None
        kind, text = str(found.lastgroup), found.group()
        word = text.lower() if kind == "word" else text if kind == "mark" else ""
        if word in (")", "]", "end"):
            depth -= 1
        if depth < 0:
            return None
        tokens.append(_Token(kind, text, found.start(), found.end(), depth))
        if word in ("(", "[", "case"):
            depth += 1
        at = found.end()
    return tokens if depth == 0 else None


def _closing(tokens: Sequence[_Token], opening: int) -> int:
    """Where the parenthesis ends that begins at a position."""
    for position in range(opening + 1, len(tokens)):
        if tokens[position].depth == tokens[opening].depth:
            return position
    return len(tokens)
