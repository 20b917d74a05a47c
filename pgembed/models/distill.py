"""distill: makes a static model of a transformer, and with a corpus one that knows the corpus.

Without a corpus this is Model2Vec (https://github.com/MinishLab/model2vec): every token of the vocabulary goes through the transformer
alone, the vectors are turned to their principal axes and cut to ``dim``, and each is weighted down by how often its token is used, which
its rank in the vocabulary tells (SIF, Arora et al. 2017, https://openreview.net/forum?id=SyK00v5xx). One thing differs: the axes are
scaled by the inverse root of their deviation, because else a few axes which all tokens share would decide (Mu and Viswanath 2018,
https://arxiv.org/abs/1702.01417). It gave nDCG@10 .459 instead of .408 on SciFact's training queries and .388 instead of .365 on Cranfield.

With a corpus, three things more, each of which is measured on texts that were held out:

    weights   inverse document frequencies of the corpus's own tokens, instead of the rank's
    words     whole words of the corpus that the tokenizer cuts into pieces become tokens, with the transformer's vector for the word
    fit       rows are moved so that means of rows come near to what the transformer says of some texts of the corpus: ridge regression,
              in its dual form because there are fewer texts than tokens; rows of tokens that these texts do not have stay as they are

What agrees best with the transformer is installed.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pgembed import errors
from pgembed import text as text_room
from pgembed.models import fitting, static_folder, threads
from pgembed.models.contract import Encoded, ModelInfo, no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 20

# Texts of the corpus that are read, that the rows are fitted to, and that are held out to measure. The transformer embeds the last two,
# their first characters only: that takes half a minute at most on two cores.
CORPUS_TEXTS, FIT_TEXTS, HELD_TEXTS, FEWEST_TEXTS = 20_000, 1_500, 600, 100
TEACHER_CHARS = 600
COUNTED_CHARS = 4_000

# Words that become tokens: how many at most, and in how many texts one must be.
MOST_WORDS, WORD_TEXTS = 4_000, 5

# SIF's a; the exponent of the axes' deviations; the ridge, as a share of the average text's. All chosen on SciFact's training queries,
# Cranfield and Debian's package descriptions.
SIF, SCALING, RIDGE = 1e-4, -0.5, 0.1

# Tokens whose rank says how often they are used weigh as many occurrences in the corpus, where axes are chosen.
_PRIOR = 1_000
_BATCH_TOKENS = 192

Report = Callable[[str], None]
Check = Callable[[], None]


class Teacher(Protocol):
    """What is needed of a transformer, without prompts; ``pgembed.models.transformer.Transformer`` has it."""

    @property
    def info(self) -> ModelInfo:
        """Its description."""
        ...

    @property
    def tokenizer_json(self) -> str:
        """The text of its tokenizer.json."""
        ...

    @property
    def special_tokens(self) -> tuple[list[int], list[int]]:
        """Tokens before and after a text."""
        ...

    def pool(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of token sequences, not normalised: int64 (batch, seq) -> float32 (batch, dim)."""
        ...

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check) -> Encoded:
        """Vectors of texts."""
        ...


@dataclass(frozen=True)
class Agreement:
    """How near a static model is to its teacher on texts of the corpus that neither has seen before.

    Attributes:
        name: what it has: plain, weights, weights + words, weights + words + fit.
        recall: share of the 10 nearest texts of each text, as the teacher sees it, that are among its 10.
        spearman: rank correlation of the similarities of all pairs of texts.
    """

    name: str
    recall: float
    spearman: float


@dataclass(frozen=True)
class DistillReport:
    """What was made: the installed model, and where there was a corpus the agreement of all candidates and the name of the best."""

    info: ModelInfo
    seconds: float
    agreements: tuple[Agreement, ...] = ()
    chosen: str = "plain"
    texts: int = 0
    words: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Vocabulary:
    """A tokenizer and the teacher's vectors of its tokens.

    ``vectors``: float64 (tokens, dim), zeros where ``real`` (bool) is False: marks such as [CLS]. ``chance``: how often a token is used,
    by its rank; sums to 1.
    """

    tokenizer: dict[str, Any]
    vectors: NDArray[np.float64]
    real: NDArray[np.bool_]
    chance: NDArray[np.float64]


