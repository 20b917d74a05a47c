"""embedded: an embedded column said in the model, so that ``metadata.create_all()`` makes it and ``drop_all()`` takes it away."""

from __future__ import annotations

from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import Column, Connection, FetchedValue, Table, event
from sqlalchemy.orm import ColumnProperty, MappedColumn, Mapper, MapperProperty, mapped_column, object_session

from pgembed import columns, errors
from pgembed.following.rules import BY_HAND, SYNC
from pgembed.sqlalchemy import creating
from pgembed.sqlalchemy.declarations import INFO, Code, Declared, Embedding, declared
from pgembed.sqlalchemy.sources import Source

_OPTIONS = frozenset(
    {"deferred", "deferred_group", "deferred_raiseload", "init", "repr", "compare", "hash", "kw_only"}
    | {"active_history", "sort_order", "use_existing_column", "key", "doc"}
)


def embedded(
    source: Source,
    *,
    column_name: str | None = None,
    model: str | None = None,
    sync: str = "auto",
    metric: str = "cosine",
    chunk_tokens: int | None = None,
    chunk_overlap: int | None = None,
    by_hand: str = "mark",
    codec: Code | str | None = None,
    **options: Any,
) -> MappedColumn[Any]:
    """An attribute with the embedding of a row's text, which the database makes and keeps.

    ::

        class Product(Base):
            __tablename__ = "product"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]
            description: Mapped[str]
            embedding: Mapped[list[float] | None] = embedded(lambda: Product.name + ": " + Product.description)

    ``create_all()`` runs ``pgembed.add_embedding()`` after CREATE TABLE, and the rows' text is embedded from then on as ``sync`` says. The
    attribute is deferred: ``select(Product)`` does not load it, ``undefer(Product.embedding)`` does, and so does reading it. A flush sends
    it only where it was set, and leaves RETURNING without it; after a flush of an UPDATE it is read anew.

    Args:
        source: the text: an SQL expression over columns of the class's own table; a function of no argument that returns one, called when
            it is needed; a function that is called with the table's columns, for mixins (``lambda c: c.name``); or SQL text. A row where
            it is NULL has no vector.
        column_name: of the column; None for the attribute's name.
        model: its name; None for the database's default.
        sync: when rows are embedded: ``auto``, ``immediate``, ``queued`` or ``manual``.
        metric: ``cosine``, ``l2`` or ``inner_product``.
        chunk_tokens, chunk_overlap: parts of that many tokens get a vector each, in a table of their own. The attribute then only declares:
            there is no column to read.
        by_hand: what becomes of a vector that somebody sets: ``mark`` keeps and marks it, ``refuse`` is an error.
        codec: codes of the vectors: `Code`, or the name of a method. Codecs are trained on vectors, so ``create_all()`` leaves this to
            `complete`.
        options: others of ``mapped_column`` that say nothing of the column in the database, such as ``deferred_group``.
    Returns:
        What ``Mapped[list[float] | None]`` is assigned; floats, one for each dimension of the model.
    Raises:
        errors.InvalidParameter: an argument is none of those it may be. The source is looked at when its table is created.
    """
    rest = _checked(model, sync, metric, chunk_tokens, chunk_overlap, by_hand, codec)
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise errors.InvalidParameter(
            f"an embedded column has no option {', '.join(unknown)}",
            hint="It is made by pgembed.add_embedding(); an Index may be declared.",
        )
    names = () if column_name is None else (column_name,)
    dataclass = {"init": False, "repr": False, "compare": False}  # to say anything of a row is no reason to read its vector
    # Of chunks there is no column, so reading the attribute is an error before it is one of the server's.
    deferring = {"deferred": True, "deferred_raiseload": chunk_tokens is not None}
    made = mapped_column(*names, **_arguments(source, rest), **{**dataclass, **deferring, **options})
    made.__class__ = _Embedded  # mapped_column() knows how its options are called in the constructor, which is not public
    if not dataclass.keys() & options.keys():
        made._has_dataclass_arguments = False  # else only a dataclass could have the attribute
    _listen(made.column)
    return made


