"""pgembed codec ...: what the command line says and does, and that nobody else has to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
import pytest
from psycopg import conninfo
from support import Connect, Connection

from pgembed import cli, clientdb
from pgembed.cli import progressing


class Said(NamedTuple):
    """How a command ended: status, and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def url(db: Connection, server_url: str) -> str:
    """URL of the test's database, with the table dot in it: 300 rows with vectors of eight dimensions."""
    db.execute(
        """
        CREATE TABLE dot (id int PRIMARY KEY, place int, e vector(8));
        INSERT INTO dot SELECT n, n % 7, ARRAY(SELECT sin(n * d * d)::float4 FROM generate_series(1, 8) AS d)::vector
        FROM generate_series(1, 300) AS n;
        SELECT pgembed.adopt_embedding('dot', 'e');
        """
    )
    return conninfo.make_conninfo(server_url, dbname=db.info.dbname)


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pgembed codec VERB URL` with arguments."""

    def command(verb: str, *arguments: object) -> Said:
        status = cli.main(["codec", verb, url, *map(str, arguments)])
        return Said(status, *capsys.readouterr())

    return command


def codes(db: Connection) -> list[tuple[object, ...]]:
    return db.execute(
        "SELECT column_name::text, is_active, is_filled, pending, index_name, covering_index FROM pgembed.codes ORDER BY 1"
    ).fetchall()


def test_a_codec_is_trained_added_listed_and_dropped(db: Connection, run: Run) -> None:
    assert run("list").out.split()[:2] == ["NAME", "METHOD"]
    assert run("train", "p_bad", "dot", "sign", "--no-measure").status == 0
    said = run("add", "dot", "p_bad", "--covering", "place,nowhere")
    assert (said.status, "hint: It has: " in said.err) == (1, True)
    assert codes(db) == [], "nothing is half made"
    assert run("drop", "p_bad").status == 0
    said = run("train", "p_sign", "dot", "sign", "--centered", "--no-measure")
    assert (said.status, said.out) == (0, "p_sign: trained\n"), said.err
    assert db.execute("SELECT options->>'centered' FROM pgembed.codecs").fetchone() == ("true",)
    said = run("add", "dot", "p_sign", "--covering", "place")
    assert said.status == 0, said.err
    assert said.out.startswith("public.dot.p_sign: filled, indexes of 0.")
    assert "CREATE INDEX CONCURRENTLY" in said.err
    assert codes(db) == [("p_sign", True, True, 0, "dot_p_sign_idx", "dot_place_id_p_sign_idx")]
    listed = run("list").out.splitlines()
    assert [line.split()[0] for line in listed if line] == ["NAME", "p_sign", "TABLE_NAME", "public.dot"]
    said = run("drop", "p_sign")
    assert said.status == 1
    assert "hint: " in said.err
    said = run("drop", "p_sign", "--codes")
    assert (said.status, said.out) == (0, "public.dot.p_sign: dropped\np_sign: dropped\n"), said.err
    assert codes(db) == []
    assert db.execute("SELECT count(*) FROM pgembed.codecs").fetchone() == (0,)


def test_long_calls_are_followed_by_a_bar(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is drawn on terminals only; what the server tells then goes above it."""
    followed = []

    @contextmanager
    def bar(session: clientdb.Session, url: str) -> Iterator[None]:
        said: list[str] = []
        session.say = said.append
        yield
        followed.append(said)

    monkeypatch.setattr(progressing, "bar", bar)
    assert run("train", "p_sign", "dot", "sign", "--no-measure").err == ""
    assert run("add", "dot", "p_sign").err == ""
    assert run("retrain", "p_sign", "--drop-old").err == ""
    assert run("recommend", "dot").err == ""
    assert [bool(said) for said in followed] == [True] * 4, followed


def test_add_goes_on_where_it_was_interrupted(db: Connection, run: Run) -> None:
    run("train", "p_sign", "dot", "sign", "--no-measure")
    db.execute("SELECT pgembed.add_code('dot', 'p_sign', 'short')")
    assert run("add", "public.dot", "p_sign", "--column", "short").status == 0
    assert codes(db) == [("short", True, True, 0, "dot_short_idx", None)]


def test_what_cannot_be_is_said(run: Run) -> None:
    for arguments in (("add", "nothing", "p"), ("add", 'a"b', "p"), ("train", "p", "nothing", "sign")):
        said = run(*arguments)
        assert said.status == 1
        assert "does not exist" in said.err
    said = run("add", "dot", "p")
    assert said.status == 1
    assert 'codec "p" does not exist' in said.err


def test_codecs_are_recommended_and_checked(run: Run) -> None:
    said = run("recommend", "public.dot", "--min-recall", "0.9")
    assert said.status == 0, said.err
    assert {"METHOD", "BYTES", "IS_RECOMMENDED"} <= set(said.out.splitlines()[0].split())
    run("train", "p_sign", "dot", "sign")
    said = run("check", "p_sign")
    assert said.status == 0, said.err
    assert "NEEDS_RETRAINING" in said.out.splitlines()[0]


def test_retraining_blocks_nobody(db: Connection, run: Run, connect: Connect) -> None:
    """No statement of theirs waits long for a lock, and no search fails or finds less."""
    run("train", "p_sign", "dot", "sign", "--no-measure")
    run("add", "dot", "p_sign", "--covering", "place")
    # the drift
    db.execute("INSERT INTO dot SELECT id + 1000, place, e + '[1,1,1,1,0,0,0,0]' FROM dot")
    done = threading.Event()
    errors: list[Exception] = []
    turns = {"read": 0, "write": 0}

    def loop(name: str, statements: list[str]) -> None:
        connection = connect(db)
        connection.prepare_threshold = None
        connection.execute("SET lock_timeout = '2s'")
        while not done.is_set():
            turn = turns[name] = turns[name] + 1
            for statement in statements:
                try:
                    found = connection.execute(statement.encode(), {"n": turn}).fetchall()
                    assert name == "write" or found == [(10,)]
                except (psycopg.Error, AssertionError) as error:
                    errors.append(error)

    reading = "SELECT count(*) FROM pgembed.search(NULL::dot, '[1,1,1,1,-1,-1,-1,-1]'::vector, k => 10)"
    writing = [
        "INSERT INTO dot (id, place, e) SELECT 10000 + %(n)s, 1, e FROM dot WHERE id = 1 + %(n)s %% 300 RETURNING id",
        "UPDATE dot SET e = e * '[-1,1,1,1,1,1,1,1]' WHERE id = 1 + %(n)s %% 300 RETURNING id",
        "UPDATE dot SET place = place + 1 WHERE id = 1000 + %(n)s %% 300 RETURNING id",
        "DELETE FROM dot WHERE id = 10000 + %(n)s - 20 RETURNING id",
    ]
    threads = [threading.Thread(target=loop, args=("read", [reading])), threading.Thread(target=loop, args=("write", writing))]
    for thread in threads:
        thread.start()
    try:
        said = run("retrain", "p_sign", "--drop-old")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert said.status == 0, said.err
    assert said.out.splitlines()[0] == "p_sign_2: trained"
    assert said.out.splitlines()[-1] == "p_sign: dropped"
    assert errors == []
    assert min(turns.values()) > 2
    assert codes(db) == [("p_sign_2", True, True, 0, "dot_p_sign_2_idx", "dot_place_id_p_sign_2_idx")]
    assert db.execute("SELECT count(*) FROM dot WHERE p_sign_2::bit(8) IS DISTINCT FROM p_sign_2(e)::bit(8)").fetchone() == (0,)
    assert db.execute("SELECT name FROM pgembed.codecs").fetchall() == [("p_sign_2",)]


def test_a_table_that_is_held_is_waited_for_without_a_queue(
    db: Connection, run: Run, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgembed import codecdb

    run("train", "p_sign", "dot", "sign", "--no-measure")
    monkeypatch.setattr(codecdb, "PATIENCE_SECONDS", 0.0)
    holder = connect(db)
    with holder.transaction():
        holder.execute("SELECT FROM dot LIMIT 1")
        said = run("add", "dot", "p_sign")
        assert said.status == 1
        assert "for itself" in said.err
    assert run("add", "dot", "p_sign").status == 0