def distill(
    model: Teacher,
    *,
    name: str,
    target: Path,
    dim: int | None = 256,
    corpus: Iterable[str] | None = None,
    report: Report = lambda line: None,
    check: Check = no_check,
) -> DistillReport:
    """Make a static model of a transformer and install it; some 30 s on two cores without a corpus, a minute with one.

    Args:
        model: loaded without prompts.
        name: of the new model; ``target`` is the directory of all models.
        dim: of its vectors; None for the teacher's.
        corpus: texts of the kind that will be embedded; a sample of 20,000, always the same one, is kept, so any number may come.
        report: gets a line for each step.
        check: called about every 50 ms; what it raises passes through, and nothing is installed.
    Returns:
        The installed model's description and the agreements.
    Raises:
        InvalidParameter: dim is not from 1 to the teacher's, or the corpus has fewer than 100 texts with words in them.
    """
    started = time.monotonic()
    teacher = model.info
    dim = teacher.dim if dim is None else dim
    if not 1 <= dim <= teacher.dim:
        raise errors.InvalidParameter(
            f'dim must be from 1 to {teacher.dim}, the dimensions of model "{teacher.name}", not {dim}', hint="256 is the default."
        )
    sample = None if corpus is None else _sample(corpus, check)
    vocabulary = _vocabulary(model, report, check)
    plain = _plain(vocabulary, dim)
    if sample is None:
        found = DistillReport(_install(plain, vocabulary, teacher, name, target, f"dim {dim}", report), 0.0)
    else:
        found = _with_corpus(model, vocabulary, plain, sample, dim, report, check, name, target)
    return replace(found, seconds=time.monotonic() - started)


