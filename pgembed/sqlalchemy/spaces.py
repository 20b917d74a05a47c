"""spaces: queries mapped into the space of a column, from another model or by what labelled pairs teach."""

from __future__ import annotations

from sqlalchemy import Boolean, ColumnElement, Double, Integer, Text

from pgembed.sqlalchemy.typed import Name, Number, Out, Real, Relation, Rows, Words, nothing, rows, scalar


class Compensation(Rows):
    """Lines of `compensation_report`, one for each kind of map; ``recall_10_kept`` and the cosines are from 0 to 1."""

    inherit_cache = True
    method = Out(Text)
    pairs = Out(Integer)
    queries = Out(Integer)
    rows = Out(Integer)
    recall_10_kept: Out[float] = Out(Double)
    cosine: Out[float] = Out(Double)
    own_row: Out[float] = Out(Double)
    own_row_before: Out[float] = Out(Double)
    advice = Out(Text)


class AdapterMeasures(Rows):
    """Lines of `fit_adapter`: each measure on held-back queries, before and after."""

    inherit_cache = True
    measure = Out(Text)
    before: Out[float] = Out(Double)
    after: Out[float] = Out(Double)
    queries = Out(Integer)
    installed = Out(Boolean)


def fit_adapter(
    target: Relation,
    pairs: Relation,
    query_column: Name = "query",
    key_column: Name = "key",
    label_column: Name | None = None,
    column_name: Name | None = None,
    rank: Number = 8,
    seed: Number = 1,
    new_model: Words | None = None,
) -> AdapterMeasures:
    """Fit a change of low rank to labelled pairs of a query and a row; where it helps on held-back queries it is put in force.

    Args:
        pairs: the table of pairs.
        query_column, key_column, label_column: of the text, of the key of the row, and of whether they belong together (None: all do).
        new_model: register a model of this name with the change, instead of changing queries alone.
    """
    return rows(AdapterMeasures, fit_adapter, locals())


def drop_adapter(target: Relation, column_name: Name | None = None) -> ColumnElement[None]:
    """Take back `compensate` or `fit_adapter`."""
    return nothing(drop_adapter, locals())


def compensate(
    target: Relation,
    model: Words,
    column_name: Name | None = None,
    method: Words = "auto",
    sample: Number = 2000,
    min_recall: Real = 0.9,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    seed: Number = 1,
) -> ColumnElement[float]:
    """Let searches with a text embed it by another model and map it into the column's space; the share of results that is kept.

    Args:
        method: of `compensation_report`'s, or ``auto`` for the best of them.
        sample: rows whose texts are drawn, to be embedded by both models.
        min_recall: refused below it.
        queries: texts like those that will be asked, a table or its column; None: the rows themselves.
    """
    return scalar(compensate, locals(), Double())


def compensation_report(
    target: Relation,
    model: Words,
    column_name: Name | None = None,
    sample: Number = 2000,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    seed: Number = 1,
) -> Compensation:
    """What searches would keep if queries were embedded by another model and mapped into the column's space.

    Args:
        sample: rows whose texts are drawn, to be embedded by both models.
    """
    return rows(Compensation, compensation_report, locals())
