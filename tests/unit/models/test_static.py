"""Static models: the mean of token rows against a plain computation, Model2Vec's special cases, and folders that are none."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pgembed import errors, models
from pgembed.models import static, static_folder, store
from pgembed.models.options import Options
from pgembed.models.static import Static

np = pytest.importorskip("numpy")
tokenizers = pytest.importorskip("tokenizers")
safetensors = pytest.importorskip("safetensors.numpy")

MARKS = ["[PAD]", "[UNK]"]
LETTERS = "abcdefghijklmnopqrst"
PIECES = [*MARKS, *LETTERS, *(f"##{c}" for c in LETTERS), "hello", "abba", "##bba", "ä", "日", ".", ","]
TEXTS = [
    "hello",
    "a b c",
    "hello abba, dab.",
    "hällo ä",
    "zzz hello zzz",
    "z",
    "",
    " ",
    "[PAD] a",
    "a " * 40,
    "Hello\tABBA",
    "q\0r",
    "日本 a",
]
DIM = 6


def word_piece() -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(strip_accents=False)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(MARKS)
    made.post_processor = tokenizers.processors.BertProcessing(("[PAD]", 0), ("[PAD]", 0))
    made.enable_padding(length=9)
    made.enable_truncation(2)
    return made


def word_level() -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


def table(dtype: Any = np.float32, rows: int = len(PIECES), dim: int = DIM) -> Any:
    drawn = np.random.default_rng(3).standard_normal((rows, dim))
    return (drawn * 50).astype(np.int8) if dtype is np.int8 else drawn.astype(dtype)


def save(folder: Path, tokenizer: Any = None, tensors: dict[str, Any] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.save_file({"embeddings": table()} if tensors is None else tensors, folder / "model.safetensors")
    (word_piece() if tokenizer is None else tokenizer).save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True} | config))
    return folder


def install(folder: Path, name: str = "tiny", **more: Any) -> Static:
    target = folder.parent / "models"
    info = static_folder.install_folder(folder, target, name, source_label="a test", **more)
    return Static(info, (target / name / "current").resolve())


def means(
    texts: Sequence[str],
    rows: Any,
    tokenizer: Any = None,
    *,
    normalize: bool = True,
    max_tokens: int | None = 512,
    median: int = 3,
    mapping: Any = None,
    weights: Any = None,
) -> Any:
    """What model2vec computes, in float64, text by text."""
    tokenizer = word_piece() if tokenizer is None else tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    out = np.zeros((len(texts), rows.shape[1]))
    for i, text in enumerate(texts):
        cut = text if max_tokens is None else text[: max_tokens * median]
        ids = [token for token in tokenizer.encode(cut, add_special_tokens=False).ids[:max_tokens] if token != 1]
        if ids:
            found = rows.astype(np.float64)[ids if mapping is None else mapping[ids]]
            out[i] = (found if weights is None else found * weights[ids][:, None]).mean(axis=0)
        if normalize and out[i].any():
            out[i] /= np.linalg.norm(out[i])
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("tokenizer", [word_piece, word_level])
def test_a_vector_is_the_mean_of_the_rows(tmp_path: Path, dtype: Any, normalize: bool, tokenizer: Any) -> None:
    model = install(save(tmp_path / "m", tokenizer(), {"embeddings": table(dtype)}, normalize=normalize))
    assert (model.info.kind, model.info.dim, model.info.max_tokens, model.info.normalized) == ("static", DIM, 512, normalize)
    made = model.encode(TEXTS)
    assert made.vectors.dtype == np.float32
    assert made.vectors.flags.c_contiguous
    expected = means(TEXTS, table(dtype), tokenizer(), normalize=normalize)
    np.testing.assert_allclose(made.vectors, expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max()))
    assert not made.truncated.any()
    assert not made.vectors[TEXTS.index("z")].any()  # only unknown tokens
    assert not made.vectors[TEXTS.index("")].any()
    assert model.encode([]).vectors.shape == (0, DIM)


def test_weights_and_shared_rows(tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    rows, mapping, weights = table(rows=7), chance.integers(0, 7, len(PIECES)), chance.random(len(PIECES))
    model = install(save(tmp_path / "m", tensors={"embeddings": rows, "mapping": mapping, "weights": weights}))
    np.testing.assert_allclose(model.encode(TEXTS).vectors, means(TEXTS, rows, mapping=mapping, weights=weights), atol=1e-6)
    model = install(save(tmp_path / "m", tensors={"embeddings": rows, "mapping": mapping}))
    np.testing.assert_allclose(model.encode(TEXTS).vectors, means(TEXTS, rows, mapping=mapping), atol=1e-6)
    model = install(save(tmp_path / "m", tensors={"embeddings": table(), "weights": weights}))
    np.testing.assert_allclose(model.encode(TEXTS).vectors, means(TEXTS, table(), weights=weights), atol=1e-6)


@pytest.mark.parametrize("max_length", [1, 2, 3, 7, None])
def test_texts_are_cut_as_model2vec_cuts_them(tmp_path: Path, max_length: int | None) -> None:
    model = install(save(tmp_path / "m", max_length=max_length))
    texts = [*TEXTS, "z a b", "hello hello", "a       b", "ab      ", "zzz z zzz abba hello a"]
    made = model.encode(texts)
    np.testing.assert_allclose(made.vectors, means(texts, table(), max_tokens=max_length), atol=1e-6)
    assert model.info.max_tokens == max_length
    tokenizer = word_piece()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text, truncated in zip(texts, made.truncated, strict=True):
        if max_length is None:
            assert not truncated
        else:
            chars = max_length * 3
            tokens = len(tokenizer.encode(text[:chars], add_special_tokens=False).ids)
            assert truncated == (tokens > max_length or bool(text[chars:].strip()))


@pytest.mark.parametrize("dim", [1, 2, 6, 33])
def test_a_vector_is_the_same_bits_in_any_batch(tmp_path: Path, dim: int) -> None:
    folder = save(tmp_path / "m", tensors={"embeddings": table(dim=dim)}, max_length=None, normalize=dim != 2)
    model = install(folder)
    chance = random.Random(5)
    texts = [
        " ".join(chance.choices(["hello", "abba", "a", "dab", "ä", "日", "z", "."], k=chance.choice([0, 1, 2, 3, 20, 60, 700])))
        for _ in range(3000)
    ]
    texts += ["hello " * 3000, "日 " * 3000]
    together = model.encode(texts).vectors
    shuffled = chance.sample(range(len(texts)), len(texts))
    again = model.encode([texts[i] for i in shuffled]).vectors
    assert (again == together[shuffled]).all()
    for i in [*range(0, 3000, 30), 3000, 3001]:
        assert (model.encode([texts[i]]).vectors[0] == together[i]).all(), texts[i]
    assert (model.encode(texts[:5]).vectors == together[:5]).all()
    np.testing.assert_allclose(together, means(texts, table(dim=dim), max_tokens=None, normalize=dim != 2), atol=3e-6)


def test_a_long_text_keeps_its_digits(tmp_path: Path) -> None:
    rows = np.ones((len(PIECES), 2), np.float32) * np.array([1, 1e-4], np.float32)
    model = install(save(tmp_path / "m", tensors={"embeddings": rows}, max_length=None, normalize=False))
    calls: list[None] = []
    made = model.encode(["a " * 1_000_000], lambda: calls.append(None)).vectors[0]
    np.testing.assert_allclose(made, rows[0], rtol=1e-6)
    assert len(calls) > 100


@pytest.mark.parametrize("blanks", [True, False])
def test_a_long_text_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blanks: bool) -> None:
    model = install(save(tmp_path / "m", max_length=None, normalize=False))
    chance = random.Random(6)
    alphabet = "ab. " if blanks else "ab."
    texts = ["".join(chance.choices(alphabet + letter, k=2000)) for letter in "aä日z" for _ in range(5)] + ["a" + " " * 999]
    whole = model.encode(texts).vectors
    monkeypatch.setattr(static, "_SLICE_CHARS", 100)
    monkeypatch.setattr(static, "_SLOW_SLICE_CHARS", 70)
    calls: list[None] = []
    assert (model.encode(texts, lambda: calls.append(None)).vectors == whole).all()
    assert len(calls) > (400 if blanks else 15)
    assert model.token_count("a b " * 100) == 200


def test_numbers_of_any_size_are_normalized(tmp_path: Path) -> None:
    for scale in (1e-30, 1e30):
        model = install(save(tmp_path / "m", tensors={"embeddings": table() * np.float32(scale)}))
        np.testing.assert_allclose(model.encode(TEXTS).vectors, means(TEXTS, table()), atol=1e-6)


def test_check_is_called_between_slices_and_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "_SLICE_TEXTS", 10)
    model = install(save(tmp_path / "m"))
    calls: list[None] = []
    model.encode(["a", "日"] * 50, lambda: calls.append(None))
    assert len(calls) == 10

    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.encode(["a"], cancel)


def test_tokens_are_counted_and_found(tmp_path: Path) -> None:
    model = install(save(tmp_path / "m", max_length=2))
    assert model.token_count("hello abba, z") == 4
    assert model.token_count("hello ä") == 2
    assert model.token_count("") == 0
    assert model.token_spans("hello  dab") == [(0, 5), (7, 8), (8, 9), (9, 10)]


def test_plain_texts_load_no_tokenizer(tmp_path: Path) -> None:
    install(save(tmp_path / "m"))
    code = (
        "import sys; from pathlib import Path; from pgembed.models import static, store\n"
        "place = Path(sys.argv[1]); model = static.Static(store.read_info(place), place)\n"
        "model.encode(['hello', 'a b'] * 50); model.token_count('hello'); print('tokenizers' in sys.modules, end=' ')\n"
        "model.encode(['ä']); print('tokenizers' in sys.modules, end=' ')\n"
        "model.encode(['日']); print('tokenizers' in sys.modules)"
    )
    place = (tmp_path / "models" / "tiny" / "current").resolve()
    run = subprocess.run([sys.executable, "-P", "-c", code, str(place)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False", "True"]


def test_the_model_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(save(tmp_path / "m"))
    monkeypatch.setattr(store, "models_dir", lambda: tmp_path / "models")
    models.forget()
    try:
        np.testing.assert_allclose(models.load("tiny").encode(TEXTS).vectors, means(TEXTS, table()), atol=1e-6)
    finally:
        models.forget()


def test_options_change_what_is_installed(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", normalize=False)
    whole = install(folder)
    cut = install(folder, "cut", options=Options(dim=3, normalize=True, query_prompt="a "))
    assert (cut.info.dim, cut.info.normalized, cut.info.query_prompt) == (3, True, "a ")
    assert cut.info.fingerprint != whole.info.fingerprint
    np.testing.assert_allclose(cut.encode(TEXTS).vectors, means(TEXTS, table()[:, :3]), atol=1e-6)
    for wrong in (Options(dim=7), Options(layers=1), Options(basis="rotation")):
        with pytest.raises((errors.InvalidParameter, errors.NotSupported)):
            install(folder, "wrong", options=wrong)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["cut", "tiny"]


def test_sentence_transformers_static_embedding(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    inner = save(folder / "0_StaticEmbedding", tensors={"embedding.weight": table()})
    (inner / "config.json").unlink()
    kind = "sentence_transformers.models."
    (folder / "modules.json").write_text(json.dumps([{"type": kind + "StaticEmbedding"}, {"type": kind + "Normalize"}]))
    tokenizer = word_piece()
    tokenizer.no_padding()
    texts = ["hello z", "z", "a b c d"]  # its tokenizer.json cuts at 2, and unknown tokens have a row
    expected = [table()[tokenizer.encode(text, add_special_tokens=False).ids].astype(np.float64).mean(axis=0) for text in texts]
    made = install(folder).encode(texts)
    np.testing.assert_allclose(made.vectors, [each / np.linalg.norm(each) for each in expected], atol=1e-6)
    assert made.truncated.tolist() == [False, False, True]


def test_the_fingerprint_names_all_that_decides_the_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    changes: list[dict[str, Any]] = [
        {},
        {"max_length": 100},
        {"normalize": False},
        {"tokenizer": word_level()},
        {"tensors": {"embeddings": table() * 2}},
        {"tensors": {"embeddings": table(), "mapping": np.arange(len(PIECES))}},
        {"tensors": {"embeddings": table(), "mapping": np.arange(len(PIECES)), "weights": np.ones(len(PIECES))}},
    ]
    found = [install(save(folder, **change)).info for change in changes]
    assert len({info.fingerprint for info in found}) == len(changes)
    assert [info.revision for info in found] == list(range(1, len(changes) + 1))
    assert install(save(folder), "other").info.fingerprint == found[0].fingerprint


def test_a_second_installation_changes_nothing(tmp_path: Path) -> None:
    lines = list[str]()
    folder = save(tmp_path / "m")
    first = install(folder, report=lines.append)
    place = tmp_path / "models" / "tiny" / "current" / "table.npy"
    before = place.stat().st_mtime_ns
    assert install(folder, report=lines.append).info == first.info
    assert place.stat().st_mtime_ns == before
    assert [line.partition(",")[0] for line in lines] == ["tiny: installed", "tiny: is installed already"]


def with_number(value: float) -> Any:
    rows = table()
    rows[5, 2] = value
    return rows


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    folder = save(tmp_path / "m")
    (folder / file).unlink()
    with pytest.raises(errors.FileMissing, match=file):
        install(folder)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"embeddings": with_number(np.nan)}, "1 of .* NaN or infinite"),
        ({"embeddings": with_number(np.inf)}, "1 of .* NaN or infinite"),
        ({"embeddings": table(rows=len(PIECES) - 1)}, f"{len(PIECES) - 1} rows, expected {len(PIECES)}"),
        ({"embeddings": table(rows=len(PIECES) + 1)}, f"{len(PIECES) + 1} rows, expected {len(PIECES)}"),
        ({"embeddings": table()[:, 0].copy()}, r"expected \(rows, dim\)"),
        ({"embeddings": table()[:, :0]}, r"expected \(rows, dim\)"),
        ({"embeddings": np.ones((len(PIECES), 2), np.int64)}, "int64"),
        ({"other": table()}, "tensors other, expected embeddings"),
        ({"embeddings": table(), "mapping": np.arange(3)}, r"mapping has shape \(3,\)"),
        ({"embeddings": table(rows=4), "mapping": np.arange(len(PIECES))}, f"0 to {len(PIECES) - 1}, expected 0 to 3"),
        ({"embeddings": table(), "weights": np.ones(3)}, r"weights have shape \(3,\)"),
        ({"embeddings": table(), "weights": np.full(len(PIECES), np.nan)}, "NaN"),
    ],
)
def test_tensors_that_can_not_be_are_refused(tmp_path: Path, tensors: dict[str, Any], said: str) -> None:
    folder = save(tmp_path / "m", tensors=tensors)
    with pytest.raises(errors.FileDamaged, match=said):
        install(folder)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", b"\x10", "not a whole safetensors file"),
        ("model.safetensors", b"", "not a whole safetensors file"),
        ("tokenizer.json", b"{", "not JSON"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "not JSON"),
        ("config.json", b"[]", "expected an object"),
        ("config.json", b'{"max_length": "long"}', "max_length .* 'long'"),
        ("config.json", b'{"max_length": 0}', "max_length .* 0"),
        ("config.json", b'{"max_length": true}', "max_length .* True"),
    ],
)
def test_files_that_can_not_be_read_are_refused(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    folder = save(tmp_path / "m")
    (folder / file).write_bytes(content)
    with pytest.raises(errors.FileDamaged, match=said):
        install(folder)
    assert not (tmp_path / "models").exists()


def test_a_failure_while_writing_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = install(save(tmp_path / "m"))

    def fail(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(static_folder.words, "write", fail)
    with pytest.raises(OSError, match="no space"):
        install(save(tmp_path / "m", max_length=9))
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]
    assert store.read_info(tmp_path / "models" / "tiny" / "current") == dataclasses.replace(before.info)
