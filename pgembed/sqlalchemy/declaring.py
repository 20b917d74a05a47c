"""declaring: embedded columns made, adopted, altered and dropped; each is an expression for ``select()``, which returns None."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from pgembed.sqlalchemy.typed import Flag, Name, Number, Relation, Words, nothing


def add_embedding(
    target: Relation,
    source: Words,
    model: Words | None = None,
    column_name: Name = "embedding",
    sync: Words = "auto",
    metric: Words = "cosine",
    chunk_tokens: Number | None = None,
    chunk_overlap: Number | None = None,
    by_hand: Words = "mark",
) -> ColumnElement[None]:
    """Give a table a column of embeddings; rows that are there are pending until `refresh`.

    ::

        connection.execute(select(add_embedding(Product, "concat_ws(' ', name, description)")))

    Args:
        target: the table; an attribute such as ``Product.embedding`` names the new column too.
        source: SQL over the table's own columns, of type text; a row where it is NULL or empty gets no vector.
        model: its name; None is the database's default.
        column_name: of the new column, of type vector.
        sync: when what is written is embedded: ``immediate``, by the statement itself; ``queued``, by workers; ``manual``, by `refresh`;
            ``auto``, few rows by the statement and many by workers.
        metric: ``cosine``, ``l2`` or ``inner_product``.
        chunk_tokens: a table of chunks of at most so many tokens instead of a column; None: one vector for the whole text.
        chunk_overlap: tokens that neighbouring chunks share.
        by_hand: vectors that somebody else writes: ``mark`` takes and `by_hand` tells them, ``refuse`` refuses them.
    Raises:
        sqlalchemy.exc.DBAPIError: as in SQL, with SQLSTATE and HINT of the server: no such table or model, a source that cannot be
            evaluated, a column that is there.
    """
    return nothing(add_embedding, locals())


def adopt_embedding(
    target: Relation,
    column_name: Name,
    model: Words | None = None,
    source: Words | None = None,
    metric: Words | None = None,
    sync: Words = "auto",
    by_hand: Words = "mark",
) -> ColumnElement[None]:
    """Declare a column of vectors that is there already, with the model that made it, so that search and joins serve it.

    Args:
        column_name: of the vectors.
        model: None: unknown, so only vectors are searched for.
        source: None: nobody embeds what is written.
        metric: None: that of its index, else cosine.
        sync, by_hand: as of `add_embedding`.
    """
    return nothing(adopt_embedding, locals())


def alter_embedding(
    target: Relation,
    column_name: Name | None = None,
    source: Words | None = None,
    model: Words | None = None,
    metric: Words | None = None,
    sync: Words | None = None,
    chunk_tokens: Number | None = None,
    chunk_overlap: Number | None = None,
    by_hand: Words | None = None,
) -> ColumnElement[None]:
    """Change what an embedded column is made of; what is None stays. Rows whose vectors are of something else are stale after it.

    Arguments are those of `add_embedding`.
    """
    return nothing(alter_embedding, locals())


def drop_embedding(target: Relation, column_name: Name | None = None, keep_column: Flag | None = None) -> ColumnElement[None]:
    """Undo `add_embedding` or `adopt_embedding`.

    Args:
        keep_column: None keeps a column that was adopted and drops one that pgembed has made, a table of chunks too.
    """
    return nothing(drop_embedding, locals())
