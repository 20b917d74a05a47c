"""A model seen through options: prompts, prefixes, length, basis; what it is called, and that a text's vector is its own."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pgembed import errors, models
from pgembed.models import basis
from pgembed.models.options import Adapted, Options, derive

BASE = models.ModelInfo(
    name="base",
    kind="transformer",
    dim=48,
    max_tokens=16,
    normalized=True,
    precision="fp32",
    source="a test",
    source_sha256="",
    source_revision="",
    fingerprint="f" * 64,
    layers=6,
)


class Plain:
    """A model whose vectors are random numbers, seeded by the text."""

    def __init__(self, info: models.ModelInfo) -> None:
        self.info = info
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str], check: Callable[[], None] = models.no_check, role: models.Role = "document") -> models.Encoded:
        self.seen = list(texts)
        vectors = np.zeros((len(texts), self.info.dim), np.float32)
        for row, text in enumerate(texts):
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            vectors[row] = np.random.default_rng(seed).standard_normal(self.info.dim)
        if self.info.normalized:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return models.Encoded(vectors, np.array([len(text) > 16 for text in texts], np.bool_))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def token_count(self, text: str) -> int:
        return 3


def adapted(options: Options, base: models.ModelInfo = BASE, matrix: Any = None) -> Adapted:
    return Adapted(Plain(base), derive(base, "new", options, "digest" if matrix is not None else ""), matrix)


def test_no_option_changes_nothing_but_the_name() -> None:
    assert derive(BASE, "new", Options()) == dataclasses.replace(BASE, name="new")
    same = Options(dim=48, layers=6, normalize=True, query_prompt="", document_prompt="", basis="none")
    assert derive(BASE, "new", same).fingerprint == BASE.fingerprint


def test_every_option_changes_the_fingerprint_in_its_own_way() -> None:
    every = [
        Options(dim=8),
        Options(dim=9),
        Options(layers=2),
        Options(query_prompt="q: "),
        Options(document_prompt="q: "),
        Options(query_prompt="q: ", document_prompt="q: "),
    ]
    made = {derive(BASE, "new", options).fingerprint for options in every}
    made |= {derive(BASE, "new", Options(basis="pca"), digest).fingerprint for digest in ("1", "2")}
    made |= {derive(BASE, "new", Options(basis="rotation"), "1").fingerprint, BASE.fingerprint}
    assert len(made) == len(every) + 4
    assert {len(fingerprint) for fingerprint in made} == {64}


@pytest.mark.parametrize("dim", [0, -1, 49])
def test_a_dim_that_no_prefix_has_is_refused(dim: int) -> None:
    with pytest.raises(errors.InvalidParameter, match=f'dim must be from 1 to 48, .*"base", not {dim}'):
        derive(BASE, "new", Options(dim=dim))


@pytest.mark.parametrize("layers", [0, -1, 7])
def test_layers_that_a_model_does_not_have_are_refused(layers: int) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"layers must be from 1 to 6, .* not {layers}"):
        derive(BASE, "new", Options(layers=layers))


def test_a_model_without_layers_has_none_to_choose_of() -> None:
    with pytest.raises(errors.NotSupported, match="of kind static has no layers"):
        derive(dataclasses.replace(BASE, kind="static", layers=0), "new", Options(layers=1))


def test_a_lost_length_cannot_be_brought_back() -> None:
    with pytest.raises(errors.NotSupported, match="vectors of length 1"):
        derive(BASE, "new", Options(normalize=False))


def test_a_basis_is_for_the_dimensions_it_was_made_for() -> None:
    turned = derive(BASE, "turned", Options(basis="rotation"), "1")
    for options in (Options(dim=8), Options(layers=2), Options(basis="pca")):
        with pytest.raises(errors.InvalidParameter, match="has the basis rotation already"):
            derive(turned, "new", options)
    assert derive(turned, "new", Options(query_prompt="q: ")).basis == "rotation"


def test_prompts_go_before_texts_of_their_role() -> None:
    model = adapted(Options(query_prompt="query: ", document_prompt="passage: "))
    plain = Plain(BASE)
    for role, prompt in (("query", "query: "), ("document", "passage: ")):
        assert (model.encode(["a", "b"], role=role).vectors == plain.encode([f"{prompt}a", f"{prompt}b"]).vectors).all()
    assert model.encode(["a"], role="document").vectors.tolist() == model.encode(["a"]).vectors.tolist()
    assert model.token_spans("abc") == [(0, 3)]


def test_a_prefix_of_a_vector_of_length_1_has_length_1() -> None:
    found = adapted(Options(dim=8)).encode(["a", "b", "c"])
    whole = Plain(BASE).encode(["a", "b", "c"]).vectors[:, :8].astype(np.float64)
    assert found.vectors.flags.c_contiguous
    assert found.vectors == pytest.approx(whole / np.linalg.norm(whole, axis=1, keepdims=True), abs=1e-7)


def test_a_prefix_of_a_vector_of_any_length_is_left_as_it_is() -> None:
    base = dataclasses.replace(BASE, normalized=False)
    assert (adapted(Options(dim=8), base).encode(["a"]).vectors == Plain(base).encode(["a"]).vectors[:, :8]).all()
    scaled = adapted(Options(normalize=True), base).encode(["a"]).vectors
    assert np.linalg.norm(scaled.astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_a_vector_of_zeros_stays_one() -> None:
    class Zeros(Plain):
        def encode(self, texts: Sequence[str], check: Any = None, role: models.Role = "document") -> models.Encoded:
            return models.Encoded(np.zeros((len(texts), 48), np.float32), np.zeros(len(texts), np.bool_))

    made = Adapted(Zeros(BASE), derive(BASE, "new", Options(dim=8))).encode(["a", "b"]).vectors
    assert (made == np.zeros((2, 8))).all()


def test_a_basis_is_applied_as_matrix_times_vector() -> None:
    matrix = basis.rotation(48, "ab")
    found = adapted(Options(basis="rotation"), matrix=matrix).encode([str(n) for n in range(200)]).vectors
    plain = Plain(BASE).encode([str(n) for n in range(200)]).vectors
    assert found == pytest.approx(plain.astype(np.float64) @ matrix.T.astype(np.float64), abs=1e-6)


@pytest.mark.parametrize("dim", [5, 48, 384, 1024])
@pytest.mark.parametrize("cut", [False, True])
def test_a_text_has_the_same_bits_alone_and_in_any_batch(dim: int, cut: bool) -> None:
    base = dataclasses.replace(BASE, dim=dim + (3 if cut else 0))
    matrix = basis.rotation(dim, "ab") if dim <= 384 else basis.rotation(64, "ab").repeat(16, 0).repeat(16, 1)
    model = Adapted(Plain(base), derive(base, "new", Options(dim=dim, basis="rotation"), "digest"), matrix)
    texts = [str(n) for n in range(150)]
    together = model.encode(texts).vectors
    for size in (1, 2, 63, 64, 65, 149):
        for start in (0, 1, 7, 64, 149):
            assert model.encode(texts[start : start + size]).vectors.tobytes() == together[start : start + size].tobytes()


def test_no_texts_are_no_vectors() -> None:
    model = adapted(Options(dim=8, query_prompt="q", basis="rotation"), matrix=basis.rotation(8, "ab"))
    made = model.encode([])
    assert (made.vectors.shape, made.vectors.dtype, made.truncated.shape) == ((0, 8), np.float32, (0,))


def test_what_was_cut_is_told() -> None:
    assert adapted(Options(query_prompt="q" * 10)).encode(["a", "b" * 10], role="query").truncated.tolist() == [False, True]
