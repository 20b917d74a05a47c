"""Backends are killed, and with each all sessions of the server end: in refresh and work, in a worker's sessions, in writers."""

from __future__ import annotations

import pytest
from kill.scene import Open
from kill.support import pause, portions, wait_until
from kill.writers import POISON

HAND = "^pgembed worker .*: "
AT_WORK = "SELECT EXISTS (SELECT FROM pgembed._claim WHERE pid = ANY (%s) AND EXISTS (SELECT FROM pg_stat_get_activity(pid)))"


@pytest.mark.parametrize(("seed", "kills"), portions("call", 20))
def test_calls_that_embed_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed, shape=("partitioned", "plain")[seed % 2])
    drawn = here.drawn
    here.write(2, pace=0.02)
    worker = here.hire("--jobs", "2", "--batch-size", "10")
    for statement in ("CALL pgembed.refresh('doc', batch_size => 20)", "CALL pgembed.work(batch_size => 10)"):
        here.call(statement)
    wait_until(worker.is_ready, "the start of a worker")

    def is_at_work() -> bool:
        """A call has come to its end, or has rows in hand."""
        calling = [caller.pid for caller in here.callers if caller.is_calling]
        found = here.mortal.db.execute(AT_WORK, [calling]).fetchone()
        return found == (True,) or any(caller.calls for caller in here.callers)

    def able() -> dict[int, str]:
        """Who can be killed: those who call, and a hand of the worker."""
        found = {caller.pid: caller.statement for caller in here.callers if caller.is_calling}
        found |= dict(
            here.mortal.db.execute("SELECT pid, 'worker' FROM pg_stat_activity WHERE application_name ~ %s LIMIT 1", [HAND]).fetchall()
        )
        return {pid: who for pid, who in found.items() if here.mortal.is_backend(pid)}

    for number in range(kills):
        wait_until(is_at_work, "a call that is at work")
        waited = pause(drawn, 0.4)
        wait_until(lambda: bool(able()), "a backend that can be killed")
        victim, who = drawn.choice(list(able().items()) or [(here.callers[0].pid, here.callers[0].statement)])
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
