"""What is asked of a search, as SQL hands it over: for search and its kin, for explain_search, and for scan_codes."""

from __future__ import annotations

from pgembed import planner, vectors


def request(
    query: bytes | None,
    k: int | None,
    condition: str | None,
    params: str | None,
    *,
    max_distance: float | None = None,
    recall: float | None = None,
    exact: bool | None = False,
    leave_out: str | None = None,
    by_path: planner.Path | None = None,
    consistency: str | None = "any",
) -> planner.Request:
    """A request of the planner, as yet unchecked.

    Args:
        query: as vector_send() makes it.
        condition: the filter; None passes every row.
        exact: NULL is false.
    """
    return planner.Request(
        query_dim=None if query is None else vectors.sent_dim(query),
        query=query,
        k=k,
        filter=condition,
        params=params,
        max_distance=max_distance,
        recall=recall,
        exact=bool(exact),
        leave_out=leave_out,
        path=by_path,
        consistency=consistency,
    )