def embedded_column(
    name: str,
    source: Source,
    *,
    model: str | None = None,
    sync: str = "auto",
    metric: str = "cosine",
    chunk_tokens: int | None = None,
    chunk_overlap: int | None = None,
    by_hand: str = "mark",
    codec: Code | str | None = None,
) -> Column[Any]:
    """The same as `embedded` for a Table.

    ::

        product = Table("product", metadata, Column("id", Integer, primary_key=True), Column("name", Text),
                        embedded_column("embedding", lambda c: c.name))

    A class that is mapped to such a Table imperatively defers it itself: ``properties={"embedding": deferred(product.c.embedding)}``.
    """
    rest = _checked(model, sync, metric, chunk_tokens, chunk_overlap, by_hand, codec)
    fetched: dict[str, Any] = {} if chunk_tokens is not None else {"server_onupdate": FetchedValue(for_update=True)}
    made: Column[Any] = Column(name, **_arguments(source, rest), **fetched)
    _listen(made)
    return made


class _Property(ColumnProperty[Any]):
    """What an UPDATE of its row has made old. As ``server_onupdate`` it would be asked for by RETURNING where a mapper has
    ``eager_defaults=True``, which is answered before the triggers that embed. ``Session.merge`` brings no vector along that was only
    loaded: it would be sent, and the database would take it for one set by hand.
    """

    __slots__ = ()
    inherit_cache = True

    def instrument_class(self, mapper: Mapper[Any]) -> None:
        """See SQLAlchemy."""
        super().instrument_class(mapper)
        event.listen(mapper, "after_update", self._expire, propagate=True)

    def merge(
        self, session: Any, source_state: Any, source_dict: Any, dest_state: Any, dest_dict: Any, load: bool, *rest: Any, **named: Any
    ) -> None:
        """See SQLAlchemy."""
        if not load or self.key not in source_dict or self.key in source_state.committed_state:
            super().merge(session, source_state, source_dict, dest_state, dest_dict, load, *rest, **named)

    def _expire(self, _mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
        session = object_session(target)
        if session is not None and self.key in target.__dict__:
            session.expire(target, [self.key])


class _Embedded(MappedColumn[Any]):
    """A mapped column with such a property."""

    __slots__ = ()
    inherit_cache = True

    @property
    def mapper_property_to_assign(self) -> MapperProperty[Any] | None:
        """See SQLAlchemy."""
        made = super().mapper_property_to_assign
        if made is not None:
            made.__class__ = _Property
        return made


def _checked(
    model: str | None,
    sync: str,
    metric: str,
    chunk_tokens: int | None,
    chunk_overlap: int | None,
    by_hand: str,
    codec: Code | str | None,
) -> Embedding:
    for what, value, known in (("sync", sync, SYNC), ("metric", metric, tuple(columns.OPERATORS)), ("by_hand", by_hand, BY_HAND)):
        if value not in known:
            raise errors.InvalidParameter(f"{what} must be one of {', '.join(known)}, not {value}", hint=f"{known[0]} is the default.")
    if chunk_overlap is not None and chunk_tokens is None:
        raise errors.InvalidParameter("chunk_overlap needs chunk_tokens", hint="chunk_tokens=200 embeds a text in parts of 200 tokens.")
    if codec is not None and chunk_tokens is not None:
        raise errors.InvalidParameter("a codec is of a column with one vector for each row", hint="Leave out codec, or chunk_tokens.")
    code = Code(codec) if isinstance(codec, str) else codec
    return Embedding("", model, sync, metric, chunk_tokens, chunk_overlap, by_hand, code)


def _arguments(source: Source, rest: Embedding) -> dict[str, Any]:
    # evaluates_none: an INSERT has the column only where the attribute was set. A server_default would do that too, but SQLAlchemy asks for
    # those with RETURNING, which is answered before the triggers that embed. system: CREATE TABLE leaves the column to add_embedding().
    found = {"type_": VECTOR().evaluates_none(), "nullable": True, "system": True, "info": {INFO: Declared(source, rest)}}
    # select(table) has all columns, and chunks have none
    return found if rest.chunk_tokens is None else {**found, "_omit_from_statements": True}


def _listen(column: Column[Any]) -> None:
    event.listen(column, "after_parent_attach", _attached, propagate=True)  # propagate: copies of the column do the same


def _attached(column: Column[Any], table: Any) -> None:
    found = declared(column)
    if not isinstance(table, Table) or found is None:
        return
    # The mixin's own declaration stays as it is, whichever tables are made of it.
    column.info[INFO] = Declared(found.source, found.rest, found.origin if found.origin is not None else table)
    creating.listen(table)
