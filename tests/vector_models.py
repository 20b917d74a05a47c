"""Declarations of vectors and their indexes, each with a change to be seen: tests/client/test_alembic_convergence.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR
from sqlalchemy import ARRAY, Column, Computed, Index, Integer, MetaData, String, Table, TypeDecorator, cast, column, desc, func, text
from sqlalchemy.dialects import postgresql

from pgembed.sqlalchemy import BINVEC

Things = Callable[[Any], Sequence[Any]]


@dataclass(frozen=True)
class Declared:
    """Columns of a table, and indexes made from them."""

    columns: Callable[[], Sequence[Column[Any]]]
    indexes: Things = lambda _: ()
    schema: str | None = None

    def add_to(self, metadata: MetaData, name: str) -> None:
        """Declare a table."""
        key, title = Column("id", Integer, primary_key=True), Column("title", String(40))
        table = Table(name, metadata, key, title, *self.columns(), schema=self.schema)
        for index in self.indexes(table.c):
            index.name = f"{index.name}_{name}"[:63]
            table.append_constraint(index)


@dataclass(frozen=True)
class Case:
    """A declaration; what it is changed to, if that can be; and words of the migrations that create and change it."""

    name: str
    before: Declared
    after: Declared | None = None
    creates: str = ""
    changes: str = ""
    pgembed: bool = False  # whether it needs pgembed in the database

    @property
    def table(self) -> str:
        """Its name: every case has one of its own."""
        return f"t_{self.name.replace(' ', '_')}" if self.name != "long names" else "t" * 63


class Unit(TypeDecorator[Any]):
    """A project's own type of vectors."""

    impl = VECTOR
    cache_ok = True

    def __repr__(self) -> str:
        return f"Unit({self.impl_instance.dim})"


def one(type_: Callable[[], Any], name: str = "embedding", **options: Any) -> Callable[[], list[Column[Any]]]:
    """A column of a type."""
    return lambda: [Column(name, type_(), **options)]


def typed(name: str, before: Callable[[], Any], after: Callable[[], Any], creates: str, changes: str = "type_=", **options: Any) -> Case:
    """A case about the type of a column."""
    return Case(name, Declared(one(before)), Declared(one(after)), creates, changes, **options)


def hnsw(*keys: Any, name: str = "item_e", using: str = "hnsw", **options: Any) -> Index:
    return Index(name, *keys, postgresql_using=using, **{f"postgresql_{key}": value for key, value in options.items()})


def indexed(name: str, before: Things, after: Things | None, creates: str, changes: str = "create_index", type_: Any = None) -> Case:
    """A case about indexes of a column of three dimensions."""
    columns = one(lambda: type_ or VECTOR(3))
    return Case(name, Declared(columns, before), Declared(columns, after) if after else None, creates, changes)


def l2(column: Any, **options: Any) -> Index:
    return hnsw(column, ops={"embedding": "vector_l2_ops"}, **options)


def quantized(length: int) -> Callable[[Any], Any]:
    return lambda c: cast(func.binary_quantize(c.embedding), BIT(length)).label("e")


def computed(name: str, type_: Callable[[], Any], expression: str) -> Callable[[], list[Column[Any]]]:
    """A vector, and a column computed from it."""
    return lambda: [Column("embedding", VECTOR(4)), Column(name, type_(), Computed(expression, persisted=True))]


def generated(expression: str, length: int) -> Callable[[], list[Column[Any]]]:
    return computed("code", lambda: BIT(length), expression)


BITS = Declared(generated("binary_quantize(embedding)::bit(4)", 4), lambda c: [hnsw(c.code, ops={"code": "bit_hamming_ops"})])

