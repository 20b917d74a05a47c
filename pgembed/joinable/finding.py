"""finding: the columns of a database that could be joined with a column, in order, and the statement that joins them."""

from __future__ import annotations

from dataclasses import dataclass

from pgembed import catalogue, columns, errors
from pgembed.columns import quote
from pgembed.database import Database
from pgembed.joinable import evidence, meaning, profiles
from pgembed.joinable.profiles import Profile

# What names, and values that are numbers, are worth beside values of a text: numbers agree by chance.
_NAME = 0.85
_SHAPE = 0.3
_UNKNOWN = 0.6  # stands for the containment that nobody knows
_BACK = 0.8  # where the other's values are all among the own ones, and not the other way round
_MANY = 0.7  # where neither column is a key, each value meets many
LEAST = 0.3  # a score below this is not shown
MOST_TEXT_COLUMNS = 400
MOST_CHECKED = 40  # columns whose values are looked up, of one column
CHECKED_PAGES = 50_000  # a larger table is sampled instead of read, where no index serves


@dataclass(frozen=True)
class Joinable:
    """A pair of columns.

    Attributes:
        kind: equi, or semantic.
        containment: estimated share of the own column's different values that are among the other's; None where nothing is known.
        similarity: mean of the best cosines of the own values with the other's, where they were compared.
        evidence: of foreign key, names, values, range, key, shape, meaning.
        statement: joins the two.
    """

    own: Profile
    other: Profile
    kind: str
    containment: float | None
    similarity: float | None
    score: float
    evidence: tuple[str, ...]
    statement: str


def find(
    db: Database, target: str | None, column_name: str | None, k: int | None, *, sampled: bool | None, semantic: bool | None
) -> list[Joinable]:
    """The k best other columns for each column of a table, or for one of them.

    Args:
        sampled: read values, of a limited number of rows; else statistics alone are read.
        semantic: compare texts by meaning too, which needs the default model.
    Raises:
        errors.NullNotAllowed, errors.UnknownTable, errors.UnknownColumn, errors.InvalidParameter: of the arguments.
        errors.DatatypeMismatch: values of the named column's type are not joined.
        errors.NotReady: there are no statistics of the table, and no values were asked for.
    """
    if k is None or sampled is None or semantic is None:
        raise errors.NullNotAllowed("k, sampled and semantic cannot be NULL", hint="Leave them out for 10, false and true.")
    if k < 1:
        raise errors.InvalidParameter(f"k must be at least 1, not {k}", hint="k is the number of other columns for each column.")
    table, _ = columns.table(db, target)
    if table.relkind not in "rpmf":
        raise errors.WrongObjectType(f'"{table.name}" is not a table', hint="Statistics are of tables: name the table behind it.")
    known = profiles.read(db, table.oid)
    own = [one for one in known if one.oid == table.oid and column_name in (None, one.column)]
    if column_name is not None and not own:
        raise _no_such(db, table, column_name)
    others = known
    if sampled:
        own = [profiles.sampled(db, one) for one in own]
    elif own and not any(one.known for one in own):
        guarded = any(one.guarded for one in own)
        raise errors.NotReady(
            f'nothing is known of the values of "{table.name}": '
            + ("row security hides its statistics" if guarded else "it has no statistics"),
            hint="sampled => true looks at the rows that you may see." if guarded else f"ANALYZE {table.shown}, or say sampled => true.",
        )
    unknown = sorted({one.shown for one in others if not one.known and not one.guarded and one.oid != table.oid})
    if unknown and not sampled:
        db.notice(
            f"{len(unknown)} {'table has' if len(unknown) == 1 else 'tables have'} columns without statistics, such as {unknown[0]}",
            hint="ANALYZE them; until then only names and foreign keys speak for their columns.",
        )
    found: list[Joinable] = []
    for one in own:
        equal = _equal(db, one, [other for other in others if _comparable(one, other)], look=sampled)
        found += sorted(equal, key=_order)[:k]
    if semantic:
        found += _semantic(db, own, others, found, look=sampled)
    return [one for column in own for one in sorted((f for f in found if f.own == column), key=_order)[:k]]


def _order(one: Joinable) -> tuple[float, str, str, str]:
    return -one.score, one.other.shown, one.other.column, one.kind


def _comparable(own: Profile, other: Profile) -> bool:
    return own.group == other.group and (own.oid, own.column) != (other.oid, other.column)


def _equal(db: Database, own: Profile, others: list[Profile], *, look: bool) -> list[Joinable]:
    judged = [one for other in others if (one := _judge(own, other, evidence.containment(own, other))) is not None]
    if not look:
        return [one for one in judged if one.score >= LEAST]
    # statistics choose which columns are worth a look at their values; those that have none are
    promising = sorted(judged, key=_order)[:MOST_CHECKED]
    left = [other for other in others if not other.known and all(other != one.other for one in promising)]
    checked = []
    for other in [one.other for one in promising] + left[: MOST_CHECKED - len(promising)]:
        share = _looked_up(db, own, other)
        said = 0.15 if own.group == "integer" else 1.0 - 0.6 ** (share * len(own.values))
        one = _judge(own, other if other.known else profiles.sampled(db, other), (share, said))
        if one is not None and one.score >= LEAST:
            checked.append(one)
        db.check_interrupts()
    return checked


