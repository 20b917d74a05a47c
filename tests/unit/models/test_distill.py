"""Distillation: tables against their formulas, words of a corpus, and that what is shown is what was measured."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pgembed import errors
from pgembed.models import distill, fitting
from pgembed.models.contract import Encoded, ModelInfo, no_check
from pgembed.models.static import Static

np = pytest.importorskip("numpy")
tokenizers = pytest.importorskip("tokenizers")

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SYLLABLES = ["".join(pair) for pair in itertools.product("bdfglmnprst", "aeiou")]
VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[unused1]", "[SEP]", "the", *SYLLABLES, *(f"##{s}" for s in SYLLABLES)]
DIM = 12


class Teacher:
    """Not a sum of tokens: every pair of neighbours has a part of its own. Its [CLS] and [SEP] count, too."""

    def __init__(self, pieces: Sequence[str] = VOCABULARY) -> None:
        self.tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
        self.tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
        self.tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        self.tokenizer.add_special_tokens(MARKS)
        self.tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 5), ("[CLS]", 3))
        chance = np.random.default_rng(1)
        self.rows = chance.standard_normal((len(pieces), DIM)) * np.linspace(3, 0.2, DIM) + 1
        self.pairs = chance.standard_normal((len(pieces), DIM)) * 0.5

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("teacher", "transformer", DIM, 128, True, "fp32", "", "", "", "f" * 64)

    @property
    def tokenizer_json(self) -> str:
        return str(self.tokenizer.to_str())

    @property
    def special_tokens(self) -> tuple[list[int], list[int]]:
        return [3], [5]

    def one(self, ids: Any) -> Any:
        return (self.rows[ids] + np.roll(self.pairs[ids], 1, axis=0) * self.pairs[ids]).mean(axis=0)

    def pool(self, ids: Any) -> Any:
        return np.array([self.one(row) for row in ids], np.float32)

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check) -> Encoded:
        vectors = np.array([self.one(self.tokenizer.encode(text).ids) for text in texts])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Encoded(vectors.astype(np.float32), np.zeros(len(texts), np.bool_))


def corpus(n: int = 400) -> list[str]:
    """Texts of invented words, of which few are frequent."""
    chance = random.Random(2)
    words = ["".join(chance.choices(SYLLABLES, k=chance.choice([1, 2, 3]))) for _ in range(120)]
    weights = [1 / (i + 1) for i in range(120)]
    return ["the " + " ".join(chance.choices(words, weights, k=chance.randrange(4, 12))) for _ in range(n)]


def made(tmp_path: Path, **options: Any) -> tuple[distill.DistillReport, Static]:
    report = distill.distill(Teacher(), name="small", target=tmp_path / "models", **({"dim": 8} | options))
    return report, Static(report.info, (tmp_path / "models" / "small" / "current").resolve())


def test_without_a_corpus_a_row_is_the_teachers_vector_turned_scaled_and_weighted(tmp_path: Path) -> None:
    report, model = made(tmp_path, dim=None)
    teacher = Teacher()
    kept = [i for i, piece in enumerate(VOCABULARY) if not piece.startswith("[unused")]
    real = [i for i in kept if VOCABULARY[i] not in MARKS]
    vectors = {i: teacher.one([3, i, 5]) for i in real}
    matrix = np.array([vectors[i] for i in real])
    centred = matrix - matrix.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(centred.T, bias=True))
    chance = 1 / np.arange(2, len(kept) + 2)
    chance /= chance.sum()
    weight = {i: 1e-4 / (1e-4 + chance[kept.index(i)]) for i in real}
    # All dimensions are kept, so the axes may be compared through inner products.
    rows = centred @ axes * values**-0.25 * np.array([weight[i] for i in real])[:, None]
    table = np.load(tmp_path / "models" / "small" / "current" / "table.npy")
    assert table.shape == (len(kept), DIM)
    places = [kept.index(i) for i in real]
    np.testing.assert_allclose(table[places] @ table[places].T, rows @ rows.T, atol=1e-5 * np.abs(rows @ rows.T).max())
    assert not np.delete(table, places, axis=0).any()
    assert (report.chosen, report.agreements, report.info.dim) == ("plain", (), DIM)
    ids = [real.index(VOCABULARY.index(piece)) for piece in ("ba", "##de", "the")]
    expected = rows[ids].mean(axis=0)
    found = model.encode(["bade the [CLS]", "bade the"]).vectors
    assert np.allclose(found @ model.encode(["fi"]).vectors.T, expected @ rows[real.index(VOCABULARY.index("fi"))] / (
        np.linalg.norm(expected) * np.linalg.norm(rows[real.index(VOCABULARY.index("fi"))])), atol=1e-5)  # fmt: skip
    assert (report.info.source, report.info.source_sha256, report.info.normalized) == ("distilled from teacher", "f" * 64, True)
    assert report.info.max_tokens is None


def test_fewer_dimensions_are_the_widest_axes(tmp_path: Path) -> None:
    _, whole = made(tmp_path / "a", dim=None)
    _, cut = made(tmp_path / "b", dim=3)
    table, narrow = (np.load(tmp_path / place / "models" / "small" / "current" / "table.npy") for place in "ab")
    np.testing.assert_allclose(narrow, table[:, :3], atol=1e-6)
    assert (cut.info.dim, whole.info.dim) == (3, DIM)


def test_with_a_corpus_every_step_is_measured_and_the_best_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = corpus()
    report, model = made(tmp_path, corpus=iter(texts))
    assert [each.name for each in report.agreements] == ["plain", "weights", "weights + words", "weights + words + fit"]
    best = max(report.agreements, key=lambda each: each.recall)
    assert report.chosen == best.name
    # The number shown is what the installed model gives on the texts held out.
    held = distill._sample(texts, no_check)[: len(set(texts)) // 3]
    recall, spearman = fitting.agreement(model.encode(held).vectors, Teacher().encode(held).vectors)
    assert (recall, spearman) == (pytest.approx(best.recall, abs=0.005), pytest.approx(best.spearman, abs=0.005))
    assert report.agreements[3].recall > report.agreements[0].recall
    assert f"corpus of {report.texts} texts; {best.name}" in report.info.source_revision
    tokens = json.loads((tmp_path / "models" / "small" / "current" / "tokenizer.json").read_text())["model"]["vocab"]
    assert set(report.words) < set(tokens)
    assert report.words
    again, _ = made(tmp_path, corpus=texts)
    assert again.info == report.info
    other, _ = made(tmp_path, corpus=corpus(300))
    assert other.info.fingerprint != report.info.fingerprint


def test_words_are_those_that_the_tokenizer_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "HELD_TEXTS", 0)
    teacher = Teacher()
    vocabulary = distill._vocabulary(teacher, lambda line: None, no_check)
    texts = ["bade BADE the fi", "Bade du12 badexx", "rare rare rare rare rare", "bamo"] * 2 + ["bamo. fi", "Bamo", "bamo"] + ["fi the"] * 9
    assert distill._domain_words(vocabulary, texts, no_check) == ["bamo"]
    monkeypatch.setattr(distill, "WORD_TEXTS", 3)
    assert distill._domain_words(vocabulary, texts, no_check) == ["bamo", "bade"]
    monkeypatch.setattr(distill, "MOST_WORDS", 1)
    assert distill._domain_words(vocabulary, texts, no_check) == ["bamo"]
    wider = distill._extended(vocabulary, ["bade"], teacher, no_check)
    np.testing.assert_allclose(wider.vectors[-1], teacher.one([3, VOCABULARY.index("ba"), VOCABULARY.index("##de"), 5]), rtol=1e-6)
    assert distill._tokens(wider, ["bade"], no_check)[0].tolist() == [len(vocabulary.chance)]
    assert wider.chance.sum() == pytest.approx(1)


def test_the_fit_is_the_least_squares_with_a_ridge() -> None:
    chance = np.random.default_rng(3)
    rows, n, ridge = chance.standard_normal((9, 4)), 30, 0.3
    texts = [chance.integers(0, 8, int(size)) for size in chance.integers(1, 6, n)]
    said = chance.standard_normal((n, 4)).astype(np.float32)
    shares = np.array([np.bincount(ids, minlength=9) / len(ids) for ids in texts])
    goal = said - said.mean(axis=0)
    start = rows * ((shares @ rows) * goal).sum() / ((shares @ rows) ** 2).sum()
    scale = (shares**2).sum() / n
    # In its primal form: a ridge at the old rows.
    expected = start + np.linalg.solve(shares.T @ shares + ridge * scale * np.eye(9), shares.T @ (goal - shares @ start))
    found = fitting.fitted(rows, texts, said, ridge)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found[8], start[8], atol=1e-12)  # no text has it


def test_agreement_counts_shared_neighbours_and_ranks() -> None:
    chance = np.random.default_rng(4)
    a, b = (chance.standard_normal((40, 5)).astype(np.float32) for _ in range(2))
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    shared = 0
    for i in range(40):
        near = [set(sorted((j for j in range(40) if j != i), key=lambda j, v=v, i=i: -float(v[i] @ v[j]))[:10]) for v in (a, b)]
        shared += len(near[0] & near[1])
    pairs = list(itertools.combinations(range(40), 2))
    ranks = []
    for v in (a, b):
        order = sorted(range(len(pairs)), key=lambda p, v=v: float(v[pairs[p][0]] @ v[pairs[p][1]]))
        ranks.append(np.argsort(order))
    d = (ranks[0] - ranks[1]).astype(float)
    m = len(pairs)
    recall, spearman = fitting.agreement(a, b)
    assert recall == pytest.approx(shared / 400)
    assert spearman == pytest.approx(1 - 6 * (d**2).sum() / (m * (m * m - 1)), abs=1e-3)
    assert fitting.agreement(a, a) == (1, pytest.approx(1))


def test_the_sample_is_bounded_spread_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "CORPUS_TEXTS", 200)
    texts = [f"text {i}" for i in range(5000)]
    found = distill._sample(iter(texts), no_check)
    assert found == distill._sample(iter(texts), no_check)
    numbers = sorted(int(text.split()[1]) for text in found)
    assert len(set(numbers)) == 200
    assert 2000 < sum(numbers) / 200 < 3000
    assert distill._sample(["x", " ", "", "y"] * 100, no_check) in (["x", "y"], ["y", "x"])


def test_what_can_not_be_distilled_is_refused(tmp_path: Path) -> None:
    for dim in (0, DIM + 1, -3):
        with pytest.raises(errors.InvalidParameter, match=f"from 1 to {DIM}.*not {dim}"):
            made(tmp_path, dim=dim)
    with pytest.raises(errors.InvalidParameter, match=r"99 texts .*at least 100"):
        made(tmp_path, corpus=[*corpus(99), " ", ""])
    assert not (tmp_path / "models").exists()


def test_check_ends_it_and_nothing_is_installed(tmp_path: Path) -> None:
    left = iter(range(5))

    def cancel() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, corpus=corpus(), check=cancel)
    assert not (tmp_path / "models").exists()


def test_a_tokenizer_of_another_kind_is_distilled_without_words(tmp_path: Path) -> None:
    class WordLevel(Teacher):
        def __init__(self) -> None:
            super().__init__()
            words = tokenizers.models.WordLevel({piece: i for i, piece in enumerate(VOCABULARY)}, unk_token="[UNK]")
            self.tokenizer.model = words

    texts = [" ".join(random.Random(i).choices(SYLLABLES, k=9)) for i in range(200)]
    report = distill.distill(WordLevel(), name="small", target=tmp_path / "models", dim=8, corpus=texts)
    assert report.words == ()
    model = Static(report.info, (tmp_path / "models" / "small" / "current").resolve())
    assert np.linalg.norm(model.encode(texts).vectors, axis=1) == pytest.approx(1, abs=1e-5)
