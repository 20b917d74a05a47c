"""The execution of a dense join as a function of a database, as it runs below semantic_join: STABLE, inside a backend."""

from __future__ import annotations

# With watch peak is of resident memory in kilobytes since the call began, beside what the backend had before.
FUNCTION = """
CREATE OR REPLACE FUNCTION joined(
    left_table regclass, right_table regclass, k int DEFAULT 1, max_distance float8 DEFAULT NULL, search_recall float8 DEFAULT 1,
    mutual boolean DEFAULT false, strategy text DEFAULT NULL, same boolean DEFAULT false, watch boolean DEFAULT false,
    OUT left_places text[], OUT right_places text[], OUT distances float8[], OUT ranks int[], OUT parts int, OUT peak int, OUT took text
)
LANGUAGE plpython3u STABLE AS $python$
from pgembed import columns
from pgembed.joining import contract, costs, execution, memory, sources
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

@boundary
def run():
    from pgembed import progress
    import numpy  # what Python takes by itself is no part of a join's memory
    if watch:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    before = status("VmRSS")
    column = lambda table: columns.column(DATABASE, table, None)
    left, right = sources.of_column(column(left_table), "l"), sources.of_column(column(right_table), "r")
    request = contract.Request(
        left, right, k, max_distance, column(left_table).metric, mutual, same, False, search_recall, memory.bound(DATABASE)
    )
    if strategy is not None:
        whole = costs.choices
        costs.choices = lambda *asked, **options: sorted(whole(*asked, **options), key=lambda choice: choice.strategy != strategy)
    try:
        took = costs.choices(request, costs.estimated(DATABASE, left), costs.estimated(DATABASE, right))[0].strategy
        with progress.shown(DATABASE, "join", "left ~ right"):
            parts = list(execution.run(DATABASE, request))
    finally:
        if strategy is not None:
            costs.choices = whole
    joined = lambda of: [one for part in parts for one in getattr(part, of)]
    numbers = lambda of: [one for part in parts for one in getattr(part, of).tolist()]
    peak = status("VmHWM") - before
    return (joined("left_places"), joined("right_places"), numbers("distance"), numbers("rank"), len(parts), peak, took)
return run()
$python$
"""