def _with_corpus(
    model: Teacher,
    vocabulary: _Vocabulary,
    plain: NDArray[np.float32],
    sample: list[str],
    dim: int,
    report: Report,
    check: Check,
    name: str,
    target: Path,
) -> DistillReport:
    held = sample[: min(HELD_TEXTS, len(sample) // 3)]
    known = sample[len(held) :]
    report(f"corpus: {len(known)} texts to learn from, {len(held)} held out")
    wanted = model.encode([text[:TEACHER_CHARS] for text in held], check).vectors
    near = [text[:TEACHER_CHARS] for text in known[:FIT_TEXTS]]
    said = model.encode(near, check).vectors
    report(f"{model.info.name}: embedded {len(held) + len(near)} texts")
    words = _domain_words(vocabulary, known, check)
    report(f"{len(words)} words of the corpus become tokens")
    wider = _extended(vocabulary, words, model, check)
    weights, weights_wider, uses = _counted(vocabulary, known, check)[0], *_counted(wider, known, check)
    rows = _centred(wider) * (weights_wider * wider.real)[:, None]
    fitted = fitting.fitted(rows, _tokens(wider, near, check), said, RIDGE) * wider.real[:, None]
    candidates = {
        "plain": (vocabulary, plain),
        "weights": (vocabulary, _scaled(vocabulary, weights, dim)),
        "weights + words": (wider, _scaled(wider, weights_wider, dim)),
        "weights + words + fit": (wider, _cut(fitted, uses, dim)),
    }
    agreements = []
    for label, (made_of, table) in candidates.items():
        recall, spearman = fitting.agreement(fitting.means(table, _tokens(made_of, [text[:TEACHER_CHARS] for text in held], check)), wanted)
        agreements.append(Agreement(label, recall, spearman))
    best = max(agreements, key=lambda each: each.recall)  # the first of equals
    made_of, table = candidates[best.name]
    options = f"dim {dim}; corpus of {len(sample)} texts; {best.name}"
    info = _install(table, made_of, model.info, name, target, options, report)
    return DistillReport(info, 0.0, tuple(agreements), best.name, len(sample), tuple(words))


def _install(
    table: NDArray[np.float32], vocabulary: _Vocabulary, teacher: ModelInfo, name: str, target: Path, options: str, report: Report
) -> ModelInfo:
    parts = static_folder.Parts(table, vocabulary.tokenizer, normalized=True, unknown=static_folder.unknown_of(vocabulary.tokenizer))
    info = ModelInfo(
        name=name,
        kind="static",
        dim=int(table.shape[1]),
        max_tokens=None,
        normalized=True,
        precision="fp32",
        source=f"distilled from {teacher.name}",
        source_sha256=teacher.fingerprint,
        source_revision=options,
        fingerprint=parts.fingerprint(),
    )
    return static_folder.install(parts, target, info, report)


def _sample(corpus: Iterable[str], check: Check) -> list[str]:
    """Texts with words, at random, the same ones each time, in random order (Vitter 1985, https://doi.org/10.1145/3147.3165)."""
    chance = random.Random(SEED)
    kept: list[str] = []
    count = 0
    for text in corpus:
        if text_room.is_empty(text):
            continue
        count += 1
        if count % 1000 == 0:
            check()
        place = len(kept) if len(kept) < CORPUS_TEXTS else chance.randrange(count)
        kept[place : place + 1] = [text[:COUNTED_CHARS]] if place < CORPUS_TEXTS else []
    if count < FEWEST_TEXTS:
        raise errors.InvalidParameter(
            f"the corpus has {count} texts with words in them, expected at least {FEWEST_TEXTS}",
            hint="Leave the corpus out, or name a column with more texts.",
        )
    chance.shuffle(kept)
    # A text that is there twice would be known and held out.
    return list(dict.fromkeys(kept))


def _vocabulary(model: Teacher, report: Report, check: Check) -> _Vocabulary:
    """The teacher's tokens, without those that no text has, and its vector of each."""
    import numpy as np

    tokenizer = json.loads(model.tokenizer_json)
    tokenizer["post_processor"] = None  # it names tokens by numbers, and none of them is wanted
    added = {token["id"]: token["content"] for token in tokenizer.get("added_tokens") or []}
    marks = {token["id"] for token in tokenizer.get("added_tokens") or [] if token.get("special")}
    if tokenizer["model"]["type"] == "WordPiece":
        pieces: dict[str, int] = tokenizer["model"]["vocab"]
        numbers = sorted({number for piece, number in pieces.items() if not piece.startswith("[unused")} | set(added))
        new = {number: place for place, number in enumerate(numbers)}
        tokenizer["model"]["vocab"] = {piece: new[number] for piece, number in pieces.items() if number in new}
        for token in tokenizer.get("added_tokens") or []:
            token["id"] = new[token["id"]]
    else:
        loaded = static_folder.loaded(tokenizer)
        numbers = list(range(max(loaded.get_vocab().values()) + 1))
    real = np.array([number not in marks for number in numbers])
    report(f"{model.info.name}: embedding {len(numbers)} tokens")
    vectors = np.zeros((len(numbers), model.info.dim))
    sequences = [[number] for number, is_real in zip(numbers, real, strict=True) if is_real]
    vectors[real] = _pooled(model, sequences, check)
    chance = 1 / (np.arange(len(numbers)) + 2.0)
    return _Vocabulary(tokenizer, vectors, real, chance / chance.sum())


def _pooled(model: Teacher, sequences: Sequence[Sequence[int]], check: Check) -> NDArray[np.float64]:
    """The teacher's vectors of token sequences: float64 (n, dim)."""
    import numpy as np

    before, after = model.special_tokens
    out = np.zeros((len(sequences), model.info.dim))
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    start = 0
    while start < len(order):
        length = len(sequences[order[start]])
        end = start
        while end < len(order) and len(sequences[order[end]]) == length and (end - start + 1) * (length + 2) <= _BATCH_TOKENS:
            end += 1
        end = max(end, start + 1)
        check()
        batch = order[start:end]
        out[batch] = model.pool(np.array([[*before, *sequences[i], *after] for i in batch], np.int64))
        start = end
    return out


def _plain(vocabulary: _Vocabulary, dim: int) -> NDArray[np.float32]:
    """The table without a corpus: float32 (tokens, dim)."""
    return _scaled(vocabulary, SIF / (SIF + vocabulary.chance), dim)


def _scaled(vocabulary: _Vocabulary, weights: NDArray[np.float64], dim: int) -> NDArray[np.float32]:
    """Rows in the vocabulary's own axes, scaled and weighted."""
    import numpy as np

    centred = _centred(vocabulary)
    values, axes = fitting.axes(centred[vocabulary.real], dim)
    scaled = centred @ axes * (np.sqrt(np.maximum(values, values[0] * 1e-9)) ** SCALING)
    weighted: NDArray[np.float64] = scaled * (weights * vocabulary.real)[:, None]
    return weighted.astype("float32")


def _centred(vocabulary: _Vocabulary) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = vocabulary.vectors - vocabulary.vectors[vocabulary.real].mean(axis=0)
    return centred


def _tokens(vocabulary: _Vocabulary, texts: Sequence[str], check: Check) -> list[NDArray[np.int64]]:
    """Each text's tokens, of the real ones."""
    import numpy as np

    tokenizer = static_folder.loaded(vocabulary.tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    out = []
    for start in range(0, len(texts), 200):
        check()
        with threads.signals_blocked():
            encodings = tokenizer.encode_batch_fast(list(texts[start : start + 200]), add_special_tokens=False)
        for encoding in encodings:
            ids = np.array(encoding.ids, np.int64)
            out.append(ids[vocabulary.real[ids]])
    return out


def _counted(vocabulary: _Vocabulary, texts: Sequence[str], check: Check) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse document frequency of each token, and how often it is used in the corpus: float64 (tokens,), the latter sums to 1."""
    import numpy as np

    in_texts = np.zeros(len(vocabulary.chance))
    uses = _PRIOR * vocabulary.chance
    for ids in _tokens(vocabulary, texts, check):
        in_texts[np.unique(ids)] += 1
        np.add.at(uses, ids, 1)
    return np.log((len(texts) + 1) / (in_texts + 0.5)), uses / uses.sum()


def _cut(rows: NDArray[np.float64], uses: NDArray[np.float64], dim: int) -> NDArray[np.float32]:
    """Rows turned to the axes that matter most to texts of the corpus."""
    import numpy as np

    _, axes = fitting.axes(rows * np.sqrt(uses)[:, None], dim)
    return (rows @ axes).astype("float32")


def _domain_words(vocabulary: _Vocabulary, texts: Sequence[str], check: Check) -> list[str]:
    """Words that the tokenizer cuts into pieces, the most used ones first."""
    if vocabulary.tokenizer["model"]["type"] != "WordPiece":
        return []
    tokenizer = static_folder.loaded(vocabulary.tokenizer)
    normalizer, cutter = tokenizer.normalizer, tokenizer.pre_tokenizer
    if cutter is None:
        return []
    counts: Counter[str] = Counter()
    for number, text in enumerate(texts):
        if number % 500 == 0:
            check()
        folded = normalizer.normalize_str(text) if normalizer is not None else text
        counts.update({word for word, _ in cutter.pre_tokenize_str(folded)})
    longest = vocabulary.tokenizer["model"].get("max_input_chars_per_word", 100)
    pieces = vocabulary.tokenizer["model"]["vocab"]
    likely = [
        word
        for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count >= WORD_TEXTS and word.isalpha() and len(word) <= longest and word not in pieces
    ]
    return [word for word in likely if len(_known(tokenizer, vocabulary, word)) > 1][:MOST_WORDS]


def _known(tokenizer: Any, vocabulary: _Vocabulary, word: str) -> list[int]:
    """A word's pieces; [] where the vocabulary does not cover it."""
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False).ids
    return ids if all(vocabulary.real[i] for i in ids) else []


def _extended(vocabulary: _Vocabulary, words: Sequence[str], model: Teacher, check: Check) -> _Vocabulary:
    """The vocabulary with words as tokens of their own."""
    import numpy as np

    if not words:
        return vocabulary
    first = len(vocabulary.chance)
    spoken = static_folder.loaded(json.loads(model.tokenizer_json))
    spoken.no_truncation()
    spoken.no_padding()
    vectors = _pooled(model, [spoken.encode(word, add_special_tokens=False).ids for word in words], check)
    pieces = {**vocabulary.tokenizer["model"]["vocab"], **{word: first + number for number, word in enumerate(words)}}
    tokenizer = {**vocabulary.tokenizer, "model": {**vocabulary.tokenizer["model"], "vocab": pieces}}
    # As rare as the rarest token, before the corpus says more.
    chance = np.concatenate([vocabulary.chance, np.full(len(words), vocabulary.chance[-1])])
    real = np.concatenate([vocabulary.real, np.ones(len(words), np.bool_)])
    return _Vocabulary(tokenizer, np.concatenate([vocabulary.vectors, vectors]), real, chance / chance.sum())
