"""The semantic join against what was asked of it: candidates, decisions, labels, speed, bad input, and what is built on it.

Each part is a module of its own, whose docstring tells what it does: join_candidates.py, join_decisions.py (without labels),
join_labels.py, join_speed.py (through SQL, against LATERAL over pgvector's HNSW and numpy's bare product), join_input.py and
join_groups.py (duplicates, labels by description, topics). Parts whose data or server is absent say so and are left out.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_joins.py [--quick] [--only candidates,speed] [--held-out]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import join_candidates
import join_decisions
import join_groups
import join_input
import join_labels
import join_speed

PARTS = ("candidates", "decisions", "labels", "speed", "input", "groups")
IN_SERVER = {"speed", "input"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small tables, to see that it runs; nothing is kept for README.md")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between (default: %(default)s)")
    parser.add_argument("--held-out", action="store_true", help="labels: score fifths of train, and leave valid alone")
    options = parser.parse_args()
    parts = options.only.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--only names parts of {', '.join(PARTS)}, not {', '.join(sorted(set(parts) - set(PARTS)))}")
    if options.quick:
        os.environ.pop("PGEMBED_BENCH", None)  # small numbers take no place of large ones
    runs: dict[str, Callable[[], None]] = {
        "candidates": lambda: join_candidates.run(quick=options.quick),
        "decisions": lambda: join_decisions.run(quick=options.quick),
        "labels": lambda: join_labels.run(quick=options.quick, held_out=options.held_out),
        "speed": lambda: join_speed.run(os.environ["PGEMBED_URL"], quick=options.quick),
        "input": lambda: join_input.run(os.environ["PGEMBED_URL"], quick=options.quick),
        "groups": lambda: join_groups.run(quick=options.quick),
    }
    for part in parts:
        print(f"\n-- {part}", flush=True)
        if part in IN_SERVER and "PGEMBED_URL" not in os.environ:
            print("skipped: needs a server, and PGEMBED_URL is not set")
            continue
        began = time.perf_counter()
        try:
            runs[part]()
        except SystemExit as end:  # data that is absent was named
            if end.code:
                raise
        print(f"-- {part}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
