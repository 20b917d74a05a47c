"""contract: what is asked of a search, what is known, and what is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Path = Literal["exact", "covering", "scan", "code", "index", "partial"]
PATHS: tuple[Path, ...] = ("exact", "covering", "scan", "code", "index", "partial")


@dataclass(frozen=True)
class Request:
    """What is asked of a search, as it came from the caller.

    Attributes:
        query_dim: dimensions of the query vector; None where it is NULL.
        filter: one boolean SQL expression over the table, ``$1`` being the params; None passes every row.
        params: JSON text; known values make the estimate of passing rows better.
        max_distance: results are at most so far; None for no bound.
        recall: share of the true k nearest that is asked for; None leaves it to the planner.
        leave_out: the row with this key is no result.
        query: as vector_send() makes it, for its code and for a probe; None where it does not matter.
        path: the one to take, whatever it costs: for measuring; None leaves it to the planner.
        probe: the planner may look at the query's neighbours, and evaluates the filter for them.
        consistency: ``any``, or ``fresh``: no vector of an older text decides; see `pgembed.planner.consistent`.
    """

    query_dim: int | None
    k: int | None
    filter: str | None
    params: str | None
    max_distance: float | None
    recall: float | None
    exact: bool
    leave_out: str | None
    query: bytes | None = None
    path: Path | None = None
    probe: bool = True
    consistency: str | None = "any"


@dataclass(frozen=True)
class Estimate:
    """What PostgreSQL's statistics say of a filter, for the caller: row security counts as part of it.

    Attributes:
        rows: that pass.
        share: of all rows of the table, 0 to 1: what an index has to pass over is also what a policy hides, or a view leaves out.
        cost: of finding them, in PostgreSQL's units.
        covered: they are found in an index alone, codes included.
        scanned: rows of the table that are looked at, passing or not.
        node: how PostgreSQL reads the table, such as ``Index Only Scan``; '' where it need not.
    """

    rows: float
    share: float
    cost: float
    covered: bool
    scanned: float
    node: str


@dataclass(frozen=True)
class Setting:
    """What a path needs for a recall.

    Attributes:
        candidates: rows that pass the filter and are compared exactly.
        ef_search: of the graph; None where there is none.
        recall: expected at k, mean over queries.
        source: where that is known from, in words.
    """

    candidates: int
    ef_search: int | None
    recall: float
    source: str


@dataclass(frozen=True)
class Option:
    """One way to answer, with what it would take.

    Attributes:
        milliseconds: expected, without the planning.
        index_name: that the candidates come from; None where PostgreSQL chooses.
        reason: in words, for explain_search.
        on_codes: candidates are the nearest by code.
        method: of the index, ``hnsw`` or ``ivfflat``; None where PostgreSQL chooses.
        probes: lists of IVFFlat that are read at first; None where there are none.
        max_scan_tuples: vectors or codes that HNSW may compare before it is left; None where there is none.
        goes_on: HNSW, where its first ``ef_search`` rows have too few that pass; else the statement leaves it then.
    """

    path: Path
    setting: Setting
    milliseconds: float
    index_name: str | None
    reason: str
    on_codes: bool = False
    method: str | None = None
    probes: int | None = None
    max_scan_tuples: int | None = None
    goes_on: bool = True


@dataclass(frozen=True)
class Plan:
    """A statement and why it is the one.

    Attributes:
        statement: one SELECT of (item, distance, rank, chunk, start_char, end_char) or (key, distance, rank); parameters $1 params,
            $2 query vector, $3 k, $4 max_distance, $5 key, $6 code, $7 mask; with consistency ``fresh`` also $8 keys and $9 vectors
            of rows that were embedded on the spot.
        estimated_rows: rows that pass the filter, as PostgreSQL's statistics have it.
        settings: name, value, name, value ... for the time of the statement.
        shortage: a statement that counts the rows that pass, for where too few were found; see `pgembed.planner.shortage`.
        condition: the filter as it was proven, in parentheses; ``true`` for none.
        code, mask: the query's own code, and which of its bits count, as text; None where no codes are compared.
        option: what was chosen; None for a column over chunks.
        options: all that were weighed.
        local_share: share of passing rows among the query's unfiltered neighbours; None where nobody looked.
        stale: a statement for the keys of rows that pass and need work; None where nobody minds.
    """

    statement: str
    path: str
    reason: str
    estimated_rows: float
    settings: tuple[str, ...]
    shortage: str
    condition: str = "true"
    code: str | None = None
    mask: str | None = None
    estimate: Estimate | None = None
    option: Option | None = None
    options: tuple[Option, ...] = field(default=())
    local_share: float | None = None
    stale: str | None = None
