"""What connections cost that have embedded: proportional set size (PSS) added, and where it goes.

PSS counts a page that n processes share as 1/n of a page in each, so the sum over all connections is memory that is really in use.
Linux only: it reads /proc of the server's processes, and so runs as root or as the server's own user.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_memory.py [--connections 20]
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from pathlib import Path

import bench_static
import psycopg
import report

from pgembed import models

KINDS = ("anonymous memory", "Python, numpy and other libraries", "the model's files", "PostgreSQL")
SHOWN = {bench_static.NAME: "a static model"}
STEPS = (
    ("PL/Python alone", "DO LANGUAGE plpython3u 'pass'"),
    ("and numpy", "DO LANGUAGE plpython3u 'import numpy'"),
)


def memory(pid: int) -> Counter[str]:
    """kB of PSS of a process by kind."""
    found: Counter[str] = Counter()
    kind = KINDS[0]
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        header = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)", line)
        if header:
            path = header[1]
            if not path or path.startswith("["):
                kind = KINDS[0]
            elif "/models/" in path:
                kind = KINDS[2]
            elif path.startswith("/usr/lib/postgresql") or path.startswith(("/dev/", "/SYSV", "anon_inode")):
                kind = KINDS[3]
            else:
                kind = KINDS[1]
        elif line.startswith("Pss:"):
            found[kind] += int(line.split()[1])
    return found


def added(url: str, connections: int, statement: str) -> Counter[str]:
    """kB of PSS that the statement adds to that many connections, by kind."""
    opened = [psycopg.connect(url, autocommit=True) for _ in range(connections)]
    try:
        for connection in opened:
            connection.execute("SELECT 1")
        before = [memory(connection.info.backend_pid) for connection in opened]
        for connection in opened:
            connection.execute(statement)
        after = [memory(connection.info.backend_pid) for connection in opened]
        difference: Counter[str] = Counter()
        for first, last in zip(before, after, strict=True):
            for kind in KINDS:
                difference[kind] += last[kind] - first[kind]
        return difference
    finally:
        for connection in opened:
            connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.connections = 2
    url = os.environ["PGEMBED_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        pid = connection.info.backend_pid
    if not os.access(f"/proc/{pid}/smaps", os.R_OK) and not os.access("/proc/1/smaps", os.R_OK):
        print("memory: /proc of the server's processes can't be read here; run it as root or as the server's user")
        return
    with bench_static.installed():
        english = "SELECT pgembed.embed('a light waterproof jacket', '{}')"
        used = [(SHOWN.get(info.name, info.name), english.format(info.name)) for info in models.installed()]
        japanese = f"SELECT pgembed.embed('軽い防水ジャケット', '{bench_static.NAME}')"
        lines = []
        for name, statement in (*STEPS, *used, ("a static model, text in Japanese", japanese)):
            found = added(url, options.connections, statement)
            lines.append([name, sum(found.values()) / 1024, *(found[kind] / 1024 for kind in KINDS)])
    header = ["what has run", "MB in all", *KINDS]
    report.show("memory", f"{options.connections} connections: PSS added, MB, all of them together", header, lines)


if __name__ == "__main__":
    main()
