"""The whole server is killed: its first process, alone or with all others, while rows are written and embedded in every way."""

from __future__ import annotations

import pytest
from kill.scene import Open
from kill.support import pause, portions, wait_until


@pytest.mark.parametrize(("seed", "kills"), portions("postmaster", 10))
def test_servers_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed, sync=("auto", "queued")[seed % 2], shape=("plain", "partitioned")[seed % 2])
    here.write(2, pace=0.02)
    worker = here.hire("--batch-size", "10")
    here.call("CALL pgembed.refresh('doc', batch_size => 20)")
    wait_until(worker.is_ready, "the start of a worker")
    for number in range(kills):
        done = [writer.transactions for writer in here.writers]
        wait_until(lambda done=done: all(one.transactions > was for one, was in zip(here.writers, done, strict=True)), "transactions")
        wait_until(lambda: here.callers[0].is_calling, "a call")
        waited = pause(here.drawn, 0.9)
        alone = here.drawn.random() < 0.5
        here.mortal.kill_postmaster(alone=alone)
        here.prove(f"{number}: the postmaster{'' if alone else ' and all others'} after {waited:.3f} s")
    here.settle()
