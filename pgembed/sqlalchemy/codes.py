"""codes: codecs trained, compared and measured, columns of codes, and searches by codes alone."""

from __future__ import annotations

from typing import Any

from pgvector.sqlalchemy import BIT
from sqlalchemy import BigInteger, Boolean, ColumnElement, Double, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB

from pgembed.sqlalchemy.models import Statements
from pgembed.sqlalchemy.typed import (
    Condition,
    Flag,
    Name,
    Names,
    Number,
    Out,
    Procedure,
    Query,
    Real,
    Relation,
    Rows,
    Words,
    nothing,
    procedure,
    rows,
    scalar,
    texts,
)


class CodecChoices(Rows):
    """Lines of `recommend_codec`, the recommended one marked; recalls are of the ten nearest, among so many candidates."""

    inherit_cache = True
    method = Out(Text)
    options: Out[Any] = Out(JSONB)
    bytes = Out(Integer)
    scan = Out(Text)
    recall: Out[float] = Out(Double)
    recall_20: Out[float] = Out(Double)
    recall_50: Out[float] = Out(Double)
    recall_100: Out[float] = Out(Double)
    recall_200: Out[float] = Out(Double)
    rescore = Out(Integer)
    distortion: Out[float] = Out(Double)
    encode_rate: Out[float] = Out(Double)
    is_recommended = Out(Boolean)
    statement = Out(Text)


class CodecCheck(Rows):
    """The line of `check_codec`."""

    inherit_cache = True
    recall_100_then: Out[float] = Out(Double)
    recall_100_now: Out[float] = Out(Double)
    recall_100_retrained: Out[float] = Out(Double)
    rows_then = Out(BigInteger)
    rows_now = Out(BigInteger)
    needs_retraining = Out(Boolean)
    reason = Out(Text)


class CodeHits(Rows):
    """Rows found by `scan_codes`: the key as text, its distance, and 1 for the nearest."""

    inherit_cache = True
    key = Out(Text)
    distance: Out[float] = Out(Double)
    rank = Out(Integer)


class MaskedQuery(Rows):
    """The line of `masked_query`: ``ORDER BY (code & mask) <~> bits``."""

    inherit_cache = True
    bits: Out[Any] = Out(BIT())
    mask: Out[Any] = Out(BIT())


def train_codec(
    name: Words,
    target: Relation,
    method: Words,
    column_name: Name | None = None,
    bits: Number | None = None,
    dims: Number | None = None,
    bytes: Number | None = None,
    centered: Flag | None = None,
    rotation: Words | None = None,
    residual_bits: Number | None = None,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    sample_rows: Number = 50000,
    seed: Number = 1,
    code_type: Words | None = None,
    measure: Flag = True,
) -> ColumnElement[str]:
    """Fit a codec to an embedded column and make a function of its name that encodes vectors; that function's name.

    Args:
        name: of the codec.
        method: of `recommend_codec`'s, such as ``sign``.
        bits, dims, bytes, centered, rotation, residual_bits, code_type: as the method takes them; None: its own.
        queries: texts to measure with, a table or its column; None: rows of the column.
        sample_rows: of the column that it is fitted to, drawn at random.
        measure: the recall, for the view ``pgembed.codecs``.
    """
    return scalar(train_codec, locals(), Text())


def recommend_codec(
    target: Relation,
    min_recall: Real | None = None,
    max_bytes: Number | None = None,
    column_name: Name | None = None,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    seed: Number = 1,
) -> CodecChoices:
    """Codecs compared on an embedded column itself, with the statement that makes the one to recommend.

    Args:
        min_recall: share of the ten nearest that 200 candidates must have; None, without max_bytes, is 0.99.
        max_bytes: of a code.
    """
    return rows(CodecChoices, recommend_codec, locals())


def check_codec(name: Words, queries: Relation | None = None, queries_column: Name | None = None) -> CodecCheck:
    """Measure a codec, by its name, again on the column as it is now, beside a new one of its kind, and note whether to retrain it."""
    return rows(CodecCheck, check_codec, locals())


def retrain_codec(name: Words, new_name: Words | None = None) -> ColumnElement[str]:
    """Fit the same kind of codec to the column as it is now, beside the old one; the name of its function.

    Args:
        new_name: None: NAME_2.
    """
    return scalar(retrain_codec, locals(), Text())


def drop_codec(name: Words) -> ColumnElement[None]:
    """Undo `train_codec`; refused while a column of codes is made with it."""
    return nothing(drop_codec, locals())


def add_code(
    target: Relation,
    codec: Words,
    column_name: Name | None = None,
    is_generated: Flag | None = None,
    embedding_column: Name | None = None,
) -> ColumnElement[None]:
    """Give a table a column of codes of its vectors; where the table has rows already, then `fill_code`.

    Args:
        column_name: of the codes; None: the embedded column's and the codec's.
        is_generated: a generated column instead of a trigger's; None: where the table is empty.
        embedding_column: needed where the table has several.
    """
    return nothing(add_code, locals())


def fill_code(target: Relation, column_name: Name | None = None, batch_size: Number = 5000) -> Procedure:
    """CALL: compute the codes that are missing in batches, committing after each; writers go on meanwhile."""
    return procedure(fill_code, locals())


def use_code(target: Relation, column_name: Name | None = None) -> ColumnElement[None]:
    """Let searches use this column of codes, instead of another one of the same vectors."""
    return nothing(use_code, locals())


def drop_code(target: Relation, column_name: Name | None = None) -> ColumnElement[None]:
    """Undo `add_code`."""
    return nothing(drop_code, locals())


def code_indexes(target: Relation, column_name: Name | None = None, covering: Names | None = None) -> Statements:
    """Statements that build the missing indexes on a column of codes without blocking writers.

    Args:
        covering: columns that an index is to have beside the code.
    """
    return texts(Statements, code_indexes, locals())


def scan_codes(
    target: Relation,
    query: Query,
    k: Number = 10,
    filter: Condition = None,
    code: Words | None = None,
    rescore: Number | None = None,
) -> CodeHits:
    """The k rows nearest to a query by the codes of all rows that pass a filter, the best of them compared exactly.

    Args:
        filter: a boolean expression over the target's own columns; its values travel as parameters.
        code: name of the column of codes; needed where there are several.
        rescore: how many are compared exactly; 0 gives estimates, None the codec's own number.
    """
    return rows(CodeHits, scan_codes, locals())


def masked_query(codec: Words, query: Query) -> MaskedQuery:
    """The code of a query without the bits that a small change of it would turn, and the mask of the others; the codec is one of bits."""
    return rows(MaskedQuery, masked_query, locals())
