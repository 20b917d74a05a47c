"""Two tables of real rows with attributes to filter by, a small one that is made, and the filters that bench_filters.py asks with.

*Packages*: Debian's; a query is the description of a package that was left out. Debian's catalogue knows no date, so `uploaded` is made
from the hash of the name: uniform over ten years, and not correlated with anything. *Papers*: arXiv's; a query is the title of a paper that
was left out. *Made*: a few clustered vectors, for --quick: neither a model nor data is needed.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import corpora
import numpy as np

from pgembed import demo

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST_DAY, DAYS = date(2014, 1, 1), 3653
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9)
Attributes = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One filter.

    Attributes:
        kind: of filter, one of KINDS.
        condition: SQL over the table's columns; a value of the query's own is ``{name}``. None filters nothing.
        values: for each query what ``{name}`` is; None where the condition has no such value.
        rows_moved: it is asked right after every twentieth row was updated.
    """

    kind: str
    shown: str
    condition: str | None
    values: Sequence[Attributes] | None = None
    rows_moved: bool = False

    def ours(self) -> str | None:
        """As a filter of pgembed: values come from its params."""
        return None if self.condition is None else self.condition.format_map(Names("$1->>'{}'"))

    def theirs(self) -> str:
        """As a condition of a statement of psycopg's."""
        return "true" if self.condition is None else self.condition.replace("%", "%%").format_map(Names("%({})s::text"))

    def value(self, query: int) -> Attributes:
        return {} if self.values is None else self.values[query]


