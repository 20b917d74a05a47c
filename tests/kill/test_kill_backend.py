"""Backends are killed, and with each all sessions of the server end: in refresh and work, in a worker's sessions, in writers."""

from __future__ import annotations

import pytest
from kill.scene import Open
from kill.support import pause, portions, wait_until
from kill.writers import POISON


@pytest.mark.parametrize(("seed", "kills"), portions("call", 20))
def test_calls_that_embed_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed, shape=("partitioned", "plain")[seed % 2])
    drawn = here.drawn
    here.write(2, pace=0.02)
    worker = here.hire("--jobs", "2", "--batch-size", "10")
    for statement in ("CALL pgembed.refresh('doc', batch_size => 20)", "CALL pgembed.work(batch_size => 10)"):
        here.call(statement)
    wait_until(worker.is_ready, "the start of a worker")
    for number in range(kills):
        wait_until(lambda: any(caller.calls for caller in here.callers), "a call")
        waited = pause(drawn, 0.4)
        sessions = [caller.pid for caller in here.callers if caller.is_calling]
        hands = here.mortal.db.execute("SELECT pid FROM pg_stat_activity WHERE application_name ~ '^pgembed worker .*: '").fetchall()
        victim = drawn.choice([*sessions, *(row[0] for row in hands[:1])] or [here.callers[0].pid])
        if not here.mortal.is_backend(victim):
            victim = drawn.choice([row[0] for row in hands])
        who = "worker" if victim not in sessions else here.callers[sessions.index(victim)]._statement
        here.mortal.kill_backend(victim)
        here.prove(f"{number}: a backend of {who} after {waited:.3f} s")
        for caller in here.callers:
            caller.calls = 0
    here.settle()
    assert here.dead_claims > 0, "none has died with a claim: nothing was tried"


@pytest.mark.parametrize(("seed", "kills"), portions("writer", 15))
def test_writers_that_embed_at_once_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed, sync="immediate", shape=("plain", "partitioned")[seed % 2])
    drawn = here.drawn
    here.write(2, pace=0)
    # a row that has failed, and has another key now, is left to workers
    late = f"SELECT * FROM doc WHERE topic <> '{POISON}' AND pgembed.freshness(embedding, embedding_hash) IN ('pending', 'stale')"
    for number in range(kills):
        done = [writer.transactions for writer in here.writers]
        wait_until(lambda done=done: all(one.transactions > was for one, was in zip(here.writers, done, strict=True)), "transactions")
        waited = pause(drawn, 0.1)
        here.mortal.kill_backend(drawn.choice(here.writers).pid)
        here.prove(f"{number}: a writer after {waited:.3f} s")
        left = here.mortal.db.execute(late.encode()).fetchall()
        assert left == [], f"rows were committed without their vectors: {left}"
    here.settle()
