"""Semantic join: time against a bare matrix product, and how precise its matches are on labelled tables.

A script, not a test: ``PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_joins.py [--rows 10000] [--data DIR]``. With a server
joins are also run there, see join_speed.py. Precision and recall of is_match are of four
benchmarks of entity resolution (Mudgal et al., Deep Learning for Entity Matching, SIGMOD 2018,
https://doi.org/10.1145/3183713.3196926), joined by name and by whole record. Their labels are only used here. A fifth of them is not
public in this copy, drawn at random, so that counts of true pairs are divided by 0.8: precision may come out above 1.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path

import join_speed
import numpy as np
import numpy.typing as npt

from pgembed import joins, models

MODEL = "all-minilm-l6-v2"
PUBLIC = 0.8  # share of the labelled pairs that is in the files
PRECISIONS = (0.8, 0.9, 0.95, 0.99)
NAME = {"fodors_zagats": "name", "abt_buy": "name", "amazon_google": "title", "dblp_acm": "title"}
DIM = 384

Vectors = npt.NDArray[np.float32]


def seconds(run: Callable[[], object], rounds: int = 3) -> float:
    """Least time of several runs."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    return min(took)


def speed(rows: int) -> None:
    """How much longer a join takes than the product of the two matrices that it cannot do without."""
    rng = np.random.default_rng(1)
    print(f"\ntime as a multiple of the bare float32 product in blocks, dim {DIM}")
    print(f"  {'left x right':20}{'product':>12}" + "".join(f"{head:>14}" for head in ("k = 1", "k = 10", "one to one", "with is_match")))
    for n, m in ((1_000, rows), (rows // 2, rows), (rows, rows)):
        left, right = (rng.normal(size=(size, DIM)).astype(np.float32) for size in (n, m))

        def product(left: Vectors = left, right: Vectors = right) -> None:
            for start in range(0, len(left), 1_000):
                left[start : start + 1_000] @ right.T

        bare = seconds(product)
        runs: list[Callable[[], object]] = [
            lambda left=left, right=right: joins.nearest(left, right, 1),
            lambda left=left, right=right: joins.nearest(left, right, 10),
            lambda left=left, right=right: joins.one_to_one(left, right),
            lambda left=left, right=right: joins.join(left, right),
        ]
        print(f"  {f'{n} x {m}':20}{bare:10.2f} s" + "".join(f"{seconds(run, 2) / bare:14.2f}" for run in runs))


def embedded(model: models.Model, path: Path, name: str | None) -> Vectors:
    """Embeddings of a table's names, or of its whole records."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    fields = [name] if name else [field for field in rows[0] if field != "id"]
    return model.encode([" ".join(row[field] for field in fields if row[field]) for row in rows]).vectors


def labels(folder: Path) -> set[tuple[int, int]]:
    """The public true pairs."""
    pairs = set()
    for split in ("train", "valid"):
        with (folder / f"matches_{split}.csv").open(encoding="utf-8", newline="") as file:
            pairs |= {(int(row["id_a"]), int(row["id_b"])) for row in csv.DictReader(file) if row["label"] == "1"}
    return pairs


def quality(folder: Path) -> None:
    """Precision and recall of is_match for several asked precisions."""
    model = models.load(MODEL)
    print("\nprecision / recall of is_match, for the precision asked; 'all' takes every pair for a match")
    print(f"  {'':42}{'all':>14}" + "".join(f"{precision:>14}" for precision in PRECISIONS))
    for dataset, name in NAME.items():
        true = labels(folder / dataset)
        for what in (name, None):
            left, right = (embedded(model, folder / dataset / f"table{side}.csv", what) for side in "AB")
            for unique in (False, True):
                cells = []
                for precision in (None, *PRECISIONS):
                    found = joins.join(left, right, one_to_one=unique, precision=precision)
                    keep = np.ones(len(found.pairs), dtype=bool) if precision is None else found.is_match == True  # noqa: E712  an array of True, False and None
                    pairs = zip(found.pairs.left[keep].tolist(), found.pairs.right[keep].tolist(), strict=True)
                    right_ones = sum(pair in true for pair in pairs) / PUBLIC
                    cells.append(f"{right_ones / max(1, keep.sum()):.3f} / {right_ones / (len(true) / PUBLIC):.3f}")
                label = f"{dataset}, {what or 'record'}, {'one to one' if unique else 'many'}"
                print(f"  {label:42}" + "".join(f"{cell:>14}" for cell in cells))


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the larger side (default: %(default)s)")
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside, help="folder of the data")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows = 300
    speed(options.rows)
    if options.quick:
        return
    if "PGEMBED_URL" in os.environ:
        join_speed.measure()
    else:
        print("\nno server: PGEMBED_URL is not set, so nothing is compared with LATERAL")
    if not (options.data / "er").is_dir():
        parser.exit(0, f'\nprecision skipped: no data in "{options.data / "er"}"\n')
    if MODEL not in {info.name for info in models.installed()}:
        parser.exit(1, f"not installed: {MODEL}; python -m pgembed.models.conversion.convert does it\n")
    quality(options.data / "er")


if __name__ == "__main__":
    main()
