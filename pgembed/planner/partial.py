"""partial: vector indexes over some of the rows, and of single partitions, and whether one of them answers a search.

Such an index serves where the filter implies its predicate, or leaves only partitions that have one. PostgreSQL proves both whenever it
plans a statement, so it is asked: how would it read the nearest rows, if sorting were forbidden?
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgembed.codes.catalogue import Code
from pgembed.columns import OPCLASSES, Column
from pgembed.database import Database

# For the one EXPLAIN: an index in the right order is then the cheapest way, wherever there is one.
UNSORTED = ("enable_sort", "off", "enable_seqscan", "off", "enable_bitmapscan", "off")


@dataclass(frozen=True)
class VectorIndex:
    """An HNSW or IVFFlat index on the vectors or codes of a table or of a partition of it.

    Attributes:
        on_codes: on codes, not on vectors.
        is_whole: it has every row of the table that is searched; else it is partial, or of a partition alone.
        rows: in it, as PostgreSQL last counted them; below 0 where it never has.
        lists: of IVFFlat; None elsewhere.
    """

    name: str
    method: str
    on_codes: bool
    is_whole: bool
    rows: float
    lists: int | None


def indexes(db: Database, column: Column, code: Code | None) -> tuple[VectorIndex, ...]:
    """The vector indexes that could serve searches of a column, by name; those of partitions among them.

    Args:
        code: whose indexes are wanted too; None for none.
    """
    on_vectors = f"{column.type}_{OPCLASSES[column.metric]}"
    on_codes = "" if code is None else "bit_hamming_ops" if code.codec.kind == "bits" else f"halfvec_{OPCLASSES[column.metric]}"
    found = db.execute(
        "WITH RECURSIVE part (oid) AS ("
        " SELECT $1::pg_catalog.oid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i"
        " JOIN part ON part.oid OPERATOR(pg_catalog.=) i.inhparent)"
        " SELECT c.relname::pg_catalog.text AS name, m.amname::pg_catalog.text AS method,"
        " o.opcname OPERATOR(pg_catalog.=) $5 AS on_codes, c.reltuples::pg_catalog.float8 AS rows,"
        # an index of a partition may be part of one of the whole table
        " EXISTS (SELECT FROM pg_catalog.pg_index AS w WHERE w.indrelid OPERATOR(pg_catalog.=) $1 AND w.indpred IS NULL"
        " AND (w.indexrelid OPERATOR(pg_catalog.=) x.indexrelid OR w.indexrelid OPERATOR(pg_catalog.=) ANY"
        " (SELECT pg_catalog.pg_partition_ancestors(x.indexrelid)))) AS is_whole,"
        " (SELECT s.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) AS s"
        " WHERE s.option_name OPERATOR(pg_catalog.=) 'lists') AS lists"
        " FROM part JOIN pg_catalog.pg_index AS x ON x.indrelid OPERATOR(pg_catalog.=) part.oid"
        " JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) x.indexrelid"
        " JOIN pg_catalog.pg_am AS m ON m.oid OPERATOR(pg_catalog.=) c.relam"
        " JOIN pg_catalog.pg_opclass AS o ON o.oid OPERATOR(pg_catalog.=) x.indclass[0]"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) part.oid"
        " AND a.attnum OPERATOR(pg_catalog.=) x.indkey[0]"
        " WHERE x.indisvalid AND x.indisready AND x.indnatts OPERATOR(pg_catalog.=) 1"
        " AND m.amname OPERATOR(pg_catalog.=) ANY (ARRAY['hnsw', 'ivfflat']::pg_catalog.name[])"
        " AND ((a.attname OPERATOR(pg_catalog.=) $2 AND o.opcname OPERATOR(pg_catalog.=) $4)"
        " OR (a.attname OPERATOR(pg_catalog.=) $3 AND o.opcname OPERATOR(pg_catalog.=) $5))"
        " ORDER BY 1",
        ["pg_catalog.oid", *["pg_catalog.name"] * 4],
        [column.table.oid, column.name, None if code is None else code.name, on_vectors, on_codes],
    )
    return tuple(
        VectorIndex(
            name=row["name"],
            method=row["method"],
            on_codes=row["on_codes"],
            is_whole=row["is_whole"],
            rows=row["rows"],
            lists=100 if row["lists"] is None and row["method"] == "ivfflat" else row["lists"] and int(row["lists"]),
        )
        for row in found
    )


def serving(known: Sequence[VectorIndex], tree: Mapping[str, Any]) -> tuple[VectorIndex, ...]:
    """The indexes in whose order a plan reads its table; () where it sorts, or reads some of the table otherwise.

    Args:
        known: that could serve.
        tree: node at the top of a plan, as EXPLAIN (FORMAT JSON) has it.
    """
    names = {index.name: index for index in known}
    found = []
    for node in _read(tree):
        kind = str(node["Node Type"])
        if "Sort" in kind or (kind.endswith("Scan") and node.get("Index Name") not in names):
            return ()
        if kind == "Index Scan":
            found.append(names[str(node["Index Name"])])
    return tuple(found)


def explained(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The node at the top of what EXPLAIN (FORMAT JSON) gave."""
    tree = next(iter(rows[0].values()))
    top: Mapping[str, Any] = (json.loads(tree) if isinstance(tree, str) else tree)[0]["Plan"]
    return top


def _read(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        # what a subquery of the filter reads is not the table, or not for its order
        if below.get("Parent Relationship") not in ("SubPlan", "InitPlan"):
            yield from _read(below)