def _judge(own: Profile, other: Profile, contained: tuple[float, float] | None) -> Joinable | None:
    share, weight = contained if contained is not None else (None, 0.0)
    named = evidence.names(own, other)
    # a key of which few are referred to is joined from the other side: its values contain the other's
    back = evidence.containment(other, own)
    worth = share
    if back is not None and _BACK * back[0] > (_UNKNOWN if share is None else share):
        worth, weight = _BACK * back[0], back[1]
    elif share is not None and share < _UNKNOWN and back is None and own.is_unique:
        worth = None
    shape = evidence.shapes(own, other) if own.group == "text" and worth is None else 0.0
    telling = shape >= 0.9 and any(evidence.shape(value).strip("a ") not in ("", "9") for value in own.values[:20])
    declared = (other.oid, other.column) in own.refers or (own.oid, own.column) in other.refers
    key = own.is_unique or other.is_unique
    # of texts that look different nothing is known either, and nothing is likely
    unknown = _UNKNOWN * (_BACK * shape + 1 - _BACK if own.group == "text" and own.values and other.values else 1.0)
    against = (1 - _NAME * named) * (1 - weight * (worth or 0.0)) * (1 - _SHAPE * telling)
    score = (1 - against) * (unknown if worth is None else worth) ** 0.5 * (1.0 if key else _MANY)
    if declared:
        score = 1.0
    said = [
        name
        for name, holds in (
            ("foreign key", declared),
            ("names", named >= 0.5),
            ("values", worth is not None and worth >= 0.5 and weight >= 0.5),
            ("range", worth is not None and worth >= 0.5 and own.group == "integer"),
            ("shape", telling),
            ("key", key),
        )
        if holds
    ]
    left, right = quote(own.column), quote(other.column)
    statement = f"SELECT * FROM {own.sql} AS l JOIN {other.sql} AS r ON l.{left} = r.{right}"
    return Joinable(own, other, "equi", share, None, score, tuple(said), statement) if score > 0 else None


def _looked_up(db: Database, own: Profile, other: Profile) -> float:
    """Share of the sampled values that are among the other column's, as far as the caller sees its rows."""
    if not own.values:
        return 0.0
    column = quote(other.column)
    share = 1.0 if other.is_unique or other.pages <= CHECKED_PAGES else CHECKED_PAGES / other.pages
    part = "" if share == 1.0 else f" TABLESAMPLE SYSTEM ({100 * share}) REPEATABLE (1)"
    hits = db.execute(
        "SELECT pg_catalog.count(*) AS n FROM pg_catalog.unnest($1) AS v (value)"
        f" WHERE v.value IN (SELECT t.{column}::pg_catalog.text FROM {other.sql} AS t{part})",
        ["pg_catalog.text[]"],
        [list(own.values)],
    )[0]["n"]
    return float(min(1.0, int(hits) / len(own.values)))


def _semantic(db: Database, own: list[Profile], others: list[Profile], equal: list[Joinable], *, look: bool) -> list[Joinable]:
    """Columns of text whose values are near by meaning, where equal values do not join them already."""
    mine = [one for one in own if one.group == "text" and one.values]
    texts = [other for other in others if other.group == "text"][:MOST_TEXT_COLUMNS]
    if look:
        texts = [other if other.values else profiles.sampled(db, other) for other in texts]
    texts = [other for other in texts if other.values]
    if not mine or not any(_comparable(one, other) for one in mine for other in texts):
        return []
    model = catalogue.resolve(db, None, by_backend=True)
    joined = {(one.own.column, one.other.oid, one.other.column) for one in equal if one.score >= LEAST}
    found = []
    for (i, j), (best, excess) in meaning.similarities(mine, texts, model, db.check_interrupts).items():
        one, other = mine[i], texts[j]
        score = 1 - (1 - excess) * (1 - 0.5 * evidence.names(one, other) * excess)
        if not _comparable(one, other) or score < LEAST or (one.column, other.oid, other.column) in joined:
            continue
        statement = (
            f"SELECT * FROM pgembed.semantic_join(NULL::{one.sql}, NULL::{other.sql},"
            f" left_column => {columns.literal(one.column)}, right_column => {columns.literal(other.column)})"
        )
        said = ("meaning", "names") if evidence.names(one, other) >= 0.5 else ("meaning",)
        contained = evidence.containment(one, other)
        found.append(Joinable(one, other, "semantic", contained and contained[0], best, score, said, statement))
    return found


def _no_such(db: Database, table: columns.Table, name: str) -> errors.PgembedError:
    found = db.execute(
        "SELECT pg_catalog.format_type(atttypid, atttypmod) AS type, pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT') AS mine"
        " FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 AND attnum > 0 AND NOT attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [table.oid, name],
    )
    if not found:
        return errors.UnknownColumn(f'column "{name}" of table "{table.name}" does not exist', hint="Leave it out to ask for all columns.")
    if not found[0]["mine"]:
        return errors.InsufficientPrivilege(
            f'permission denied for column "{name}" of table "{table.name}"', hint="What is told are its values: SELECT on it is needed."
        )
    return errors.DatatypeMismatch(
        f'column "{name}" of table "{table.name}" is of type {found[0]["type"]}, whose values are not joined',
        hint="Columns of text, whole numbers, uuid, date, network addresses and enums are.",
    )
