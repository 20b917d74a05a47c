"""rendering: a codec in SQL: the function that encodes, and what it needs beside it.

All of it is bound to what it names when it is created (a body of the SQL standard), and every name is qualified: pg_restore computes
codes anew with an empty search_path, and where pgvector lives is the user's choice.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import naming
from pgembed.columns import literal, quote

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec, Shape

ARGUMENT = "embedding"
# What follows a codec's name in the names of what is made beside its function.
CONSTANTS, DOMAIN = "_constants", "_code"
MOST_NAME = naming.IDENTIFIER_BYTES - max(len(CONSTANTS), len(DOMAIN))

# In units of PostgreSQL's own operators: a function of C, or a batch of one in Python.
SQL_COST, PYTHON_COST = 10, 1000

BIT_TYPES = ("binvec", "bit")


@dataclass(frozen=True)
class Objects:
    """What a codec is in a database, by name in SQL.

    Attributes:
        encoder: a function of a vector.
        constants: a function without arguments that returns `Codec.packed`; None where the encoder is SQL alone.
        domain: of the codes; None for bits and halfvec.
        code_type: of a column of codes.
        vector_schema: pgvector's, quoted where it must be.
    """

    encoder: str
    constants: str | None
    domain: str | None
    code_type: str
    vector_schema: str

    @property
    def signature(self) -> str:
        """The encoder, as DROP FUNCTION and COMMENT ON FUNCTION name it."""
        return f"{self.encoder}({self.vector_schema}.vector)"


def objects(codec: Codec, schema: str, name: str, vector_schema: str, bits: str) -> Objects:
    """The names of a codec's objects.

    Args:
        schema: where they are made.
        name: of the codec, at most MOST_NAME bytes.
        bits: the type of codes of bits, one of BIT_TYPES.
    """
    shape = codec.shape
    domain = f"{quote(schema)}.{quote(name + DOMAIN)}" if shape.kind == "bytes" else None
    return Objects(
        encoder=f"{quote(schema)}.{quote(name)}",
        constants=None if _expression(codec, vector_schema) else f"{quote(schema)}.{quote(name + CONSTANTS)}",
        domain=domain,
        code_type=domain or _code_type(shape, vector_schema, bits),
        vector_schema=vector_schema,
    )


def statements(codec: Codec, made: Objects, method: str) -> list[str]:
    """What creates a codec's objects, in order.

    Args:
        method: how the codec is described in comments, such as ``sign codec of shop.product.embedding``.
    """
    shape = codec.shape
    done = []
    if made.domain is not None:
        done += [
            f"CREATE DOMAIN {made.domain} AS pg_catalog.bytea"
            f" CONSTRAINT length CHECK (pg_catalog.octet_length(VALUE) OPERATOR(pg_catalog.=) {shape.length})",
            f"COMMENT ON DOMAIN {made.domain} IS {literal(f'code of {shape.length} bytes: {method}')}",
        ]
    if made.constants is not None:
        # a string, which is only read when it runs: as a parsed expression each session would carry some megabytes more
        body = f"SELECT pg_catalog.decode('{base64.b64encode(codec.packed).decode()}', 'base64')"
        done += [
            f"CREATE FUNCTION {made.constants}() RETURNS pg_catalog.bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS {literal(body)}",
            f"COMMENT ON FUNCTION {made.constants}() IS {literal(f'constants of {made.encoder}(): {method}')}",
        ]
    # Bits are bit, whatever the column: an encoder of pgvector's functions alone needs nothing of ours, and where pgembed is no extension
    # pg_dump would write it before the cast to binvec. A function keeps no length.
    returns = {"bits": "pg_catalog.bit", "bytes": made.domain, "halfvec": f"{made.vector_schema}.halfvec"}[shape.kind]
    cost = SQL_COST if made.constants is None else PYTHON_COST
    done += [
        f"CREATE FUNCTION {made.encoder}({ARGUMENT} {made.vector_schema}.vector) RETURNS {returns}"
        f" LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST {cost}\nRETURN {body_of(codec, made)}",
        f"COMMENT ON FUNCTION {made.signature} IS {literal(f'code of a vector of {codec.space.dim} dimensions: {method}')}",
    ]
    return done


def body_of(codec: Codec, made: Objects) -> str:
    """The expression that the encoder returns, over its argument; it refuses a vector of another dimension."""
    shape, schema = codec.shape, made.vector_schema
    expression = _expression(codec, schema)
    if expression is not None:
        # bits are as many as there are dimensions, which have been checked
        cast = {"bits": "", "bytes": f"::{made.domain}", "halfvec": f"::{schema}.halfvec({shape.length})"}[shape.kind]
        return f"({expression}){cast}"
    encoded = (
        f"pgembed._encode({literal(str(made.constants))}::pg_catalog.regproc, '{codec.fingerprint}', {schema}.vector_send({ARGUMENT}))"
    )
    if shape.kind == "bytes":
        return f"{encoded}::{made.domain}"
    if shape.kind == "halfvec":
        return f"pgembed._vector({encoded})::{schema}.halfvec({shape.length})"
    # The only way into bit that looks at what it is given is its input function. Cut are the bits that fill up the last byte.
    return f"('x'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.encode({encoded}, 'hex'))::pg_catalog.bit({shape.length})"


def _expression(codec: Codec, vector_schema: str) -> str | None:
    # pgvector's length cast returns its argument, or an error; a function of C more, and strict as all others
    checked = f"{ARGUMENT}::{vector_schema}.vector({codec.space.dim})"
    return codec.expression(codec.space.expression(f"({checked})", vector_schema), vector_schema)


def _code_type(shape: Shape, vector_schema: str, bits: str) -> str:
    if shape.kind == "halfvec":
        return f"{vector_schema}.halfvec({shape.length})"
    return f"pgembed.binvec({shape.length})" if bits == "binvec" else f"bit({shape.length})"
