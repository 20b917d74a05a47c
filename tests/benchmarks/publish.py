"""Draw what the benchmarks kept, and with --write put tables and plots into this folder's README.md.

PGEMBED_BENCH=FOLDER python tests/benchmarks/publish.py [--write]
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
PLOTS = ("throughput.png", "memory.png", "codecs.png", "filters.png", "joins.png", "linking.png")


def markdown(result: dict[str, Any]) -> str:
    """A result as a table in Markdown."""
    rows = [result["header"], *([report.written(cell) for cell in row] for row in result["rows"])]
    marks = ["---", *["---:"] * (len(result["header"]) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (rows[0], marks, *rows[1:])]
    note = f"\n\n{result['note'][0].upper()}{result['note'][1:]}." if result["note"] else ""
    return f"**{result['title'][0].upper()}{result['title'][1:]}**\n\n" + "\n".join(lines) + note


def bars(axes: Any, names: list[str], values: list[float], title: str, ours: list[bool]) -> None:
    """Horizontal bars with their numbers; the peers' are grey."""
    axes.barh(names, values, color=["tab:blue" if own else "silver" for own in ours])
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
    for place, value in enumerate(values):
        axes.annotate(report.written(value), (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.margins(x=0.18)


def throughput(place: Path, path: Path) -> bool:
    """Texts a second of refresh and of embed(text[]), each beside its peer in the same run."""
    refreshed, static = report.kept(place, "refresh"), report.kept(place, "static")
    if not refreshed and not static:
        return False
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    if refreshed:
        rows = [row for row in refreshed["rows"] if not row[0].endswith("index")]
        names = [f"{row[0]}\n{who}" for row in rows for who in ("refresh", "onnxruntime alone")]
        bars(left, names, [value for row in rows for value in (row[1], row[2])], "rows a second", [True, False] * len(rows))
    if static:
        names = [row[0] for row in static["rows"]]
        values = [row[1] for row in static["rows"]]
        bars(right, names, values, "short texts a second", [name.startswith("pgembed") for name in names])
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def memory(place: Path, path: Path) -> bool:
    """Where the memory of connections goes, stacked by kind."""
    found = report.kept(place, "memory")
    if not found:
        return False
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.5 + 0.45 * len(found["rows"])), layout="constrained")
    names = [row[0] for row in found["rows"]]
    left = [0.0] * len(names)
    for column, kind in enumerate(found["header"][2:], 2):
        values = [max(0.0, row[column]) for row in found["rows"]]
        axes.barh(names, values, left=left, label=kind)
        left = [base + value for base, value in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_title(found["title"], fontsize=10)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


MARKS = {"hamming": "o", "masked": "D", "asymmetric": "^", "halfvec": "s"}


def codecs(place: Path, path: Path) -> bool:
    """What is missed after rescoring 100 against the bytes of a code, a panel for each corpus."""
    panels = [(name, found) for name in ("packages", "papers") if (found := report.kept(place, f"codecs_{name}"))]
    if not panels:
        return False
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(6.5 * len(panels), 5), layout="constrained", squeeze=False)
    families = list(dict.fromkeys(row[0].split()[0] for _, found in panels for row in found["rows"]))
    ours = [family for family in families if family != "faiss"]
    colours = dict(zip(ours, pyplot.get_cmap("tab20").colors, strict=False)) | {"faiss": "black"}
    for panel, (name, found) in zip(axes[0], panels, strict=True):
        at = found["header"].index("R=100")
        for row in found["rows"]:
            family = row[0].split()[0]
            missed = max(1 - float(row[at]), 5e-4)  # a table's three digits say no more
            hollow = {"facecolors": "none", "edgecolors": "black"} if family == "faiss" else {"color": colours[family]}
            panel.scatter(row[2], missed, marker=MARKS[row[1]], s=36, **hollow)
        panel.set(xscale="log", yscale="log", xlabel="bytes of a code (a vector has 1,536)", title=f"{name}: recall@10 after rescoring 100")
        panel.invert_yaxis()
        panel.set_yticks([0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 5e-4], [".90", ".95", ".98", ".99", ".995", ".998", ".999", "all"])
        panel.set_xticks([24, 48, 96, 192, 384], ["24", "48", "96", "192", "384"])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    kinds = [pyplot.Line2D([], [], marker=mark, color="grey", linestyle="", label=kind) for kind, mark in MARKS.items()]
    names = [
        pyplot.Line2D(
            [], [], marker="o", color=colours[family], linestyle="", label=family, markerfacecolor="none" if family == "faiss" else None
        )
        for family in families
    ]
    figure.legend(handles=[*kinds, *names], loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


FILTERS = {
    "o": ("one column", ("equality", "date", "number", "none")),
    "s": ("lists, conditions, overlap, EXISTS", ("list", "conditions", "overlap", "exists")),
    "^": ("correlated with the query", ("with the query", "against the query")),
}


def filters(place: Path, path: Path) -> bool:
    """Recall and p50 against the share that passes, pgembed and pgvector at the same asked recall; a column of panels for each table."""
    asked = 99
    panels = [(name, found) for name in ("packages", "papers") if (found := report.kept(place, f"filters_{name}_{asked}"))]
    if not panels:
        return False
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(panels), figsize=(6 * len(panels), 7.2), layout="constrained", squeeze=False, sharex=True, sharey="row"
    )
    series = {
        "pgvector without settings": ("recall without settings", None, "silver"),
        f"pgvector, iterative scan tuned for .{asked}": ("its recall", "its p50, ms", "tab:orange"),
        f"pgembed, recall => .{asked}": ("recall@10", "p50, ms", "tab:blue"),
    }
    for (_, found), (above, below) in zip(panels, axes.T, strict=True):
        at = {column: number for number, column in enumerate(found["header"])}
        rows = [row for row in found["rows"] if row[at["passes, %"]]]
        for mark, (_, kinds) in FILTERS.items():
            some = [row for row in rows if row[at["kind"]] in kinds]
            shares = [row[at["passes, %"]] for row in some]
            for recall, milliseconds, colour in series.values():
                for panel, column in ((above, recall), (below, milliseconds)):
                    if column:
                        panel.scatter(shares, [row[at[column]] for row in some], marker=mark, s=34, color=colour, alpha=0.85, linewidths=0)
        for row in rows:  # what belongs together: one filter, two systems
            ends = [row[at["p50, ms"]], row[at["its p50, ms"]]]
            below.plot([row[at["passes, %"]]] * 2, ends, color="grey", linewidth=0.6, alpha=0.5, zorder=0)
        above.axhline(asked / 100, color="black", linewidth=0.8, linestyle=":")
        above.set(title=found["title"].partition(", recall")[0], ylim=(-0.03, 1.04))
        below.set(xscale="log", yscale="log", xlabel="rows that pass the filter, %")
        below.set_xticks([0.02, 0.1, 1, 10, 100], ["0.02", "0.1", "1", "10", "100"])
        below.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        for panel in (above, below):
            panel.minorticks_off()
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("recall@10, mean")
    axes[1][0].set_ylabel("ms a search, p50")
    colours = [pyplot.Line2D([], [], marker="o", color=colour, linestyle="", label=label) for label, (_, _, colour) in series.items()]
    marks = [pyplot.Line2D([], [], marker=mark, color="grey", linestyle="", label=label) for mark, (label, _) in FILTERS.items()]
    figure.legend(handles=[*reversed(colours), *marks], loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def joins(place: Path, path: Path) -> bool:
    """Recall of candidates by method, F1 without labels beside plain ways, and speed beside LATERAL: a panel for what there is."""
    drawn = [
        (draw, found)
        for draw, name in ((_recalls, "joins_recall"), (_decided, "joins_decisions"), (_speeds, "joins_speed_1"))
        if (found := report.kept(place, name))
    ]
    if not drawn:
        return False
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(drawn), figsize=(5.4 * len(drawn), 4.6), layout="constrained", squeeze=False)
    for panel, (draw, found) in zip(axes[0], drawn, strict=True):
        draw(panel, found)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


