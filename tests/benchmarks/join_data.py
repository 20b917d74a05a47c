"""What the parts of bench_joins.py have in common: labelled tables, vectors that are made up, and what a process takes.

The tables are those of Mudgal et al., Deep Learning for Entity Matching, SIGMOD 2018, https://doi.org/10.1145/3183713.3196926; a row's
text is all of its attributes with blanks between. Labels are pairs of train and of valid; those of test are not in this copy.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import corpora
import numpy as np
import numpy.typing as npt

from pgembed import models

MODEL = "all-minilm-l6-v2-int8"
DATA = corpora.DATA / "er"
SETS = {"abt_buy": "Abt-Buy", "amazon_google": "Amazon-Google", "dblp_acm": "DBLP-ACM", "fodors_zagats": "Fodors-Zagats"}
SMALLEST = "fodors_zagats"

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """A table: its rows, their texts, and float32 vectors of length 1."""

    rows: list[dict[str, str]]
    texts: list[str]
    vectors: Vectors


@dataclass(frozen=True)
class Tables:
    """Attributes:
    train, valid: int64, shape (n, 3): positions on the left and on the right, and 1 for a match or 0.
    """

    name: str
    left: Side
    right: Side
    train: Ints
    valid: Ints

    @property
    def shown(self) -> str:
        return SETS[self.name]

    @property
    def matches(self) -> list[tuple[int, int]]:
        """The known ones, of train and of valid."""
        both = np.concatenate([self.train, self.valid])
        return [(left, right) for left, right, match in both.tolist() if match]


def tables(data: Path = DATA, *, quick: bool = False) -> list[Tables]:
    """All of them, or the smallest; ends the process with a word about what is missing."""
    missing = "" if data.is_dir() else f"the tables of entity resolution, and there is no folder {data.name} beside the checkout's data"
    if not missing and MODEL not in {info.name for info in models.installed()}:
        missing = f"the model {MODEL}, which is not installed"
    if missing:
        print(f"skipped: needs {missing}")
        raise SystemExit(0)
    return [_read(data / name) for name in ([SMALLEST] if quick else SETS)]


def _read(folder: Path) -> Tables:
    sides = []
    for side in "AB":
        with (folder / f"table{side}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts = [" ".join(value for name, value in row.items() if name != "id" and value) for row in rows]
        sides.append(Side(rows, texts, corpora.vectors(texts, MODEL)))
    at = [{row["id"]: place for place, row in enumerate(side.rows)} for side in sides]
    labels = []
    for part in ("train", "valid"):
        with (folder / f"matches_{part}.csv").open(encoding="utf-8", newline="") as file:
            pairs = [(at[0][one["id_a"]], at[1][one["id_b"]], int(one["label"])) for one in csv.DictReader(file)]
        labels.append(np.asarray(pairs, dtype=np.int64))
    return Tables(folder.name, *sides, *labels)


def made(rows: int, dim: int, seed: int) -> Vectors:
    """Vectors in heaps of some twenty, for what needs no real ones."""
    centres = np.random.default_rng(1).normal(size=(max(1, rows // 20), dim))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(len(centres), size=rows)] + 0.7 * rng.normal(size=(rows, dim))).astype(np.float32)


class Growth:
    """How much memory a process has taken at most since this was made; None where its numbers are not at hand."""

    def __init__(self, pid: int | str = "self") -> None:
        self._process = Path("/proc") / str(pid)
        try:
            (self._process / "clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        except OSError:
            self._before = None
        else:
            self._before = self._kilobytes("VmRSS")

    def _kilobytes(self, name: str) -> int:
        lines = (self._process / "status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    @property
    def megabytes(self) -> float | None:
        return None if self._before is None else (self._kilobytes("VmHWM") - self._before) / 1024