TYPES = [
    typed("vector", lambda: VECTOR(3), lambda: VECTOR(4), "pgvector.sqlalchemy.VECTOR(dim=3)", "type_=pgvector.sqlalchemy.VECTOR(dim=4)"),
    typed("vector of any length", VECTOR, lambda: VECTOR(3), "pgvector.sqlalchemy.VECTOR()"),
    typed("vector loses its length", lambda: VECTOR(3), VECTOR, "VECTOR(dim=3)"),
    typed("halfvec", lambda: HALFVEC(3), lambda: VECTOR(3), "pgvector.sqlalchemy.HALFVEC(dim=3)"),
    typed("halfvec of any length", HALFVEC, lambda: SPARSEVEC(3), "pgvector.sqlalchemy.HALFVEC()"),
    typed("sparsevec", lambda: SPARSEVEC(300), lambda: SPARSEVEC(301), "pgvector.sqlalchemy.SPARSEVEC(dim=300)"),
    typed("bit of pgvector", lambda: BIT(8), lambda: BIT(16), "pgvector.sqlalchemy.BIT(length=8)"),
    typed("bit of SQLAlchemy", lambda: postgresql.BIT(8), lambda: postgresql.BIT(8, varying=True), "postgresql.BIT(length=8)"),
    typed("vector to bit", lambda: VECTOR(3), lambda: BIT(3), "VECTOR", "postgresql_using='binary_quantize(embedding)::bit(3)'"),
    typed("text to vector", lambda: String(), lambda: VECTOR(3), "String", "postgresql_using='embedding::vector(3)'"),
    typed("json to vector", postgresql.JSONB, lambda: VECTOR(3), "JSONB", "postgresql_using='embedding::text::vector(3)'"),
    typed("numbers to vector", lambda: ARRAY(postgresql.REAL), lambda: VECTOR(3), "ARRAY", "type_=pgvector.sqlalchemy.VECTOR(dim=3)"),
    typed("array", lambda: ARRAY(VECTOR(3)), lambda: ARRAY(VECTOR(4)), "ARRAY(pgvector.sqlalchemy.VECTOR(dim=3))"),
    typed("array of halfvec", lambda: postgresql.ARRAY(HALFVEC(3)), lambda: ARRAY(VECTOR(3)), "ARRAY(pgvector.sqlalchemy.HALFVEC(dim=3))"),
    typed(
        "domain",
        lambda: postgresql.DOMAIN("unit", VECTOR(3), create_type=False),
        lambda: VECTOR(3),
        "DOMAIN('unit', pgvector.sqlalchemy.VECTOR(dim=3)",
    ),
    typed("own type", lambda: Unit(3), lambda: Unit(4), "vector_models.Unit(3)", "vector_models.Unit(4)"),
    typed("binvec", lambda: BINVEC(10), lambda: BINVEC(12), "pgembed.sqlalchemy.BINVEC(length=10)", pgembed=True),
    typed("binvec of any length", BINVEC, lambda: BIT(10), "pgembed.sqlalchemy.BINVEC()", pgembed=True),
    typed("array of binvec", lambda: ARRAY(BINVEC(10)), lambda: ARRAY(BINVEC(9)), "ARRAY(pgembed.sqlalchemy.BINVEC", pgembed=True),
    Case(
        "not null",
        Declared(one(lambda: VECTOR(3), nullable=False)),
        Declared(one(lambda: VECTOR(3), nullable=True)),
        "nullable=False",
        "nullable=True",
    ),
    Case("quoted", Declared(one(lambda: VECTOR(3), "My vector")), Declared(one(lambda: VECTOR(4), "My vector")), "'My vector'", "dim=4"),
    Case(
        "default",
        Declared(one(lambda: VECTOR(3), server_default="[1,2,3]")),
        Declared(one(lambda: VECTOR(3), server_default="[1,2,4]")),
        "[1,2,3]",
        "server_default=",
    ),
    Case(
        "default written otherwise",
        Declared(one(lambda: HALFVEC(3), server_default=text("'[1, 2, 3]'::vector"))),
        Declared(one(lambda: HALFVEC(3))),
        "server_default=",
        "server_default=None",
    ),
    Case("default of bits", Declared(one(lambda: BIT(3), server_default=text("B'101'"))), Declared(one(lambda: BIT(3))), "B'101'", "=None"),
]

