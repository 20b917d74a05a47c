"""relations: the links that ``pgembed.link_table`` keeps, as relationships of mapped classes and as a Table to map.

What is described here is pgembed's own: it is in a MetaData of its own and says ``info["pgembed"] == "owned"``, so ``create_all`` of the
classes around it does not make it, and it need not be there while classes are configured.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Subquery,
    Table,
    Text,
    and_,
    exists,
    select,
    tuple_,
)
from sqlalchemy.orm import Mapped, Relationship, foreign, relationship

from pgembed import errors, naming
from pgembed.linkers import layout
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.declarations import table_of


class LinkRow:
    """What every class over `link_rows` has, for type checkers: ``class Mention(LinkRow, Base)``.

    Offsets count characters from 1, the end is exclusive; ``score`` and ``margin`` are probabilities, None where somebody has corrected the
    link; ``decision`` is ``link``, ``review`` or ``nil``.
    """

    if TYPE_CHECKING:
        mention: Mapped[str]
        start_char: Mapped[int]
        end_char: Mapped[int]
        mention_type: Mapped[str]
        score: Mapped[float | None]
        margin: Mapped[float | None]
        decision: Mapped[str]
        linker_revision: Mapped[int]
        linked_at: Mapped[datetime.datetime]


def link_rows(
    links: str,
    source: Any,
    *targets: Any,
    schema: str | None = None,
    corrected: bool = False,
    source_key: Sequence[Any] | None = None,
    entity_keys: Sequence[Sequence[Any] | None] | None = None,
) -> Table:
    """A Table that describes the links of a table, to select from or to map; it is read only, ``pgembed.link_table`` writes it.

    ::

        class Mention(LinkRow, Base):
            __table__ = link_rows("article_link", Article, Company)
            company: Mapped[Company | None] = relationship(viewonly=True)

    Args:
        links: name of the table, the ``into`` of `link_table`.
        source: mapped class or Table of the texts.
        targets: mapped classes or Tables that the linker links to, in the order in which it has got them.
        schema: of the table of links; None: as the search_path has it.
        corrected: the view of what holds instead, where people's corrections come first; it has ``corrected_by`` and ``corrected_at`` too.
        source_key: columns of the source's key, where ``key`` of `link_table` has named them; None: the primary key.
        entity_keys: for each target the columns of its key, where ``key`` of `create_linker` has named them; None: the primary key.
    Returns:
        A Table in a MetaData of its own. Its key is that of the text, start_char and end_char; its foreign keys lead to the source and to
        each target, so ``relationship()`` needs no more.
    Raises:
        errors.InvalidParameter: something is neither a mapped class nor a Table, or has no primary key.
    """
    keys = [None] * len(targets) if entity_keys is None else list(entity_keys)
    return _described(links, (source, source_key, None), list(zip(targets, keys, repeat(None))), schema, corrected)[0]


def linked(
    links: str,
    target: Any = None,
    *,
    decisions: Sequence[str] = ("link",),
    reverse: bool = False,
    corrected: bool = False,
    schema: str | None = None,
    source_key: Sequence[Any] | None = None,
    entity_key: Sequence[Any] | None = None,
    source_columns: Sequence[str] | None = None,
    entity_columns: Sequence[str] | None = None,
    lazy: Any = "select",
    order_by: Any = False,
    **options: Any,
) -> Relationship[Any]:
    """The rows that a text names, each once, as a relationship through the table of links that ``pgembed.link_table`` keeps.

    ::

        class Article(Base):
            companies: Mapped[list["Company"]] = linked("article_link")

        select(Article).where(Article.companies.any(Company.name == "Contoso"))

    It is viewonly: links are made by ``CALL pgembed.link_table``, and corrected by ``pgembed.correct_link``. Every way of loading, ``any``,
    ``contains`` and joins are those of `sqlalchemy.orm.relationship`.

    Args:
        links: name of the table of links.
        target: the class, its name or a function that returns it; None: that of the annotation. Of a linker with several targets it says
            which one is meant.
        decisions: which links count: ``link``, ``review``; all that mean a row where it is empty.
        reverse: on the class that is linked to: the texts that name it, ``articles: Mapped[list["Article"]]``.
        corrected: what holds after people's corrections, from the view beside the table, instead of the linker's word.
        schema: of the table of links; None: as the search_path has it.
        source_key, entity_key: columns of the keys, where `link_table` or `create_linker` were given some; None: the primary keys.
        source_columns, entity_columns: names of the columns of the table of links that hold these keys; None: as pgembed calls them. Needed
            where the linker has two targets of one name, in two schemas, and where a subclass in a table of its own is linked by another.
        lazy, order_by, options: as of ``relationship()``; ``init=False`` where classes are dataclasses.
    """
    made: list[tuple[Subquery, ColumnElement[bool], ColumnElement[bool]]] = []

    def parts() -> tuple[Subquery, ColumnElement[bool], ColumnElement[bool]]:
        # once, while classes are configured: both are known then, and the table of links need not be there
        if not made:
            prop._setup_entity()
            here, there = prop.parent.class_, prop.entity.mapper.class_
            source, entity = (there, here) if reverse else (here, there)
            target_side = (entity, entity_key, entity_columns)
            rows, (texts, meant) = _described(links, (source, source_key, source_columns), [target_side], schema, corrected)
            made.append(_through(rows, *((meant, texts) if reverse else (texts, meant)), next(iter(meant)), decisions))
        return made[0]

    def part(place: int) -> Callable[[], Any]:
        return lambda: parts()[place]

    prop: Any = relationship(
        target, secondary=part(0), primaryjoin=part(1), secondaryjoin=part(2), viewonly=True, lazy=lazy, order_by=order_by, **options
    )
    found: Relationship[Any] = prop
    return found


# A side of links: class or Table, columns of its key, and what the columns that hold it are called; None: as pgembed has it.
_Side = tuple[Any, Sequence[Any] | None, Sequence[str] | None]
# What a column of the table of links is called -> the column whose values it has.
_Holds = dict[str, Column[Any]]


def _described(links: str, source: _Side, targets: Sequence[_Side], schema: str | None, corrected: bool) -> tuple[Table, list[_Holds]]:
    """The table of links, and which of its columns hold the keys of the source and of each target."""
    taken = set(layout.OWN)
    held, runners_up = [], []
    for place, (target, named, names) in enumerate((source, *targets)):
        table = table_of(target)
        key = _key(table, named)
        if place == 0:
            made = layout.source_names(table.name, [one.name for one in key], taken)
        else:
            made, beside, _ = layout.entity_names(table.name, [one.name for one in key], taken)
            runners_up += [Column(name, one.type) for name, one in zip(beside, key, strict=True)]
        held.append(dict(zip(made if names is None else names, key, strict=True)))
    told = [
        Column("score", Double),
        Column("margin", Double),
        Column("decision", Text, nullable=False),
        Column("linker_revision", Integer),
        Column("linked_at", DateTime(timezone=True)),
    ]
    if corrected:
        told += [Column("corrected_by", Text), Column("corrected_at", DateTime(timezone=True))]
    described = Table(
        naming.clip(links, "_entity") if corrected else links,
        MetaData(),
        *(Column(name, one.type, primary_key=True, autoincrement=False) for name, one in held[0].items()),
        Column("mention", Text, nullable=False),
        Column("start_char", Integer, primary_key=True, autoincrement=False),
        Column("end_char", Integer, primary_key=True, autoincrement=False),
        Column("mention_type", Text),
        *(Column(name, one.type) for holds in held[1:] for name, one in holds.items()),
        *told,
        *runners_up,
        *(ForeignKeyConstraint(list(holds), list(holds.values())) for holds in held),
        schema=schema,
        info={"pgembed": "owned"},
    )
    return described, held


def _key(table: Table, named: Sequence[Any] | None) -> list[Column[Any]]:
    if named is None:
        if not table.primary_key:
            raise errors.InvalidParameter(
                f'Table "{table.name}" says no primary key, by which links refer to its rows',
                hint="Name the columns of the key that link_table or create_linker was given: source_key=, entity_key=.",
            )
        return list(table.primary_key)
    there = {one.name: one for one in table.columns}
    names = [calls.column_name(one) for one in named]
    missing = [name for name in names if name not in there]
    if missing:
        raise errors.UnknownColumn(f'Table "{table.name}" has no column "{missing[0]}"', hint=f"It has {', '.join(there)}.")
    return [there[str(name)] for name in names]


def _through(
    rows: Table, to_here: _Holds, to_there: _Holds, meant: str, decisions: Sequence[str]
) -> tuple[Subquery, ColumnElement[bool], ColumnElement[bool]]:
    """The pairs of rows that links connect, each once, and what joins them to both sides."""
    # Of several links of a pair the first. Not by DISTINCT, for which PostgreSQL would read the links of all texts to give those of some.
    first, keys = rows.alias(), (*to_here, *to_there)
    kept = [rows.c[meant].is_not(None), *([rows.c.decision.in_(decisions)] if decisions else [])]
    earlier = [
        *(first.c[name] == rows.c[name] for name in keys),
        *([first.c.decision.in_(decisions)] if decisions else []),
        tuple_(first.c.start_char, first.c.end_char) < tuple_(rows.c.start_char, rows.c.end_char),
    ]
    pairs = select(*(rows.c[name] for name in keys)).where(*kept, ~exists().where(*earlier)).subquery()
    here, there = (and_(*(foreign(pairs.c[name]) == one for name, one in holds.items())) for holds in (to_here, to_there))
    return pairs, here, there
