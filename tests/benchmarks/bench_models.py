"""The default models: speed against onnxruntime called directly, and int8 against fp32.

A script, not a test: ``python tests/benchmarks/bench_models.py [--texts 400] [--rounds 5]``. What is compared runs in turns, so that a
busy machine slows both, and columns are ratios; seconds are those of this machine. ``bench_quality.py`` has the quality.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import bench_embed
import numpy as np

from pgembed import demo, models
from pgembed.models import runtime, threads, transformer

FULL, SMALL = "all-minilm-l6-v2", "all-minilm-l6-v2-int8"
SEED = 20


def package_texts(n: int) -> list[str]:
    """'name: description' of n Debian packages, drawn at random; generated sentences where there is no apt-cache."""
    texts = [f"{name}: {description}" for name, _, _, _, description in demo.debian_packages()]
    rng = np.random.default_rng(SEED)
    if len(texts) < n:
        print(f"apt-cache lists {len(texts)} packages; texts are generated")
        words = ["library", "for", "parsing", "and", "a", "fast", "terminal", "mail", "client", "files", "development"]
        return [" ".join(rng.choice(words, int(size))) for size in rng.integers(4, 30, n)]
    return [texts[i] for i in rng.permutation(len(texts))[:n]]


def in_turns(rounds: int, runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, the runs taken in turns."""
    times: dict[str, list[float]] = defaultdict(list)
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def table(title: str, seconds: dict[str, float], per: int, base: str) -> None:
    """Print times per text, and each one's speed as a ratio to the base's."""
    print(f"\n{title}")
    for name, found in seconds.items():
        print(f"  {name:50} {found / per * 1e3:9.3f} ms/text   {seconds[base] / found:5.2f} x")


def session(name: str, spinning: str) -> Any:
    """An onnxruntime session of an installed model, as its peers would open it."""
    onnxruntime = runtime.imported()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.thread_count()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    path = str(models.models_dir() / name / "current" / "model.onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_all(opened: Any, feeds: list[dict[str, Any]]) -> Any:
    """Vectors of all feeds, in their order."""
    return np.concatenate([opened.run(None, feed)[0] for feed in feeds])


def padded_batches(tokens: Sequence[list[int]], most: int) -> list[dict[str, Any]]:
    """What onnxruntime is usually fed: sorted by length, padded to the longest of its batch."""
    batches: list[list[list[int]]] = [[]]
    for ids in sorted(tokens, key=len):
        if batches[-1] and (len(batches[-1]) + 1) * len(ids) > most:
            batches.append([])
        batches[-1].append(ids)
    feeds = []
    for batch in batches:
        ids_array = np.zeros((len(batch), len(batch[-1])), np.int64)
        mask = np.zeros_like(ids_array)
        for i, ids in enumerate(batch):
            ids_array[i, : len(ids)] = ids
            mask[i, : len(ids)] = 1
        feeds.append({"input_ids": ids_array, "attention_mask": mask})
    return feeds


def speed(texts: list[str], rounds: int) -> None:
    """Latency of one text, throughput of many, and what Model.encode adds to onnxruntime."""
    loaded: dict[str, Any] = {}
    print("\nload")
    for name in (FULL, SMALL):
        start = time.perf_counter()
        loaded[name] = models.load(name)
        print(f"  {name:50} {(time.perf_counter() - start) * 1e3:9.1f} ms (the first also imports)")
    model = loaded[FULL]
    tokens, _ = model._tokenize(texts, models.no_check)
    lengths = sorted(map(len, tokens))
    print(f"\n{len(texts)} texts, {statistics.mean(lengths):.1f} tokens on average, at most {lengths[-1]}")

    one = next(text for text, ids in zip(texts, tokens, strict=True) if len(ids) == lengths[len(lengths) // 2])
    ids = np.array([model._tokenize([one], models.no_check)[0][0]], np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    still = {name: session(name, "0") for name in loaded}
    spinning = {name: session(name, "1") for name in loaded}
    runs: dict[str, Callable[[], object]] = {}
    for name, each in loaded.items():
        runs[f"{name}: encode"] = partial(each.encode, [one])
        runs[f"{name}: onnxruntime"] = partial(still[name].run, None, feed)
        runs[f"{name}: onnxruntime, spinning"] = partial(spinning[name].run, None, feed)
    table(f"one text of {ids.shape[1]} tokens", in_turns(rounds * 20, runs), 1, f"{FULL}: encode")
    del spinning

    runs = {}
    for name, each in loaded.items():
        runs[f"{name}: encode, batches side by side"] = partial(each.encode, texts)
        same = [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in bench_embed.batches(each, texts)]
        runs[f"{name}: onnxruntime, those batches in turn"] = partial(run_all, still[name], same)
        for most in (1, transformer.BATCH_TOKENS, 4 * transformer.BATCH_TOKENS):
            feeds = padded_batches(tokens, most)
            label = f"{name}: onnxruntime, " + (f"padded, {most} tokens" if most > 1 else "one by one")
            runs[label] = partial(run_all, still[name], feeds)
    table("all texts", in_turns(rounds, runs), len(texts), f"{FULL}: encode, batches side by side")
    runs = {"first_tokens, one by one": lambda: model._tokenize(texts, models.no_check)}
    table("tokenising alone", in_turns(rounds, runs), len(texts), "first_tokens, one by one")

    print("\nhow much a vector depends on the texts beside it (largest difference of a component; 1 - least cosine)")
    for name, each in loaded.items():
        alone = np.concatenate([each.encode([text]).vectors for text in texts])
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        padded = np.empty_like(alone)
        padded[order] = run_all(still[name], padded_batches(tokens, 1024))
        for what, other in (("encode", each.encode(texts).vectors), ("padded", padded)):
            a, b = alone.astype(np.float64), other.astype(np.float64)
            least = ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()
            print(f"  {name + ': ' + what:50} {np.abs(a - b).max():.1e}   {abs(1 - least):.1e}")
    full, small = (loaded[name].encode(texts).vectors for name in (FULL, SMALL))
    cosines = (full * small).sum(1)
    print(f"  int8 against fp32: cosine {cosines.mean():.4f} on average, {cosines.min():.4f} at least")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=400, help="how many texts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each run (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.texts, options.rounds = 20, 1
    missing = {FULL, SMALL} - {info.name for info in models.installed()}
    if missing:
        parser.exit(1, f"not installed: {', '.join(sorted(missing))}; python -m pgembed.models.conversion.convert does it\n")
    speed(package_texts(options.texts), options.rounds)


if __name__ == "__main__":
    main()
