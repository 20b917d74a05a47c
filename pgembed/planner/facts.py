"""facts: what a search must know of its table, looked up once a session and again when something of it has changed.

A plan that PostgreSQL keeps for a session is made anew when one of its tables is altered, gets or loses an index or a policy, or is
analysed. ``pgembed._planned()`` says when that was: an immutable function that reads the clock is evaluated as its statement is
planned. One statement over the searched table asks for that, for the versions of the registry's rows, and for the caller's rights; while
its answer stays the same, so do the facts.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from pgembed import columns
from pgembed.codes import catalogue
from pgembed.codes.catalogue import Code
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.planner import filters
from pgembed.planner.costs import Costs
from pgembed.planner.curves import Point

_KNOWN: OrderedDict[tuple[str, str | None], tuple[object, float, Facts]] = OrderedDict()
_MOST_KNOWN = 64
# A table grows without being altered.
_SECONDS = 60.0


@dataclass(frozen=True)
class Facts:
    """What is known of an embedded column and of what searches may use there.

    Attributes:
        code: the active codes, where searches may read them; None for none, and then ``but`` says why, or is ''.
        rows: that the caller may see, as PostgreSQL estimates it.
        readable: the caller may read the whole table.
        secured: row security hides rows from the caller, or may.
        strings: standard_conforming_strings.
        points: of a calibration; () before one.
        toasted: vectors are kept apart from their rows.
    """

    column: Column
    code: Code | None
    but: str
    rows: float
    readable: bool
    secured: bool
    strings: str
    points: tuple[Point, ...] = ()
    costs: Costs = field(default_factory=Costs)
    toasted: bool = False


def look(db: Database, target: str | None, column_name: str | None) -> Facts:
    """The facts of the embedded column that a search means, for its caller.

    Args:
        target: the table as regclass writes it.
        column_name: None where the table has only one.
    Raises:
        errors.PgembedError: see `pgembed.columns.column`.
    """
    if target is None or target.isdigit():
        columns.column(db, target, column_name)  # raises: it was dropped, or never was
    assert target is not None
    stamp = _stamp(db, target)
    key = (target, column_name)
    known = _KNOWN.get(key)
    now = time.monotonic()
    if known is not None and known[0] == stamp and now - known[1] < _SECONDS:
        return known[2]
    found = _look(db, target, column_name, stamp)
    while len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.popitem(last=False)
    if found.column.chunks is None:
        _KNOWN[key] = (stamp, now, found)
    return found


def _stamp(db: Database, target: str) -> dict[str, object]:
    versions = ", ".join(
        f"ARRAY(SELECT pg_catalog.concat(r.xmin, r.ctid) FROM pgembed.{table} AS r"
        f" WHERE r.table_name OPERATOR(pg_catalog.=) {columns.literal(target)}::pg_catalog.regclass) AS {table}"
        for table in ("_embedding", "_code", "_codec")
    )
    return dict(
        db.execute(
            f"SELECT pgembed._planned() AS planned, CURRENT_USER::pg_catalog.text AS role,"
            f" {columns.literal(target)}::pg_catalog.regclass::pg_catalog.oid AS relation,"
            f" pg_catalog.has_table_privilege({columns.literal(target)}::pg_catalog.regclass, 'SELECT') AS readable,"
            f" pg_catalog.row_security_active({columns.literal(target)}::pg_catalog.regclass) AS secured,"
            f" pg_catalog.current_setting('standard_conforming_strings') AS strings, {versions}"
            f" FROM (SELECT) AS one LEFT JOIN {target} AS t ON false",
            keep=True,
        )[0]
    )


def _look(db: Database, target: str, column_name: str | None, stamp: dict[str, object]) -> Facts:
    column = columns.column(db, target, column_name)
    code, but = None, ""
    if column.chunks is None and stamp["_code"]:
        code, but = _code(db, column)
    return Facts(
        column=column,
        code=code,
        but=but,
        rows=filters.estimate(db, column.table, "true", None).rows,
        readable=bool(stamp["readable"]),
        secured=bool(stamp["secured"]),
        strings=str(stamp["strings"]),
    )


def _code(db: Database, column: Column) -> tuple[Code | None, str]:
    from pgembed.planner import coded

    found = [one for one in catalogue.codes(db, column.table) if one.is_active and one.embedding_column == column.name]
    if not found:
        return None, ""
    why = coded.why_not(db, found[0], column)
    return (None, f"codes {found[0].label}: {why}") if why else (found[0], "")
