"""The command line and psql, for a login role that owns a schema and may do nothing else: what it does works, the rest says whose it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from administered import KEEPER, Place, prepared
from commands import Run, Said, start
from psycopg import conninfo


@pytest.fixture(scope="module")
def _place(server_url: str, _installed_clones: Any) -> Iterator[Place]:
    with prepared(server_url, _installed_clones) as made:
        made.administrator.execute("CREATE TABLE alien (id int PRIMARY KEY, name text)")
        made.administrator.execute("SELECT pgembed.add_embedding('alien', 'name')")
        yield made


@pytest.fixture
def place(_place: Place) -> Place:
    _place.tidy()
    with _place.connect() as keeper:
        keeper.execute("CREATE TABLE thing (id int PRIMARY KEY, name text)")
        words = "(ARRAY['rain coat ', 'wool hat ', 'tent pole '])[1 + n % 3] || n"
        keeper.execute(f"INSERT INTO thing SELECT n, {words} FROM generate_series(1, 60) AS n")
    return _place


@pytest.fixture
def command(run: Run, place: Place) -> Run:
    """Run a command as the keeper."""

    def as_keeper(*words: object) -> Said:
        return run(*words, "--url", place.url)

    return as_keeper


def test_what_is_the_keepers_works(command: Run, place: Place) -> None:
    def done(*words: object) -> str:
        said = command(*words)
        assert said.status == 0, said.err
        assert "Traceback" not in said.err
        return said.out

    done("embedding", "add", "thing", "name", "--refresh", "--sync", "manual")
    # of others' tables it sees that they are there, and counts nothing
    rows = [(row["table_name"], row["fresh"]) for row in json.loads(done("embedding", "list", "--json"))]
    assert rows == [(f"{KEEPER}.thing", 60), ("public.alien", None)]
    with place.connect() as keeper:
        keeper.execute("UPDATE thing SET name = 'garden hose' WHERE id = 7")
    done("embedding", "refresh", "thing")
    assert json.loads(done("search", "thing", "garden hose", "-k", "1", "--json"))[0]["id"] == 7
    assert json.loads(done("status", "--json"))["embeddings"][0]["fresh"] == 60
    done("codec", "train", "c", "thing", "sign", "--no-measure")
    done("codec", "add", "thing", "c")
    done("linker", "create", "things", "thing", "--names", "name")
    with place.connect() as keeper:
        keeper.execute("CREATE TABLE note (id int PRIMARY KEY, body text); INSERT INTO note VALUES (1, 'the wool hat 4')")
    done("linker", "link-table", "things", "note", "body", "--into", "note_thing")
    assert command("linker", "train", "things").status == 1
    assert {row["name"] for row in json.loads(done("model", "list", "--json"))} >= {"all-minilm-l6-v2", "pgembed-tiny"}
    assert isinstance(json.loads(command("doctor", "--json").out), list)
    assert command("codec", "drop", "c", "--codes").out.endswith("c: dropped\n")
    done("embedding", "drop", "thing")


def test_the_keeper_has_a_report(command: Run, place: Place, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("sklearn")
    page = tmp_path / "page.html"
    assert command("embedding", "add", "thing", "name", "--refresh", "--sync", "manual").status == 0
    said = command("report", "thing", "-o", page, "--seconds", "0")
    assert (said.status, said.err) == (0, ""), said.err
    assert "thing" in page.read_text("utf-8")
    with place.connect() as keeper:
        log = keeper.execute("SELECT table_name::text, fresh FROM pgembed.freshness_log ORDER BY at DESC LIMIT 1").fetchone()
    assert log == ("thing", 60)
    said = command("report", "alien", "-o", page, "--seconds", "0")
    assert "permission denied for table alien" in said.err


def test_a_worker_works_on_the_keepers_tables(place: Place) -> None:
    with place.connect() as keeper:
        keeper.execute("SELECT pgembed.add_embedding('thing', 'name', sync => 'queued', model => 'all-minilm-l6-v2')")
    ended = start("worker", "--url", place.url, "--once", stderr=subprocess.PIPE)
    _, told = ended.communicate(timeout=60)
    assert ended.returncode == 0, told
    with place.connect() as keeper:
        assert keeper.execute("SELECT fresh FROM pgembed.embeddings WHERE model = 'all-minilm-l6-v2'").fetchone() == (60,)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            ("model", "add", "m", "http://127.0.0.1:9/v1", "--remote-model", "m"),
            "permission denied for function register_model",
            'An administrator can do it, or allow it: GRANT EXECUTE ON FUNCTION pgembed.register_model TO "{keeper}".',
        ),
        (
            ("model", "distill", "d", "--from", "all-minilm-l6-v2", "--corpus", "public.alien.name"),
            "permission denied for table alien",
            'Whoever owns the table can GRANT the right to "{keeper}".',
        ),
        (("demo",), "permission denied for database", 'Whoever owns the database can GRANT the right to "{keeper}".'),
        (("install",), "is not a superuser", "Name one in the URL"),
        (("embedding", "drop", "alien"), "must be owner of table", 'Its owner is the role "postgres"'),
        (("embedding", "refresh", "alien"), "must be owner of table", 'Its owner is the role "postgres"'),
        (("codec", "train", "c", "alien", "sign"), "must be owner of table", 'Its owner is the role "postgres"'),
        (("linker", "create", "l", "alien", "--names", "name"), "must be owner of table", 'Its owner is the role "postgres"'),
        (("search", "alien", "x"), "permission denied for table alien", "Rows need SELECT on alien"),
        (("embedding", "add", "elsewhere", "name"), 'table "elsewhere" does not exist', "Write it as schema.table; without a schema"),
    ],
)
def test_what_is_not_the_keepers_says_whose_it_is(command: Run, place: Place, words: tuple[str, ...], message: str, hint: str) -> None:
    said = command(*words, "-v")
    assert said.status == 1
    assert f"sqlstate: {'42P01' if 'does not exist' in message else '42501'}" in said.err
    assert message in said.err
    assert f"hint: {hint.format(keeper=KEEPER)}" in said.err  # names of tests are the same in all processes


def test_a_schema_that_is_only_called_like_a_role_is_not_its_own(run: Run, place: Place, server_url: str) -> None:
    """Who may create schemas could call one like a superuser, and wait."""
    place.administrator.execute(f"CREATE SCHEMA postgres AUTHORIZATION {KEEPER}; CREATE TABLE postgres.alien (id int PRIMARY KEY)")
    said = run("embedding", "list", "--json", "--url", conninfo.make_conninfo(server_url, dbname=place.name))
    assert [row["table_name"] for row in json.loads(said.out)] == ["public.alien"]
    said = run("search", "alien", "x", "--explain", "--url", conninfo.make_conninfo(server_url, dbname=place.name))
    assert "public.alien" in said.out or said.status == 0, said.err
    with place.connect() as keeper:
        keeper.execute("CREATE TABLE alien (id int PRIMARY KEY)")  # the role's own is before that of public, as in psql
    assert "has no embedded column" in run("embedding", "refresh", "alien", "--url", place.url).err


def test_psql_helps(place: Place, tmp_path: Path) -> None:
    def psql(*commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        ran = subprocess.run(["psql", "-X", "-At", place.url, *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert "search" in psql("SELECT pgembed.help()")
    assert "examples" in psql("SELECT pgembed.help('search')")
    lines = tmp_path / "psqlrc"
    lines.write_text(psql("SELECT pgembed.help('psqlrc')"))
    psql(f"\\i {lines}", "SELECT * FROM pgembed.embeddings", "\\dx+ pgembed")
