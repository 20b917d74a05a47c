"""The transformer kind: a tokenizer and an ONNX graph, run by onnxruntime on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed.models import memory, runtime, store, threads, workers
from pgembed.models.contract import Encoded, ModelInfo, Role, no_check
from pgembed.models.tokens import Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Tokens in one call of the graph. More are not faster on a CPU (activations leave its caches), and a cancel waits for
# one call.
BATCH_TOKENS = 256

# From so many tokens on, several threads are faster than one in one call of the graph: in fp32 always (2.7 against 3.9 ms for 20 tokens,
# 21 against 33 for 256), in int8 late (1.9 against 1.4, 11 against 18).
_LONG_TOKENS = {"int8": 96}

# Characters tokenised between two looks for a cancel: some 50 ms.
_CHECK_CHARS = 100_000


class Transformer:
    """An encoder loaded from its directory; see ``pgembed.models.Model`` for what it does.

    Texts of equal token count share a call and nothing is ever padded: padding makes a text's vector depend, in its
    last bits, on the texts beside it, and costs time; without it the vector is the same bits alone and in any batch.

    Args:
        info: what is wanted of the model in ``place``: its own description, or one of fewer layers.
        graph: the graph's file; by default the one for the layers that ``info`` says.
    """

    def __init__(self, info: ModelInfo, place: Path, graph: str | None = None) -> None:
        self._path = place / (graph or _graph(info, place))
        self._long = _LONG_TOKENS.get(info.precision, 1)
        self._sessions: dict[int, Any] = {}
        self._session(1 if self._long > 1 else threads.thread_count())  # the one for a short text
        self._tokens = Tokens(place)
        self._info = info
        memory.trim_memory()

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self._info

    @property
    def tokenizer_json(self) -> str:
        """The text of tokenizer.json, truncation and padding off."""
        return self._tokens.json()

    @property
    def special_tokens(self) -> tuple[list[int], list[int]]:
        """The tokens that the tokenizer puts before and after a text, such as [CLS] and [SEP]."""
        return list(self._tokens.before), list(self._tokens.after)

    @property
    def largest_token(self) -> int:
        """The largest number in the tokenizer's vocabulary."""
        return self._tokens.largest

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check, role: Role = "document") -> Encoded:
        """Embed texts, as ``pgembed.models.Model.encode`` says."""
        import numpy as np

        tokens, truncated = self._tokenize(texts, check)
        vectors = np.empty((len(texts), self._info.dim), np.float32)
        batches: list[list[int]] = []
        # Longest first: towards the end no thread is left alone with a long one.
        order = sorted(range(len(texts)), key=lambda i: -len(tokens[i]))
        for length, group in groupby(order, key=lambda i: len(tokens[i])):
            rows = list(group)
            if length == 0:
                # No words, and a tokenizer that adds none of its own.
                vectors[rows] = 0
                continue
            step = max(1, BATCH_TOKENS // length)
            batches += [rows[start : start + step] for start in range(0, len(rows), step)]
        # Batches are faster side by side, one thread each; a long text alone is faster with all threads.
        alone = len(batches) == 1 and len(batches[0]) * len(tokens[batches[0][0]]) >= self._long
        session = self._session(threads.thread_count() if alone else 1)

        def run(batch: list[int]) -> None:
            vectors[batch] = _run(session, np.array([tokens[i] for i in batch], np.int64), "embedding")

        workers.spread(run, batches, check, threads.thread_count())
        return Encoded(vectors, truncated)

    def pool(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of token sequences, pooled and not normalised: what ``encode`` gives before it makes lengths 1.

        Args:
            ids: int64, shape (batch, seq), seq from 1 to max_tokens; special tokens are the caller's to put.
        Returns:
            float32, shape (batch, dim), row i for row i of ids.
        """
        return _run(self._session(1), ids, "pooled")

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """As ``pgembed.models.Model.token_spans`` says."""
        return self._tokens.spans(text)

    def token_count(self, text: str) -> int:
        """How many tokens the text has, special ones included, before any truncation."""
        return self._tokens.count(text)

    def _session(self, thread_count: int) -> Any:
        """The session that runs with so many threads, opened when it is first needed: its weights are the same pages of the same file."""
        if thread_count not in self._sessions:
            self._sessions[thread_count] = runtime.open_session(self._path, thread_count)
        return self._sessions[thread_count]

    def _tokenize(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[list[int]], NDArray[np.bool_]]:
        import numpy as np

        before, after = self._tokens.before, self._tokens.after
        limit = (self._info.max_tokens or sys.maxsize) - len(before) - len(after)
        tokens: list[list[int]] = []
        truncated = np.zeros(len(texts), np.bool_)
        unchecked = 0
        for i, text in enumerate(texts):
            # One text a call, not encode_batch: that starts a pool of threads, outside of any signal mask of ours, to
            # save less than a hundredth of the model's own time.
            ids, truncated[i] = self._tokens.first(text, limit)
            tokens.append([*before, *ids, *after])
            unchecked += len(text)
            if unchecked > _CHECK_CHARS:
                check()
                unchecked = 0
        return tokens, truncated


def _run(session: Any, ids: NDArray[np.int64], output: str) -> NDArray[np.float32]:
    """One call of the graph: int64 (batch, seq) -> float32 (batch, dim)."""
    import numpy as np

    vectors: NDArray[np.float32] = session.run([output], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    return vectors


def _graph(info: ModelInfo, place: Path) -> str:
    """The file of the graph with as many layers as wanted: the model's own, or a shorter one beside it."""
    own = store.read_description(place).get("layers")
    return "model.onnx" if info.layers == own else f"model-{info.layers}.onnx"
