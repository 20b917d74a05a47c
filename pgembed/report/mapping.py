"""mapping: the rows of a sample as points of a plane, and what they may be coloured by."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgembed.report import measures, plots
from pgembed.report.reading import SHOWN, Plain, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Values that have a colour of their own, and colourings that are offered.
VALUES, OFFERED = 10, 14
TOPICS, WORDS = 10, 3
# From blue to amber, which most people tell apart; all of it is seen on white and on near black, so it does not go from dark to light.
_SCALE = [[0, "#2f7fd6"], [0.25, "#7d69d0"], [0.5, "#b0579f"], [0.75, "#d5631f"], [1, "#b07d12"]]
_WIDTH = 60
_NOTE = 20  # characters of a word that stands in the map
# What a line of words takes of the map's width, high and for each character, in a map as narrow as a telephone's.
_NOTE_HIGH, _NOTE_WIDE = 0.05, 0.02


def label(key: str, text: str) -> str:
    """What is seen of a row under the pointer: its key, and its text in lines, cut."""
    shown = " ".join(text.split())
    shown = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
    lines, line = [], ""
    for word in shown.split(" "):
        word = word if len(word) <= _WIDTH else word[: _WIDTH - 1] + "…"
        if line and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    short = key if len(key) <= _WIDTH else key[: _WIDTH - 1] + "…"
    return "<br>".join([f"<b>{plots.escaped(short)}</b>", *(plots.escaped(one) for one in lines if one)])


def topics(sample: Sample, units: NDArray[np.float32], seed: int) -> tuple[list[int], list[str]] | None:
    """Of each row its group by direction, and of each group the words that tell it from the others; None for few rows or no groups."""
    from pgembed.grouping import topics as room

    if len(sample) < 30:
        return None
    found = room.find(units, min(TOPICS, len(sample) // 10), seed)
    if len(found.centres) < 2:
        return None
    words = room.words(sample.texts, found.topic, len(found.centres), WORDS)
    names = [", ".join(some) or f"group {number + 1}" for number, some in enumerate(words)]
    return found.topic.tolist(), names


def colourings(
    sample: Sample,
    known: Sequence[Plain],
    first: str | None,
    grouped: tuple[list[int], list[str]] | None,
    near: measures.Near,
    points: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Ways to colour the map: topics, the table's columns with few values or numbers, and how often a row is among others' nearest.

    Args:
        first: the column that is shown at first; None: topics, or the first column.
    """
    made: list[dict[str, Any]] = []
    if grouped is not None:
        which, names = grouped
        made.append(
            {**_category("words of the topic", [None if one < 0 else names[one] for one in which]), "notes": _notes(which, names, points)}
        )
    for plain in known:
        values = sample.values.get(plain.name, [])
        there = [value for value in values if value is not None]
        if plain.kind in ("number", "time"):
            different = len(set(there))
            if different > 1 or (plain.name == first and there):
                made.append(_number(plain, values))
        elif there:
            # where each row has a value of its own there is nothing to be seen
            common = sum(count for _, count in Counter(there).most_common(VALUES))
            if plain.name == first or (
                len(set(there)) > 1 and common >= 0.3 * len(there) and len(set(there)) <= max(VALUES, len(there) / 2)
            ):
                made.append(_category(plain.name, values))
    if near.rows.shape[1]:
        made.append(_number(Plain(f"how often among the {near.rows.shape[1]} nearest", "number", "int8"), near.occurrences().tolist()))
    if not made:
        made.append(_category("nothing", ["rows"] * len(sample)))
    made.sort(key=lambda one: one["name"] != first)
    return made[:OFFERED]


def _category(name: str, values: Sequence[Any]) -> dict[str, Any]:
    counts = Counter(value for value in values if value is not None)
    shown = [value for value, _ in counts.most_common(VALUES)]
    rows: dict[str, list[int]] = {value: [] for value in shown}
    other: list[int] = []
    unknown: list[int] = []
    for row, value in enumerate(values):
        (unknown if value is None else rows.get(value, other)).append(row)
    groups = [
        {
            "label": plots.escaped(_cut(value) or "(empty)"),
            "rows": rows[value],
            "colour": plots.PALETTE[number],
            "sign": plots.SIGNS[number],
        }
        for number, value in enumerate(shown)
    ]
    if other:
        groups.append({"label": f"{len(counts) - len(shown)} other values", "rows": other, "colour": plots.GREY, "sign": "circle-open"})
    if unknown:
        groups.append({"label": "NULL", "rows": unknown, "colour": plots.GREY, "sign": "x-thin-open"})
    # what is most stands below, so that what is rare is seen
    return {"name": name, "label": plots.escaped(_cut(name)), "kind": "category", "groups": groups}


def _number(plain: Plain, values: Sequence[float | None]) -> dict[str, Any]:
    there = [float(value) for value in values if value is not None]
    made: dict[str, Any] = {
        "name": plain.name,
        "label": plots.escaped(_cut(plain.name)),
        "kind": "number",
        "values": [None if value is None else float(f"{value:.6g}") for value in values],
    }
    if plain.kind == "time":
        made["shown"] = [None if value is None else _date(value) for value in values]
        low, high = min(there), max(there)
        ticks = [low + (high - low) * part / 2 for part in range(3)]
        made["ticks"] = {"tickvals": ticks, "ticktext": [_date(tick) for tick in ticks]}
        made["values"] = [None if value is None else float(value) for value in values]
    return made


def _notes(which: Sequence[int], names: Sequence[str], points: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Two words of each topic near the middle of its points; of a topic without room for them the legend alone tells."""
    import numpy as np

    made: list[dict[str, Any]] = []
    high, wide = (_NOTE_HIGH * float(np.ptp(points, axis=0).max()), _NOTE_WIDE * float(np.ptp(points, axis=0).max()))
    for name in dict.fromkeys(names):
        # groups of the same words have one colour, and one note
        rows = np.array([row for row, one in enumerate(which) if one >= 0 and names[one] == name], dtype=int)
        if not len(rows) or name.startswith("group "):
            continue
        words = ", ".join(_cut(word, _NOTE) for word in name.split(", ")[:2])
        # the median may lie between two heaps: the row nearest to it does not
        order = ((points[rows] - np.median(points[rows], axis=0)) ** 2).sum(axis=1).argsort(kind="stable")
        for x, y in points[rows[order]]:
            others = ((abs(x - one["x"]), abs(y - one["y"]), wide * (len(words) + len(one["text"])) / 2) for one in made)
            if all(apart >= width or above >= high for apart, above, width in others):
                made.append(_note(float(x), float(y), words))
                break
    return made


def _note(x: float, y: float, words: str) -> dict[str, Any]:
    return {
        "x": _round(x),
        "y": _round(y),
        "text": plots.escaped(words),
        "showarrow": False,
        "font": {"size": 12},
        "bgcolor": "rgba(128,128,128,0.01)",
        "borderpad": 2,
        "captureevents": False,
    }


def _round(value: float) -> float:
    return round(float(value), 3)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(max(-6e10, min(2.5e11, seconds))))


def _cut(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def plane(sample: Sample, points: NDArray[np.float64], offered: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page's script draws the map of."""
    return {
        "x": [_round(one) for one in points[:, 0]],
        "y": [_round(one) for one in points[:, 1]],
        "hover": [label(key, text) for key, text in zip(sample.keys, sample.texts, strict=True)],
        "colourings": offered,
        "scale": _SCALE,
        "layout": plots.plane(),
    }