class Names(dict[str, str]):
    """Writes each name of a template in one way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def __missing__(self, name: str) -> str:
        return self.way.format(name)


KINDS = (
    "equality",
    "date",
    "number",
    "list",
    "conditions",
    "overlap",
    "exists",
    "with the query",
    "against the query",
    "impossible",
    "none",
)


@dataclass(frozen=True)
class Table:
    """Attributes:
    columns: their types by name, without the key ``id`` (its place) and ``embedding``.
    rows: values by name, in the order of ``vectors``.
    own: of each query the attributes of the row that it was made of, which is not stored.
    covering: columns of each covering index with codes.
    beside: a table for EXISTS: its definition and rows.
    """

    name: str
    columns: dict[str, str]
    rows: Sequence[Attributes]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    own: Sequence[Attributes]
    covering: Sequence[Sequence[str]]
    beside: tuple[str, str, Sequence[tuple[Any, ...]]]
    filters: Callable[[Table], Iterator[Cell]] = field(repr=False)

    def cells(self) -> list[Cell]:
        return list(self.filters(self))

    def first(self, rows: int) -> Table:
        """A part of it, as a table of its own."""
        return Table(
            f"{self.name}_{rows}",
            self.columns,
            self.rows[:rows],
            self.vectors[:rows],
            self.queries,
            self.own,
            self.covering,
            self.beside,
            self.filters,
        )

    def share(self, column: str) -> dict[Any, float]:
        """Of each value the share of rows that have it."""
        return {value: count / len(self.rows) for value, count in Counter(row[column] for row in self.rows).items() if value is not None}

    def nearest(self, column: str, share: float) -> str:
        """The value whose share is nearest to this one, measured by ratio."""
        found = self.share(column)
        return str(min(sorted(found), key=lambda value: abs(np.log(found[value] / share))))

    def at(self, column: str, share: float) -> Any:
        """The value that so many rows are below."""
        values = sorted(row[column] for row in self.rows if row[column] is not None)
        return values[min(len(values) - 1, int(share * len(values)))]


def equal(table: Table, column: str, shares: Sequence[float]) -> Iterator[Cell]:
    for value in dict.fromkeys(table.nearest(column, share) for share in shares):
        yield Cell("equality", f"{column} = '{value}'", f"{column} = '{value}'")


def since(table: Table, column: str) -> Iterator[Cell]:
    for share in SHARES:
        yield Cell("date", f"{column} in the last {share:.1%}", f"{column} >= '{table.at(column, 1 - share)}'")


def between(table: Table, column: str) -> Iterator[Cell]:
    for share in SHARES:
        low, high = table.at(column, 0.5 - share / 2), table.at(column, 0.5 + share / 2)
        yield Cell("number", f"{column} in the middle {share:.1%}", f"{column} BETWEEN {low} AND {high}")


def listed(column: str, values: Sequence[str]) -> Cell:
    return Cell("list", f"{column} IN ({len(values)} values)", f"{column} IN ({', '.join(map(repr, values))})")


def package_cells(table: Table) -> Iterator[Cell]:
    yield from equal(table, "section", (0.0002, 0.002, 0.017, 0.071, 0.105))
    yield from equal(table, "multi_arch", (0.18,))
    yield from since(table, "uploaded")
    yield from between(table, "kb")
    yield listed("section", ["vcs", "shells", "tex"])
    yield listed("section", ["games", "graphics", "sound", "video"])
    yield listed("section", ["libs", "libdevel", "python", "devel"])
    recent = table.at("uploaded", 0.9)
    yield Cell("conditions", "section = 'python' AND kb < 100", "section = 'python' AND kb < 100")
    yield Cell("conditions", "section = 'libs' AND uploaded, last 10%", f"section = 'libs' AND uploaded >= '{recent}'")
    yield Cell(
        "conditions",
        "section IN (2 values) AND kb > 500 AND uploaded, last 10%",
        f"section IN ('net', 'admin') AND kb > 500 AND uploaded >= '{recent}'",
    )
    yield Cell("overlap", "tags && (2 rare)", "tags && ARRAY['works-with::image', 'works-with::mail']")
    yield Cell("overlap", "tags && (2 frequent)", "tags && ARRAY['role::program', 'interface::commandline']")
    for low, high in ((40, 60), (300, 2000)):
        yield Cell(
            "exists",
            f"EXISTS (a maintainer of {low} to {high} packages)",
            f"EXISTS (SELECT FROM bench_maintainer AS m WHERE m.who = maintainer AND m.packages BETWEEN {low} AND {high})",
        )
    yield from with_the_query(table, "section")
    yield Cell("impossible", "section = 'nowhere'", "section = 'nowhere'")
    yield Cell("impossible", "kb < 0", "kb < 0")
    yield Cell("none", "no filter", None)
    for cell in list(equal(table, "section", (0.017, 0.071))):
        yield Cell(cell.kind, f"{cell.shown}, 5% updated", cell.condition, rows_moved=True)


def paper_cells(table: Table) -> Iterator[Cell]:
    yield from equal(table, "primary_category", (0.0002, 0.002, 0.017, 0.041))
    yield from equal(table, "archive", (0.10,))
    two = table.nearest("n_authors", 0.27)
    yield Cell("equality", f"n_authors = {two}", f"n_authors = {two}")
    yield from since(table, "created")
    yield from between(table, "length")
    yield listed("primary_category", ["cs.MM", "cs.MS", "cs.ET"])
    yield listed("primary_category", ["cs.DB", "cs.IR"])
    yield listed("primary_category", ["cs.NI", "cs.CL", "cs.DS", "cs.CR", "math.ST", "stat.ME"])
    recent = table.at("created", 0.9)
    yield Cell("conditions", "primary_category = 'cs.CL' AND n_authors = 1", "primary_category = 'cs.CL' AND n_authors = 1")
    yield Cell("conditions", "archive = 'stat' AND created, last 10%", f"archive = 'stat' AND created >= '{recent}'")
    yield Cell(
        "conditions",
        "archive = 'cs' AND n_authors > 4 AND created, last 10%",
        f"archive = 'cs' AND n_authors > 4 AND created >= '{recent}'",
    )
    yield Cell("overlap", "categories && (2 rare)", "categories && ARRAY['q-bio.GN', 'cs.MM']")
    yield Cell("overlap", "categories && (2 frequent)", "categories && ARRAY['cs.LG', 'stat.ML']")
    for low, high in ((1, 400), (4000, 9000)):
        yield Cell(
            "exists",
            f"EXISTS (a category of {low} to {high} papers)",
            f"EXISTS (SELECT FROM bench_category AS c WHERE c.category = primary_category AND c.papers BETWEEN {low} AND {high})",
        )
    yield from with_the_query(table, "primary_category")
    yield Cell("impossible", "primary_category = 'nowhere'", "primary_category = 'nowhere'")
    yield Cell("none", "no filter", None)
    for cell in list(equal(table, "primary_category", (0.017, 0.041))):
        yield Cell(cell.kind, f"{cell.shown}, 5% updated", cell.condition, rows_moved=True)


def with_the_query(table: Table, column: str) -> Iterator[Cell]:
    yield Cell("with the query", f"{column} is the query's own", f"{column} = {{{column}}}", table.own)
    yield Cell("against the query", f"{column} is not the query's own", f"{column} <> {{{column}}}", table.own)


def grown_cells(table: Table) -> Iterator[Cell]:
    """Filters that pass the same share of a table and of a part of it."""
    yield from equal(table, "primary_category", (0.017, 0.041))
    yield from equal(table, "archive", (0.10,))
    yield from since(table, "created")
    yield from between(table, "length")
    yield Cell("none", "no filter", None)


def made_cells(table: Table) -> Iterator[Cell]:
    yield from equal(table, "section", (0.02, 0.1))
    yield from list(since(table, "uploaded"))[2:4]
    yield Cell("overlap", "tags && (1 value)", "tags && ARRAY['b']")
    yield Cell("exists", "EXISTS", "EXISTS (SELECT FROM bench_part AS p WHERE p.part = section AND p.rows > 1)")
    yield from with_the_query(table, "section")
    yield Cell("impossible", "section = 'nowhere'", "section = 'nowhere'")
    yield Cell("none", "no filter", None)
    yield Cell("equality", "section = '1', 5% updated", "section = '1'", rows_moved=True)


def packages(queries: int = corpora.QUERIES) -> Table:
    """All of Debian's packages but those that are asked for."""
    found = list(catalogue())
    corpus = corpora.packages()
    random.Random(5).shuffle(found)  # as corpora.packages does with as many
    own, rows = found[: corpora.QUERIES], found[corpora.QUERIES :][: len(corpus.documents)]
    if len(rows) != len(corpus.documents) or not corpus.texts[-1].startswith(f"{rows[-1]['name']}: "):
        raise RuntimeError(f"attributes of {len(rows):,} packages don't belong to {len(corpus.documents):,} vectors")
    teams = Counter(row["maintainer"] for row in rows)
    return Table(
        "bench_packages",
        {
            "name": "text",
            "section": "text",
            "kb": "int4",
            "maintainer": "text",
            "multi_arch": "text",
            "uploaded": "date",
            "tags": "text[]",
        },
        rows,
        corpus.documents,
        corpus.queries[:queries],
        own[:queries],
        (("section", "kb"), ("kb",), ("uploaded",), ("multi_arch",)),
        ("bench_maintainer", "who text PRIMARY KEY, packages int NOT NULL", sorted(teams.items())),
        package_cells,
    )


