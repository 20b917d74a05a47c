"""modelbench: how fast an installed model is on this machine, and how much of that is this package's doing.

Beside each number stands what the same work costs without the package: a transformer's graph run by onnxruntime on the same tokens in the
same batches, a static model's tokenizer alone. The two are run in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed import models
from pgembed.models import store, threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDS = 5
ONE_ROUNDS = 200
ONE = "a light waterproof jacket"
TEXTS = {"transformer": 200, "static": 20_000}


def sample(n: int) -> list[str]:
    """So many pieces of English prose: sentences of Python's own documentation, again and again where they don't suffice."""
    from pydoc_data.topics import topics

    sentences = [" ".join(piece.split()) for text in topics.values() for piece in text.split(". ")]
    found = [piece for piece in sentences if 20 <= len(piece) <= 300]
    return [found[place % len(found)] for place in range(n)]


def measure(name: str, count: int | None, say: Callable[[str], None]) -> list[list[str]]:
    """Lines of a table: what, of the model, of the bare library, and their ratio (1 is as fast; '' where there is nothing to compare with).

    Args:
        count: texts of the throughput; None for some seconds' work.
        say: told what is done.
    Raises:
        UnknownObject, FileMissing, FileDamaged: as ``models.load``.
    """
    before = _memory()
    started = time.perf_counter()
    model = models.load(name)
    model.encode([ONE])
    first = time.perf_counter() - started
    after = _memory()
    models.forget()
    started = time.perf_counter()
    model = models.load(name)
    model.encode([ONE])
    again = time.perf_counter() - started

    texts = sample(count or TEXTS.get(model.info.kind, 1000))
    place = store.place_of(name)
    what, direct = _direct(model.info.kind, place, [ONE])
    say(f"one text: the model, and {what or 'nothing to compare with'}")
    one = _in_turns(ONE_ROUNDS, lambda: model.encode([ONE]), direct)
    say(f"{len(texts)} texts, {ROUNDS} rounds")
    many = _in_turns(ROUNDS, lambda: model.encode(texts), _direct(model.info.kind, place, texts)[1])
    return [
        ["load and first text, with imports, ms", f"{first * 1e3:.0f}", "", ""],
        ["load and first text again, ms", f"{again * 1e3:.1f}", "", ""],
        ["memory of its own, MB", f"{(after[0] - before[0]) / 1024:.0f}", "", ""],
        ["memory that processes share, MB", f"{(after[1] - before[1]) / 1024:.0f}", "", ""],
        ["one text, ms", f"{one[0] * 1e3:.3f}", _shown(one[1], lambda s: f"{s * 1e3:.3f}"), _ratio(one)],
        ["texts in a second", f"{len(texts) / many[0]:.0f}", _shown(many[1], lambda s: f"{len(texts) / s:.0f}"), _ratio(many)],
    ]


def _direct(kind: str, place: Path, texts: Sequence[str]) -> tuple[str, Callable[[], object] | None]:
    """What the model's work is compared with, in words and as a call; None where there is nothing."""
    if kind == "transformer":
        return "onnxruntime on the same tokens", _onnxruntime(place, texts)
    if kind == "static":
        import tokenizers

        tokenizer: Any = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
        return "its tokenizer alone", lambda: tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return "", None


def _onnxruntime(place: Path, texts: Sequence[str]) -> Callable[[], object]:
    with threads.signals_blocked():
        import numpy as np
        import tokenizers

    from pgembed.models import runtime, transformer

    tokenizer: Any = tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
    session = runtime.open_session(place / "model.onnx")
    names = {given.name for given in session.get_inputs()}
    most = store.read_info(place).max_tokens or 1 << 30
    feeds: list[dict[str, NDArray[np.int64]]] = []
    for length, group in groupby(sorted((tokenizer.encode(text).ids[:most] for text in texts), key=len), key=len):
        rows = list(group)
        step = max(1, transformer.BATCH_TOKENS // length)
        for start in range(0, len(rows), step):
            ids = np.array(rows[start : start + step], np.int64)
            given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            feeds.append({name: array for name, array in given.items() if name in names})
    return lambda: [session.run(None, feed) for feed in feeds]


def _in_turns(rounds: int, own: Callable[[], object], direct: Callable[[], object] | None) -> tuple[float, float | None]:
    """Median seconds of both, after one run each that is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for counted in range(rounds + 1):
        for kept, run in zip(times, (own, direct), strict=True):
            if run is not None:
                started = time.perf_counter()
                run()
                if counted:
                    kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1]) if times[1] else None


def _ratio(seconds: tuple[float, float | None]) -> str:
    return _shown(seconds[1], lambda direct: f"{direct / seconds[0]:.2f}")


def _shown(seconds: float | None, form: Callable[[float], str]) -> str:
    return "" if seconds is None else form(seconds)


def _memory() -> tuple[int, int]:
    """Kilobytes of this process: its own, and mapped files that others map too or could; (0, 0) where there is no /proc."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    own = found["Anonymous"]
    return own, found["Rss"] - own
