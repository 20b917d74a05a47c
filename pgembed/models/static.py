"""The static kind: a vector for each token, a text's vector is their mean. ``pgembed.models.static_folder`` installs what Model2Vec saved
(https://github.com/MinishLab/model2vec), ``pgembed.models.distill`` makes such a model of a transformer.

Files of an installed one:

    table.npy        float32 (rows, dim), mapped: backends share its pages
    rows.npy         int32 (tokens,), the row of each token; only where several tokens share one
    weights.npy      float32 (tokens,), what a token's row is multiplied with; only beside rows.npy, else it is in the table
    tokenizer.json   with truncation and padding off
    words.bin        the vocabulary for plain text (see ``words``), where the tokenizer is of that kind
    static.json      the number of the unknown token, and how many characters of a text are read
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed.models import memory, threads, words
from pgembed.models.contract import Encoded, ModelInfo, Role, no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TABLE, ROWS, WEIGHTS, TOKENIZER, WORDS, FACTS = "table.npy", "rows.npy", "weights.npy", "tokenizer.json", "words.bin", "static.json"

# Texts pooled at once: their sums (a kilobyte each) stay in a core's cache. And characters tokenised at once: some 20 ms.
_SLICE_TEXTS = 2048
_SLICE_CHARS = 250_000
# The same for the tokenizers package, which takes ten times as long.
_SLOW_SLICE_CHARS = 100_000

# Longer texts are summed in blocks, in float64: a float32 sum of many numbers loses digits.
_BLOCK_TOKENS = 512

# So few texts are summed one after the other.
_FEW_TEXTS = 8


class Static:
    """A static model loaded from its directory; see ``pgembed.models.Model`` for what it does.

    A token that the vocabulary does not have counts for nothing; a text without any other gets zeros. The tokenizers package is
    loaded when the first text comes that ``words`` leaves to it: it would double what a session costs.
    """

    def __init__(self, info: ModelInfo, place: Path) -> None:
        with threads.signals_blocked():
            import numpy as np  # its BLAS starts threads when it is imported

        self._info = info
        self._place = place
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
        self._unknown: int = facts["unknown"]
        self._max_chars: int | None = facts["max_chars"]
        self._table: NDArray[np.float32] = np.load(place / TABLE, mmap_mode="r").view(np.ndarray)
        self._rows, self._weights = (np.load(place / name) if (place / name).is_file() else None for name in (ROWS, WEIGHTS))
        self._words = words.Words(place / WORDS) if (place / WORDS).is_file() else None
        self._loaded: Any = None

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self._info

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check, role: Role = "document") -> Encoded:
        """Embed texts, as ``pgembed.models.Model.encode`` says."""
        import numpy as np

        vectors = np.empty((len(texts), self._table.shape[1]), np.float32)
        truncated = np.zeros(len(texts), np.bool_)
        given, most = texts, self._max_chars
        if most is not None and any(len(text) > most for text in texts):
            given = [text[:most] for text in texts]
            truncated[:] = [len(text) > most and not text[most:].isspace() for text in texts]
        for which, tokens, lengths in self._tokens(given, check):
            tokens, lengths, cut = self._limited(tokens, lengths)
            self._pool(tokens, lengths, vectors, which, check)
            truncated[which] |= cut
        if self._info.normalized:
            # Scaled by the largest number first, so that no square is too small or too large for a float.
            largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
            largest[largest == 0] = 1
            vectors /= largest
            squares = np.einsum("ij,ij->i", vectors, vectors)[:, None]
            squares[squares == 0] = 1
            vectors /= np.sqrt(squares, out=squares)
        return Encoded(vectors, truncated)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """As ``pgembed.models.Model.token_spans`` says."""
        spans: list[tuple[int, int]] = self._tokenizer().encode(text, add_special_tokens=False).offsets
        return [span for span in spans if span[0] < span[1]]

    def token_count(self, text: str) -> int:
        """How many tokens the text has before any truncation, those included that the vocabulary does not have."""
        return sum(int(lengths.sum()) for _, _, lengths in self._tokens([text], no_check))

    def _tokens(
        self, texts: Sequence[str], check: Callable[[], None]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]]:
        """Slices of the texts: the places of some, their tokens in order, and how many tokens each has."""
        import numpy as np

        plain: list[int] = []
        other: Sequence[int] = range(len(texts))
        if self._words is not None:
            takes = list(map(self._words.takes, texts))
            plain = [i for i, taken in enumerate(takes) if taken]
            other = [i for i, taken in enumerate(takes) if not taken]
        # One wide character makes a whole slice wide, and slow.
        plain.sort(key=lambda i: not texts[i].isascii())
        for places in _slices(texts, plain, _SLICE_CHARS):
            check()
            assert self._words is not None
            if len(places) == 1 and len(texts[places[0]]) > _SLICE_CHARS:
                yield self._long(texts[places[0]], places[0], check)
            else:
                yield np.array(places), *self._words.tokens([texts[i] for i in places])
        for places in _slices(texts, other, _SLOW_SLICE_CHARS):
            check()
            if len(places) == 1 and self._words is not None and len(texts[places[0]]) > _SLOW_SLICE_CHARS:
                yield self._long(texts[places[0]], places[0], check)
                continue
            tokens = self._tokenized([texts[i] for i in places])
            lengths = np.array([len(ids) for ids in tokens], np.int64)
            yield np.array(places), np.fromiter((i for ids in tokens for i in ids), np.int32, int(lengths.sum())), lengths

    def _long(self, text: str, place: int, check: Callable[[], None]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """One text in parts, so that a cancel is seen: BERT's tokenizer sees nothing across a blank."""
        import numpy as np

        assert self._words is not None
        found = []
        start = 0
        while start < len(text):
            check()
            end = text.rfind(" ", start + 1, start + _SLOW_SLICE_CHARS)
            if end < 0:
                end = text.find(" ", start + _SLOW_SLICE_CHARS)
            part = text[start : end if end > 0 else len(text)]
            plain = self._words.takes(part)
            found.append(self._words.tokens([part])[0] if plain else np.array(self._tokenized([part])[0], np.int32))
            start += len(part)
        tokens = np.concatenate(found)
        return np.array([place]), tokens, np.array([len(tokens)])

    def _tokenized(self, texts: list[str]) -> list[list[int]]:
        tokenizer = self._tokenizer()
        if len(texts) == 1:
            return [tokenizer.encode(texts[0], add_special_tokens=False).ids]
        # Its threads begin here, at the first call.
        with threads.signals_blocked():
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _tokenizer(self) -> Any:
        if self._loaded is None:
            with threads.signals_blocked():
                # Read once, when the package's threads begin.
                os.environ.setdefault("RAYON_NUM_THREADS", str(threads.thread_count()))
                import tokenizers

                self._loaded = tokenizers.Tokenizer.from_file(str(self._place / TOKENIZER))
            memory.trim_memory()
        return self._loaded

    def _limited(
        self, tokens: NDArray[np.int32], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
        """The tokens that count: the first ``max_tokens`` of each text, of these the known ones; and which texts were cut."""
        import numpy as np

        most = self._info.max_tokens
        cut = np.zeros(len(lengths), np.bool_) if most is None else lengths > most
        keep = tokens != self._unknown
        if cut.any():
            starts = np.cumsum(lengths) - lengths
            keep &= np.arange(len(tokens)) - np.repeat(starts, lengths) < (most or 0)
        if keep.all():
            return tokens, lengths, cut
        kept = np.concatenate([[0], np.cumsum(keep)])
        ends = np.cumsum(lengths)
        return tokens[keep], kept[ends] - kept[ends - lengths], cut

    def _pool(
        self,
        tokens: NDArray[np.int32],
        lengths: NDArray[np.int64],
        out: NDArray[np.float32],
        which: NDArray[np.int64],
        check: Callable[[], None],
    ) -> None:
        """Means of each text's rows into ``out[which]``. Rows are added in the order of the text, so its neighbours don't matter."""
        import numpy as np

        starts = np.cumsum(lengths) - lengths
        short = lengths <= _BLOCK_TOKENS
        if len(lengths) > _FEW_TEXTS:
            # All first tokens, then all second tokens of those that have one, and so on: the longest texts come first.
            order = np.flatnonzero(short)
            order = order[np.argsort(-lengths[order], kind="stable")]
            order_lengths, order_starts = lengths[order], starts[order]
            longest = int(order_lengths[0]) if len(order) else 0
            # how_many[j]: texts with more than j tokens
            how_many = np.searchsorted(-order_lengths, -np.arange(longest), side="left")
            sums = np.zeros((len(order), out.shape[1]), np.float32)
            rows = np.empty_like(sums)
            for j, many in enumerate(how_many.tolist()):
                self._gather(tokens[order_starts[:many] + j], rows[:many])
                np.add(sums[:many], rows[:many], out=sums[:many])
            sums /= np.maximum(order_lengths, 1)[:, None].astype(np.float32)
            out[which[order]] = sums
            left: Sequence[int] = np.flatnonzero(~short).tolist()
        else:
            left = range(len(lengths))
        for i in left:
            start, length = int(starts[i]), int(lengths[i])
            precise = length > _BLOCK_TOKENS
            total: NDArray[Any] = np.zeros(out.shape[1], np.float64 if precise else np.float32)
            for begin in range(start, start + length, _BLOCK_TOKENS):
                block = tokens[begin : min(begin + _BLOCK_TOKENS, start + length)]
                rows = np.empty((len(block), out.shape[1]), np.float32)
                self._gather(block, rows)
                total = total + (rows.sum(axis=0, dtype=np.float64) if precise else _added(rows))
                if length > 100 * _BLOCK_TOKENS:
                    check()
            out[which[i]] = total / max(length, 1)

    def _gather(self, tokens: NDArray[np.int32], out: NDArray[np.float32]) -> None:
        """Each token's row, weighted. The numbers are the tokenizer's, so none is out of range: 'clip' spares a copy, not an error."""
        self._table.take(tokens if self._rows is None else self._rows[tokens], axis=0, out=out, mode="clip")
        if self._weights is not None:
            out *= self._weights[tokens][:, None]


def _added(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of rows, added one after the other: numpy adds a single column in another order."""
    import numpy as np

    if rows.shape[1] > 1:
        total: NDArray[np.float32] = np.add.reduce(rows, axis=0)
        return total
    single: NDArray[np.float32] = np.add.accumulate(rows, axis=0)[-1]
    return single


def _slices(texts: Sequence[str], places: Sequence[int], most_chars: int) -> Iterator[Sequence[int]]:
    """Places of texts that are tokenised together: as many as have ``most_chars``, or one that has more."""
    begin, chars = 0, 0
    for end, place in enumerate(places):
        size = len(texts[place])
        if end > begin and (chars + size > most_chars or end - begin >= _SLICE_TEXTS):
            yield places[begin:end]
            begin, chars = end, 0
        chars += size
    if begin < len(places):
        yield places[begin:]
