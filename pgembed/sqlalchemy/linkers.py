"""linkers: linkers declared, trained and evaluated, and the tables of links that they keep."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, DateTime, Double, Integer, Text
from sqlalchemy.dialects.postgresql import REGCLASS

from pgembed.sqlalchemy.typed import (
    Condition,
    Flag,
    Json,
    Key,
    Name,
    Number,
    Out,
    Procedure,
    Real,
    Relation,
    Rows,
    Words,
    nothing,
    procedure,
    rows,
    scalar,
)


class LinkCorrections(Rows):
    """Lines of `link_corrections`; offsets count characters from 1, the end is exclusive, keys are text."""

    inherit_cache = True
    source_key = Out(Text)
    start_char = Out(Integer)
    end_char = Out(Integer)
    mention = Out(Text)
    entity_table = Out(REGCLASS)
    entity_key = Out(Text)
    is_stale = Out(Boolean)
    corrected_by = Out(Text)
    corrected_at: Out[Any] = Out(DateTime(timezone=True))


class LinkerMeasures(Rows):
    """Lines of `evaluate_linker`, one for each type of mention; ``_low`` and ``_high`` are 95 % intervals."""

    inherit_cache = True
    mention_type = Out(Text)
    mentions = Out(BigInteger)
    precision: Out[float] = Out(Double)
    precision_low: Out[float] = Out(Double)
    precision_high: Out[float] = Out(Double)
    recall: Out[float] = Out(Double)
    recall_low: Out[float] = Out(Double)
    recall_high: Out[float] = Out(Double)
    f1: Out[float] = Out(Double)
    f1_low: Out[float] = Out(Double)
    f1_high: Out[float] = Out(Double)
    accuracy_at_1: Out[float] = Out(Double)
    accuracy_at_1_low: Out[float] = Out(Double)
    accuracy_at_1_high: Out[float] = Out(Double)
    accuracy_at_10: Out[float] = Out(Double)
    accuracy_at_10_low: Out[float] = Out(Double)
    accuracy_at_10_high: Out[float] = Out(Double)


def create_linker(
    name: Words,
    target: Relation,
    key: Words | None = None,
    names: Words | None = None,
    aliases: Words | None = None,
    context: Words | None = None,
    relations: Json = (),
    types: Words | None = None,
    alias_tables: Json = (),
) -> ColumnElement[None]:
    """Declare how rows of a table are named in text.

    Args:
        name: of the linker.
        key: columns, with commas between; None: the primary key.
        names, aliases, types: SQL over the table's own columns; aliases and types may be arrays of text.
        context: SQL of what else is said of a row, or an embedded column.
        relations: a list of columns, tables, or objects as in SQL, sent as JSON.
        alias_tables: a list of tables of aliases, or of objects.
    """
    return nothing(create_linker, locals())


def add_linker_target(
    linker: Words,
    target: Relation,
    key: Words | None = None,
    names: Words | None = None,
    aliases: Words | None = None,
    context: Words | None = None,
    relations: Json = (),
    types: Words | None = None,
    alias_tables: Json = (),
) -> ColumnElement[None]:
    """Let a linker link to the rows of one more table; arguments as of `create_linker`."""
    return nothing(add_linker_target, locals())


def alter_linker(
    name: Words,
    target: Relation | None = None,
    key: Words | None = None,
    names: Words | None = None,
    aliases: Words | None = None,
    context: Words | None = None,
    relations: Json | None = None,
    types: Words | None = None,
    alias_tables: Json | None = None,
) -> ColumnElement[None]:
    """Declare a target of a linker anew; what is None stays, an empty text or list means none. Arguments are those of `create_linker`.

    Args:
        target: needed where the linker has several.
    """
    return nothing(alter_linker, locals())


def drop_linker_target(linker: Words, target: Relation) -> ColumnElement[None]:
    """Let a linker not link to the rows of a table any more."""
    return nothing(drop_linker_target, locals())


def drop_linker(name: Words) -> ColumnElement[None]:
    """Undo `create_linker`, by the linker's name, and forget what it has learned."""
    return nothing(drop_linker, locals())


def create_link_labels(name: Words, linker: Words) -> ColumnElement[str]:
    """Make a table of labels for `train_linker` and `evaluate_linker`: content, start_char, end_char, entity_key; its name."""
    return scalar(create_link_labels, locals(), REGCLASS())


def train_linker(name: Words, labels: Relation | None = None, seed: Number = 0) -> Procedure:
    """CALL: let the linker of this name learn from labels and all corrections of its links; the same labels and seed give the same one."""
    return procedure(train_linker, locals())


def evaluate_linker(
    name: Words,
    gold: Relation,
    find_mentions: Flag = False,
    target_precision: Real | None = None,
    pronouns: Flag = False,
    seed: Number = 0,
) -> LinkerMeasures:
    """How right a linker is on labels that it has not learned from.

    Args:
        gold: the table of labels, as `create_link_labels` makes it.
        find_mentions: let it find the places too; else those of the labels are linked.
        target_precision: the ``precision`` of `link`.
        pronouns: whether "it" and "she" are mentions.
    """
    return rows(LinkerMeasures, evaluate_linker, locals())


def link_table(
    linker: Words,
    source: Relation,
    text_column: Name,
    into: Words,
    filter: Condition = None,
    precision: Real | None = None,
    pronouns: Flag = False,
    key: Words | None = None,
    batch_size: Number = 256,
    relink: Flag = False,
) -> Procedure:
    """CALL: link the texts of a table into a table that is made for them: new and changed texts only; committing after each batch.

    Args:
        linker: its name.
        source: the table or view of texts.
        text_column: of the texts, an attribute or its name.
        into: name of the table of links; see `linked` for what it gives an ORM.
        filter: a boolean expression over the table that is linked to; only rows that pass can be meant.
        precision: share of the links that is to be right; None for the default.
        pronouns: whether "it" and "she" are mentions too.
        key: columns of the source's key, with commas between; None: its primary key.
        batch_size: texts in a transaction.
        relink: all texts, also those that have not changed.
    """
    return procedure(link_table, locals())


def correct_link(
    into: Relation,
    source_key: Key,
    start_char: Number,
    end_char: Number,
    entity_key: Key | None = None,
    entity_table: Relation | None = None,
) -> ColumnElement[str]:
    """Say which row a place in a linked text means, or without a key that it means none; returns the words there.

    Args:
        into: the table of links.
        source_key, entity_key: a value, or a tuple of several; or the text that SQL has for it, of a composite key a JSON array.
        start_char, end_char: characters from 1, the end exclusive.
        entity_table: needed where the linker has several targets with such a key.
    """
    return scalar(correct_link, locals(), Text())


def link_corrections(into: Relation) -> LinkCorrections:
    """What people have said of the links in a table, the ``into`` of `link_table`; ``is_stale`` where the words there are others now."""
    return rows(LinkCorrections, link_corrections, locals())
