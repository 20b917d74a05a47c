"""codecs: vectors in a tenth of the space. See README.md in this folder.

Nothing here knows a database: a codec is trained on an array, encodes arrays, and says what distance a code stands at. `pgembed.codes`
gives tables columns of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.models import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.codecs.contract import Codec, Space

# Method -> module and class. What is not asked for is not imported.
METHODS: dict[str, tuple[str, str]] = {
    "sign": ("bits", "Sign"),
    "thermometer": ("bits", "Thermometer"),
    "recurrent": ("bits", "Recurrent"),
    "rabitq": ("rabitq", "RaBitQ"),
    "matryoshka": ("prefix", "Matryoshka"),
    "pca": ("prefix", "Pca"),
    "leanvec": ("prefix", "LeanVec"),
    "mpad": ("mpad", "Mpad"),
    "int8": ("scalar", "Int8"),
    "lvq": ("scalar", "Lvq"),
    "pq": ("product", "Pq"),
    "opq": ("product", "Opq"),
}


def method(name: str) -> type[Codec]:
    """The class of a method.

    Raises:
        errors.InvalidParameter: there is no such method.
    """
    if name not in METHODS:
        raise errors.InvalidParameter(
            f'method must be one of {", ".join(METHODS)}, not "{name}"', hint="pgembed.recommend_codec() compares them."
        )
    module, made = METHODS[name]
    with threads.signals_blocked():
        found: type[Codec] = getattr(import_module(f"pgembed.codecs.{module}"), made)
    return found


def train(
    name: str,
    sample: NDArray[np.float32],
    space: Space,
    options: Mapping[str, Any],
    queries: NDArray[np.float32] | None = None,
    seed: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Codec:
    """A codec of a method, fitted to a sample.

    Args:
        name: of the method.
        sample: float32, shape (n, dim), finite, n at least 1.
        options: of the method, such as ``{"bits": 2}``; what is left out or None has the method's default.
        queries: float32, shape (m, dim), as users ask; None where nobody knows. Methods that do not look at queries ignore them.
        seed: the same one gives the same codec on the same sample.
        check: called now and then; what it raises passes through.
    Raises:
        errors.InvalidParameter: an option the method does not have, or out of its range.
        errors.DimensionMismatch: the sample is not of the space's dimension.
    """
    chosen = method(name)
    given = {key: value for key, value in options.items() if value is not None}
    unknown = sorted(set(given) - set(chosen.defaults))
    if unknown:
        has = ", ".join(chosen.defaults) or "none"
        raise errors.InvalidParameter(f"{name} codecs have no option {', '.join(unknown)}", hint=f"Options of {name}: {has}.")
    if sample.ndim != 2 or sample.shape[1] != space.dim:
        raise errors.DimensionMismatch(
            f"a sample of shape {sample.shape} is not of {space.dim} dimensions",
            hint="Train on vectors of the column that is to be encoded.",
        )
    return chosen.train(
        space.prepared(sample), space, {**chosen.defaults, **given}, None if queries is None else space.prepared(queries), seed, check
    )


def load(packed: bytes) -> Codec:
    """The codec that ``Codec.packed`` wrote.

    Raises:
        errors.InvalidParameter: these bytes are no codec of this version.
    """
    with threads.signals_blocked():
        from pgembed.codecs import contract
    header, arrays = contract.unpack(packed)
    return method(header.method).build(header.space, header.options, arrays)