METHODS = [
    indexed("hnsw", lambda c: [l2(c.embedding)], lambda c: [hnsw(c.embedding, ops={"embedding": "vector_cosine_ops"})], "vector_l2_ops"),
    indexed(
        "hnsw with options",
        lambda c: [l2(c.embedding, **{"with": {"m": 8, "ef_construction": 32}})],
        lambda c: [l2(c.embedding, **{"with": {"m": 8, "ef_construction": 40}})],
        "'ef_construction': 32",
        "'ef_construction': 40",
    ),
    indexed("options go", lambda c: [l2(c.embedding, **{"with": {"m": 8}})], lambda c: [l2(c.embedding)], "postgresql_with={'m': 8}"),
    indexed(
        "ivfflat",
        lambda c: [l2(c.embedding, using="ivfflat", **{"with": {"lists": 2}})],
        lambda c: [l2(c.embedding, using="ivfflat", **{"with": {"lists": 3}})],
        "'lists': 2",
    ),
    indexed(
        "ivfflat by default", lambda c: [hnsw(c.embedding, using="ivfflat")], lambda c: [l2(c.embedding)], "postgresql_using='ivfflat'"
    ),
    indexed("another method", lambda c: [l2(c.embedding, using="ivfflat")], lambda c: [l2(c.embedding)], "ivfflat", "='hnsw'"),
    indexed("an index goes", lambda c: [l2(c.embedding)], lambda c: [], "hnsw", "drop_index"),
    indexed("an index comes", lambda c: [], lambda c: [l2(c.embedding)], "", "vector_l2_ops"),
    indexed(
        "two", lambda c: [l2(c.embedding), l2(c.embedding, name="b")], lambda c: [l2(c.embedding)], "'b_t_two'", "drop_index('b_t_two'"
    ),
    Case(
        "bits",
        Declared(one(lambda: BIT(8)), lambda c: [hnsw(c.embedding, ops={"embedding": "bit_hamming_ops"})]),
        Declared(one(lambda: BIT(8)), lambda c: [hnsw(c.embedding, ops={"embedding": "bit_jaccard_ops"})]),
        "bit_hamming_ops",
        "bit_jaccard_ops",
    ),
    Case(
        "sparse",
        Declared(one(lambda: SPARSEVEC(9)), lambda c: [hnsw(c.embedding, ops={"embedding": "sparsevec_ip_ops"})]),
        Declared(one(lambda: SPARSEVEC(9)), lambda c: [hnsw(c.embedding, ops={"embedding": "sparsevec_l2_ops"})]),
        "sparsevec_ip_ops",
        "sparsevec_l2_ops",
    ),
    Case(
        "type and class together",
        Declared(one(lambda: VECTOR(3)), lambda c: [l2(c.embedding)]),
        Declared(one(lambda: HALFVEC(3)), lambda c: [hnsw(c.embedding, ops={"embedding": "halfvec_l2_ops"})]),
        "vector_l2_ops",
        "halfvec_l2_ops",
    ),
    Case(
        "a column with its index goes",
        Declared(one(lambda: VECTOR(3)), lambda c: [l2(c.embedding, where=c.id > 3)]),
        Declared(list),
        "postgresql_where",
        "drop_column",
    ),
]

