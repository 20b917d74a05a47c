"""conditions: what of a condition over l and r cuts the work before any distance is computed.

What speaks of one side alone filters that side; what says that something on the left equals something on the right makes groups, of which
only equal ones are compared; PostgreSQL is asked about the rest, pair by pair. The condition means what it means to the caller: its pieces
are evaluated by PostgreSQL as they stand, with the caller's search_path and rights, and equal is what the caller's operator says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgembed import errors, expressions
from pgembed.database import Database
from pgembed.joining import conjuncts
from pgembed.joining.sides import Side, filtered

JSONB = "pg_catalog.jsonb"
# Different values on one side of an equality whose operator is not simply that of equal texts.
MOST_VALUES = 100_000
# Types of which two values are equal where their texts are, under PostgreSQL's own operators.
_PLAIN = ("bool", "int2", "int4", "int8", "oid", "date", "uuid", "name", "char", "timestamp", "timestamptz")
_WHOLE = ("int2", "int4", "int8")
_TEXTS = ("text", "varchar")


@dataclass(frozen=True)
class Conditions:
    """A condition, taken apart.

    Attributes:
        left, right: the sides, filtered and grouped by it.
        of_left, of_right, equal: what of it cuts the work, as the caller wrote it.
        rest: boolean SQL over l and r that PostgreSQL is asked about for pairs, with the params as $1; '' where nothing is left.
        params: JSON text, or None.
    """

    left: Side
    right: Side
    of_left: tuple[str, ...] = ()
    of_right: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    rest: str = ""
    params: str | None = None


@dataclass
class _Group:
    """An equality: what stands on each side, and whether the right one comes first in it.

    Where equal values are not equal texts, texts -> names of their groups.
    """

    left: str
    right: str
    is_turned: bool = False
    left_names: dict[str, str] | None = None
    right_names: dict[str, str] = field(default_factory=dict)


def apart(db: Database, left: Side, right: Side, condition: str | None, params: str | None) -> Conditions:
    """Take a condition apart.

    Raises:
        errors.StatementRefused: it is not one boolean expression over l and r.
    """
    if condition is None:
        return Conditions(left, right, params=params)
    both = f"FROM {left.source.relation} AS l CROSS JOIN {right.source.relation} AS r WHERE"
    prove(db, both, condition)
    pieces = conjuncts.split(condition)
    if len(pieces) > 1 and not all(_holds(db, both, piece) for piece in pieces):
        pieces = [condition]
    ours: dict[str, list[str]] = {"left": [], "right": [], "equal": [], "rest": []}
    equalities: list[_Group] = []
    over_left, over_right = f"FROM {left.source.relation} AS l WHERE", f"FROM {right.source.relation} AS r WHERE"
    for piece in pieces:
        if _holds(db, over_left, piece):
            ours["left"].append(piece)
        elif _holds(db, over_right, piece):
            ours["right"].append(piece)
        elif (equality := _equality(db, left, right, piece)) is not None:
            equalities.append(equality)
            ours["equal"].append(piece)
        else:
            ours["rest"].append(piece)
    where_left, where_right = _all_of(ours["left"]), _all_of(ours["right"])
    groups: list[_Group] = []
    for equality, piece in zip(equalities, list(ours["equal"]), strict=True):
        if _named(db, left, right, equality, where_left, where_right, params):
            groups.append(equality)
        else:
            ours["equal"].remove(piece)
            ours["rest"].append(piece)
    return Conditions(
        _side(left, where_left, params, [(one.left, one.left_names) for one in groups]),
        _side(right, where_right, params, [(one.right, None if one.left_names is None else one.right_names) for one in groups]),
        tuple(ours["left"]),
        tuple(ours["right"]),
        tuple(ours["equal"]),
        _all_of(ours["rest"]),
        params,
    )


def prove(db: Database, both: str, condition: str) -> None:
    """Prove that a condition is one boolean expression; nothing of it is run.

    What breaks out of parentheses does not parse without them, and the other way round.

    Args:
        both: FROM and WHERE, over l and r.
    """
    try:
        for form in (condition, f"({condition}\n)"):
            db.prepare(f"SELECT {both} {form}", [JSONB])
    except errors.StatementRefused as error:
        error.message = f"condition is not a boolean expression over l and r: {error.message}"
        usual = "The left row is l, the right one is r: l.country = r.country; values come as params: $1->>'name'."
        error.hint = expressions.hint(error, condition, usual)
        raise


def _holds(db: Database, over: str, piece: str) -> bool:
    """Whether a piece is a boolean expression over what is there."""
    try:
        for form in (piece, f"({piece}\n)"):
            db.prepare(f"SELECT {over} {form}", [JSONB])
    except errors.StatementRefused:
        return False
    return True


def _all_of(pieces: Sequence[str]) -> str:
    return " AND ".join(f"({piece}\n)" for piece in pieces)


def _equality(db: Database, left: Side, right: Side, piece: str) -> _Group | None:
    """The equality that a piece is, what is of the left first; None where it is none of one side with the other."""
    sides = conjuncts.equality(piece)
    if sides is None:
        return None
    of_left, of_right = f"FROM {left.source.relation} AS l WHERE", f"FROM {right.source.relation} AS r WHERE"
    for one, other, turned in ((*sides, False), (*sides[::-1], True)):
        if _holds(db, of_left, f"({one}\n) IS NULL") and _holds(db, of_right, f"({other}\n) IS NULL"):
            return _Group(one, other, turned)
    return None


def _named(db: Database, left: Side, right: Side, group: _Group, where_left: str, where_right: str, params: str | None) -> bool:
    """Find out what is equal, where texts do not tell; False where it makes no groups."""
    if _texts_tell(db, left, right, group, params):
        return True

    def values(side: Side, expression: str, where: str) -> str:
        alias = side.source.alias
        text = f'({expression}\n)::pg_catalog.text COLLATE pg_catalog."C"'
        return (
            f"(SELECT DISTINCT ON (s.t) s.v, s.t FROM (SELECT ({expression}\n) AS v, {text} AS t FROM {side.source.relation} AS {alias}"
            f"{where and f' WHERE {where}'}) AS s WHERE s.t IS NOT NULL)"
        )

    # The operator and the types are those of the condition.
    same = "b.v = a.v" if group.is_turned else "a.v = b.v"
    statement = (
        f"SELECT a.t AS one, b.t AS other FROM {values(left, group.left, where_left)} AS a"
        f" JOIN {values(right, group.right, where_right)} AS b ON {same} LIMIT {MOST_VALUES + 1}"
    )
    try:
        db.prepare(statement, [JSONB])
    except errors.StatementRefused:
        return False
    found = db.execute(statement, [JSONB], [params])
    if len(found) > MOST_VALUES:
        return False
    names = _components([(str(row["one"]), str(row["other"])) for row in found])
    if names is None:
        return False
    group.left_names, group.right_names = names
    return True


def _components(pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]] | None:
    """Name of the group of each value on the left and on the right; None where equality is not transitive."""
    partners: dict[str, set[str]] = {}
    for one, other in pairs:
        partners.setdefault(one, set()).add(other)
    left: dict[str, str] = {}
    right: dict[str, str] = {}
    groups: dict[str, set[str]] = {}
    for one, others in partners.items():
        known = {right.get(other) for other in others}
        name = known.pop()
        if known or (name is not None and groups[name] != others):
            return None
        if name is None:
            name = str(len(groups))
            groups[name] = others
            right.update(dict.fromkeys(others, name))
        left[one] = name
    return left, right


def _texts_tell(db: Database, left: Side, right: Side, group: _Group, params: str | None) -> bool:
    """Whether values are equal just where their texts are: of PostgreSQL's own types, by its own operator."""
    found = db.execute(
        "SELECT a.typname::pg_catalog.text AS one, b.typname::pg_catalog.text AS other,"
        # an operator of somebody's for these types may come first, and a collation may hold different texts for equal
        " NOT EXISTS (SELECT FROM pg_catalog.pg_operator AS o WHERE o.oprname OPERATOR(pg_catalog.=) '=' AND o.oprnamespace"
        " OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace AND pg_catalog.pg_operator_is_visible(o.oid)"
        " AND (o.oprleft OPERATOR(pg_catalog.=) a.oid OR o.oprright OPERATOR(pg_catalog.=) b.oid"
        " OR o.oprleft OPERATOR(pg_catalog.=) 'text'::pg_catalog.regtype)) AS own,"
        " NOT EXISTS (SELECT FROM pg_catalog.pg_collation AS c WHERE NOT c.collisdeterministic) AS plain"
        " FROM (SELECT pg_catalog.pg_typeof((SELECT (" + group.left + f"\n) FROM {left.source.relation} AS l WHERE false)) AS l,"
        f" pg_catalog.pg_typeof((SELECT ({group.right}\n) FROM {right.source.relation} AS r WHERE false)) AS r) AS k"
        " JOIN pg_catalog.pg_type AS a ON a.oid OPERATOR(pg_catalog.=) k.l::pg_catalog.oid"
        " JOIN pg_catalog.pg_type AS b ON b.oid OPERATOR(pg_catalog.=) k.r::pg_catalog.oid",
        [JSONB],
        [params],
    )[0]
    if not found["own"]:
        return False
    one, other = str(found["one"]), str(found["other"])
    if one in _TEXTS and other in _TEXTS:
        return bool(found["plain"])
    return (one == other and one in _PLAIN) or (one in _WHOLE and other in _WHOLE)


def _side(side: Side, where: str, params: str | None, groups: Sequence[tuple[str, dict[str, str] | None]]) -> Side:
    if not where and not groups:
        return side
    types, values = [JSONB], [params]
    texts = []
    for expression, names in groups:
        text = f"({expression}\n)::pg_catalog.text"
        if names is not None:
            types.append(JSONB)
            values.append(json.dumps(names))
            text = f"(${len(types)} OPERATOR(pg_catalog.->>) {text})"
        texts.append(text)
    group = texts[0] if texts else None
    if len(texts) > 1:
        known = " AND ".join(f"{text} IS NOT NULL" for text in texts)
        group = f"CASE WHEN {known} THEN pg_catalog.jsonb_build_array({', '.join(texts)})::pg_catalog.text END"
    return filtered(side, where, group, types, values)
