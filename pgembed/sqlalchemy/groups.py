"""groups: groups of a table's rows by label, topic and sameness, and columns that could be joined, as selectables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from sqlalchemy import ARRAY, BigInteger, Boolean, Double, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS

from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.typed import Flag, Kind, Name, Names, Number, Out, Real, Relation, Rows, rows

Labels: TypeAlias = Annotated[Mapping[str, str | Sequence[str]] | Sequence[str], Kind(JSONB())]


class Groups(Rows):
    """Lines of `classify`, `topics`, `topic_rows`, `deduplicate` or `joinable_columns`; the columns are the SQL function's."""

    inherit_cache = True


class Classified(Groups):
    """Lines of `classify`."""

    inherit_cache = True
    key = Out(Text)
    label = Out(Text)
    score: Out[float] = Out(Double)
    margin: Out[float] = Out(Double)
    probability: Out[float] = Out(Double)
    second = Out(Text)
    is_confident = Out(Boolean)


class Topics(Groups):
    """Lines of `topics`."""

    inherit_cache = True
    topic = Out(Integer)
    size = Out(BigInteger)
    words: Out[Any] = Out(ARRAY(Text()))
    keys: Out[Any] = Out(ARRAY(Text()))


class TopicRows(Groups):
    """Lines of `topic_rows`."""

    inherit_cache = True
    key = Out(Text)
    topic = Out(Integer)
    score: Out[float] = Out(Double)
    margin: Out[float] = Out(Double)


class Duplicates(Groups):
    """Lines of `deduplicate`."""

    inherit_cache = True
    key = Out(Text)
    cluster = Out(Text)
    size = Out(Integer)
    similarity: Out[float] = Out(Double)
    is_representative = Out(Boolean)


class JoinableColumns(Groups):
    """Lines of `joinable_columns`."""

    inherit_cache = True
    own_column = Out(Text)
    other_table = Out(REGCLASS)
    other_column = Out(Text)
    kind = Out(Text)
    containment: Out[float] = Out(Double)
    similarity: Out[float] = Out(Double)
    score: Out[float] = Out(Double)
    evidence: Out[Any] = Out(ARRAY(Text()))
    statement = Out(Text)


def classify(target: Relation, labels: Labels, column_name: Name | None = None) -> Classified:
    """The label of each row: key, label, score, margin, probability, second, is_confident.

    Args:
        target: a mapped class, or a Table.
        labels: what describes each label, a sentence or several words; or the labels alone.
        column_name: of the column, or the attribute; None where the table has one embedded column.
    """
    return rows(Classified, classify, locals())


def topics(
    target: Relation, column_name: Name | None = None, n: Number | None = None, words_from: Names | None = None, seed: Number = 1
) -> Topics:
    """What the rows are about: topic, size, words, keys.

    Args:
        n: how many topics; None: chosen.
        words_from: columns whose words name the topics.
    """
    return rows(Topics, topics, locals())


def topic_rows(target: Relation, column_name: Name | None = None, n: Number | None = None, seed: Number = 1) -> TopicRows:
    """The topic of each row: key, topic, score, margin; with the arguments of `topics` they are its topics."""
    return rows(TopicRows, topic_rows, locals())


def deduplicate(
    target: Relation,
    column_name: Name | None = None,
    attributes: Annotated[Sequence[Any], Kind(JSONB())] | None = None,
    within: Names | None = None,
    precision: Real | None = None,
    labels: Relation | None = None,
) -> Duplicates:
    """Rows that have duplicates: key, cluster, size, similarity, is_representative.

    Args:
        attributes: columns that are compared as one text, instead of ``column_name``.
        within: columns in which duplicates are equal.
        precision: wanted share of right pairs.
        labels: a table of labelled pairs, with columns ``left_key``, ``right_key`` and ``is_match``.
    """
    given = locals()
    return rows(Duplicates, deduplicate, {**given, "attributes": attributes and [calls.column_name(one) for one in attributes]})


def joinable_columns(
    target: Relation, column_name: Name | None = None, k: Number = 10, sampled: Flag = False, semantic: Flag = True
) -> JoinableColumns:
    """Columns that could be joined: own_column, other_table, other_column, kind, containment, similarity, score, evidence, statement.

    Args:
        column_name: of the column to join, embedded or not; None: all columns of the table.
        k: the best, for each column.
        sampled: read values, of a limited number of rows; else statistics alone are read.
        semantic: compare texts by meaning too, which needs the database's default model.
    """
    return rows(JoinableColumns, joinable_columns, locals())