EXPRESSIONS = [
    indexed(
        "halfvec by label",
        lambda c: [hnsw(cast(c.embedding, HALFVEC(3)).label("e"), ops={"e": "halfvec_l2_ops"})],
        lambda c: [hnsw(cast(c.embedding, HALFVEC(3)).label("e"), ops={"e": "halfvec_ip_ops"})],
        "halfvec_l2_ops",
        "halfvec_ip_ops",
        VECTOR(),
    ),
    indexed(
        "another cast",
        lambda c: [hnsw(cast(c.embedding, HALFVEC(3)).label("e"), ops={"e": "halfvec_l2_ops"})],
        lambda c: [hnsw(cast(c.embedding, HALFVEC(4)).label("e"), ops={"e": "halfvec_l2_ops"})],
        "HALFVEC(3)",
        "HALFVEC(4)",
        VECTOR(),
    ),
    indexed(
        "halfvec by text",
        lambda _: [hnsw(text("(embedding::halfvec(3)) halfvec_cosine_ops"))],
        lambda _: [hnsw(text("(embedding::halfvec(3)) halfvec_l2_ops"))],
        "halfvec_cosine_ops",
        "halfvec_l2_ops",
    ),
    indexed(
        "binary by label",
        lambda c: [hnsw(quantized(3)(c), ops={"e": "bit_hamming_ops"})],
        lambda c: [hnsw(quantized(3)(c), ops={"e": "bit_jaccard_ops"})],
        "bit_hamming_ops",
        "bit_jaccard_ops",
    ),
    indexed(
        "binary by text",
        lambda _: [hnsw(text("(binary_quantize(embedding)::bit(3)) bit_hamming_ops"))],
        lambda _: [hnsw(text("(binary_quantize(embedding)::bit(2)) bit_hamming_ops"))],
        "bit(3)",
        "bit(2)",
    ),
    indexed(
        "first dimensions",
        lambda c: [hnsw(cast(func.subvector(c.embedding, 1, 2), VECTOR(2)).label("e"), ops={"e": "vector_cosine_ops"})],
        lambda c: [hnsw(cast(func.subvector(c.embedding, 2, 2), VECTOR(2)).label("e"), ops={"e": "vector_cosine_ops"})],
        "subvector(embedding, 1, 2)",
        "subvector(embedding, 2, 2)",
    ),
    indexed(
        "by a name of no column",
        lambda _: [hnsw(cast(column("embedding"), HALFVEC(3)).label("e"), ops={"e": "halfvec_l2_ops"})],
        None,
        "halfvec_l2_ops",
    ),
    indexed(
        "a function",
        lambda c: [Index("n", func.vector_dims(c.embedding), c.title)],
        lambda c: [Index("n", func.vector_dims(c.embedding).desc(), c.title)],
        "vector_dims(embedding)",
        "DESC",
    ),
]

