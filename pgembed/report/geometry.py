"""geometry: the chapter on the space of the vectors: rank, isotropy, hubs, outliers, duplicates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pgembed.report import measures, page, plots, reading
from pgembed.report.page import Section
from pgembed.report.reading import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Puts a figure into a section: section, id, figure, label, caption, the table behind it.
Plot = Callable[[Section, str, plots.Figure, str, str, str], None]

# Rows that are listed as hubs, outliers and duplicates.
LISTED = 8
# Nearer than this two vectors are the same but for rounding.
SAME = 1e-6


def fill(section: Section, sample: Sample, near: measures.Near, metric: str, plot: Plot) -> None:
    """Write the chapter; the sample has at least three rows."""
    rows = sample.vectors
    dim = rows.shape[1]
    shares = measures.spectrum(rows)
    counts = near.occurrences()
    first = near.distance[:, 0]
    same = int((first <= SAME).sum()) if metric != "inner_product" else None
    half, most = _axes(shares, 0.5), _axes(shares, 0.9)
    section.facts(
        [
            ("effective rank (RankMe)", f"{measures.rank_me(rows):.1f} of {min(dim, len(rows))}"),
            ("axes for 50 % and 90 % of the variance", f"{half} and {most} of {dim}" if half else "the rows do not differ"),
            ("mean cosine of two rows", _figure(measures.mean_cosine(rows))),
            ("IsoScore", _figure(measures.iso_score(rows))),
            ("skewness of 10-occurrences", _figure(measures.skewness(counts))),
            ("rows that are nobody's neighbour", f"{int((counts == 0).sum()):,} of {len(rows):,}"),
            ("rows with a twin (the same vector)", "not told by this metric" if same is None else f"{same:,} of {len(rows):,}"),
        ]
    )
    section.say(
        "RankMe is how many directions are used (Garrido et al. 2023, arXiv 2210.02885). A mean cosine near 0 and an IsoScore near 1 say"
        " that all directions are used alike, a high mean cosine that all vectors point into one cone (Ethayarajh 2019, arXiv"
        " 1909.00512; Rudman et al. 2022, arXiv 2108.07344). A skewness above 1 says that few rows, hubs, are near to everything"
        " (Radovanovic et al. 2010). All are of the sample.", kind="soft",
    )  # fmt: skip
    if half:
        steps = [(n, float(shares[:n].sum())) for n in sorted({1, 2, 5, 10, 20, 50, 100, 200, 400, dim}) if n <= dim]
        behind = page.folded("Variance as a table", page.table(("axes", "share of the variance"), steps, "Variance by principal axes"))
        plot(section, "spectrum", plots.spectrum(shares), "Variance", "Variance of the first principal axes together.", behind)
    histogram(section, plot, "occurrences", counts, "rows that it is among the 10 nearest of", "How often each row is among the ten"
                    " nearest of others: a long tail to the right is hubs.", "Hubs")  # fmt: skip
    # of an inner product 0 is no nearness
    near_is = "far to the left" if metric == "inner_product" else "near 0"
    caption = f"How far each row is from its nearest: duplicates are {near_is}, outliers far to the right."
    histogram(section, plot, "lonely", first, "distance to the nearest other row", caption, "Distances")
    import numpy as np

    hubs = np.argsort(-counts, kind="stable")[:LISTED]
    _rows(
        section,
        sample,
        "Hubs",
        "Rows that are among the ten nearest of most others",
        [(int(at), int(counts[at])) for at in hubs],
        "of rows",
    )
    if near.rows.shape[1]:
        mean = near.distance.mean(axis=1)
        far = np.argsort(-mean, kind="stable")[:LISTED]
        _rows(section, sample, "Outliers", "Rows that are furthest from their ten nearest", [(int(at), float(mean[at])) for at in far],
                   "mean distance")  # fmt: skip
        pairs: list[tuple[str, str, str, str, float]] = []
        seen: set[tuple[int, int]] = set()
        for at in np.argsort(first, kind="stable").tolist():
            other = int(near.rows[at, 0])
            pair = (min(at, other), max(at, other))
            if pair not in seen and len(pairs) < LISTED:
                seen.add(pair)
                one, two = pair
                pairs.append((sample.keys[one], short(sample.texts[one]), sample.keys[two], short(sample.texts[two]), float(first[at])))
        section.heading("Nearest pairs")
        section.table(("key", "text", "key", "text", "distance"), pairs, "Rows that are nearest to each other: duplicates come first")


def histogram(section: Section, plot: Plot, id: str, values: NDArray[Any], x: str, caption: str, label: str) -> None:
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite) or not float(finite.max()) > float(finite.min()):
        return
    counts, edges = np.histogram(finite, bins=_bins(finite))
    lines = [(float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True) if n]
    behind = page.folded(f"{label} as a table", page.table(("from", "to", "rows"), lines, caption))
    plot(section, id, plots.histogram(counts.tolist(), edges.tolist(), x, "rows"), label, caption, behind)


def _bins(values: NDArray[Any]) -> NDArray[np.float64] | int:
    """Edges of bins, or how many. Of whole numbers each bin has as many as the next: else there is a comb that the rows do not make."""
    import numpy as np

    most = 40
    if not np.issubdtype(values.dtype, np.integer):
        return most
    low, high = int(values.min()), int(values.max())
    step = -(-(high - low + 1) // most)
    return np.arange(low, high + step + 1, step, dtype=np.float64) - 0.5


def _rows(section: Section, sample: Sample, title: str, caption: str, rows: list[tuple[int, float]], what: str) -> None:
    section.heading(title)
    lines = [(sample.keys[at], short(sample.texts[at]), value) for at, value in rows]
    section.table(("key", "text", what), lines, caption)


def _axes(shares: NDArray[np.float64], wanted: float) -> int:
    """How many axes have that share; 0 where the rows do not differ."""
    import numpy as np

    return int(np.searchsorted(np.cumsum(shares), wanted - 1e-9) + 1) if shares.sum() > 0 else 0


def _figure(value: float | None) -> str:
    return "the rows do not differ" if value is None else f"{value:.3f}"


def short(text: str) -> str:
    """A text in one line, cut."""
    shown = " ".join(text.split())
    return shown if len(shown) <= reading.SHOWN else shown[: reading.SHOWN - 1] + "…"
