"""plots: figures as Plotly describes them, in plain dictionaries: https://plotly.com/javascript/reference/.

What is not said here, such as colours of text, axes and background, is the page's style, which follows its light or dark mode.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pgembed.report.filtering import Filtered
from pgembed.report.searching import Point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Figure = dict[str, Any]

# Each is seen on white and on near black (contrast above 3), and they differ for those who see few colours; signs differ too.
PALETTE = ("#2f7fd6", "#d5631f", "#2f9e6e", "#b0579f", "#93821f", "#6a70d8", "#cf4a4a", "#3898a8", "#98715c", "#6f9130")
SIGNS = ("circle", "square", "diamond", "triangle-up", "x", "star", "triangle-down", "pentagon", "cross", "hexagon")
GREY = "#8a8f98"


def escaped(text: object) -> str:
    """Text for a hover label, or for the template of one: Plotly reads some tags of HTML there, and puts values into %{...}."""
    return html.escape(str(text), quote=False).replace("%{", "&#37;{")


def _layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "height": 420,
        "margin": {"l": 64, "r": 16, "t": 36, "b": 72},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top"},
        "xaxis": {"title": _title(x), "automargin": True, "zeroline": False, "ticklabelstandoff": 4},
        "yaxis": {"title": _title(y), "automargin": True, "zeroline": False},
    }
    for name, value in more.items():
        made[name] = {**made[name], **value} if isinstance(made.get(name), dict) else value
    if not made.get("showlegend", True):
        made["margin"]["b"] = 48
    return made


def _title(text: str) -> dict[str, Any]:
    """The name of an axis, as large as its marks: a narrow page has room for it."""
    return {"text": text, "font": {"size": 13}, "standoff": 8}


def _logarithmic(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with marks at 1, 2 and 5 times powers of ten, of which a label says all: Plotly's say one digit of most."""
    if not values:
        return {"type": "log"}
    low, high = min(values) / 1.15, max(values) * 1.15
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    # a short axis has more of them
    for digits in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        if len(inside) < 3:
            inside = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
    inside = inside or [min(values)]
    span = [math.log10(low), math.log10(high)]
    return {"type": "log", "range": span, "tickmode": "array", "tickvals": inside, "ticktext": [f"{mark:g}" for mark in inside]}


