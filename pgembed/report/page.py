"""page: one HTML page that needs nothing but itself: style, script, numbers and the plotting library are in it.

A policy in the page's head forbids it every request, so that what it shows stays on the machine that reads it. The library is packed, and
unpacked by the browser; where that does not work the tables behind the plots say the same.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from pgembed.report.plots import Figure

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)


@dataclass
class Section:
    """A part of the page: an id, a heading, and pieces of HTML."""

    id: str
    title: str
    pieces: list[str] = field(default_factory=list)

    def say(self, text: str, *, kind: str = "") -> None:
        """A sentence; kind is a class of the page's style."""
        self.pieces.append(f"<p{_class(kind)}>{escape(text)}</p>")

    def heading(self, text: str) -> None:
        """A heading within the section."""
        self.pieces.append(f"<h3>{escape(text)}</h3>")

    def facts(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Names and values; long values have a line of their own."""
        cells = "".join(
            f"<div{_class('wide' if len(str(value)) > 90 else '')}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
            for name, value in pairs
        )
        self.pieces.append(f'<dl class="facts">{cells}</dl>')

    def table(self, names: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> None:
        """A table; numbers stand to the right."""
        self.pieces.append(table(names, rows, caption))

    def plot(self, id: str, label: str, caption: str, behind: str) -> None:
        """Where a figure is drawn, its caption, and its text alternative."""
        self.pieces.append(
            f'<figure><figcaption id="caption-{id}">{escape(caption)}</figcaption>'
            f'<div class="canvas" id="plot-{id}" tabindex="0" role="group" aria-label="{escape(label)}: arrow keys go from point to point"'
            f' aria-describedby="caption-{id}"></div><output class="said" id="said-{id}" aria-live="polite"></output>{behind}</figure>'
        )


def escape(value: object) -> str:
    """Text in HTML; control characters, which no page may have, are left out."""
    return html.escape("".join(one for one in str(value) if one >= " " or one in "\n\t"))


def breakable(name: str) -> str:
    """A name in HTML that a narrow page breaks after its points and underscores, and elsewhere only where it must."""
    return escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def table(names: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> str:
    """A table in HTML."""
    numeric = [bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(len(names))]
    head = "".join(f'<th scope="col"{_class("n" if is_n else "")}>{escape(name)}</th>' for name, is_n in zip(names, numeric, strict=True))
    body = "".join("<tr>" + "".join(_cell(value, is_n) for value, is_n in zip(row, numeric, strict=True)) + "</tr>" for row in rows)
    # what scrolls is reached by the keyboard
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def folded(title: str, content: str, *, long: bool = False) -> str:
    """Content that is opened by Enter or a click; what is long is not opened for printing."""
    return f"<details{' data-long' if long else ''}><summary>{escape(title)}</summary>{content}</details>"


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: object, is_number: bool) -> str:
    if is_number:
        return f'<td class="n">{number(value)}</td>'
    text = "" if value is None else str(value)
    kind = text if text in ("error", "warning") else "w" if len(text) > 60 else ""
    return f"<td{_class(kind)}>{escape(text)}</td>"


def number(value: object) -> str:
    """A number as people read it; a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}" if size < 0.001 and value else f"{value:.3f}".rstrip("0").rstrip(".")
    return escape(value)


def size(value: float | None) -> str:
    """Bytes as people read them."""
    if value is None:
        return "unknown"
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return ""


def render(title: str, about: str, sections: Sequence[Section], figures: dict[str, Figure], plane: dict[str, Any] | None, foot: str) -> str:
    """The page.

    Args:
        figures: by id, of the places that sections have made for them.
        plane: what the map is made of; None for none.
    """
    contents = "".join(f'<li><a href="#{one.id}">{escape(one.title)}</a></li>' for one in sections)
    body = "".join(
        f'<section id="{one.id}" aria-labelledby="title-{one.id}"><h2 id="title-{one.id}">{escape(one.title)}</h2>'
        f"{''.join(one.pieces)}</section>"
        for one in sections
    )
    library = ""
    if figures or plane:
        library = f'<script type="text/plain" id="plotly">{_library()}</script>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_file('page.css')}</style></head><body>"
        '<a class="skip" href="#main">Skip to the content</a>'
        f'<header><div class="top"><div><h1>{breakable(title)}</h1><p class="soft">{escape(about)}</p></div>'
        '<button id="theme" type="button" aria-pressed="false" hidden>Dark mode</button></div>'
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav></header>'
        f'<main id="main" tabindex="-1">{body}</main><footer>{escape(foot)}</footer>'
        f'<script type="application/json" id="figures">{_json({"plots": figures, "map": plane})}</script>'
        f"{library}<script>{_file('page.js')}</script></body></html>\n"
    )


def _json(value: object) -> str:
    """JSON that cannot end the script it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


@lru_cache(maxsize=1)
def _library() -> str:
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode("ascii")


def _file(name: str) -> str:
    return resources.files("pgembed.report").joinpath(name).read_text(encoding="utf-8")
