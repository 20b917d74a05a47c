"""chapters: the page's sections, each made of what was read and measured."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from pgembed.columns import Column
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.report import comparing, filtering, geometry, mapping, measures, page, plots, reading, searching
from pgembed.report.page import Section
from pgembed.report.reading import Plain, Sample

QUERIES = 40
_RESCORED = {20: "recall_20", 50: "recall_50", 100: "recall_100", 200: "recall_200"}


class Chapters:
    """Sections in their order, figures by id, and what is left out.

    Attributes:
        facts: the line of pgembed.embeddings; points: of searches; filters: how many were planned.
    """

    def __init__(
        self, db: PsycopgDatabase, column: Column, sample: Sample, plain: list[Plain], seed: int, say: Callable[[str], None]
    ) -> None:
        self._db, self._column, self._plain, self._seed, self._say = db, column, plain, seed, say
        self.sample = sample
        self.facts: dict[str, Any] = {}
        self.points: list[searching.Point] = []
        self._bytes: dict[str, float] = {}
        self.filters = 0
        self.left_out: list[str] = []
        self._sections: list[Section] = []
        self._figures: dict[str, plots.Figure] = {}
        self._map: dict[str, Any] | None = None
        self._near: measures.Near | None = None

    def page(self, foot: str) -> str:
        """The whole page."""
        column = self._column
        if self.left_out:
            section = Section("left-out", "What is left out")
            for said in self.left_out:
                section.say(said, kind="note")
            self._sections.append(section)
        about = f"Embedded column {column.name} of table {column.table.shown}"
        if len(self.sample):
            about += f"; plots and measures are of {len(self.sample):,} of its {self.sample.held:,} " + self._things() + "."
        return page.render(f"{column.table.shown}.{column.name}", about, self._sections, self._figures, self._map, foot)

    def lost(self, chapter: str, why: str) -> None:
        """Note that a chapter could not be made, or not be ended."""
        self.left_out.append(f"{chapter[0].upper()}{chapter[1:]}: {why}.")

    def _things(self) -> str:
        return "chunks" if self._column.chunks is not None else "rows with a vector"

    def _begin(self, id: str, title: str) -> Section:
        self._sections.append(Section(id, title))
        return self._sections[-1]

    def _plot(self, section: Section, id: str, figure: plots.Figure, label: str, caption: str, behind: str) -> None:
        self._figures[id] = figure
        section.plot(id, label, caption, behind)

    def near(self) -> measures.Near:
        """The nearest other rows of each row of the sample; computed once."""
        if self._near is None:
            self._near = measures.nearest(self.sample.vectors, self._column.metric)
        return self._near

    def overview(self) -> None:
        """What the column is, how fresh, how large, and what pgembed.doctor() finds."""
        section = self._begin("overview", "Overview")
        column, db = self._column, self._db
        facts = self.facts = reading.facts(db, column)
        dim = self.sample.vectors.shape[1] if len(self.sample) else column.dim
        pairs: list[tuple[str, object]] = [
            ("table", column.table.shown),
            ("column", column.name),
            ("model", facts.get("model") or "not known: the column was adopted without one"),
            ("type", f"{column.type}({dim})" if dim else column.type),
            ("metric", column.metric),
            ("sync", facts.get("sync") or ""),
        ]
        if facts.get("rows") is None:
            section.say("How many rows there are, and how fresh, is not told to this role: it may not read the columns, or row security"
                        " hides rows from it.", kind="note")  # fmt: skip
        else:
            always = ("rows", "fresh", "stale", "pending", "failed")
            shown = [*always, *(name for name in ("null_source", "truncated", "chunks") if facts.get(name))]
            pairs += [(name.replace("_", " "), f"{facts[name]:,}") for name in shown if facts.get(name) is not None]
        if facts.get("chunk_tokens"):
            pairs.append(("chunks of", f"{facts['chunk_tokens']} tokens, {facts['chunk_overlap']} of them shared"))
        pairs.append(("source", facts.get("source") or "none: vectors come from elsewhere"))
        if facts.get("last_error"):
            pairs.append(("last error", facts["last_error"]))
        section.facts(pairs)
        if self.sample.left_out:
            section.say(self.sample.left_out, kind="note")
        self._sizes(section)
        self._findings(section)

    def _sizes(self, section: Section) -> None:
        column = self._column
        found = reading.sizes(self._db, column)
        # pg_relation_size of what is nothing
        bars = [(str(row["what"]), int(row["bytes"] or 0), str(row["definition"])) for row in found if row["bytes"]]
        held = reading.vector_bytes(self._db, column, self.sample.held)
        if held and self.sample.held:
            bars.insert(1, (f"of it vectors of {column.name}, about", held, ""))
        # by what reads them, of a row: '' are the vectors, the others indexes
        if held and self.sample.held:
            self._bytes[""] = held / self.sample.held
        for what, size, _ in bars:
            kind, _, index = what.partition(" ")
            if kind == "index" and self.sample.held:
                self._bytes[index] = self._bytes.get(index, 0) + size / self.sample.held
        section.heading("Sizes")
        if not bars:
            section.say("The table is empty, and has no index that takes any room.")
            return
        behind = page.folded("Sizes as a table", page.table(("what", "bytes", "definition"), bars, "Sizes of table and indexes"))
        total = sum(size for name, size, _ in bars if not name.startswith("of it"))
        caption = f"{page.size(total)} in all, with all indexes."
        self._plot(section, "sizes", plots.sizes([(name, size) for name, size, _ in bars]), "Sizes", caption, behind)

    def _findings(self, section: Section) -> None:
        section.heading("What pgembed.doctor() finds")
        rows = self._db.execute("SELECT d.severity, d.subject, d.finding, d.remedy FROM pgembed.doctor() AS d")
        # those of other tables are none of this page's
        other = [str(row["name"]) for row in self._db.execute(
            "SELECT t.relname AS name FROM pgembed._embedding AS e"
            " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name"
            " WHERE t.oid <> $1", ["pg_catalog.oid"], [self._column.table.oid])]  # fmt: skip
        mine = [
            row for row in rows if not any(str(row["subject"]).startswith(f"{name}.") for name in other if name != self._column.table.name)
        ]
        if mine:
            names = ("severity", "subject", "finding", "remedy")
            section.table(names, [[row[name] for name in names] for row in mine], "Findings on this column and on the database")
        else:
            section.say("Nothing is wrong.")

    def searches(self, given: tuple[str | None, str | None], most: int, seconds: float) -> None:
        """Recall, latency: measured now, and what was measured before."""
        section = self._begin("search", "Searches: recall and latency")
        known = self._codecs()
        if len(self.sample) < 2:
            section.say("There are too few vectors to search among.")
        else:
            asked, words = searching.queries(self._db, self._column, self.sample.vectors, given, most, self._seed)
            found = searching.curves(self._db, self._column, asked, words, seconds, self._say)
            self.points = found.points
            known_points = self._calibrated()
            rows = [
                (p.way, p.setting, p.recall, p.milliseconds, p.queries, p.source)
                for p in sorted([*found.points, *known_points], key=lambda p: p.way)
            ]
            behind = page.folded(
                "Searches as a table",
                page.table(("way", "setting", "recall@10", "ms", "queries", "source"), rows, "Ways to search this column"),
            )
            if found.points:
                caption = (
                    f"Asked: {found.asked}. Upper left is best. Recall is the share of the true ten nearest that is found;"
                    " milliseconds are medians, with the way to the server and back."
                )
                self._plot(section, "curves", plots.curves(found.points), "Recall and latency", caption, behind)
            for said in found.missing:
                section.say(said, kind="note")
        if known:
            lines = [(f"{name}, {size} B a row", recalls) for name, _, recalls, _, size in known if recalls]
            rows_of = [(name, method, *[recalls.get(size) for size in _RESCORED], told) for name, method, recalls, told, _ in known]
            behind = page.folded(
                "Codecs as a table",
                page.table(
                    ("codec", "method", *[f"recall, {size} rescored" for size in _RESCORED], "about"), rows_of, "Codecs of this column"
                ),
            )
            section.heading("Codecs")
            if lines:
                self._plot(
                    section, "codecs", plots.codecs(lines), "Recall of codecs",
                    "What codes keep of the true ten nearest, as it was measured when each codec was trained or checked.", behind,
                )  # fmt: skip
            else:
                section.pieces.append(behind)
        self._footprints(section, known)

    def _footprints(self, section: Section, known: list[tuple[str, str, dict[int, float], str, int]]) -> None:
        """Recall against size, of codecs as they were trained and of what was measured now."""
        codecs = [(name, size, recalls) for name, _, recalls, _, size in known if recalls]
        ways: dict[str, list[searching.Point]] = {}
        for point in self.points:
            if point.index in self._bytes and point.recall is not None:
                ways.setdefault(point.way, []).append(point)
        sized = [(way, self._bytes[points[0].index or ""], points) for way, points in ways.items()]
        if not sized:
            return
        rows: list[tuple[str, str, int, float | None]] = [
            (name, f"{count} rescored", size, recall) for name, size, recalls in codecs for count, recall in recalls.items()
        ]
        rows += [(way, point.setting, round(size), point.recall) for way, size, points in sized for point in points]
        table = page.table(("what is read", "setting", "bytes a row", "recall@10"), rows, "Bytes a row of what finds candidates")
        behind = page.folded("Recall and size as a table", table)
        section.heading("Recall and size")
        self._plot(
            section, "footprints", plots.footprints(codecs, sized, list(_RESCORED)), "Recall and size",
            "What is read to find candidates, in bytes a row: a code, an index, or the vector itself. Upper left is best.", behind,
        )  # fmt: skip

    def _calibrated(self) -> list[searching.Point]:
        rows = self._db.execute(
            "SELECT c.path, c.candidates, c.ef_search, c.queries, c.recall, c.milliseconds,"
            " c.measured_at::pg_catalog.text AS at, c.is_stale"
            " FROM pgembed.calibrations AS c WHERE c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND c.column_name = $2"
            " AND c.filter = 'none' ORDER BY c.path, c.ef_search, c.candidates",
            ["pg_catalog.oid", "pg_catalog.name"],
            [self._column.table.oid, self._column.name],
        )
        return [
            searching.Point(
                f"path {row['path']}",
                ", ".join(f"{name} = {row[name]}" for name in ("candidates", "ef_search") if row[name] is not None),
                row["recall"],
                row["milliseconds"],
                int(row["queries"] or 0),
                f"calibrate(), {row['at'][:10]}" + (", stale" if row["is_stale"] else ""),
            )
            for row in rows
        ]

    def _codecs(self) -> list[tuple[str, str, dict[int, float], str, int]]:
        rows = self._db.execute(
            "SELECT c.*, o.column_name AS code_column, o.is_active, o.index_bytes, o.covering_bytes FROM pgembed.codecs AS c"
            " LEFT JOIN pgembed.codes AS o ON o.codec = c.name AND o.table_name OPERATOR(pg_catalog.=) c.table_name"
            " WHERE c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND c.column_name = $2 ORDER BY c.name",
            ["pg_catalog.oid", "pg_catalog.name"],
            [self._column.table.oid, self._column.name],
        )
        made = []
        for row in rows:
            told = [f"{row['bytes']} bytes a row"]
            if row["code_column"]:
                told.append(f"codes in column {row['code_column']}" + (", used by searches" if row["is_active"] else ""))
            sizes = [page.size(row[name]) for name in ("index_bytes", "covering_bytes") if row[name]]
            if sizes:
                told.append(f"indexes of {' and '.join(sizes)}")
            if row["retrain_reason"]:
                told.append(str(row["retrain_reason"]))
            recalls = {size: float(row[name]) for size, name in _RESCORED.items() if row[name] is not None}
            made.append((str(row["name"]), str(row["method"]), recalls, "; ".join(told), int(row["bytes"])))
        return made

    def filtered(self, valued: list[Plain], seconds: float) -> None:
        """Paths under filters of different shares."""
        section = self._begin("filters", "Filters: selectivity and the path that is chosen")
        found: list[filtering.Filtered] = []
        if len(self.sample) < 2:
            section.say("There are too few vectors to filter.")
        else:
            found, missing = filtering.measure(self._db, self._column, self.sample, valued, seconds, self._say)
            self.filters = len(found)
            for said in missing:
                section.say(said, kind="note")
        names = ("filter", "share", "path", "ms", "recall", "PostgreSQL's estimate", "why", "predicted")
        rows = [(f.filter, f.share, f.path, f.milliseconds, f.recall, f.estimated, f.reason, f.predicted) for f in found]
        behind = page.folded("Filters as a table", page.table(names, rows, "Searches under filters"))
        if any(one.milliseconds is not None for one in found):
            caption = (
                "Filters made of values that the table's own columns have, by the share of rows that pass. Each point is pgembed.search"
                " for ten rows; its colour and sign say which path the planner chose."
            )
            self._plot(section, "filters", plots.filters(found), "Filters", caption, behind)
        elif found:
            section.pieces.append(behind)
        elif len(self.sample) >= 2:
            section.say("The table has no column of plain values, that this role may read, to filter by.")
        used = self._db.execute(
            "SELECT u.shape, u.searches, u.share, u.ms, u.last_used::pg_catalog.text AS last FROM pgembed.filters_used AS u"
            " WHERE u.target OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND u.column_name = $2 ORDER BY u.searches DESC LIMIT 20",
            ["pg_catalog.oid", "pg_catalog.name"],
            [self._column.table.oid, self._column.name],
        )
        if used:
            section.heading("Filters that searches used")
            lines = [(row["shape"], row["searches"], row["share"], row["ms"], str(row["last"])[:16]) for row in used]
            section.table(("shape", "searches", "share", "ms", "last used"), lines, "Filters that were used, without their values")
        else:
            section.say("No filter of a search has been written down yet: after SELECT pgembed.set_filter_log(true) they are.", kind="soft")

    def freshness(self) -> None:
        """Rows by state over time."""
        section = self._begin("freshness", "Freshness over time")
        rows = self._db.execute(
            "SELECT extract(epoch FROM l.at)::pg_catalog.float8 AS epoch, l.rows, l.fresh, l.stale, l.pending, l.failed, l.null_source"
            " FROM pgembed.freshness_log AS l WHERE l.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND l.column_name = $2"
            " ORDER BY l.at",
            ["pg_catalog.oid", "pg_catalog.name"],
            [self._column.table.oid, self._column.name],
        )
        lines = [{**row, "at": _time(row["epoch"])} for row in rows]
        if lines:
            names = ("rows", "fresh", "stale", "pending", "failed", "null_source")
            table = page.table(
                ("at (UTC)", *(name.replace("_", " ") for name in names)),
                [(line["at"], *(int(line[name]) for name in names)) for line in lines],
                "Rows by state",
            )
            caption = f"{len(lines)} counts, from pgembed.freshness_log: of each minute of the last day the last one, of each hour before."
            if len(lines) > 1 and any(line["rows"] for line in lines):
                behind = page.folded("Counts as a table", table, long=len(lines) > 100)
                self._plot(section, "freshness", plots.freshness(lines), "Freshness", caption, behind)
            else:
                section.pieces.append(table)
        if len(lines) < 3:
            section.say(
                "There is little history yet. A line is written at the end of CALL pgembed.refresh(), by workers once a minute while they"
                " embed, and by this report when the table's owner runs it; lines are kept for 30 days.", kind="soft",
            )  # fmt: skip

    def map(self, valued: list[Plain], color_by: str | None) -> None:
        """The rows as points of a plane."""
        section = self._begin("map", "Map of the rows")
        sample = self.sample
        if len(sample) < 2:
            section.say("There are too few vectors for a map.")
            return
        units = measures.units(sample.vectors)
        points, how = measures.flat(units if self._column.metric == "cosine" else sample.vectors, self._seed)
        if not points.any():
            section.say("By this metric all vectors of the sample are the same: a map would be one point.")
            return
        self._say(f"{len(sample)} rows drawn by {how}")
        grouped = mapping.topics(sample, units, self._seed)
        offered = mapping.colourings(sample, valued, color_by, grouped, self.near(), points)
        self._map = mapping.plane(sample, points, offered)
        options = "".join(f'<option value="{at}">{page.escape(one["name"])}</option>' for at, one in enumerate(offered))
        section.pieces.append(f'<div class="row"><label for="colour">Colour by</label> <select id="colour">{options}</select></div>')
        names = ["key", "text", *(["topic"] if grouped else [])]
        rows = [
            [key, geometry.short(text), *([grouped[1][grouped[0][at]] if grouped[0][at] >= 0 else ""] if grouped else [])]
            for at, (key, text) in enumerate(zip(sample.keys, sample.texts, strict=True))
        ]
        each = "chunk" if self._column.chunks is not None else "row"
        behind = page.folded(f"All {len(rows):,} {each}s as a table", page.table(names, rows, f"The map's {each}s"), long=True)
        explained = (
            f"t-SNE keeps {each}s that are near to each other together; distances between groups mean little."
            if how == "t-SNE"
            else f"The two axes along which the {each}s differ most."
        )
        section.plot("map", "Map of the rows", f"{len(sample):,} {each}s by {how}. {explained} Point at a {each} to read it.", behind)

    def space(self) -> None:
        """Rank, isotropy, hubs, outliers, duplicates."""
        section = self._begin("space", "Space: rank, isotropy, hubs, outliers, duplicates")
        if len(self.sample) < 3:
            section.say("There are too few vectors to say anything of their space.")
            return
        geometry.fill(section, self.sample, self.near(), self._column.metric, self._plot)

    def models(self, other: Column | None) -> None:
        """A change of the model, and another column beside this one."""
        changes = comparing.changes(self._db, self._column)
        compared = comparing.compare(self._column, other, self.sample) if other is not None and len(self.sample) else None
        if not changes and other is None:
            return
        section = self._begin("models", "Models compared")
        names = ("state", "old_model", "new_model", "rows", "done", "failed", "overlap", "cka", "old_recall", "new_recall")
        if changes:
            section.table([name.replace("_", " ") for name in names], [[row[name] for name in names] for row in changes],
                          "Change of the column's model, as pgembed.model_changes says it")  # fmt: skip
        if other is None:
            return
        if compared is None:
            section.say(f"Of column {other.name} too few rows have a vector to compare it.", kind="note")
            return
        section.facts(
            [
                ("columns", f"{self._column.name} ({self._column.model or 'no model'}) and {other.name} ({other.model or 'no model'})"),
                ("rows with both", f"{compared.rows:,}"),
                ("overlap@10", f"{compared.overlap.mean():.3f}" if len(compared.overlap) else "unknown"),
                ("linear CKA", f"{compared.cka:.3f}"),
            ]
        )
        section.say(
            "Overlap@10 is the share of a row's ten nearest, within the sample, that both have. CKA is 1 where the two spaces are the same"
            " up to rotation and scale (Kornblith et al. 2019, arXiv 1905.00414); alike spaces may still rank differently.", kind="soft",
        )  # fmt: skip
        k = min(comparing.K, compared.rows - 1)
        caption = f"Rows by how many of their {k} nearest are the same by both."
        same = (compared.overlap * k).round().astype(int)
        geometry.histogram(section, self._plot, "overlap", same, f"of the {k} nearest, those that both have", caption, "Overlap")
        if not compared.moved:
            section.say(f"All rows have the same {k} nearest by both.")
            return
        lines = [
            (key, geometry.short(text), share, geometry.short(one), geometry.short(two)) for key, text, share, one, two in compared.moved
        ]
        heads = ("key", "text", "overlap", f"nearest that only {compared.one} has", f"nearest that only {compared.other} has")
        section.table(heads, lines, "Rows whose neighbours differ most")


def _time(epoch: float) -> str:
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
