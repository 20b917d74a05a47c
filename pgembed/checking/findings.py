"""findings: what a plan can lose, why, and the statement that helps.

How pgvector's scans end, and so what is lost: https://github.com/pgvector/pgvector, its README on filtering and on iterative index scans.
An HNSW scan gives ``hnsw.ef_search`` rows and ends; a filter, a join or a policy removes some of those afterwards. An iterative scan goes
on, until it has met ``hnsw.max_scan_tuples`` rows or used ``hnsw.scan_mem_multiplier`` times work_mem. In strict order it throws away a
row that it meets too late, in relaxed order it gives that row late.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pgembed.checking import plans
from pgembed.checking.plans import SCAN_BYTES, Facts, Index, Scan, operators, shorten

LOSES, UNORDERED, SLOW, APPROXIMATE, EXACT = "can lose rows", "out of order", "slow", "approximate", "exact"
_ORDER = (LOSES, UNORDERED, SLOW, APPROXIMATE, EXACT)
# The rows near a query may pass a filter so many times less often than all rows do.
CORRELATION = 4
EF_SEARCH_LIMIT = 1000
# pgvector's own default, below which nothing is saved; and the most.
SCAN_TUPLES, SCAN_TUPLES_LIMIT = 20_000, 2_147_483_647
MULTIPLIER_LIMIT = 1000
SLOW_ROWS = 10_000


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: how serious it is, see `_ORDER`; ``measured`` and ``rewritten`` come after those.
        remedy: a statement that can be run as it stands; None where nothing has to be done, or the detail says what.
    """

    level: str
    finding: str
    detail: str
    remedy: str | None = None


def judge(facts: Facts, settings: dict[str, str]) -> list[Finding]:
    """Everything that there is to say about a plan, most serious first, each once."""
    found: dict[Finding, None] = {}
    for scan in facts.scans:
        found.update(dict.fromkeys(_scan(scan, settings)))
    for key, indexes in facts.sorts:
        found.update(dict.fromkeys(_sort(key, indexes, facts)))
    if not facts.scans and not facts.sorts:
        found[Finding(EXACT, "no vector index takes part", "Nothing is ordered by a distance: the query returns what its WHERE says.")] = (
            None
        )
    return sorted(found, key=lambda one: _ORDER.index(one.level))


def limits(scan: Scan, settings: dict[str, str], mode: str = "strict_order") -> dict[str, str]:
    """The settings with which a plan's iterative scan reaches its LIMIT, also where the query's neighbours seldom pass the filter."""
    rows = scan.index.rows or float(SCAN_TUPLES)
    if scan.index.method == "ivfflat":
        # there is no strict order: what the first lists do not have comes late, so these have to be many
        lists, first = scan.index.lists, 2 * CORRELATION * (scan.wanted or int(rows)) / ((scan.share or 1.0) * rows)
        probes = max(int(settings["ivfflat.probes"] or 1), math.ceil(lists * min(1.0, first)))
        return {"ivfflat.iterative_scan": "relaxed_order", "ivfflat.probes": str(probes), "ivfflat.max_probes": str(max(probes, lists))}
    wanted = scan.wanted or int(rows)
    needed = rows if not scan.share else min(rows, 2 * CORRELATION * wanted / scan.share)
    tuples = min(SCAN_TUPLES_LIMIT, max(SCAN_TUPLES, math.ceil(needed)))
    memory = min(MULTIPLIER_LIMIT, max(1, math.ceil(tuples * SCAN_BYTES / (1024 * float(settings["work_mem"])))))
    ef_search = min(EF_SEARCH_LIMIT, max(100, wanted, int(settings["hnsw.ef_search"] or 0)))
    return {
        "hnsw.iterative_scan": mode,
        "hnsw.ef_search": str(ef_search),
        "hnsw.max_scan_tuples": str(tuples),
        "hnsw.scan_mem_multiplier": str(memory),
    }


def spoken(settings: dict[str, str]) -> str:
    """Settings as statements."""
    return " ".join(f"SET {name} = {value};" for name, value in settings.items())