FORMS = [
    indexed("partial", lambda c: [l2(c.embedding, where=c.id > 3)], lambda c: [l2(c.embedding, where=c.id > 4)], "id > 3", "id > 4"),
    indexed(
        "partial by text",
        lambda c: [l2(c.embedding, where=text("title IN ('a', 'b%') AND embedding IS NOT NULL"))],
        lambda c: [l2(c.embedding, where=text("title IN ('a', 'b') AND embedding IS NOT NULL"))],
        "'b%",
    ),
    indexed(
        "covering",
        lambda c: [Index("i", c.id, postgresql_include=["embedding"])],
        lambda c: [Index("i", c.id, postgresql_include=["embedding", "title"])],
        "postgresql_include=['embedding']",
        "'title'",
        BIT(8),
    ),
    indexed(
        "covering and unique",
        lambda c: [Index("i", c.title, unique=True, postgresql_include=[c.embedding])],
        lambda c: [Index("i", c.title, postgresql_include=[c.embedding])],
        "unique=True",
        "unique=False",
        BIT(8),
    ),
    indexed(
        "order",
        lambda c: [Index("i", desc(c.embedding), c.id)],
        lambda c: [Index("i", desc(c.embedding).nulls_last(), c.id)],
        "DESC",
        "NULLS LAST",
        BIT(8),
    ),
    indexed(
        "equality", lambda c: [Index("i", c.embedding, unique=True)], lambda c: [Index("i", c.embedding)], "unique=True", "unique=False"
    ),
    indexed(
        "concurrently",
        lambda c: [l2(c.embedding, concurrently=True)],
        lambda c: [l2(c.embedding, concurrently=True, **{"with": {"m": 4}})],
        "autocommit_block()",
        "autocommit_block()",
    ),
    Case(
        "elsewhere",
        Declared(one(lambda: VECTOR(3)), lambda c: [l2(c.embedding)], schema="Other one"),
        Declared(one(lambda: HALFVEC(3)), lambda c: [hnsw(c.embedding, ops={"embedding": "halfvec_l2_ops"})], schema="Other one"),
        "schema='Other one'",
        "schema='Other one'",
    ),
    Case(
        "odd names",
        Declared(one(lambda: VECTOR(3), "My vector"), lambda c: [hnsw(c[2], name="An index", ops={"My vector": "vector_l2_ops"})]),
        Declared(one(lambda: VECTOR(3), "My vector"), lambda c: [hnsw(c[2], name="An index", ops={"My vector": "vector_ip_ops"})]),
        "'An index_t_odd_names'",
        "vector_ip_ops",
    ),
    Case(
        "long names",
        Declared(one(lambda: VECTOR(3)), lambda c: [l2(c.embedding)]),
        Declared(one(lambda: VECTOR(4)), lambda c: [l2(c.embedding)]),
        f"create_index('item_e_{'t' * 56}'",
        "dim=4",
    ),
    Case(
        "name by convention",
        Declared(lambda: [Column("embedding", BIT(8), index=True)]),
        Declared(one(lambda: BIT(8))),
        "op.f('ix_t_name_by_convention_",
        "drop_",
    ),
]

GENERATED = [
    Case(
        "generated bits",
        BITS,
        Declared(generated("binary_quantize(l2_normalize(embedding))::bit(4)", 4), BITS.indexes),
        "sa.Computed('binary_quantize(embedding)::bit(4)', persisted=True)",
        "l2_normalize",
    ),
    Case(
        "generated of another length",
        BITS,
        Declared(generated("binary_quantize(subvector(embedding, 1, 3))::bit(3)", 3), BITS.indexes),
        "bit_hamming_ops",
        "subvector",
    ),
    Case(
        "generated halves",
        Declared(computed("half", lambda: HALFVEC(4), "embedding::halfvec(4)")),
        None,
        "embedding::halfvec(4)",
    ),
    Case(
        "a number of a vector",
        Declared(computed("norm", postgresql.DOUBLE_PRECISION, "vector_norm(embedding)")),
        Declared(computed("norm", postgresql.DOUBLE_PRECISION, "vector_norm(embedding) + 1")),
        "vector_norm(embedding)",
        "vector_norm(embedding) + 1",
    ),
    Case(
        "a code becomes generated",
        Declared(lambda: [Column("embedding", VECTOR(4)), Column("code", BIT(4))]),
        Declared(generated("binary_quantize(embedding)::bit(4)", 4)),
        "BIT(length=4)",
        "Computed",
    ),
    Case(
        "covering codes",
        Declared(BITS.columns, lambda c: [Index("i", c.id, postgresql_include=["code"])]),
        Declared(BITS.columns, lambda c: [Index("i", c.title, postgresql_include=["code"])]),
        "postgresql_include=['code']",
        "'title'",
    ),
    Case(
        "a code by a codec",
        Declared(computed("code", lambda: BINVEC(4), "binary_quantize(embedding)::pgembed.binvec")),
        None,
        "pgembed.sqlalchemy.BINVEC(length=4)",
        pgembed=True,
    ),
]

# Before 2.1 SQLAlchemy does not heed create_type=False of a domain.
_OLD = sqlalchemy.__version__ < "2.1"
CASES = [case for case in TYPES + METHODS + EXPRESSIONS + FORMS + GENERATED if not (_OLD and case.name == "domain")]
