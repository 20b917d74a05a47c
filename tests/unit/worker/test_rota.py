"""The rota of a worker's threads: who looks, who rests, when it is time to go."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

import pytest
from support import wait_until

from pgembed.worker.rota import FILLED_ROWS, FIRST_AVOIDED, Rota, Stopped


def resting(rota: Rota, count: int) -> list[threading.Thread]:
    """So many hands that have found nothing."""
    hands = [threading.Thread(target=rota.rest, daemon=True) for _ in range(count)]
    for hand in hands:
        hand.start()
    wait_until(lambda: rota._resting == count)
    return hands


def alive(hands: list[threading.Thread]) -> int:
    return sum(hand.is_alive() for hand in hands)


def rings(rota: Rota) -> bool:
    return bool(select.select([rota.bell], [], [], 0)[0])


def test_one_hand_looks_and_each_that_finds_something_wakes_another() -> None:
    rota = Rota("w", 3)
    assert not rota.is_idle()
    hands = resting(rota, 3)
    assert rota.is_idle()
    rota.look()
    assert not rota.is_idle()
    wait_until(lambda: alive(hands) == 2)
    rota.found()
    wait_until(lambda: alive(hands) == 1)
    rota.look()
    rota.look()  # one look is enough for both
    wait_until(lambda: alive(hands) == 0)
    rota.found()  # nobody rests: nobody is told
    again = resting(rota, 1)
    assert alive(again) == 1
    rota.stop()
    wait_until(lambda: alive(again) == 0)


def test_the_main_thread_hears_of_what_matters() -> None:
    rota = Rota("w", 1)
    assert not rings(rota)
    for matter in (rota.found, rota.stop):
        matter()
        assert rings(rota)
        rota.hear()
        assert not rings(rota)
    for _ in range(100_000):
        rota.ring()  # more than the pipe holds
    rota.hear()
    assert not rings(rota)


def test_a_hand_that_goes_to_rest_is_heard() -> None:
    rota = Rota("w", 1)
    resting(rota, 1)
    wait_until(lambda: rings(rota))
    rota.stop()


def test_check_says_when_it_is_time_to_go_and_the_first_crash_is_kept() -> None:
    rota = Rota("w", 1)
    rota.check()
    rota.pause(0)
    rota.stop(KeyError())
    rota.stop(ValueError())
    with pytest.raises(Stopped):
        rota.check()
    assert isinstance(rota.crash, KeyError)
    rota.pause(1000)  # at once
    rota.rest()


def test_a_column_is_avoided_for_longer_each_time_until_it_works() -> None:
    rota = Rota("w", 1)
    assert [rota.avoid((1, "e"), "no model") for _ in range(3)] == [FIRST_AVOIDED, 2 * FIRST_AVOIDED, 4 * FIRST_AVOIDED]
    assert [rota.avoid((2, "e"), "also", grows=False) for _ in range(2)] == [FIRST_AVOIDED] * 2
    assert rota.avoided() == {(1, "e"), (2, "e")}
    assert rota.problem() == "also; no model"
    rota.worked((1, "e"))
    assert (rota.avoided(), rota.problem()) == ({(2, "e")}, "also")
    assert rota.avoid((1, "e"), "again") == FIRST_AVOIDED


def test_what_hands_do_is_told_once_for_each_thing() -> None:
    rota = Rota("w", 3)
    assert rota.doing() is None
    rota.does(0, "t.b")
    rota.does(1, "t.a")
    rota.does(2, "t.b")
    assert rota.doing() == "t.a, t.b"
    for hand in range(3):
        rota.does(hand, None)
    assert rota.doing() is None


def test_the_same_words_are_not_said_again_soon(capsys: pytest.CaptureFixture[str]) -> None:
    rota = Rota("w", 1)
    say: Callable[..., None] = rota.say
    for message, hint in (("one", None), ("one", None), ("two", "do this")):
        say(message, hint)
    assert capsys.readouterr().err == "pgembed worker w: one\npgembed worker w: two\nhint: do this\n"


def test_a_column_that_was_filled_is_told_from_one_that_is_changed_here_and_there() -> None:
    shared = Rota("w", 1)
    for _ in range(FILLED_ROWS // 100):
        shared.tally(100, 0, (1, "embedding"))
        shared.tally(1, 3, (2, "embedding"))
    assert shared.filled() == [(1, "embedding")]
    assert (shared.done, shared.failed) == (FILLED_ROWS // 100 * 101, FILLED_ROWS // 100 * 3)
    shared.is_indexed((1, "embedding"))
    shared.tally(100, 0, (1, "embedding"))
    assert shared.filled() == []


def test_a_column_is_noted_once_a_minute_and_when_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("pgembed.worker.rota.time.monotonic", lambda: clock[0])
    rota, column = Rota("w", 1), (1, "e")
    assert rota.notable(idle=True) == []
    rota.tally(5, 0, column)
    assert rota.notable(idle=False) == []
    clock[0] += 61
    assert rota.notable(idle=False) == [column]
    assert rota.notable(idle=True) == []  # nothing was embedded since
    rota.tally(5, 0, column)
    assert rota.notable(idle=False) == []
    assert rota.notable(idle=True) == [column]
    rota.tally(5, 0, column)
    assert rota.notable(idle=True) == []  # so soon again: at the next look
    clock[0] += 61
    assert rota.notable(idle=True) == [column]
