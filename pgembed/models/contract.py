"""What a model is to the rest of the package: texts -> float32 (n, dim), and a description of what decides the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Role: TypeAlias = Literal["query", "document"]
ROLES: tuple[Role, ...] = ("query", "document")


@dataclass(frozen=True)
class ModelInfo:
    """A model's description.

    Attributes:
        name: what users call it; it points to one revision at a time.
        kind: transformer, static or remote.
        dim: of its vectors, after truncation.
        max_tokens: what it reads of a text, special tokens included; None where it reads all.
        normalized: vectors have length 1.
        precision: of the weights: fp32, int8, or remote where they are elsewhere.
        layers: how many layers of the encoder are used; 0 where it has none.
        query_prompt, document_prompt: put before every text of that role; '' for nothing.
        basis: none, rotation or pca: the orthogonal basis that vectors are given in; or adapter: see `pgembed.models.basis`.
        source, source_sha256, source_revision: where the weights came from, for people; '' where nobody knows.
        revision: 1, 2, ... of this name; a revision never changes.
        fingerprint: SHA-256 over all that decides the vectors: two models of one fingerprint give the same ones.
    """

    name: str
    kind: str
    dim: int
    max_tokens: int | None
    normalized: bool
    precision: str
    source: str
    source_sha256: str
    source_revision: str
    fingerprint: str
    revision: int = 1
    layers: int = 0
    query_prompt: str = ""
    document_prompt: str = ""
    basis: str = "none"


@dataclass(frozen=True)
class Encoded:
    """What a model made of n texts.

    ``vectors``: float32, shape (n, dim), C-contiguous, row i for text i. ``truncated``: bool, shape (n,), True where
    the text was longer than the model reads, so that its end is not in the vector.
    """

    vectors: NDArray[np.float32]
    truncated: NDArray[np.bool_]


def no_check() -> None:
    """The ``check`` of callers who have no cancel to look for."""


class Model(Protocol):
    """What every kind of model does."""

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        ...

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check, role: Role = "document") -> Encoded:
        """Embed texts; a local model gives a text the same vector, bit for bit, whatever texts are beside it.

        Args:
            texts: may be empty, which gives vectors of shape (0, dim). An empty text gets the vector that the model
                has for no words; whether it should get one is the caller's decision (``pgembed.text.is_empty``).
            check: called between sub-batches, some tens of milliseconds apart, so that PostgreSQL sees a cancel; what
                it raises passes through.
            role: chooses the prompt, where the model has any.
        """
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of the text begins and ends, in code points, end exclusive, in order; special tokens and
        prompts left out, nothing truncated. A token that is nothing but a mark of the tokenizer's own has no span."""
        ...

    def token_count(self, text: str) -> int:
        """How many tokens the text has, special ones included, before any truncation."""
        ...
