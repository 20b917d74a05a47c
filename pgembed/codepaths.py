"""codepaths: how a search takes its candidates from codes.

The codes' index gives the rows nearest by code, and those are compared exactly. Of what may be missed half is left to the codes, whose
recall at R candidates was measured on the column itself, and half to the graph that finds them: over 63,166 package descriptions HNSW at
ef_search 100, 200 and 400 lost .019, .010 and .006 of the true neighbours that the exact order of 768-bit codes had, .026, .018 and .011
of 384-bit codes, which tie more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors, vectors
from pgembed.codes import catalogue, scanning
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import OPERATORS, Column
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.codecs.contract import Codec

# Beside a vector index codes serve up to here; beyond, reading the candidates' vectors costs what the smaller index saves.
CANDIDATES_BESIDE_INDEX = 400
MOST_CANDIDATES = 1000  # pgvector's largest ef_search
CANDIDATES_PER_RESULT = 4


@dataclass(frozen=True)
class Candidates:
    """What a search takes from a column of codes.

    Attributes:
        number: of the rows nearest by code that are compared exactly.
        query: the query's own code, in PostgreSQL's text of its type.
        order: SQL of the distance between a row's code and the query's, which is the parameter ``$6``.
    """

    code: Code
    number: int
    query: str
    order: str
    reason: str

    def scan(self, distance: str, condition: str) -> str:
        """SQL of the candidates: what finds their rows again, and their distance.

        Args:
            distance: SQL of the distance between the row's vector and the query.
            condition: SQL that candidates pass.
        """
        table = self.code.table
        return (
            f"SELECT {', '.join(f'{place} AS {name}' for name, place in self._places)}, {distance} AS distance\n"
            f"    FROM {table.sql} AS {table.alias}\n"
            f"    WHERE {condition} AND {table.alias}.{self.code.sql} IS NOT NULL\n"
            f"    ORDER BY {self.order} LIMIT {self.number}"
        )

    def best(self, scanned: str, *, bounded: bool) -> str:
        """SQL of the ``$3`` nearest of what `scan` gave.

        Args:
            bounded: none farther than ``$4``.
        """
        bound = " AND distance OPERATOR(pg_catalog.<=) $4" if bounded else ""
        order = ", ".join(name for name, _ in self._places)
        return f"SELECT * FROM {scanned} WHERE distance IS NOT NULL{bound} ORDER BY distance, ROW({order}) LIMIT $3"

    def enough(self, scanned: str) -> str:
        """SQL that is true where there are as many candidates as were measured to contain what is asked for.

        Where the index gave fewer, nothing is known of what it missed. Where it gave them all, fewer than k within a bound are right.
        """
        return f"(SELECT pg_catalog.count(*) FROM {scanned}) OPERATOR(pg_catalog.>=) {self.number}"

    def same_row(self, found: str) -> str:
        """SQL that is true for the row of the table that a line of `best` is about."""
        return " AND ".join(f"{place} = {found}.{name}" for name, place in self._places)

    @property
    def _places(self) -> list[tuple[str, str]]:
        alias, keys = self.code.table.alias, self.code.table.keys
        # by key where there is one: a caller who may read some columns may not read ctid
        places = [f"{alias}.{key}" for key, _ in keys] or [f"{alias}.tableoid", f"{alias}.ctid"]
        return [(f"k{position}", place) for position, place in enumerate(places)]


def candidates(db: Database, column: Column, query: bytes, k: int, recall: float) -> tuple[Candidates | None, str]:
    """What a search would take from the active codes of a column; None where it can't, or should rather not, and then why, or ''.

    Args:
        query: as vector_send() makes it, of the column's dimension.
        recall: share of the true k nearest that is asked for, below 1.
    """
    found = [one for one in catalogue.codes(db, column.table) if one.is_active and one.embedding_column == column.name]
    if not found:
        return None, ""
    code = found[0]
    said = f"codes {code.label}"
    try:
        scanning.must_read(db, code, column)
    except errors.PgembedError as error:
        return None, f"{said}: {error.message}"
    if not code.is_filled:
        return None, f"{said} are not filled yet"
    if code.index_name is None or code.index_method != "hnsw":
        return None, f"{said} have no hnsw index"
    number, measured = needed(code.codec, k, recall)
    if number is None:
        return None, f"{said}: {measured}"
    if column.index_name is not None and number > CANDIDATES_BESIDE_INDEX:
        return None, f"{said} would need {number} candidates ({measured}), above {CANDIDATES_BESIDE_INDEX} the vectors' own index is better"
    codec = code.codec.load(db)
    return Candidates(
        code=code,
        number=number,
        query=_text(codec, vectors.from_send(query, codec.space.dim)),
        order=_order(code, column),
        reason=f"{code.index_method} index {code.index_name} on {said}, the nearest {number} compared exactly ({measured})",
    ), ""


def needed(codec: CodecRow, k: int, recall: float) -> tuple[int | None, str]:
    """How many candidates an index on codes must give for a recall@k, and by what measure; None where none is known that is enough."""
    measured = codec.checked or codec.measured
    if measured is None:
        return None, f'the recall of codec "{codec.name}" was never measured: pgembed.check_codec() does'
    curve = measured["hamming" if codec.kind == "bits" else "asymmetric"] or {}
    wanted = 1 - (1 - recall) / 2
    # recall@k at R falls as k grows, a little slower than k / R: of 50 nearest, 5 times as many were needed as of 10
    share = max(1.0, k / measured["k"])
    for size, reached in sorted((int(size), float(reached)) for size, reached in curve.items()):
        number = max(math.ceil(size * share), CANDIDATES_PER_RESULT * k)
        if reached >= wanted and number <= MOST_CANDIDATES:
            return number, f"measured recall@{measured['k']} {reached:.3f} at {size}"
    return None, f"no {MOST_CANDIDATES} candidates were measured to contain {wanted:.3f} of the {k} nearest"


def _order(code: Code, column: Column) -> str:
    row, schema = f"{code.table.alias}.{code.sql}", column.vector_schema
    # by way of text, whatever the parameter's type: folded into a constant before the statement is planned
    if code.codec.kind == "bits":
        return f"{row} OPERATOR({schema}.<~>) $6::pg_catalog.text::pg_catalog.bit({code.codec.length})"
    return f"{row} OPERATOR({schema}.{OPERATORS[column.metric]}) $6::pg_catalog.text::{schema}.halfvec({code.codec.length})"


def _text(codec: Codec, query: NDArray[np.float32]) -> str:
    import numpy as np

    if codec.shape.kind == "bits":
        bits = np.unpackbits(codec.encode(query[None])[0])[: codec.shape.length]
        return (bits + ord("0")).tobytes().decode("ascii")
    return vectors.to_text(codec.projected(query[None])[0])