def _scan(scan: Scan, settings: dict[str, str]) -> Iterator[Finding]:
    index = scan.index
    if index.method not in ("hnsw", "ivfflat"):
        yield Finding(
            LOSES if scan.drops else APPROXIMATE,
            f"the rows come from {index.method} index {index.label}",
            f"It is not pgvector's, and pgembed does not know where its scans end{_and(scan)}. measure => true tells what it loses.",
        )
        return
    iterative = settings.get(f"{index.method}.iterative_scan", "off") or "off"
    remedy = spoken(limits(scan, settings, "relaxed_order" if scan.resorted else "strict_order"))
    if iterative == "off":
        yield from _once(scan, settings, remedy)
    else:
        yield from _iterative(scan, settings, iterative, remedy)
    if index.on_codes and not scan.resorted:
        yield Finding(
            APPROXIMATE,
            "the order is that of codes",
            f"{index.label} compares codes, whose order is only near that of the vectors. Take some ten times more rows than you need in a"
            " materialized WITH and sort them by the vectors' own distance, or let pgembed.search() do it.",
        )
    yield Finding(
        APPROXIMATE,
        f"{index.method} index {index.label} gives the nearest rows",
        f"It may miss some of them by itself, with {_knob(index, settings)}; rows whose vector is NULL are not in it.",
    )


def _once(scan: Scan, settings: dict[str, str], remedy: str) -> Iterator[Finding]:
    """A scan that ends after its first candidates."""
    index = scan.index
    if index.method == "hnsw":
        given: float = float(settings["hnsw.ef_search"] or 40)
        end = f"the scan gives {given:.0f} rows and ends (hnsw.ef_search = {given:.0f}, hnsw.iterative_scan = off)"
    else:
        probes = int(settings["ivfflat.probes"] or 1)
        given = index.rows * min(1.0, probes / index.lists)
        end = f"the scan reads {probes} of {index.lists} lists, some {given:.0f} rows, and ends (ivfflat.iterative_scan = off)"
    if not scan.has_limit:
        yield Finding(
            LOSES,
            "the query has no LIMIT, and the index gives few rows",
            f"Ordered through {index.label}, {end}, although the query asks for all. Say LIMIT, or let PostgreSQL sort.",
            "SET enable_indexscan = off;",
        )
        return
    wanted = scan.wanted or 0
    removing = not (scan.bound_only or not scan.drops)
    if removing:
        expected = "" if scan.share is None else f", here about {_few(given * scan.share, wanted)}"
        share = "" if scan.share is None else f" About {_percent(scan.share)} of all rows come through."
        yield Finding(
            LOSES,
            "rows are removed after the index has chosen them",
            f"In {index.label} {end}; {_list(scan.drops)} takes rows from those, and what is left is the answer{expected}.{share}",
            remedy,
        )
    if wanted > given:
        yield Finding(
            LOSES,
            "the index gives fewer rows than LIMIT asks for",
            f"LIMIT, with OFFSET, asks for {wanted} rows; {end}.",
            f"SET hnsw.ef_search = {wanted};" if index.method == "hnsw" and not removing and wanted <= EF_SEARCH_LIMIT else remedy,
        )


