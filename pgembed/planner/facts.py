"""facts: what a search must know of its table, looked up once a session and again when something of it has changed.

A plan that PostgreSQL keeps for a session is made anew when one of its tables is altered, gets or loses an index or a policy, or is
analysed. ``pgembed._planned()`` says when that was: an immutable function that reads the clock is evaluated as its statement is
planned. One statement over the searched table asks for that, for the versions of the registry's rows, and for the caller's rights; while
its answer stays the same, so do the facts.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from pgembed import columns, viewed
from pgembed.codes import catalogue
from pgembed.codes.catalogue import Code
from pgembed.columns import Column, Table
from pgembed.database import Database
from pgembed.planner import checks, curves, filters, partial
from pgembed.planner.contract import Estimate
from pgembed.planner.costs import Costs
from pgembed.planner.costs import load as load_costs
from pgembed.planner.curves import Point, Points
from pgembed.planner.partial import VectorIndex

_KNOWN: OrderedDict[tuple[str, str | None], tuple[object, float, Facts]] = OrderedDict()
_MOST_KNOWN = 64
_MOST_ESTIMATES = 64
# A table grows without being altered.
_SECONDS = 60.0
# PostgreSQL moves values out of rows that are longer than this.
_TOAST_BYTES = 2032


@dataclass(frozen=True)
class Facts:
    """What is known of an embedded column and of what searches may use there.

    Attributes:
        code: the active codes, where searches may read them; None for none, and then ``but`` says why, or is ''.
        rows: that the caller may see, as PostgreSQL estimates it.
        held: rows of the table, whoever may see them: what an index has. Nobody is told, for the difference is what policies hide.
        readable: the caller may read the whole table.
        secured: row security hides rows from the caller, or may.
        strings: standard_conforming_strings.
        points: of a calibration; () before one.
        toasted: vectors are kept apart from their rows.
        indexes: on vectors and codes, partial ones and those of partitions too.
        beside: while a model is being changed, fingerprint -> name of the columns of this table.
        estimates: of filters with their params that were asked for since these facts were looked up.
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
    held: float = 0.0
    indexes: tuple[VectorIndex, ...] = ()
    beside: dict[str, str] = field(default_factory=dict)
    estimates: OrderedDict[tuple[str, str | None], Estimate] = field(default_factory=OrderedDict, compare=False, repr=False)

    def estimate(self, db: Database, condition: str, params: str | None) -> Estimate:
        """See `filters.estimate`. It stays as long as these facts do, but for policies: what they ask may change at any time.

        Args:
            condition: as `filters.proven` returns it.
        """
        key = (condition, params)
        found = None if self.secured else self.estimates.get(key)
        if found is None:
            found = filters.estimate(db, self.column.table, condition, params, held=self.held, code=self.code)
            while len(self.estimates) >= _MOST_ESTIMATES:
                self.estimates.popitem(last=False)
            self.estimates[key] = found
        return found


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
    key = (target, column_name)
    known = _KNOWN.get(key)
    # a view that is over another table by now was planned anew, and so the stamp differs
    home = known[2].column.home if known is not None else None
    try:
        stamp = _stamp(db, target, None if home is None else home.table)
    except Exception:
        # PostgreSQL's own refusal has no word on what is needed
        checks.check_rights(db, viewed.column(db, target, column_name), "key")
        raise
    now = time.monotonic()
    if known is not None and known[0] == stamp and now - known[1] < _SECONDS:
        return known[2]
    column = viewed.column(db, target, column_name)
    # Taken again: the first one has the table locked, so that columns keep their names from then on, but may have waited for that lock and
    # seen the registry as it was before.
    stamp = _stamp(db, target, None if column.home is None else column.home.table)
    found = _look(db, column, stamp)
    while len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.popitem(last=False)
    if found.column.chunks is None:
        _KNOWN[key] = (stamp, now, found)
    return found


