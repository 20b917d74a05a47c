"""workers: batches of a model on several threads, while the main thread keeps an eye on PostgreSQL.

Whole batches side by side, one thread each, are faster than all threads in one batch: nothing waits for the slowest part of every single
operation (an eighth in fp32 and two fifths in int8, on two cores; `tests/benchmarks/bench_models.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from pgembed.models.threads import signals_blocked

Item = TypeVar("Item")

# Seconds between two looks for a cancel; far below the second within which one must take effect.
LOOK_SECONDS = 0.05


def spread(work: Callable[[Item], None], items: Sequence[Item], check: Callable[[], None], threads: int) -> None:
    """Do a piece of work for each item, each by one of several threads; return when all are done.

    Args:
        work: gives up Python's lock while it computes; must not call PostgreSQL; keeps its results itself.
        items: taken in their order.
        check: called by the calling thread about every 50 ms. What it raises is raised here once the threads have
            finished the items they are at; the rest is left undone. An error of ``work`` likewise.
        threads: how many at most; with one, or for one item, the work is done by the calling thread.
    """
    if threads <= 1 or len(items) <= 1:
        for item in items:
            check()
            work(item)
        return
    left = iter(items)
    lock = threading.Lock()
    done = threading.Condition()
    running = min(threads, len(items))
    stopped = False
    failures: list[BaseException] = []

    def run() -> None:
        nonlocal running, stopped
        try:
            while True:
                with lock:
                    if stopped:
                        return
                    try:
                        item = next(left)
                    except StopIteration:
                        return
                work(item)
        except BaseException as error:  # whatever it is belongs to the caller
            failures.append(error)
            stopped = True
        finally:
            with done:
                running -= 1
                done.notify()

    # The new threads inherit the mask: PostgreSQL's signal handlers must not run in them.
    with signals_blocked():
        for number in range(running):
            threading.Thread(target=run, name=f"pgembed-{number}", daemon=True).start()
    try:
        while True:
            with done:
                if not running:
                    break
                done.wait(LOOK_SECONDS)
            check()
    finally:
        stopped = True
        with done:
            while running:
                done.wait()
    if failures:
        raise failures[0]
