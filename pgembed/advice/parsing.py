"""parsing: what EXPLAIN writes of an expression, as nodes.

That text is regular: every operation stands in parentheses, every column after its table's name, and what is a constant is seen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pgembed.columns import quote


@dataclass
class Node:
    """A part of an expression: what it says without constants, and what it reads."""

    kind: str  # column, const, sub, op, word, mark, call, cast or group
    text: str
    columns: set[str] = field(default_factory=set)
    subs: list[str] = field(default_factory=list)
    pure: bool = True
    items: list[Node] = field(default_factory=list)


# What EXPLAIN writes: strings double their quotes, whatever the session's settings are, and their backslashes never hide a quote.
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<op>OPERATOR\((?:(?:"[^"]*(?:""[^"]*)*"|[\w$]+)\.)?[-+*/<>=~!@\#%^&|`?]+\))
    |(?P<value>(?:[eEbBxXnN]|[uU]&)?'[^']*(?:''[^']*)*'|\.?\d[\w.]*(?:(?<=[eE])[-+]\d+)?)
    |(?P<param>\$\d+)
    |(?P<word>"[^"]*(?:""[^"]*)*"|[^\W\d][\w$]*)
    |(?P<mark>::|[()\[\],.:;])
    |(?P<symbol>[-+*/<>=~!@\#%^&|`?]+)
    |(?P<odd>.)""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {
    *("AND", "OR", "NOT", "ANY", "ALL", "SOME", "IN", "IS", "CASE", "WHEN", "THEN", "ELSE", "END", "DISTINCT", "FROM", "COLLATE", "AT"),
}
_OPEN, _CLOSE = "([", ")]"


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(text):
        if found.lastgroup not in (None, "space"):
            yield str(found.lastgroup), found.group()


def parse(text: str, aliases: set[str]) -> list[Node]:
    """The expression as nodes; a group in parentheses or brackets is one."""
    tokens = list(_tokens(text))
    stack: list[tuple[str, list[Node]]] = [("", [])]
    at = 0
    while at < len(tokens):
        kind, token = tokens[at]
        nodes = stack[-1][1]
        at += 1
        if kind == "mark" and token in _OPEN:
            stack.append((token, []))
        elif kind == "mark" and token in _CLOSE and len(stack) > 1:
            bracket, items = stack.pop()
            _close(stack[-1][1], bracket, items)
        elif token == "::":
            at = _cast(nodes, tokens, at)
        elif kind in ("value", "param"):
            nodes.append(Node("const", "?", pure=kind == "value"))
        elif kind == "word" and token in ("SubPlan", "InitPlan") and at < len(tokens) and tokens[at][0] == "value":
            if nodes and nodes[-1].text == "hashed":
                nodes.pop()
            made = Node("sub", token, subs=[f"SubPlan {tokens[at][1]}"]) if token == "SubPlan" else Node("const", "?", pure=False)
            nodes.append(made)
            at += 1
        elif kind == "word":
            at = _word(nodes, tokens, at - 1, aliases)
        else:
            nodes.append(Node("op" if kind in ("op", "symbol") else "mark", token))
    while len(stack) > 1:  # never, as EXPLAIN writes
        bracket, items = stack.pop()
        _close(stack[-1][1], bracket, items)
    return stack[0][1]


def _word(nodes: list[Node], tokens: list[tuple[str, str]], at: int, aliases: set[str]) -> int:
    """A column, a constant, a name of several parts or a key word; where the tokens go on."""
    parts = [tokens[at][1]]
    at += 1
    while at + 1 < len(tokens) and tokens[at] == ("mark", ".") and (tokens[at + 1][0] == "word" or tokens[at + 1][1].startswith("*")):
        parts.append(tokens[at + 1][1])
        at += 2
    names = [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]
    before = nodes[-1].text if nodes else ""
    if len(parts) > 1 and names[-2] in aliases:
        nodes.append(Node("column", parts[-1], columns={names[-1]}))
    elif parts[0] in ("true", "false") or (parts[0] == "NULL" and before not in ("IS", "NOT")):
        nodes.append(Node("const", "?"))
    elif parts[0] in ("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP") or (
        parts[0] in ("CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "USER", "CURRENT_CATALOG", "CURRENT_SCHEMA")
    ):
        nodes.append(Node("const", "?", pure=False))
    else:
        nodes.append(Node("word", ".".join(parts)))
    return at


def _close(nodes: list[Node], bracket: str, items: list[Node]) -> None:
    """Add a group; what reads no column is a constant, and the name of a function goes with its arguments."""
    columns = {name for item in items for name in item.columns}
    subs = [name for item in items for name in item.subs]
    pure = all(item.pure for item in items)
    word = nodes[-1] if nodes and nodes[-1].kind == "word" and nodes[-1].text not in _KEYWORDS else None
    if word is not None:
        nodes.pop()
        if not columns and not subs:
            nodes.append(Node("const", "?", pure=pure and word.text in ("ARRAY", "ROW")))
        else:
            inner = "".join(joined(items))
            closing = _CLOSE[_OPEN.index(bracket)]
            nodes.append(Node("call", f"{word.text}{bracket}{inner}{closing}", columns, subs, pure))
    elif bracket == "[":
        last = nodes.pop() if nodes else Node("const", "?")
        inner = "".join(joined(items))
        nodes.append(Node("call", f"{last.text}[{inner}]", last.columns | columns, last.subs + subs, pure and last.pure))
    elif not columns and not subs:
        nodes.append(Node("const", "?", pure=pure and len(items) == 1, items=items if len(items) == 1 and items[0].items else []))
    elif len(items) == 1:
        nodes.append(items[0])
    elif subs and any(item.text == "alternatives" for item in items):
        nodes.append(Node("sub", "SubPlan", subs=subs[:1]))
    else:
        nodes.append(Node("group", f"({''.join(joined(items))})", columns, subs, pure, items))


def _cast(nodes: list[Node], tokens: list[tuple[str, str]], at: int) -> int:
    """Take in the type of a cast, without its modifier; where the tokens go on."""
    words: list[str] = []
    while at < len(tokens):
        kind, token = tokens[at]
        if kind == "word" and (not words or words[-1] == "." or (words[-1] in _FOLLOWS.get(token, ()))):
            words.append(token)
        elif token == "." and words:
            words.append(".")
        elif token == "(" and words and at + 1 < len(tokens) and tokens[at + 1][0] == "value":
            while at < len(tokens) and tokens[at][1] != ")":
                at += 1
        elif token == "[" and words and tokens[at + 1][1] == "]":
            words.append("[]")
            at += 1
        else:
            break
        at += 1
    if nodes and nodes[-1].kind == "const":
        # of a constant two casts are left where the second depends on a setting, such as the time zone
        nodes[-1] = Node("const", "?", pure=nodes[-1].pure and not nodes[-1].items, items=[nodes[-1]])
    elif nodes:
        last = nodes.pop()
        name = " ".join(words).replace(" . ", ".").replace(" []", "[]")
        shown = last.text if last.kind in ("column", "call", "group") else f"({last.text})"
        nodes.append(Node("cast", f"{shown}::{name}", last.columns, last.subs, last.pure, [last]))
    return at


# The words that go on in a type's name, and after which: what follows any other cast begins something else.
_FOLLOWS: dict[str, tuple[str, ...]] = {
    "varying": ("character", "bit"),
    "precision": ("double",),
    "with": ("timestamp", "time"),
    "without": ("timestamp", "time"),
    "time": ("with", "without"),
    "zone": ("time",),
} | dict.fromkeys(("year", "month", "day", "hour", "minute", "second"), ("interval", "to"))
_FOLLOWS["to"] = ("year", "month", "day", "hour", "minute")


def joined(nodes: Sequence[Node]) -> Iterator[str]:
    for position, node in enumerate(nodes):
        if position and node.text != "," and not (node.text == "." or nodes[position - 1].text == "."):
            yield " "
        yield node.text


def conjuncts(nodes: list[Node]) -> list[list[Node]]:
    """What AND joins at the top."""
    while len(nodes) == 1 and nodes[0].kind == "group":
        nodes = nodes[0].items
    parts: list[list[Node]] = [[]]
    for node in nodes:
        if node.kind == "word" and node.text == "AND":
            parts.append([])
        else:
            parts[-1].append(node)
    return parts if len(parts) == 1 else [inner for part in parts for inner in conjuncts(part)]


def words(text: str, names: Collection[str] = ()) -> list[str]:
    """The words of an expression as PostgreSQL writes it, without parentheses and the names of tables before those of columns.

    Args:
        names: of the tables, quoted.
    """
    found = [token for _, token in _tokens(text)]
    prefixes = {at for at, token in enumerate(found[:-1]) if found[at + 1] == "." and (token if token[0] == '"' else quote(token)) in names}
    return [token for at, token in enumerate(found) if at not in prefixes and at - 1 not in prefixes and token not in "()"]