COLOURS = ("silver", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:pink", "tab:olive")


def _asked(panel: Any, names: list[str], kept: str) -> None:
    """Dotted lines where something was asked for."""
    place = report.folder()
    found = report.kept(place, kept) if place else None
    for what, asked, *_ in found["rows"] if found else []:
        name = what.removesuffix(", k = 1").removesuffix(", records")
        if name in names:
            at = names.index(name)
            panel.plot([at - 0.4, at + 0.4], [float(asked.removeprefix("at least "))] * 2, color="black", linewidth=1.2, linestyle=":")


def _grouped(panel: Any, names: list[str], series: dict[str, list[float]], ours: str, kept: str) -> None:
    """Marks of each series above the names, with what was asked for."""
    others = iter(COLOURS)
    for number, (label, values) in enumerate(series.items()):
        own = label == ours
        at = [place + 0.09 * (number - (len(series) - 1) / 2) for place in range(len(names))]  # beside each other: many are nearly equal
        panel.scatter(at, values, s=64 if own else 36, color="tab:blue" if own else next(others), label=label)
    _asked(panel, names, kept)
    panel.set_xticks(range(len(names)), names, fontsize=8)
    panel.grid(axis="y", alpha=0.3)
    panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False)


def _recalls(panel: Any, found: dict[str, Any]) -> None:
    places = [at for at, column in enumerate(found["header"]) if column.endswith(", k = 1")]
    names = [found["header"][at].removesuffix(", k = 1") for at in places]
    series = {row[0]: [row[at] for at in places] for row in found["rows"]}
    ours = found["rows"][-1][0]
    _grouped(panel, names, series, ours, "joins_recall_asked")
    panel.set_title("known matches that come first for their left row (dotted: asked)", fontsize=9)


