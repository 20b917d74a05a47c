"""groups: groups of a table's rows by label, topic and sameness, and columns that could be joined, as selectables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Boolean, ColumnElement, Double, Integer, Subquery, Text
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS

from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call, Target


class Groups(Subquery):
    """Lines of `classify`, `topics`, `topic_rows`, `deduplicate` or `joinable_columns`; the columns in ``.c`` are the SQL function's."""

    inherit_cache = True


def classify(target: Any, labels: Mapping[str, str | Sequence[str]] | Sequence[str], column_name: Any = None) -> Groups:
    """The label of each row: key, label, score, margin, probability, second, is_confident.

    Args:
        target: a mapped class, or a Table.
        labels: what describes each label, a sentence or several words; or the labels alone.
        column_name: of the column, or the attribute; None where the table has one embedded column.
    """
    arguments = {"labels": calls.value("labels", labels, JSONB()), **_column(column_name)}
    result = {"key": Text(), "label": Text(), "score": Double(), "margin": Double(), "probability": Double(), "second": Text()}
    return _groups("classify", target, arguments, {**result, "is_confident": Boolean()})


def topics(target: Any, column_name: Any = None, n: int | None = None, *, words_from: Sequence[str] | None = None, seed: int = 1) -> Groups:
    """What the rows are about: topic, size, words, keys.

    Args:
        n: how many topics; None: chosen.
        words_from: columns whose words name the topics.
    """
    arguments = {**_column(column_name), **_number("n", n), **_seed(seed)}
    if words_from is not None:
        arguments["words_from"] = calls.value("words_from", list(words_from), ARRAY(Text()))
    return _groups("topics", target, arguments, {"topic": Integer(), "size": BigInteger(), "words": ARRAY(Text()), "keys": ARRAY(Text())})


def topic_rows(target: Any, column_name: Any = None, n: int | None = None, *, seed: int = 1) -> Groups:
    """The topic of each row: key, topic, score, margin; with the arguments of `topics` they are its topics."""
    arguments = {**_column(column_name), **_number("n", n), **_seed(seed)}
    return _groups("topic_rows", target, arguments, {"key": Text(), "topic": Integer(), "score": Double(), "margin": Double()})


def deduplicate(
    target: Any,
    column_name: Any = None,
    *,
    attributes: Sequence[Any] | None = None,
    within: Sequence[Any] | None = None,
    precision: float | None = None,
) -> Groups:
    """Rows that have duplicates: key, cluster, size, similarity, is_representative.

    Args:
        attributes: columns that are compared as one text, instead of ``column_name``.
        within: columns in which duplicates are equal.
        precision: wanted share of right pairs.
    """
    arguments = _column(column_name)
    if attributes is not None:
        arguments["attributes"] = calls.value("attributes", [calls.column_name(one) for one in attributes], JSONB())
    if within is not None:
        arguments["within"] = calls.value("within", [calls.column_name(one) for one in within], ARRAY(Text()))
    if precision is not None:
        arguments['"precision"'] = calls.value("precision", precision, Double())
    result = {"key": Text(), "cluster": Text(), "size": Integer(), "similarity": Double(), "is_representative": Boolean()}
    return _groups("deduplicate", target, arguments, result)


def joinable_columns(target: Any, column_name: Any = None, k: int = 10, *, sampled: bool = False, semantic: bool = True) -> Groups:
    """Columns that could be joined: own_column, other_table, other_column, kind, containment, similarity, score, evidence, statement."""
    arguments = {**_column(column_name), **_number("k", None if k == 10 else k)}
    for name, given, default in (("sampled", sampled, False), ("semantic", semantic, True)):
        if given is not default:
            arguments[name] = calls.value(name, given, Boolean())
    result: dict[str, Any] = {name: Text() for name in ("own_column", "other_column", "kind", "statement")}
    result.update(
        {"other_table": REGCLASS(), "containment": Double(), "similarity": Double(), "score": Double(), "evidence": ARRAY(Text())}
    )
    return _groups("joinable_columns", target, arguments, result)


def _groups(function: str, target: Any, arguments: dict[str, ColumnElement[Any]], result: dict[str, Any]) -> Groups:
    return calls.rows_of(Groups, Call(function, arguments, regclass=Target.of(target).table), {}, result)


def _column(given: Any) -> dict[str, ColumnElement[Any]]:
    return {} if given is None else {"column_name": calls.value("column_name", calls.column_name(given), Text())}


def _number(name: str, given: int | None) -> dict[str, ColumnElement[Any]]:
    return {} if given is None else {name: calls.value(name, given, Integer())}


def _seed(seed: int) -> dict[str, ColumnElement[Any]]:
    return {} if seed == 1 else {"seed": calls.value("seed", seed, Integer())}
