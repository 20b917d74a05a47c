"""Signal masks: no thread that a model starts may run PostgreSQL's handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pgembed import models
from pgembed.models import threads

MASKED = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGHUP, signal.SIGCHLD}


def test_a_thread_started_inside_has_signals_blocked_and_the_caller_not() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    inside: list[set[int]] = []
    with threads.signals_blocked():
        thread = threading.Thread(target=lambda: inside.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, []))))
        thread.start()
        thread.join()
    assert inside[0] >= MASKED
    assert signal.SIGSEGV not in inside[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_the_mask_is_restored_after_an_error() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with pytest.raises(ImportError), threads.signals_blocked():
        raise ImportError
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_thread_count_is_bounded() -> None:
    assert 1 <= threads.thread_count() <= threads.MOST_THREADS


@pytest.mark.parametrize(("cores", "threads_used"), [(1, 1), (2, 2), (3, 2), (4, 2), (8, 4), (16, 8), (64, 8)])
def test_half_of_the_cores_are_left_to_others(monkeypatch: pytest.MonkeyPatch, cores: int, threads_used: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert threads.thread_count() == threads_used
    threads.limit(3)
    assert threads.thread_count() == 3
    threads.limit(None)
    assert threads.thread_count() == threads_used


SCRIPT = """
import os
from pgembed import models
model = models.load({name!r})
model.encode(["one", "two words", "and a third " * 50] * 8)
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        for line in open(f"/proc/self/task/{{task}}/status"):
            if line.startswith("SigBlk"):
                print(line.split()[1])
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc to see the threads' signal masks")
def test_every_thread_of_a_loaded_model_has_signals_blocked() -> None:
    installed = models.installed()
    if not installed:
        pytest.skip("no model is installed; python -m pgembed.models.conversion.convert does it")
    pytest.importorskip("onnxruntime")
    root = str(Path(models.__file__).parents[2])
    script = SCRIPT.format(name=installed[0].name)
    environment = os.environ | {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    wanted = sum(1 << (number - 1) for number in MASKED)
    masks = [int(line, 16) for line in run.stdout.split()]
    assert [f"{mask:x}" for mask in masks if mask & wanted != wanted] == []
    assert len(masks) > 0 or threads.thread_count() == 1


ARITHMETIC = """
import os
from pgembed.models import threads
with threads.signals_blocked():
    import numpy
found = threads._openblas()
if found is not None:
    with threads.arithmetic(2):
        inside = found[0]()
        numpy.ones((500, 500)) @ numpy.ones((500, 500))
    print(found[0](), inside, os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.parametrize(("given", "expected"), [(None, "1 2 None"), ("2", "2 2 2"), ("1", "1 1 1")])
def test_numpy_multiplies_in_one_thread_unless_it_is_told_otherwise(given: str | None, expected: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(models.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        environment.pop(name, None)
    if given is not None:
        if given > str(len(os.sched_getaffinity(0))):
            pytest.skip("OpenBLAS takes no more threads than there are cores")
        environment["OPENBLAS_NUM_THREADS"] = given
    run = subprocess.run([sys.executable, "-c", ARITHMETIC], env=environment, capture_output=True, text=True, check=True)
    if not run.stdout:
        pytest.skip("numpy has another library than OpenBLAS here")
    assert run.stdout.strip() == expected


def test_arithmetic_restores_after_an_error() -> None:
    pytest.importorskip("numpy")
    found = threads._openblas()
    if found is None:
        pytest.skip("numpy has another library than OpenBLAS here")
    before = found[0]()
    with pytest.raises(ValueError, match="x"), threads.arithmetic(before + 1):
        raise ValueError("x")
    assert found[0]() == before
