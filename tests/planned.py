"""What the tests of the planner share: a table and codes that are described, not made, and a database that is a list."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from pgembed import errors, planner
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import Chunks, Column, Table
from pgembed.planner.facts import Facts
from pgembed.planner.partial import VectorIndex

TABLE = Table(oid=1, schema="public", name="product", relkind="r", owner="ann", may_own=True, keys=(('"id"', "integer"),))
COLUMN = Column(
    table=TABLE,
    name="e",
    source=None,
    source_function=None,
    hash_column=None,
    trigger_name=None,
    trigger_function=None,
    renamed=False,
    model=None,
    fingerprint=None,
    metric="cosine",
    sync="auto",
    adopted=True,
    type="vector",
    dim=3,
    index_name="product_e_idx",
    index_method="hnsw",
    vector_schema="public",
)
CHUNKS = Chunks(schema="public", name="product_e_chunk", keys=('"of"',), tokens=100, overlap=0, lines=5e6)
CHUNKED = dataclasses.replace(COLUMN, chunks=CHUNKS, rows=1e6)
REQUEST = planner.Request(query_dim=3, k=10, filter=None, params=None, max_distance=None, recall=None, exact=False, leave_out=None)
# [1, 0, 0] as vector_send() makes it
SENT = bytes.fromhex("0003 0000 3f800000 00000000 00000000")
HELD = 1e6


def only(described: type, **given: Any) -> Any:
    """An object of a dataclass of which only some fields matter."""
    return described(**{field.name: None for field in dataclasses.fields(described)} | given)


def code(table: Table = TABLE, *, curve: dict[str, float] | None = None, index_name: str | None = "product_bits_idx") -> Code:
    """Codes of four bits, which were measured to have .999 of the ten nearest among fifty."""
    measured = {"k": 10, "hamming": curve or {"50": 0.999}, "asymmetric": {"10": 1.0}}
    codec = only(CodecRow, name="c", kind="bits", length=4, measured=measured)
    made: Code = only(Code, table=table, name="bits", codec=codec, index_name=index_name, index_method="hnsw" if index_name else None)
    return made


def facts(column: Column = COLUMN, **changes: Any) -> Facts:
    known = Facts(
        column=column, code=None, but="", rows=HELD, readable=True, secured=False, strings="on", held=HELD,
        indexes=(VectorIndex("product_e_idx", "hnsw", False, True, HELD, None),),
    )  # fmt: skip
    return dataclasses.replace(known, **changes)


def estimate(rows: float, *, covered: bool = False, scanned: float | None = None) -> planner.Estimate:
    return planner.Estimate(rows, min(1.0, rows / HELD), 0.0, covered, rows if scanned is None else scanned, "")


def request(**changes: Any) -> planner.Request:
    return dataclasses.replace(REQUEST, **{"query": SENT, **changes})


class Listed:
    """A database that estimates a fixed number of rows, refuses statements with a word in them, and keeps what it was asked.

    Attributes:
        plan: node at the top of every plan; by default one that reads the rows through an index.
        passed: of the rows that a probe looks at.
        drawn: of them how many pass among 100 drawn at random.
        failure: raised by a probe.
    """

    def __init__(
        self, rows: float = HELD, *, refuses: str | None = None, readable: bool = True, plan: dict[str, Any] | None = None, passed: int = 48
    ) -> None:
        self.refuses = refuses
        self.readable = readable
        self.plan = plan or {"Node Type": "Index Scan", "Alias": "product", "Index Cond": "...", "Plan Rows": rows}
        self.passed = passed
        self.drawn = 0
        self.failure: Exception | None = None
        self.executed: list[str] = []
        self.values: list[Sequence[object]] = []
        self.prepared: list[str] = []

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), **_: Any) -> list[Any]:
        self.executed.append(statement)
        self.values.append(values)
        if statement.startswith("EXPLAIN"):
            return [{"QUERY PLAN": json.dumps([{"Plan": self.plan}])}]
        if "TABLESAMPLE" in statement:
            return [{"looked": 100, "passed": self.drawn}]
        if "AS looked" in statement:
            if self.failure is not None:
                raise self.failure
            return [{"looked": 48, "passed": self.passed}]
        if "_set(" in statement:
            return [{"undo": ["what", "was"]}]
        return [{"readable": self.readable}]

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        self.prepared.append(statement)
        if self.refuses is not None and self.refuses in statement:
            raise errors.StatementRefused("syntax error", sqlstate="42601")


def plan(rows: float = HELD, known: Facts | None = None, output: str = "item", *, db: Listed | None = None, **changes: Any) -> planner.Plan:
    """The plan of a search of which so many rows pass the filter."""
    asked = request(**changes)
    return planner.plan(db or Listed(rows), known or facts(), output, asked)


def settings(made: planner.Plan) -> dict[str, str]:
    return dict(zip(made.settings[::2], made.settings[1::2], strict=True))
