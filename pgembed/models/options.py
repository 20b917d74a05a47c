"""options: what is asked of a model beyond its files, and the model that gives it.

Prompts before a text, a prefix of the vector (Matryoshka representations, Kusupati et al. 2022, https://arxiv.org/abs/2205.13147), fewer
layers (2D Matryoshka, Li et al. 2024, https://arxiv.org/abs/2402.14776; Starbucks, Zhuang et al. 2024,
https://arxiv.org/abs/2410.13230), an orthogonal basis, an adapter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.models.basis import ADAPTER
from pgembed.models.contract import Encoded, Model, ModelInfo, Role, no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Options:
    """Changes to a model, all of which change its vectors; None leaves what the model has.

    Attributes:
        dim: how many leading dimensions are kept.
        layers: how many of the encoder's layers are run.
        normalize: scale vectors to length 1.
        query_prompt, document_prompt: put before every text of that role.
        basis: name of the basis; its matrix is handed to ``Adapted``, its digest to ``derive``.
    """

    dim: int | None = None
    layers: int | None = None
    normalize: bool | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    basis: str | None = None


def derive(base: ModelInfo, name: str, options: Options, basis_sha256: str = "") -> ModelInfo:
    """The description of a model with options. Without any that differ it is the base's, fingerprint included.

    Args:
        name: of the new model.
        basis_sha256: of the matrix of the options' basis, in hexadecimal; empty for none.
    Raises:
        InvalidParameter: dim or layers are not of what the base has; the base has a basis already and would be cut or turned.
        NotSupported: the base has no layers to choose of, or is normalised and is not to be.
    """
    if options.dim is not None and not 1 <= options.dim <= base.dim:
        raise errors.InvalidParameter(
            f'dim must be from 1 to {base.dim}, the dimensions of model "{base.name}", not {options.dim}',
            hint="dim keeps the first dimensions; a model trained for that (Matryoshka) names those that keep its quality.",
        )
    if options.layers is not None and not base.layers:
        raise errors.NotSupported(f'model "{base.name}" of kind {base.kind} has no layers', hint="Leave out layers.")
    if options.layers is not None and not 1 <= options.layers <= base.layers:
        raise errors.InvalidParameter(
            f'layers must be from 1 to {base.layers}, the layers of model "{base.name}", not {options.layers}',
            hint="layers runs the first layers; a model trained for that (2D Matryoshka, Starbucks) names how many.",
        )
    if options.normalize is False and base.normalized:
        raise errors.NotSupported(
            f'model "{base.name}" gives vectors of length 1, whose own length is lost', hint="Leave out normalize, or take another model."
        )
    changes = {
        "dim": options.dim,
        "layers": options.layers,
        "normalized": options.normalize,
        "query_prompt": options.query_prompt,
        "document_prompt": options.document_prompt,
        "basis": options.basis,
    }
    asked: dict[str, Any] = {key: value for key, value in changes.items() if value is not None and value != getattr(base, key)}
    if base.basis != "none" and {"dim", "basis", "layers"} & set(asked):
        raise errors.InvalidParameter(
            f'model "{base.name}" has the basis {base.basis} already, made for its own dimensions and layers',
            hint="Begin with the model that it was made of.",
        )
    if not asked:
        return dataclasses.replace(base, name=name)
    if "basis" in asked:
        asked["basis_sha256"] = basis_sha256
    said = json.dumps({"base": base.fingerprint, **asked}, sort_keys=True)
    asked.pop("basis_sha256", None)
    return dataclasses.replace(base, name=name, fingerprint=hashlib.sha256(said.encode()).hexdigest(), **asked)


class Adapted:
    """A model seen through options: ``info`` says what is given, ``base`` gives what it is made of.

    Args:
        base: already with as many layers as ``info`` has.
        info: as ``derive`` made it.
        basis: float32, shape (dim, dim); a vector v is given as ``basis @ v``, where it is an adapter and vectors have length 1, at that
            length again. None for none.
    """

    def __init__(self, base: Model, info: ModelInfo, basis: NDArray[np.float32] | None = None) -> None:
        self._base = base
        self._info = info
        self._basis = basis

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self._info

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check, role: Role = "document") -> Encoded:
        """Embed texts, as ``pgembed.models.Model.encode`` says."""
        prompt = self._info.query_prompt if role == "query" else self._info.document_prompt
        made = self._base.encode([prompt + text for text in texts] if prompt else texts, check, role)
        vectors = made.vectors[:, : self._info.dim]
        if self._info.normalized and (vectors.shape[1] < made.vectors.shape[1] or not self._base.info.normalized):
            vectors = _normalized(vectors)
        if self._basis is not None:
            vectors = _turned(vectors, self._basis)
            if self._info.basis == ADAPTER and self._info.normalized:
                vectors = _normalized(vectors)
        import numpy as np

        return Encoded(np.ascontiguousarray(vectors), made.truncated)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """As ``pgembed.models.Model.token_spans`` says."""
        return self._base.token_spans(text)

    def token_count(self, text: str) -> int:
        """As ``pgembed.models.Model.token_count`` says; prompts are not counted."""
        return self._base.token_count(text)


def _normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a row of zeros stays one."""
    import numpy as np

    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    lengths[lengths == 0] = 1
    scaled: NDArray[np.float32] = vectors / lengths[:, None]
    return scaled


def _turned(vectors: NDArray[np.float32], basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row multiplied by the basis, one at a time: in a product of matrices the last bits of a row depend on its place."""
    import numpy as np

    out = np.empty(vectors.shape, np.float32)
    for row, made in zip(vectors, out, strict=True):
        np.dot(basis, row, out=made)
    return out