def catalogue() -> Iterator[Attributes]:
    """What demo.debian_packages() gives, in its order, with more attributes."""
    known = {name: (section, kb, maintainer) for name, section, kb, maintainer, _ in demo.debian_packages()}
    if not known:
        return
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, errors="replace", check=False).stdout
    seen: set[str] = set()
    for stanza in listing.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.replace("\n ", " ").splitlines() if ": " in line)
        name = fields.get("Package", "")
        if name in known and name not in seen and fields.get("Description"):
            seen.add(name)
            section, kb, maintainer = known[name]
            day = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % DAYS
            yield {
                "name": name,
                "section": section,
                "kb": kb,
                "maintainer": maintainer,
                "multi_arch": fields.get("Multi-Arch", "no"),
                "uploaded": FIRST_DAY + timedelta(days=day),
                "tags": [tag.strip() for tag in fields.get("Tag", "").split(",") if tag.strip()],
            }


def papers(rows: int, queries: int = corpora.QUERIES) -> Table:
    """arXiv's papers but those that are asked for."""
    found, asked = corpora.arxiv_rows(rows)
    corpus = corpora.papers(rows)
    stored = [
        {
            "title": paper["title"],
            "primary_category": paper["primary_category"],
            "archive": paper["archive"],
            "categories": paper["categories"].split("|"),
            "n_authors": int(paper["n_authors"]),
            "created": date.fromisoformat(paper["created"]),
            "length": len(paper["abstract"]),
        }
        for paper in found
    ]
    sizes = Counter(row["primary_category"] for row in stored)
    return Table(
        "bench_papers",
        {
            "title": "text",
            "primary_category": "text",
            "archive": "text",
            "categories": "text[]",
            "n_authors": "int4",
            "created": "date",
            "length": "int4",
        },
        stored,
        corpus.documents,
        corpus.queries[:queries],
        asked[:queries],
        (("primary_category",), ("archive", "created"), ("n_authors",), ("created",), ("length",)),
        ("bench_category", "category text PRIMARY KEY, papers int NOT NULL", sorted(sizes.items())),
        paper_cells,
    )


def made(rows: int = 1_500, queries: int = 10, dim: int = 48) -> Table:
    """Rows about a few middles; a section is a middle."""
    rng = np.random.default_rng(7)
    middles = rng.standard_normal((12, dim))
    section = rng.zipf(1.6, rows + queries) % 12
    vectors = (middles[section] + rng.standard_normal((rows + queries, dim))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = [
        {"section": str(place), "uploaded": FIRST_DAY + timedelta(days=int(day)), "tags": [letter]}
        for place, day, letter in zip(section, rng.integers(0, DAYS, rows + queries), rng.choice(list("abcd"), rows + queries), strict=True)
    ]
    found = [{**row, "tags": [str(tag) for tag in row["tags"]]} for row in found]
    return Table(
        "bench_made",
        {"section": "text", "uploaded": "date", "tags": "text[]"},
        found[queries:],
        vectors[queries:],
        vectors[:queries],
        found[:queries],
        (("section",),),
        ("bench_part", "part text PRIMARY KEY, rows int NOT NULL", [(str(place), place % 3) for place in range(12)]),
        made_cells,
    )
