"""Workers are killed while they claim, embed and write what others write all the time; others take over, and nothing is lost."""

from __future__ import annotations

import pytest
from kill.scene import Open
from kill.support import pause, portions, wait_until

HANDS = 3


@pytest.mark.parametrize(("seed", "kills"), portions("worker", 30))
def test_workers_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed, shape=("plain", "partitioned")[seed % 2])
    drawn = here.drawn
    here.write(2, pace=0.02)

    def hire() -> None:
        here.hire("--jobs", str(drawn.randint(1, 2)), "--batch-size", str(drawn.choice([3, 10, 60])))

    for _ in range(HANDS):
        hire()
    wait_until(lambda: all(worker.is_ready() for worker in here.workers), "the start of workers")
    for number in range(kills):
        wait_until(lambda: sum(worker.is_ready() for worker in here.workers) > 1, "a worker that can be killed")
        waited = pause(drawn, 0.15)
        # now and then one that is still starting
        able = [worker for worker in here.workers if worker.is_ready()] if drawn.random() < 0.9 else here.workers
        victim = drawn.choice(able)
        victim.kill()
        victim.must_be_well()
        here.workers.remove(victim)
        hire()
        here.prove(f"{number}: a worker after {waited:.3f} s", lost=number % 5 == 0)
    here.settle()
    assert here.dead_claims > 0, "no worker has died with a claim: nothing was tried"
