"""Settings of a database for plain SQL: bodies of ``sql/functions/search_defaults.sql``."""

from __future__ import annotations

from typing import Any

from pgembed.checking import defaults
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def set_search_defaults(
    iterative_scan: str | None,
    ef_search: int | None,
    max_scan_tuples: int | None,
    scan_mem_multiplier: float | None,
    max_probes: int | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed.set_search_defaults`."""
    # ivfflat has no strict order
    lists = "relaxed_order" if iterative_scan == "strict_order" else iterative_scan
    wanted = {
        "hnsw.iterative_scan": iterative_scan,
        "hnsw.ef_search": ef_search,
        "hnsw.max_scan_tuples": max_scan_tuples,
        "hnsw.scan_mem_multiplier": None if scan_mem_multiplier is None else f"{scan_mem_multiplier:g}",
        "ivfflat.iterative_scan": lists,
        "ivfflat.max_probes": max_probes,
    }
    return defaults.put(DATABASE, registry.write_for, wanted)


@boundary
def reset_search_defaults() -> list[dict[str, Any]]:
    """Body of `pgembed.reset_search_defaults`."""
    return defaults.take_back(DATABASE, registry.write_for)
