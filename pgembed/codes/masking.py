"""masking: what of a query codes of bits are compared with by SQL, without the bits that it is unsure of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgembed import errors, vectors
from pgembed.codes import catalogue
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def masked(db: Database, codec: str | None, query: bytes | None) -> tuple[str | None, str | None]:
    """Bits and mask of a query, see `pgembed.codecs.contract.Codec.masked`, as PostgreSQL writes bits; both None where the query is NULL.

    Args:
        codec: its name.
        query: the vector, as vector_send() makes it.
    Raises:
        errors.NullNotAllowed, errors.UnknownObject: there is no such codec.
        errors.DatatypeMismatch: its codes are no bits.
        errors.DimensionMismatch: it is for vectors of another dimension.
    """
    row = catalogue.codec(db, codec)
    if row.kind != "bits":
        raise errors.DatatypeMismatch(
            f'codes of "{row.name}" are of type {row.code_type}, which has no bits to leave out',
            hint="SELECT name FROM pgembed.codecs WHERE kind = 'bits' lists those that have; others are compared by pgembed.distance() and"
            " pgembed.scan_codes().",
        )
    if query is None:
        return None, None
    dim = vectors.sent_dim(query)
    if dim != row.dim:
        raise errors.DimensionMismatch(
            f'vector has {dim} dimensions, codec "{row.name}" is for {row.dim}',
            hint=f"Ask with vectors like those of {row.column_name}, which the codec was trained on.",
        )
    loaded = row.load(db)  # before numpy is used: it imports it as it must be
    found = loaded.masked(vectors.from_send(query)[None, :])
    assert found is not None  # codes are bits
    bits, mask = (_text(code[0], row.length) for code in found)
    return bits, mask


def _text(code: NDArray[np.uint8], length: int) -> str:
    import numpy as np

    return (np.unpackbits(code, count=length) + ord("0")).tobytes().decode()