def _iterative(scan: Scan, settings: dict[str, str], mode: str, remedy: str) -> Iterator[Finding]:
    index = scan.index
    if mode == "relaxed_order" and not scan.resorted:
        wrapped = "Sort again: WITH nearest AS MATERIALIZED (...) SELECT ... ORDER BY distance + 0"
        yield Finding(
            UNORDERED,
            "rows may come in another order than the query asks for",
            f"{index.method}.iterative_scan = relaxed_order gives a row late rather than not at all, and LIMIT takes what"
            f" comes first. {wrapped}.",
            "SET hnsw.iterative_scan = strict_order;" if index.method == "hnsw" else None,
        )
    if scan.bound:
        yield Finding(
            SLOW,
            "the distance is bounded in WHERE",
            "Where fewer rows than LIMIT are so near, an iterative scan looks for more until its own limits. Bound the distance outside of"
            " a materialized WITH that has the LIMIT.",
        )
    if mode == "strict_order" and scan.drops:
        yield Finding(
            APPROXIMATE,
            "strict order throws rows away",
            "A row that an iterative scan in strict order meets after one farther away is left out; LIMIT is reached with the next ones. A"
            " wider look loses fewer, relaxed_order with a sort around it fewer still.",
            "SET hnsw.ef_search = 200;" if int(settings["hnsw.ef_search"] or 40) < 200 else None,
        )
    if index.method == "hnsw":
        allowed = int(settings["hnsw.max_scan_tuples"] or SCAN_TUPLES)
        fits = float(settings["hnsw.scan_mem_multiplier"] or 1) * float(settings["work_mem"]) * 1024 / SCAN_BYTES
        met, what = min((float(allowed), f"hnsw.max_scan_tuples = {allowed}"), (fits, "hnsw.scan_mem_multiplier, times work_mem"))
    else:
        probes = max(int(settings["ivfflat.max_probes"] or 32768), int(settings["ivfflat.probes"] or 1))
        met = index.rows * min(1.0, probes / index.lists)
        what = f"ivfflat.max_probes = {probes} of {index.lists} lists"
    everything = index.rows > 0 and met >= index.rows
    if everything or (not scan.drops and scan.has_limit and (scan.wanted or 0) <= met):
        return
    wanted = float(scan.wanted) if scan.wanted is not None else index.rows
    needed = None if not scan.share else wanted / scan.share
    if needed is not None and CORRELATION * needed <= met:
        return
    looked = (
        ""
        if needed is None
        else f" If the rows near the query pass as often as all do, {needed:.0f} must be met; they may pass less often."
    )
    yield Finding(
        LOSES,
        "the iterative scan may end before it has enough",
        f"It ends after some {met:.0f} rows ({what}), silently.{' The query has no LIMIT.' if not scan.has_limit else ''}{looked}",
        remedy,
    )


def _sort(key: str, indexes: list[Index], facts: Facts) -> Iterator[Finding]:
    """A sort by a distance is exact; is it so because an index was missed?"""
    shown, said = shorten(key), operators(key)
    if not facts.scans:
        yield Finding(EXACT, "every row that passes is compared", f"PostgreSQL sorts by {shown}: nothing is lost.")
    for index in indexes:
        if index.key not in key or index.rows < SLOW_ROWS or facts.scans:
            continue
        served = ", ".join(index.operators)
        if not said & set(index.operators):
            asked = ", ".join(sorted(said))
            why = f"The index serves {served}, the query orders by {asked}: that takes an index with another operator class."
        elif key.endswith(" DESC"):
            why = "An index gives the nearest first, DESC asks for the farthest; by <#> too the smallest is the nearest. Leave it out."
        elif not plans.bare(key).startswith(f"{index.key} "):
            why = "ORDER BY must be the distance alone, ascending: an expression around it hides it from the index."
        elif not facts.has_limit:
            why = "Without LIMIT all rows are asked for."
        else:
            continue
        yield Finding(SLOW, f"index {index.label} is not used", f"{why} The answer is exact, over {index.rows:.0f} rows.")


def _knob(index: Index, settings: dict[str, str]) -> str:
    name = "hnsw.ef_search" if index.method == "hnsw" else "ivfflat.probes"
    return f"{name} = {settings[name]}"


def _and(scan: Scan) -> str:
    return f", and {_list(scan.drops)} removes rows from what they give" if scan.drops else ""


def _list(drops: tuple[str, ...]) -> str:
    return " and ".join(drops) if len(drops) < 3 else f"{', '.join(drops[:-1])} and {drops[-1]}"


def _few(expected: float, wanted: int) -> str:
    rows = min(expected, float(wanted)) if wanted else expected
    return f"{rows:.1f} rows" if rows < 10 and rows != wanted else f"{rows:.0f} rows"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