def _shares(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis of shares up to all, with two marks for a power of ten: more would run into each other on a narrow page."""
    low = min((value for value in values if value > 0), default=0.1) / 1.3
    marks = [digit * 10.0**power for power in range(math.floor(math.log10(low)), 1) for digit in (1, 3)]
    inside = [mark for mark in marks if low <= mark <= 1]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(1.3)],
        "tickmode": "array",
        "tickvals": inside,
        "ticktext": [f"{100 * mark:g}%" for mark in inside],
    }


def curves(points: Sequence[Point]) -> Figure:
    """Recall over milliseconds: a line for each way of searching."""
    ways = list(dict.fromkeys(point.way for point in points))
    data = []
    for number, way in enumerate(ways):
        of_way = [point for point in points if point.way == way and point.recall is not None and point.milliseconds is not None]
        if not of_way:
            continue
        colour, sign = PALETTE[number % len(PALETTE)], SIGNS[number % len(SIGNS)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(of_way) > 1 else "markers",
                "name": way,
                "x": [round(point.milliseconds or 0, 3) for point in of_way],
                "y": [round(point.recall or 0, 4) for point in of_way],
                "text": [escaped(point.setting) for point in of_way],
                "marker": {"color": colour, "symbol": sign, "size": 10},
                "line": {"color": colour, "width": 1.5},
                "hovertemplate": f"{escaped(way)}<br>%{{text}}<br>recall@10 %{{y:.3f}}, %{{x:.2f}} ms<extra></extra>",
            }
        )
    values = [point.recall for point in points if point.recall is not None and point.milliseconds is not None]
    low = max(0.0, min(values, default=0.0) - 0.03)
    took = [point.milliseconds for point in points if point.milliseconds]
    return {
        "data": data,
        "layout": _layout(
            "milliseconds (median, log scale)",
            "recall@10",
            xaxis=_logarithmic(took),
            yaxis={"range": [low, 1 + 0.04 * (1 - low)]},
            showlegend=True,
        ),
    }


def codecs(lines: Sequence[tuple[str, dict[int, float]]]) -> Figure:
    """Recall over candidates rescored, as trained: a line for each codec."""
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": list(recalls),
            "y": [round(value, 4) for value in recalls.values()],
            "marker": {"color": PALETTE[number % len(PALETTE)], "symbol": SIGNS[number % len(SIGNS)], "size": 9},
            "hovertemplate": f"{escaped(name)}<br>%{{x}} rescored: recall@10 %{{y:.3f}}<extra></extra>",
        }
        for number, (name, recalls) in enumerate(lines)
    ]
    return {
        "data": data,
        "layout": _layout(
            "candidates rescored (log scale)",
            "recall@10",
            xaxis=_logarithmic([size for _, recalls in lines for size in recalls]),
            showlegend=True,
        ),
    }


def footprints(
    codecs: Sequence[tuple[str, int, dict[int, float]]], ways: Sequence[tuple[str, float, Sequence[Point]]], rescored: Sequence[int]
) -> Figure:
    """Recall over the bytes a row of what is read to find candidates.

    Args:
        codecs: name, bytes of a code, and recall by the number rescored: a line through all codecs for each of these numbers.
        ways: name, bytes a row, and what was measured with one setting each: a line upwards for each.
        rescored: the numbers of which there may be recalls.
    """
    data: list[dict[str, Any]] = []
    for number, size in enumerate(rescored):
        kept = sorted((width, recalls[size], name) for name, width, recalls in codecs if size in recalls)
        if kept:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(kept) > 1 else "markers",
                    "name": f"codes, {size} rescored",
                    "x": [width for width, _, _ in kept],
                    "y": [round(recall, 4) for _, recall, _ in kept],
                    "text": [escaped(name) for _, _, name in kept],
                    "marker": {"color": PALETTE[number % len(PALETTE)], "symbol": SIGNS[number % len(SIGNS)], "size": 9},
                    "line": {"width": 1.5},
                    "hovertemplate": f"%{{text}}, {size} rescored<br>recall@10 %{{y:.3f}}, %{{x:,.0f}} bytes a row<extra></extra>",
                }
            )
    for number, (name, width, points) in enumerate(ways, len(rescored)):
        known = [point for point in points if point.recall is not None]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(known) > 1 else "markers",
                "name": name,
                "x": [round(width, 1)] * len(known),
                "y": [round(point.recall or 0.0, 4) for point in known],
                "text": [escaped(point.setting) for point in known],
                "marker": {"color": PALETTE[number % len(PALETTE)], "symbol": SIGNS[number % len(SIGNS)], "size": 9},
                "line": {"width": 1.5},
                "hovertemplate": f"{escaped(name)}<br>%{{text}}<br>recall@10 %{{y:.3f}}, %{{x:,.0f}} bytes a row<extra></extra>",
            }
        )
    low = max(0.0, min((recall for trace in data for recall in trace["y"]), default=0.0) - 0.03)
    return {
        "data": data,
        "layout": _layout(
            "bytes a row (log scale)",
            "recall@10",
            xaxis=_logarithmic([width for trace in data for width in trace["x"]]),
            yaxis={"range": [low, 1 + 0.04 * (1 - low)]},
            showlegend=True,
        ),
    }


def sizes(bars: Sequence[tuple[str, int]]) -> Figure:
    """Bytes, a bar each, in the unit that the largest is told in."""
    unit, name = next(
        (one for one in ((1e9, "gigabytes"), (1e6, "megabytes"), (1e3, "kilobytes")) if one[0] <= max(size for _, size in bars)),
        (1.0, "bytes"),
    )
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [escaped(what) for what, _ in reversed(bars)],
            "x": [round(size / unit, 3) for _, size in reversed(bars)],
            "marker": {"color": PALETTE[0]},
            "hovertemplate": f"%{{y}}: %{{x:,.4~g}} {name}<extra></extra>",
        }
    ]
    return {"data": data, "layout": _layout(name, "", height=90 + 30 * len(bars), showlegend=False, yaxis={"type": "category"})}


def filters(found: Sequence[Filtered]) -> Figure:
    """Milliseconds over the share of rows that pass: colour and sign say the path that was chosen."""
    paths = list(dict.fromkeys(one.path or "unknown" for one in found))
    data = []
    for number, path in enumerate(paths):
        of_path = [one for one in found if (one.path or "unknown") == path and one.milliseconds is not None]
        if not of_path:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"path: {path}",
                "x": [one.share for one in of_path],
                "y": [round(one.milliseconds or 0, 3) for one in of_path],
                "text": [escaped(one.filter) for one in of_path],
                "customdata": [escaped(one.reason) for one in of_path],
                "marker": {"color": PALETTE[number % len(PALETTE)], "symbol": SIGNS[number % len(SIGNS)], "size": 12},
                "hovertemplate": (
                    f"%{{text}}<br>%{{x:.2%}} of the rows pass, %{{y:.2f}} ms<br>{escaped(path)}: %{{customdata}}<extra></extra>"
                ),
            }
        )
    return {
        "data": data,
        "layout": _layout(
            "share of rows that pass (log scale)",
            "milliseconds (median, log scale)",
            xaxis=_shares([one.share for one in found]),
            yaxis=_logarithmic([one.milliseconds for one in found if one.milliseconds]),
            showlegend=True,
        ),
    }


def freshness(lines: Sequence[dict[str, Any]]) -> Figure:
    """Rows by state over time, stacked."""
    names = (("fresh", PALETTE[2]), ("stale", PALETTE[1]), ("pending", PALETTE[0]), ("failed", PALETTE[6]), ("null_source", GREY))
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "stackgroup": "rows",
            "name": name.replace("_", " "),
            "x": [line["at"] for line in lines],
            "y": [line[name] for line in lines],
            "line": {"color": colour, "width": 1},
            "marker": {"color": colour, "size": 5},
            "hovertemplate": f"{name.replace('_', ' ')}: %{{y:,}} rows<br>%{{x}}<extra></extra>",
        }
        for name, colour in names
        if name == "fresh" or any(line[name] for line in lines)
    ]
    return {"data": data, "layout": _layout("time (UTC)", "rows", yaxis={"rangemode": "tozero"}, showlegend=True)}


def histogram(counts: Sequence[int], edges: Sequence[float], x: str, y: str) -> Figure:
    """Numbers of rows in bins; one edge more than counts."""
    bins = list(pairwise(edges))
    data = [
        {
            "type": "bar",
            "x": [(a + b) / 2 for a, b in bins],
            "y": list(counts),
            "width": [(b - a) * 0.92 for a, b in bins],
            "text": [f"{a:.4g} to {b:.4g}" for a, b in bins],
            "textposition": "none",
            "marker": {"color": PALETTE[0]},
            "hovertemplate": "%{text}: %{y:,} rows<extra></extra>",
        }
    ]
    return {"data": data, "layout": _layout(x, y, height=300, showlegend=False)}


def spectrum(shares: NDArray[np.float64]) -> Figure:
    """How much of the variance the first principal axes have together."""
    total = shares.cumsum()
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": list(range(1, len(total) + 1)),
            "y": [round(float(value), 5) for value in total],
            "line": {"color": PALETTE[0], "width": 2},
            "hovertemplate": "the first %{x} axes have %{y:.1%}<extra></extra>",
        }
    ]
    return {
        "data": data,
        "layout": _layout(
            "principal axes", "share of the variance", height=300, showlegend=False, yaxis={"tickformat": ".0%", "range": [0, 1.02]}
        ),
    }


def plane() -> dict[str, Any]:
    """The layout of the map: its axes mean nothing, so they have no marks."""
    axis = {"showticklabels": False, "showgrid": False, "title": {"text": ""}, "showline": False}
    made = _layout("", "", height=620, xaxis=axis, yaxis={**axis, "scaleanchor": "x"}, legend={"y": -0.02, "itemsizing": "constant"})
    made["margin"] = {"l": 8, "r": 8, "t": 8, "b": 8}
    return made
