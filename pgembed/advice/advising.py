"""advising: which indexes filtered searches of a table would be served by.

What an index is worth is said in rows of the table that a search reads, by PostgreSQL's own estimates: reading one costs some 2 to 4
microseconds with its vector (7 to 19 ms for 4,500 rows of 384 dimensions), an entry of a covering index 0.3 (1.4 ms for as many). Where few
rows pass anyway an ordinary index is enough; where very many do, the vector index finds k of them soon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgembed import columns, entries, planner
from pgembed.advice import grouping, log, ordinary, parsing, shapes
from pgembed.advice.grouping import Covering, Use
from pgembed.codes import catalogue, indexes, scanning
from pgembed.codes.catalogue import Code
from pgembed.columns import OPCLASSES, Column, literal, quote
from pgembed.database import Database
from pgembed.entries import Attribute

# Where no more rows pass, comparing them exactly reads as many as rescoring does.
FEW_ROWS = 400
# Up to here all rows of a table are compared in 15 ms or so, at 384 dimensions.
SMALL_TABLE = 10_000
# Share of the table above which a vector index meets passing rows soon enough.
MOST_SHARE = 0.5
# Entries of a covering index above which comparing them takes 10 ms.
MOST_ENTRIES = 50_000
RESCORED = 200  # of the candidates by code, where the codec was not measured yet
# A vector index for the rows of one condition, where they are so many that none of the others will do, and so small a part of all.
PARTIAL_ROWS, PARTIAL_SHARE = 10_000, 0.3
METHOD, THRESHOLDS = "thermometer", 2  # of a codec that is proposed, and its bits for each dimension


@dataclass(frozen=True)
class Advice:
    """One statement, and why.

    Attributes:
        statement: None where nothing can be done, and the reason says why.
        kind: ``codec``, ``bound``, ``covering index``, ``vector index``, ``partial vector index``, ``index`` or ``nothing``.
        columns: of the table, that it is about.
        index_bytes: about how large an index will be; None for other kinds.
        reads_now, reads_then: rows of the table that one of these searches reads, without and with it; None where that is not estimated.
        searches: that it serves, as they were counted; of filters that were given, how many were.
    """

    statement: str | None
    kind: str
    reason: str
    columns: tuple[str, ...] = ()
    index_bytes: int | None = None
    reads_now: int | None = None
    reads_then: int | None = None
    searches: int = 0


@dataclass(frozen=True)
class _Known:
    """What is known of the table: its columns, its rows, and its column of codes, which may be yet to be made."""

    db: Database
    column: Column
    attributes: dict[str, Attribute]
    rows: float
    code: Code | None
    code_name: str
    rescored: int
    indexes: list[ordinary.Index]

    def carried(self, keys: Sequence[str], also: Sequence[str]) -> list[str]:
        """What an index with some keys carries beside them: other columns of filters, then what every covering index does."""
        always = indexes.carried_by(self.db, self.column.table, keys, self.code_name)
        return [*(name for name in also if name not in always and name not in keys), *always]

    def reads(self, use: Use) -> int:
        """Rows that a search reads now."""
        found = any(
            index.keys[:1] and index.keys[0] in set(term.columns) and index.serves(term.form)
            for term in use.shape.terms
            for index in self.indexes
        )
        return round(use.rows if found else max(self.rows, use.rows))


def advise(db: Database, target: str | None, column_name: str | None, filters: Sequence[str] | None) -> list[Advice]:
    """Body of `pgembed.advise`: statements in the order in which to run them; [] where nothing is missing.

    Args:
        filters: as `search` takes them; None for those that were counted, see `pgembed.advice.log`.
    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.StatementRefused: a filter is not one boolean expression over the table.
        errors.UnknownObject, errors.AmbiguousColumn: as `columns.column`.
    """
    column = columns.column(db, target, column_name)
    column.table.must_own()
    uses = _counted(db, column) if filters is None else [_given(db, column, one) for one in filters]
    return _advise(_known(db, column), uses)


def index_for(db: Database, column: Column, condition: str, rows: float | None = None) -> str | None:
    """The statement that builds what would help one filter most; None where no index would, or it is there.

    What it needs comes first, separated by semicolons: codes, where there are none yet, and where nothing limits a column's values, what
    limits them, for without that an insert of a long value would fail one day. Runs with the caller's rights, and looks at no row.

    Args:
        column: that is searched, of a table or of a view over one.
        condition: as `planner.proven` returns it.
        rows: that pass, estimated; None asks PostgreSQL for a plan that knows no parameters.
    """
    home = column.home or column
    if condition == "true" or home.rows < 0:
        return None
    found = shapes.shape(db, column.table, condition)
    use = Use(found, 1, _estimated(db, column, condition) if rows is None else rows, None)
    known = _known(db, home)
    if not set(known.attributes).issuperset(found.columns):
        return None
    covering = _covering(known, [use], look=False)
    made = [one for one in [*_codes(known, bool(covering)), *(covering or _ordinary(known, [use], []))] if one.statement]
    return ";\n".join(str(one.statement) for one in made) or None


def _known(db: Database, column: Column) -> _Known:
    table = column.table
    known = [one for one in catalogue.codes(db, table) if one.embedding_column == column.name and one.is_sound]
    code = next((one for one in known if one.is_active), known[0] if known else None)
    attributes = entries.attributes(db, table)
    name = code.name if code else f"{table.name[:40]}_{METHOD}"
    if code is not None:
        attributes[name] = entries.stored(name, indexes.code_bytes(code))
    else:
        attributes[name] = entries.stored(name, -(-THRESHOLDS * (column.dim or 1) // 8))
    rescored = scanning.default_rescore(code.codec, 10) if code else RESCORED
    return _Known(db, column, attributes, max(column.rows, 0.0), code, name, rescored, ordinary.existing(db, table))


def _counted(db: Database, column: Column) -> list[Use]:
    log.flush(db)
    rows = db.execute(
        "SELECT terms::pg_catalog.text AS terms, searches, coalesce(rows, 0) AS rows FROM pgembed.filters_used"
        " WHERE target = $1 AND column_name = $2 ORDER BY searches DESC, shape",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    return [Use(shapes.unpacked(row["terms"]), row["searches"], row["rows"]) for row in rows]


def _given(db: Database, column: Column, written: str) -> Use:
    condition = planner.proven(db, column.table, written)
    return Use(shapes.shape(db, column.table, condition), 1, _estimated(db, column, condition), written)


def _estimated(db: Database, column: Column, condition: str) -> float:
    table = column.table
    return float(shapes.generic_plan(db, f"SELECT FROM {table.sql} AS {table.alias} WHERE {condition}")["Plan Rows"])


def _advise(known: _Known, uses: Sequence[Use]) -> list[Advice]:
    column = known.column
    # nothing can be said of a column that is gone, of a whole row, or of another table's
    uses = [use for use in uses if set(known.attributes).issuperset(use.shape.columns)]
    if column.rows < 0:
        return [Advice(f"ANALYZE {column.table.sql}", "statistics", "PostgreSQL has not counted the table's rows yet, so nothing is known")]
    covering = _covering(known, uses, look=True)
    vector = _vector(known, coded=bool(covering))
    made = [*_codes(known, bool(covering) or bool(vector)), *vector, *covering]
    served = [name for one in covering if one.kind == "covering index" for name in one.columns[:1]]
    return [*made, *_partial(known, uses), *_ordinary(known, uses, served)]


def _codes(known: _Known, needed: bool) -> list[Advice]:
    """What makes and fills the column of codes."""
    table, code, column = known.column.table, known.code, known.column
    if not needed or column.chunks is not None:
        return []
    size = known.attributes[known.code_name].most or 0
    if code is None:
        name, shown, of = literal(known.code_name), literal(table.shown), literal(column.name)
        why = f"codes of {size - 8} bytes find candidates, which are then compared exactly; {column.label} has none yet"
        return [
            Advice(f"SELECT pgembed.train_codec({name}, {shown}, '{METHOD}', {of})", "codec", why, (column.name,)),
            Advice(f"SELECT pgembed.add_code({shown}, {name}, embedding_column => {of})", "codec", why, (column.name,)),
            Advice(f"CALL pgembed.fill_code({shown}, {name})", "codec", "rows that are there get their codes, in batches", (column.name,)),
        ]
    if not code.is_filled:
        statement = f"CALL pgembed.fill_code({literal(table.shown)}, {literal(code.name)})"
        return [Advice(statement, "codec", f"{code.label} is not filled, and searches do not use it until it is", (code.name,))]
    return []


def _vector(known: _Known, *, coded: bool) -> list[Advice]:
    """The vector index that searches go by whose filter most rows pass; over codes, where there are or will be any, it is the smaller one.

    Args:
        coded: codes are advised, or there.
    """
    column, code = known.column, known.code
    if known.rows <= SMALL_TABLE or column.index_name is not None or column.chunks is not None:
        return []
    if code is None and coded:
        definition = f"USING hnsw ({quote(known.code_name)} {column.vector_schema}.bit_hamming_ops)"
        statements = indexes.plain_index(known.db, column.table, f"{definition} WITH (ef_construction = {indexes.EF_CONSTRUCTION})")
        about, size = known.code_name, (known.attributes[known.code_name].most or 0) - 8
    elif code is None or code.codec.kind == "bytes":
        operator_class = f"{column.vector_schema}.{column.type}_{OPCLASSES[column.metric]}"
        statements = indexes.plain_index(known.db, column.table, f"USING hnsw ({column.sql} {operator_class})")
        about, size = column.name, (column.dim or 0) * (4 if column.type == "vector" else 2)
    else:
        statements = indexes.vector_index(known.db, code, column)
        about, size = code.name, indexes.code_bytes(code)
    why = f"searches whose filter most of {known.rows:.0f} rows pass, or that have none, read them all without a vector index"
    return [
        Advice(one, "vector index", why, (about,), round(known.rows * (size + 400)), round(known.rows), known.rescored)
        for one in statements
    ]


def _covering(known: _Known, uses: Sequence[Use], *, look: bool) -> list[Advice]:
    """Covering indexes, each after the statements that limit its columns.

    Args:
        look: at the rows of the table, for the longest value of a column that nothing limits.
    """
    column, table = known.column, known.column.table
    if column.chunks is not None or not known.rows or not table.keys:
        return []
    worth = [
        use
        for use in uses
        if FEW_ROWS < use.rows <= min(MOST_ENTRIES, MOST_SHARE * known.rows)
        and column.name not in use.shape.columns
        and not _is_covered(known, use)
    ]
    made: list[Advice] = []
    spread = {name: attribute.distinct or 0.0 for name, attribute in known.attributes.items()}
    for index in grouping.covering(worth, lambda name: spread.get(name, 0.0), lambda one: _fits(known, one)):
        made += _one_covering(known, index, look)
    return made


def _is_covered(known: _Known, use: Use) -> bool:
    """Whether an index answers such a filter without the table."""
    needed = {*use.shape.columns, *indexes.carried_by(known.db, known.column.table, (), known.code_name)}
    first = use.equal or set(use.ranged[:1])
    return any(
        index.method == "btree" and index.is_whole and index.keys and index.keys[0] in first and needed <= set(index.columns)
        for index in known.indexes
    )


def _fits(known: _Known, index: Covering) -> bool:
    """Whether its entries fit, if need be once its columns are limited."""
    columns_of = [known.attributes[name] for name in (*index.keys, *known.carried(index.keys, index.carried))]
    most = entries.entry(columns_of)
    return most <= entries.MOST_ENTRY if most is not None else bool(entries.bounds(known.column.table, columns_of))


def _one_covering(known: _Known, index: Covering, look: bool) -> list[Advice]:
    table = known.column.table
    carried = known.carried(index.keys, index.carried)
    columns_of = [known.attributes[name] for name in (*index.keys, *carried)]
    named = (*index.keys, *carried)
    searches = sum(use.searches for use in index.uses)
    weight = max(searches, 1)
    now = round(sum(known.reads(use) * use.searches for use in index.uses) / weight)
    rows = round(sum(use.rows * use.searches for use in index.uses) / weight)
    shown = "; ".join(dict.fromkeys(use.shape.text for use in index.uses))
    if not _fits(known, index):
        fixed = entries.entry(column for column in columns_of if column.most is not None)
        why = (
            f"filters ({shown}) would want an index with {', '.join(named)}, whose entries may need {fixed} bytes and more of the"
            f" {entries.MOST_ENTRY} that a btree takes: inserts would fail"
        )
        return [Advice(None, "nothing", why, named, None, now, None, searches)]
    made = []
    if entries.entry(columns_of) is None:
        for statement, column, most in entries.bounds(table, columns_of):
            longest = entries.longest(known.db, table, column) if look else None
            if longest is not None and longest > most:
                why = (
                    f"filters ({shown}) want an index with {column.name}, which has a value of {longest} bytes: more than {most} do not fit"
                )
                return [Advice(None, "nothing", why, named, None, now, None, searches)]
            why = (
                f"nothing limits {column.name}, and entries of the index below must not pass {entries.MOST_ENTRY} bytes, or inserts fail;"
                f" {'' if longest is None else f'its longest value has {longest} bytes, '}this admits {most}:"
                " leave this and the index out where longer values must be"
            )
            made.append(Advice(statement, "bound", why, (column.name,)))
    why = (
        f"filters ({shown}) let about {rows} of {known.rows:.0f} rows pass: once the table is vacuumed, an index-only scan compares"
        f" their codes, and {known.rescored} rows are then compared exactly"
    )
    size = entries.index_bytes(columns_of, known.rows)
    statements = indexes.covering_index(known.db, table, index.keys, carried)
    then = min(now, known.rescored)
    made += [Advice(one, "covering index", why, named, size, now, then, searches) for one in statements]
    return made if statements else []


def _partial(known: _Known, uses: Sequence[Use]) -> list[Advice]:
    """Vector indexes over the rows that pass a condition which is the same in every search: it has no value, or its filter was given."""
    column, table = known.column, known.column.table
    if column.chunks is not None or known.rows <= PARTIAL_ROWS:
        return []
    operator_class = f"{column.vector_schema}.{column.type}_{OPCLASSES[column.metric]}"
    conditions: dict[str, int] = {}
    for use in uses:
        fixed = [term for term in use.shape.terms if term.pure and "?" not in term.text and term.form in ("equality", "null", "range")]
        simple = all(term.pure and term.form in ("equality", "any", "null", "range") for term in use.shape.terms)
        condition = " AND ".join(term.text for term in fixed)
        if use.written is not None and use.shape.terms and simple and not fixed:
            condition = use.written.strip()
        if condition:
            conditions[condition] = conditions.get(condition, 0) + use.searches
    made = []
    for condition, searches in conditions.items():
        wrapped = planner.proven(known.db, table, condition)
        rows = planner.estimate(known.db, table, wrapped, None).rows
        if not PARTIAL_ROWS < rows <= PARTIAL_SHARE * known.rows:
            continue
        words = shapes.written(known.db, table, wrapped)
        if any(
            index.predicate is not None and column.name in index.keys and parsing.words(index.predicate) == words for index in known.indexes
        ):
            continue
        why = (
            f"about {rows:.0f} of {known.rows:.0f} rows pass {condition}, too many to compare them all; an index of only these"
            " finds k of them without stepping over the others"
        )
        size = round(rows * ((column.dim or 0) * (4 if column.type == "vector" else 2) + 400))
        definition = f"USING hnsw ({quote(column.name)} {operator_class}) WHERE {wrapped if '--' in condition else f'({condition})'}"
        made += [
            Advice(one, "partial vector index", why, (column.name,), size, round(rows), known.rescored, searches)
            for one in indexes.plain_index(known.db, table, definition)
        ]
    return made


def _ordinary(known: _Known, uses: Sequence[Use], served: Sequence[str]) -> list[Advice]:
    """Indexes by which PostgreSQL finds the rows of a filter that has none."""
    made: dict[tuple[str, ...], Advice] = {}
    for use in sorted(uses, key=lambda one: (-one.searches, one.shape.text)):
        if known.reads(use) <= use.rows or use.rows > min(MOST_ENTRIES, MOST_SHARE * known.rows) or _is_covered(known, use):
            continue
        if any(name in served for name in (*use.equal, *use.ranged)):
            continue
        found = ordinary.definition(use, known.attributes)
        if found is None:
            continue
        definition, names, trouble = found
        shown = use.shape.text
        if trouble:
            made.setdefault(names, Advice(None, "nothing", f"a filter ({shown}) has no index: {trouble}", names, None, known.reads(use)))
            continue
        why = f"a filter ({shown}) lets about {use.rows:.0f} of {known.rows:.0f} rows pass, and no index finds them"
        size = entries.index_bytes([known.attributes[name] for name in names], known.rows)
        for one in indexes.plain_index(known.db, known.column.table, definition):
            made.setdefault((one, *names), Advice(one, "index", why, names, size, known.reads(use), round(use.rows), use.searches))
    return list(made.values())
