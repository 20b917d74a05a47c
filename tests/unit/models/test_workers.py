"""Batches on several threads: all are done, errors and cancels pass, signals stay with the main thread."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pgembed.models import workers


class CancelledError(Exception):
    pass


def nothing() -> None:
    pass


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_every_item_is_done_once(threads: int, count: int) -> None:
    done: list[int] = []
    workers.spread(done.append, list(range(count)), nothing, threads)
    assert sorted(done) == list(range(count))


def test_two_items_are_done_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)
    workers.spread(lambda _: both.wait() and None, [1, 2], nothing, 2)
    assert not both.broken


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_work_is_raised_and_the_rest_is_left(threads: int) -> None:
    seen = []

    def work(item: int) -> None:
        seen.append(item)
        if item == 3:
            raise ValueError("item 3")

    with pytest.raises(ValueError, match="item 3"):
        workers.spread(work, list(range(100_000)), nothing, threads)
    assert len(seen) < 100_000


def test_what_the_check_raises_stops_the_threads_before_it_is_raised() -> None:
    seen = []

    def work(item: int) -> None:
        seen.append(item)
        time.sleep(0.01)

    def check() -> None:
        if len(seen) > 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        workers.spread(work, list(range(10_000)), check, 2)
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) == count < 10_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pgembed-") and thread.is_alive() and thread.daemon]


def test_threads_run_with_signals_blocked_and_the_caller_does_not() -> None:
    masks = []

    def work(_: int) -> None:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    workers.spread(work, [1, 2], nothing, 2)
    assert all({signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM} <= mask for mask in masks)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
