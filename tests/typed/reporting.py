"""reporting: a page on an embedded column, and the command line from Python."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from pgembed.cli import main
from pgembed.report import Summary, write


def page(url: str, folder: Path) -> Summary:
    made = write(url, "shop.product", column_name="embedding", output=folder / "report.html", color_by="price", seconds=5, say=print)
    assert_type(made.left_out, list[str])
    assert_type(made.rows, int | None)
    return made


def command() -> None:
    assert_type(main(["status", "--json"]), int)
