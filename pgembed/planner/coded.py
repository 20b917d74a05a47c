"""coded: what a search takes from codes, and how a query is written as one.

Codes of bits are compared by Hamming distance: in a graph as they are, elsewhere without the bits that the query is unsure of. Prefixes
are compared as halfvec. Of what may be missed over a graph half is left to the codes, whose recall at R candidates was measured on the
column itself, and half to the graph: over 63,166 package descriptions HNSW at ef_search 100, 200 and 400 lost .019, .010 and .006 of the
true neighbours that the exact order of 768-bit codes had, .026, .018 and .011 of 384-bit codes, which tie more.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgembed import errors, vectors
from pgembed.codes import scanning
from pgembed.codes.catalogue import Code
from pgembed.columns import OPERATORS, Column
from pgembed.database import Database


@dataclass(frozen=True)
class Asked:
    """A query as codes know it: PostgreSQL's text of its type, and where codes are bits which of them count."""

    code: str
    mask: str | None


def why_not(db: Database, code: Code, column: Column) -> str:
    """Why searches may not read a column of codes; '' where they may."""
    try:
        scanning.must_read(db, code, column)
    except errors.PgembedError as error:
        return error.message
    if not code.is_filled:
        return "not filled yet"
    if code.codec.kind == "bytes":
        return "compared by pgembed.scan_codes() alone"
    return ""


def asked(db: Database, code: Code, query: bytes, *, whole: bool = True) -> Asked:
    """Write a query as a code.

    Args:
        query: as vector_send() makes it, of the column's dimension.
        whole: with all its bits; False where only those that count will be compared, for that is quicker to write.
    """
    codec = code.codec.load(db)  # before numpy is used: it imports it as it must be
    import numpy as np

    vector = vectors.from_send(query, codec.space.dim)[None]
    if codec.shape.kind != "bits":
        return Asked(vectors.to_text(codec.projected(vector)[0]), None)
    both = codec.masked(vector)
    assert both is not None  # codes are bits
    bits, mask = both
    asked = codec.encode(vector) if whole else bits
    if codec.shape.length % 4 == 0:
        digits = codec.shape.length // 4
        return Asked("x" + asked.tobytes().hex()[:digits], "x" + mask.tobytes().hex()[:digits])
    texts = np.unpackbits(np.concatenate([asked, mask]), axis=1, count=codec.shape.length) + ord("0")
    return Asked(texts[0].tobytes().decode("ascii"), texts[1].tobytes().decode("ascii"))


def distance(code: Code, column: Column, *, masked: bool) -> str:
    """SQL of the distance between a row's code and the query's, which is ``$6``, its mask ``$7``."""
    row, schema = f"{code.table.alias}.{code.sql}", column.vector_schema
    # by way of text, whatever the parameter's type: folded into a constant before the statement is planned
    if code.codec.kind == "bits":
        query, mask = (f"${place}::pg_catalog.text::pg_catalog.bit({code.codec.length})" for place in (6, 7))
        if not masked:
            return f"{row} OPERATOR({schema}.<~>) {query}"
        both = "OPERATOR(pg_catalog.&)"
        # the row's without a length: a cast to bit(n) would check it at every row
        return f"({row}::pg_catalog.bit {both} {mask})\n        OPERATOR({schema}.<~>) ({query} {both} {mask})"
    return f"{row} OPERATOR({schema}.{OPERATORS[column.metric]}) $6::pg_catalog.text::{schema}.halfvec({code.codec.length})"