def _stamp(db: Database, target: str, home: Table | None) -> dict[str, object]:
    # the registry knows the table under a view; by number, for it may be gone
    named = f"{columns.literal(target)}::pg_catalog.regclass"
    registered = named if home is None else f"{home.oid}::pg_catalog.oid"
    versions = ", ".join(
        f"ARRAY(SELECT pg_catalog.concat(r.xmin, r.ctid) FROM pgembed.{table} AS r"
        f" WHERE r.table_name OPERATOR(pg_catalog.=) {registered}) AS {table}"
        for table in ("_embedding", "_code", "_codec", "_calibration")
    )
    secured = f"pg_catalog.row_security_active({named})"
    if home is not None:
        # what a view leaves out is hidden from those who may not read the table itself
        readable = f"coalesce(pg_catalog.has_table_privilege({registered}, 'SELECT'), false)"
        secured = f"(pg_catalog.row_security_active({registered}) OR NOT {readable})"
    return dict(
        db.execute(
            f"SELECT pgembed._planned() AS planned, CURRENT_USER::pg_catalog.text AS role,"
            f" {named}::pg_catalog.oid AS relation, pg_catalog.has_table_privilege({named}, 'SELECT') AS readable, {secured} AS secured,"
            f" pg_catalog.current_setting('standard_conforming_strings') AS strings, {versions}"
            f" FROM (SELECT) AS one LEFT JOIN {target} AS t ON false",
            keep=True,
        )[0]
    )


def _look(db: Database, column: Column, stamp: dict[str, object]) -> Facts:
    home = column.home or column
    code, but = None, column.apart
    if column.chunks is None and not column.apart and stamp["_code"]:
        code, but = _code(db, column, home)
    rows = filters.estimate(db, column.table, "true", None).rows
    points, costs = _calibrated(db, home) if stamp["_calibration"] else (Points(), Costs())
    return Facts(
        column=column,
        code=code,
        but=but,
        rows=rows,
        readable=bool(stamp["readable"]),
        secured=bool(stamp["secured"]),
        strings=str(stamp["strings"]),
        points=points,
        costs=costs,
        toasted=column.chunks is None and _toasted(db, home),
        held=max(rows, home.rows),
        beside=_beside(db, column) if len(_lines(stamp)) > 1 else {},
        indexes=() if column.chunks is not None or column.apart else partial.indexes(db, home, code if home is column else None),
    )


def _lines(stamp: dict[str, object]) -> list[object]:
    lines = stamp["_embedding"]
    return lines if isinstance(lines, list) else []


def _beside(db: Database, column: Column) -> dict[str, str]:
    """Fingerprint -> name of the columns between which the one that searches mean changes, where it does."""
    if column.home is not None:
        return {}
    known = columns.table(db, str(column.table.oid))[1]
    meant = column.change_of or column.name
    found = {str(one.fingerprint): one.name for one in known if meant in (one.name, one.change_of)}
    return found if len(found) > 1 else {}


def _calibrated(db: Database, column: Column) -> tuple[Points, Costs]:
    """What was measured of a column, but for paths of which it does not hold any more; what they cost here holds on."""
    found = db.execute(
        "SELECT c.points::pg_catalog.text AS points, c.costs::pg_catalog.text AS costs, c.k, c.stale"
        " FROM pgembed._calibrated($1::pg_catalog.oid::pg_catalog.regclass, $2) AS c",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    if not found:
        return Points(), Costs()
    kept, stale = json.loads(found[0]["points"]), set(found[0]["stale"])
    return curves.load(kept, found[0]["k"], stale), load_costs(json.loads(found[0]["costs"]))


def _toasted(db: Database, column: Column) -> bool:
    """Whether vectors are kept apart from their rows: they are of more than a quarter of a page, and are not told to stay."""
    if column.dim is None or column.dim * (4 if column.type == "vector" else 2) < _TOAST_BYTES:
        return False
    found = db.execute(
        "SELECT a.attstorage OPERATOR(pg_catalog.<>) 'p' AS apart FROM pg_catalog.pg_attribute AS a"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attname OPERATOR(pg_catalog.=) $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    return bool(found and found[0]["apart"])


def _code(db: Database, column: Column, home: Column) -> tuple[Code | None, str]:
    from pgembed.planner import coded

    found = [one for one in catalogue.codes(db, home.table) if one.is_active and one.embedding_column == home.name]
    if not found:
        return None, ""
    code = found[0]
    if column.home is not None:
        name = viewed.shown_as(db, column, code.name)
        if name is None:
            return None, f'codes {code.label}: view "{column.table.name}" does not show them'
        code = replace(code, table=column.table, name=name, embedding_column=column.name)
    why = coded.why_not(db, code, column)
    return (None, f"codes {code.label}: {why}") if why else (code, "")
