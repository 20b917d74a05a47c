"""What the benchmarks have in common: tables that are printed and, where PGEMBED_BENCH names a folder, kept for README.md and its plots."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Cell = str | float | int | None


def folder() -> Path | None:
    """Where results are kept; None where nobody asked for that."""
    place = os.environ.get("PGEMBED_BENCH")
    if not place:
        return None
    Path(place).mkdir(parents=True, exist_ok=True)
    return Path(place)


def show(name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> None:
    """Print a table and keep it as ``<name>.json``.

    Args:
        name: of the result; one of a later run takes its place.
        header: of the columns; the first one holds words, the rest numbers.
        note: a line below the table, such as what was asked for.
    """
    lines = [list(header), *([written(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"\n{title}")
    for line in lines:
        print("  " + line[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)))
    if note:
        print(f"  {note}")
    place = folder()
    if place:
        kept = {"title": title, "header": list(header), "rows": [list(row) for row in rows], "note": note}
        (place / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def written(cell: Cell) -> str:
    """A cell as people read it: three digits that count."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def kept(place: Path, name: str) -> dict[str, Any] | None:
    """A result of this or an earlier run; None where there is none."""
    path = place / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
