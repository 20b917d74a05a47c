"""running: the statements of searches, run for measuring. Each is planned for its own values, as a search plans it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import vectors
from pgembed.calibration.filtering import Filter
from pgembed.calibration.truth import place_of
from pgembed.database import Database
from pgembed.planner import choosing, coded, rendering, settings_of
from pgembed.planner.coded import Asked
from pgembed.planner.contract import Estimate, Option, Path, Request, Setting
from pgembed.planner.facts import Facts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 10
# A graph is left here; a search leaves it much earlier where another path is cheaper.
MOST_TUPLES = 20_000


@dataclass(frozen=True)
class Cell:
    """A path with a setting, under a filter.

    Attributes:
        number: of the filter, as `Truth` counts them.
        numbers: of candidates, ascending; one run with the last tells the recall of all.
        ef_search: of the graph; None where there is none.
    """

    path: Path
    number: int
    filter: Filter
    estimate: Estimate
    numbers: tuple[int, ...]
    ef_search: int | None


class Runner:
    """Runs cells' statements for the queries of a calibration. As a context, it leaves the session's settings as they were."""

    def __init__(self, db: Database, facts: Facts, asked: NDArray[np.float32], own: Sequence[str | None]) -> None:
        self.facts = facts
        self._db = db
        self._asked = asked
        self._own = own
        self._texts: dict[int, str] = {}
        self._codes: dict[tuple[int, bool], Asked] = {}
        schema = facts.column.vector_schema
        self._types = ["jsonb", f"{schema}.vector", "int4", "float8", "text", "text", "text"]
        self._types = [kind if "." in kind else f"pg_catalog.{kind}" for kind in self._types]
        self._set: tuple[str, ...] = ()
        self._undo: list[list[str]] = []
        self._call = 0.0

    def __enter__(self) -> Runner:
        # PostgreSQL would take a plan for all values after five of them, which no search does
        self._change("plan_cache_mode", "force_custom_plan")
        self._call = min(self._seconds("SELECT $2 IS NULL AS nothing", 0, on_codes=False) for _ in range(20))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # else the transaction is over, and settings with it
            while self._undo:
                self._change(*self._undo.pop(), again=False)

    def candidates(self, cell: Cell, query: int, most: int) -> list[str]:
        """The places of a path's candidates for a query, in the order in which they come; the row that it was made of is none."""
        self._settings(cell, most)
        column = self.facts.column
        names = [name for name, _ in rendering.places(column)]
        # one more, for the row of its own
        inner = rendering.candidates(column, cell.filter.condition, self._request(cell), self._option(cell, most + 1), self.facts.code)
        statement = f"SELECT pg_catalog.array_agg({place_of(column, 's', names)}) AS places FROM (\n{inner}\n) AS s"
        found = self._db.execute(statement, self._types, self._values(query, on_codes=self._on_codes(cell)))[0]["places"] or []
        return [place for place in found if place != self._own[query]][:most]

    def milliseconds(self, cell: Cell, query: int, number: int) -> float:
        """What a path's whole statement takes this once, without the way to PostgreSQL."""
        self._settings(cell, number)
        column = self.facts.column
        option = self._option(cell, number)
        output = "key" if column.table.keys else "item"
        exact = Option("exact", choosing.EXACT, 0.0, None, "")
        whole = rendering.statement(column, output, cell.filter.condition, self._request(cell), option, self.facts.code, exact)
        statement = f"SELECT pg_catalog.count(s.distance) AS n FROM (\n{whole}\n) AS s"
        return max(0.001, 1000 * (self._seconds(statement, query, on_codes=self._on_codes(cell)) - self._call))

    def _seconds(self, statement: str, query: int, *, on_codes: bool) -> float:
        values = self._values(query, on_codes=on_codes)
        begun = time.perf_counter()
        self._db.execute(statement, self._types, values)
        return time.perf_counter() - begun

    @staticmethod
    def _on_codes(cell: Cell) -> bool:
        return cell.path == "code"

    def _request(self, cell: Cell) -> Request:
        return Request(
            query_dim=self._asked.shape[1],
            k=K,
            filter=cell.filter.condition,
            params=None,
            max_distance=None,
            recall=None,
            exact=cell.path == "exact",
            leave_out=None,
            path=cell.path,
        )

    def _option(self, cell: Cell, number: int) -> Option:
        setting = Setting(number, cell.ef_search, 1.0, "measured")
        method = None if cell.ef_search is None else "hnsw"
        return Option(cell.path, setting, 0.0, None, "", on_codes=self._on_codes(cell), method=method, max_scan_tuples=MOST_TUPLES)

    def _values(self, query: int, *, on_codes: bool) -> list[Any]:
        if query not in self._texts:
            self._texts[query] = vectors.to_text(self._asked[query])
        code = self.facts.code
        if code is None:
            return [None, self._texts[query], K, None, None, None, None]
        key = (query, on_codes)
        if key not in self._codes:
            vector = self._asked[query]
            # as vector_send() writes it
            sent = len(vector).to_bytes(2, "big") + b"\0\0" + vector.astype(">f4").tobytes()
            self._codes[key] = coded.asked(self._db, code, sent, whole=on_codes)
        asked = self._codes[key]
        return [None, self._texts[query], K, None, None, asked.code, asked.mask]

    def _settings(self, cell: Cell, number: int) -> None:
        wanted = settings_of(self.facts, self._option(cell, number))
        if cell.ef_search is not None:
            # a table so small that sorting it is cheaper would be measured in the graph's place
            wanted = (*wanted, "enable_sort", "off")
        if wanted != self._set:
            while len(self._undo) > 1:
                self._change(*self._undo.pop(), again=False)
            self._change(*wanted)
            self._set = wanted

    def _change(self, *settings: str, again: bool = True) -> None:
        found = self._db.execute("SELECT pgembed._set($1) AS undo", ["pg_catalog.text[]"], [list(settings)])
        if again:
            self._undo.append(list(found[0]["undo"]))