def _decided(panel: Any, found: dict[str, Any]) -> None:
    names = [row[0] for row in found["rows"]]
    series = {label: [float(row[at].split()[0]) for row in found["rows"]] for at, label in enumerate(found["header"]) if at}
    _grouped(panel, names, series, "records", "joins_decisions_asked")
    panel.set_title("F1 of decisions without labels (dotted: asked)", fontsize=9)


def _speeds(panel: Any, found: dict[str, Any]) -> None:
    rows = found["rows"]
    names = [row[0].replace(", keys", "\nkeys").replace(", rows", "\nrows").replace("its decision, ", "its decision,\n") for row in rows]
    theirs = ("numpy's product alone", "LATERAL")
    bars(panel, names, [row[1] for row in rows], f"{found['title']}: seconds", [row[0] not in theirs for row in rows])
    panel.tick_params(axis="y", labelsize=8)


LINKING = ("dev", "held_out", "left_out", "nil", "joint", "homonyms", "alone")
INTERVAL = re.compile(r"(0?\.\d+|1\.0*)-(0?\.\d+|1\.0*)")


def linking(place: Path, path: Path) -> bool:
    """Shares that were asked of linking beside those that were measured, with their intervals."""
    rows = [row for part in LINKING if (found := report.kept(place, f"linking_asked_{part}")) for row in found["rows"]]
    shares = [
        (what, float(asked.removeprefix("at least ")), measured, is_kept == "yes", INTERVAL.match(note))
        for what, asked, measured, is_kept, note in rows
        if asked.startswith("at least 0.") and measured is not None
    ]
    if not shares:
        return False
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.32 * len(shares)), layout="constrained")
    for at, (_, asked, measured, is_kept, ends) in enumerate(shares):
        if ends:
            axes.plot([float(end) for end in ends.groups()], [at, at], color="tab:blue", linewidth=2, alpha=0.4)
        axes.plot([asked, asked], [at - 0.35, at + 0.35], color="black", linewidth=1.4)
        axes.scatter(measured, at, s=36, color="tab:blue" if is_kept else "tab:red", zorder=3)
    axes.set_yticks(range(len(shares)), [what for what, *_ in shares], fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("linking: measured with its 95 % interval, and what was asked (bars)", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into README.md and the plots beside it")
    options = parser.parse_args()
    place = report.folder()
    if place is None:
        parser.exit(2, "PGEMBED_BENCH names no folder\n")
    drawn = [
        name for name, draw in zip(PLOTS, (throughput, memory, codecs, filters, joins, linking), strict=True) if draw(place, place / name)
    ]
    print(f"tables and plots: {place}")
    if options.write:
        for name in drawn:
            shutil.copy(place / name, HERE / name)
        readme = HERE / "README.md"
        text = readme.read_text(encoding="utf-8")
        for name in re.findall(r"<!-- (\w+): begin -->", text):
            found = report.kept(place, name)
            if found:
                begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
                text = text[: text.index(begin) + len(begin)] + "\n" + markdown(found) + "\n" + text[text.index(end) :]
        readme.write_text(text, encoding="utf-8")
        print(f"written: {readme}")


if __name__ == "__main__":
    main()
