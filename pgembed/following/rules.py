"""rules: how an embedded column is kept true, and what the generated triggers need to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from pgembed.columns import Chunks, RowFunction, Table, literal, quote

SYNC = ("auto", "immediate", "queued", "manual")
BY_HAND = ("mark", "refuse")

# How many rows of one statement sync => 'auto' embeds before the statement ends, by kind of model: what a person at a prompt does not
# notice. A transformer takes 3 to 7 ms a text, so 16 are some 50 to 100 ms; a static model takes less than 0.1 ms. A remote one may take
# seconds, or not answer, and the writer's locks would be held meanwhile.
AT_ONCE = {"transformer": 16, "static": 256, "remote": 0}


@dataclass(frozen=True)
class Rules:
    """How an embedded column is kept true.

    Attributes:
        sync: auto, immediate, queued or manual.
        by_hand: mark or refuse: what becomes of a vector that somebody else writes.
        kind: of the model: transformer, static or remote; None where it is not known, so that nothing is embedded at once.
        adopted: vectors that come without a hash are the application's own, as those that were there before.
    """

    sync: str
    by_hand: str
    kind: str | None = None
    adopted: bool = False

    @property
    def at_once(self) -> int | None:
        """Rows of one statement that are embedded before it ends; None for all of them."""
        if self.sync == "immediate":
            return None
        return AT_ONCE.get(self.kind or "", 0) if self.sync == "auto" else 0


@dataclass(frozen=True)
class Followed:
    """A column as its triggers see it.

    Attributes:
        bases: the columns of which the text is made in the end, where the source reads a generated one; () where it reads none.
    """

    table: Table
    name: str
    hash_column: str
    source: RowFunction
    vector_schema: str
    bases: tuple[str, ...]
    chunks: Chunks | None
    rules: Rules

    @property
    def vector(self) -> str:
        return quote(self.name)

    @property
    def hashed(self) -> str:
        return quote(self.hash_column)

    @property
    def label(self) -> str:
        """What the row trigger calls the column when it leaves keys to the statement's trigger."""
        return f"{self.table.sql}.{self.vector}"

    def text(self, row: str) -> str:
        """SQL for the source text of a row; our own columns are not part of it."""
        return self.source.call(row, without=[self.name, self.hash_column])

    def state(self, row: str) -> str:
        """SQL for the state of a row."""
        return f"pgembed.freshness({row}.{self.hashed})" if self.chunks else f"pgembed.freshness({row}.{self.vector}, {row}.{self.hashed})"

    def same_vector(self) -> str:
        """SQL that is true where OLD and NEW have the same vector."""
        vector = self.vector
        # PostgreSQL looks up the operator of IS DISTINCT FROM in the search_path, where pgvector's need not be
        return (
            f"(OLD.{vector} IS NULL) = (NEW.{vector} IS NULL)"
            f" AND coalesce(OLD.{vector} OPERATOR({self.vector_schema}.=) NEW.{vector}, true)"
        )

    def marked(self, *, computed: bool) -> str:
        """SQL for the hash column of the row NEW, whose vector somebody else has written.

        Args:
            computed: generated columns of the row are.
        """
        if self.bases and not computed:
            return r"'\x03'::bytea"
        return rf"'\x03'::bytea || pgembed._source_hash(coalesce({self.text('NEW')}, ''))"

    def refusal(self) -> str:
        """PL/pgSQL that refuses a vector that somebody else has written. The SQLSTATE is that of a value for a generated column."""
        name = literal(self.name)
        return f"""RAISE EXCEPTION USING ERRCODE = 'generated_always',
            MESSAGE = format('column "%s" of table "%s" is written by pgembed alone, but a vector was given', {name}, TG_TABLE_NAME),
            HINT = format('Leave the column out: its vector is made of the row. SELECT pgembed.alter_embedding(%L, %L, by_hand => ''mark'')'
                ' lets others write vectors, too.', TG_RELID::regclass, {name});"""
