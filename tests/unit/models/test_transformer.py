"""The installed models, against what their authors published and what every caller relies on."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed import models

np = pytest.importorskip("numpy")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

INSTALLED = {info.name for info in models.installed()}
NAMES = ["all-minilm-l6-v2", "all-minilm-l6-v2-int8"]


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> models.Model:
    """Each of the default models in turn."""
    return installed(request.param)


def installed(name: str) -> models.Model:
    if name not in INSTALLED:
        pytest.skip("the default model is not installed; python -m pgembed.models.conversion.convert does it")
    return models.load(name)


# From the model's card, https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, and https://sbert.net.
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
PUBLISHED = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]


def test_fp32_has_the_published_similarities() -> None:
    vectors = installed(NAMES[0]).encode(SENTENCES).vectors
    assert np.abs(vectors @ vectors.T - PUBLISHED).max() < 1e-4


def test_int8_is_near_the_published_similarities() -> None:
    vectors = installed(NAMES[1]).encode(SENTENCES).vectors
    assert np.abs(vectors @ vectors.T - PUBLISHED).max() < 0.01


def mixed_texts(n: int) -> list[str]:
    """Texts of many lengths, in an order that no length explains."""
    rng = np.random.default_rng(3)
    words = [
        "database",
        "vector",
        "river",
        "of",
        "stone",
        "light",
        "the",
        "a",
        "embedding",
        "query",
        "planner",
        "ran",
        "quickly",
        "7",
        "naïve",
        "Übung",
        "漢字",
    ]
    return [" ".join(rng.choice(words, int(size))) for size in rng.integers(1, 60, n)]


def test_order_is_kept_and_a_vector_does_not_depend_on_its_batch(model: models.Model) -> None:
    texts = mixed_texts(60)
    together = model.encode(texts).vectors
    alone = np.concatenate([model.encode([text]).vectors for text in texts])
    assert (together == alone).all()  # bit for bit
    assert (model.encode(texts[::-1]).vectors[::-1] == together).all()


def test_vectors_are_normalised_float32_rows(model: models.Model) -> None:
    vectors = model.encode(mixed_texts(20)).vectors
    assert (vectors.dtype, vectors.shape, vectors.flags.c_contiguous) == (np.float32, (20, 384), True)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


def test_no_texts_give_no_rows(model: models.Model) -> None:
    encoded = model.encode([])
    assert (encoded.vectors.shape, encoded.truncated.shape) == ((0, 384), (0,))


def test_an_empty_text_has_a_vector(model: models.Model) -> None:
    encoded = model.encode(["", " ", "a"])
    assert np.isfinite(encoded.vectors).all()
    assert (encoded.vectors[0] == encoded.vectors[1]).all()
    assert not (encoded.vectors[0] == encoded.vectors[2]).all()


@pytest.mark.parametrize(("words", "truncated"), [(253, False), (254, False), (255, True), (5000, True)])
def test_a_text_is_truncated_at_256_tokens(model: models.Model, words: int, truncated: bool) -> None:
    encoded = model.encode(["short", "word " * words])
    assert encoded.truncated.tolist() == [False, truncated]
    limit = model.encode(["word " * min(words, 254)])
    assert (encoded.vectors[1] == limit.vectors[0]).all()


def test_token_count_counts_special_tokens_and_is_not_truncated(model: models.Model) -> None:
    assert [model.token_count(text) for text in ("", "word", "word " * 1000)] == [2, 3, 1002]


def test_a_megabyte_of_text_is_the_vector_of_its_beginning(model: models.Model) -> None:
    encoded = model.encode(["lorem ipsum " * 90_000])
    assert encoded.truncated.tolist() == [True]
    assert (encoded.vectors == model.encode(["lorem ipsum " * 200]).vectors).all()


def test_a_text_of_every_unicode_plane_has_a_vector(model: models.Model) -> None:
    texts = [chr(plane << 16 | point) * 3 + " x" for plane in range(17) for point in (0x41, 0x4E00, 0xF600, 0xFFFD)]
    assert np.isfinite(model.encode(texts).vectors).all()


def test_case_and_accents_do_not_matter_to_an_uncased_model(model: models.Model) -> None:
    vectors = model.encode(["Café NAÏVE", "cafe naive", "cafe\u0301 nai\u0308ve"]).vectors
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] == vectors[2]).all()


def test_the_check_is_called_between_batches_and_its_error_passes(model: models.Model) -> None:
    class Cancelled(Exception):
        pass

    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.encode(mixed_texts(200), check)
    assert calls == 3


def test_int8_stays_near_fp32() -> None:
    texts = mixed_texts(60)
    full, small = (installed(name).encode(texts).vectors for name in NAMES)
    cosines = (full * small).sum(1)
    assert cosines.min() > 0.98
    assert cosines.mean() > 0.99


def test_load_gives_the_session_one_model(model: Any) -> None:
    assert models.load(model.info.name, model.info.fingerprint) is model


def test_plain_texts_have_the_tokens_of_the_tokenizers_package(model: models.Model) -> None:
    """Whether a text is taken by the vocabulary file or by the package, and wherever a long one is cut."""
    import tokenizers

    from pgembed.models import store
    from pgembed.models.tokens import Tokens

    place = store.place_of(model.info.name)
    package = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
    found = Tokens(place)
    rng = np.random.default_rng(5)
    parts = [
        *mixed_texts(20),
        "they're",
        "[MASK]",
        "[MA",
        "SK]",
        "x" * 150,
        " " * 90,
        "\t\n",
        "\x00",
        "...!!",
        "UPPER",
        "a.b,c",
        "é",
        "1/2",
    ]
    for _ in range(1000):
        glue = str(rng.choice(["", " "]))
        content = glue.join(str(rng.choice(parts))[: int(rng.integers(1, 60))] for _ in range(int(rng.choice([1, 5, 40]))))
        limit = int(rng.choice([1, 5, 20, 254]))
        whole = package.encode(content, add_special_tokens=False).ids
        assert found.first(content, limit) == (whole[:limit], len(whole) > limit)
        assert found.count(content) == len(whole) + 2
        assert model.token_spans(content) == package.encode(content, add_special_tokens=False).offsets


def test_plain_texts_do_not_load_the_tokenizers_package(model: models.Model) -> None:
    """It would cost a backend 9 MB."""
    import subprocess
    import sys

    load = "import sys; from pgembed import models; models.load(sys.argv[1]).encode(['a text', 'word ' * 5000])"
    script = f"{load}; print('tokenizers' in sys.modules)"
    run = subprocess.run([sys.executable, "-P", "-c", script, model.info.name], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
