"""The transformer kind: a tokenizer and an ONNX graph, run by onnxruntime on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed import text as text_room
from pgembed.models import threads
from pgembed.models.contract import Encoded, ModelInfo, Role, no_check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Tokens in one call of the graph. More are not faster on a CPU (activations leave its caches), and a cancel waits for
# one call.
BATCH_TOKENS = 256

# Characters tokenised between two looks for a cancel: some 50 ms.
_CHECK_CHARS = 100_000


class Transformer:
    """An encoder loaded from its directory; see ``pgembed.models.Model`` for what it does.

    Texts of equal token count share a call and nothing is ever padded: padding makes a text's vector depend, in its
    last bits, on the texts beside it, and costs time; without it the vector is the same bits alone and in any batch.
    """

    def __init__(self, info: ModelInfo, place: Path) -> None:
        with threads.signals_blocked():
            import numpy  # noqa: F401  (its BLAS starts threads when it is imported)
            import onnxruntime
            import tokenizers

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads.thread_count()
            options.inter_op_num_threads = 1
            # Spinning threads of an idle backend would take the cores of the others.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.log_severity_level = 3
            self._session: Any = onnxruntime.InferenceSession(str(place / "model.onnx"), options, providers=["CPUExecutionProvider"])
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
        self._info = info
        # The special tokens around a text, [CLS] and [SEP]: those of no text at all.
        self._first, self._last = self._tokenizer.encode("").ids

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self._info

    def encode(self, texts: Sequence[str], check: Callable[[], None] = no_check, role: Role = "document") -> Encoded:
        """Embed texts, as ``pgembed.models.Model.encode`` says."""
        import numpy as np

        tokens, truncated = self._tokenize(texts, check)
        vectors = np.empty((len(texts), self._info.dim), np.float32)
        # Shortest first, so that a batch's cost grows steadily and a cancel is seen soon.
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        for length, group in groupby(order, key=lambda i: len(tokens[i])):
            rows = list(group)
            step = max(1, BATCH_TOKENS // length)
            for start in range(0, len(rows), step):
                check()
                batch = rows[start : start + step]
                vectors[batch] = self._run(np.array([tokens[i] for i in batch], np.int64))
        return Encoded(vectors, truncated)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """As ``pgembed.models.Model.token_spans`` says."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return [span for span in spans if span[0] < span[1]]

    def token_count(self, text: str) -> int:
        """How many tokens the text has, special ones included, before any truncation."""
        return len(self._tokenizer.encode(text).ids)

    def _run(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """One call of the graph: int64 (batch, seq) -> float32 (batch, dim)."""
        import numpy as np

        vectors: NDArray[np.float32] = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
        return vectors

    def _tokenize(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[list[int]], NDArray[np.bool_]]:
        import numpy as np

        limit = (self._info.max_tokens or sys.maxsize) - 2
        tokens: list[list[int]] = []
        truncated = np.zeros(len(texts), np.bool_)
        unchecked = 0
        for i, text in enumerate(texts):
            # One text a call, not encode_batch: that starts a pool of threads, outside of any signal mask of ours, to
            # save less than a hundredth of the model's own time.
            ids, truncated[i] = text_room.first_tokens(self._tokenizer, text, limit)
            tokens.append([self._first, *ids, self._last])
            unchecked += len(text)
            if unchecked > _CHECK_CHARS:
                check()
                unchecked = 0
        return tokens, truncated
