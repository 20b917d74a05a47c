"""encoding: one code at a time, for encoders that SQL alone cannot write. A table is encoded in batches instead.

Nothing here runs SQL: plpy does so in a subtransaction, which no parallel plan allows before PostgreSQL 17. So constants are given, by SQL
that fetches them only where they are not known.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from pgembed import codecs, errors, vectors
from pgembed.models import threads

if TYPE_CHECKING:
    from pgembed.codecs.contract import Codec

MOST_KEPT = 8
_kept: OrderedDict[str, Callable[[bytes], bytes]] = OrderedDict()


def known(fingerprint: str, vector: bytes) -> bytes | None:
    """The code of a vector; None where this session has not seen the codec's constants yet.

    Args:
        fingerprint: of the codec.
        vector: what ``vector_send`` gave.
    Returns:
        Bits and bytes as they are stored; of halfvec the image of a vector, see `pgembed.vectors`.
    Raises:
        errors.DimensionMismatch: the vector is not of the codec's dimension.
    """
    made = _kept.get(fingerprint)
    if made is None:
        return None
    _kept.move_to_end(fingerprint)
    return made(vector)


def learn(fingerprint: str, constants: bytes | None, vector: bytes) -> bytes:
    """The same, with the constants, which are known from now on.

    Args:
        constants: the packed codec.
    Raises:
        errors.NotReady: they are another codec's.
    """
    found = hashlib.sha256(constants or b"").hexdigest()
    if constants is None or found != fingerprint:
        raise errors.NotReady(
            f"these constants are of codec {found[:12]}, expected {fingerprint[:12]}",
            hint="Somebody has replaced their function: codes of two codecs cannot be compared. Train a new codec instead.",
        )
    made = encoder(codecs.load(constants))
    while len(_kept) >= MOST_KEPT:
        _kept.popitem(last=False)
    _kept[fingerprint] = made
    return made(vector)


def encoder(codec: Codec) -> Callable[[bytes], bytes]:
    """What encodes one vector after another."""
    with threads.signals_blocked():
        import numpy as np

    dim, as_vector = codec.space.dim, codec.shape.kind == "halfvec"
    size = 4 + 4 * dim

    def encode(vector: bytes) -> bytes:
        if len(vector) != size:
            raise errors.DimensionMismatch(
                f"expected {dim} dimensions, not {max(0, len(vector) - 4) // 4}",
                hint="A codec encodes vectors of the column it was trained on.",
            )
        code = codec.encode(np.frombuffer(vector, ">f4", dim, 4).astype(np.float32)[None, :])
        return vectors.to_image(code[0]) if as_vector else code.tobytes()

    return encode
