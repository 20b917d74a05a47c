"""The command pgembed as one program: how a database is named, what is printed, how it ends, and that TAB completes it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
from commands import COMMANDS, Run
from psycopg import conninfo
from support import Connection, MakeRole

from pgembed import errors
from pgembed.cli import codec as codec_commands
from pgembed.cli import embedding, model, program, showing

# ------------------------------------------------------------------------------------------------------------------------------ words


def test_every_command_has_help_with_an_example_that_its_parser_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert len(COMMANDS) > 35
    for words, parser in COMMANDS.items():
        said = run(*words, "--help")
        assert said.status == 0
        examples = re.findall(r"^  (pgembed .*)$", said.out, re.MULTILINE)
        assert examples, words
        for example in examples:
            given = shlex.split(re.split(r" [|>]+ ", example.replace(" || ", "||"))[0])[1:]
            assert tuple(given[: len(words)]) == words
            options, others = program.make_parser().parse_known_args(given)
            assert others == [] or words == ("server", "psql")
            assert options.action == parser.get_default("action")
    for group in {words[:1] for words in COMMANDS if len(words) > 1}:
        examples = re.findall(r"^  pgembed (\w+ [\w-]+)", run(*group, "--help").out, re.MULTILINE)
        assert examples == [" ".join(words) for words in COMMANDS if words[:1] == group]


def test_what_is_known_here_is_what_the_rooms_know() -> None:
    from pgembed import codecs, columns, following, registration

    assert tuple(codecs.METHODS) == codec_commands.METHODS
    assert (embedding._SYNC, embedding._BY_HAND) == (following.SYNC, following.BY_HAND)
    assert set(embedding._METRICS) == set(columns.OPERATORS)
    assert model._WEIGHTS == registration.WEIGHTS


def test_arguments_are_called_as_in_sql(db: Connection) -> None:
    """An option that is no argument of the function must be said here."""
    ours = {"json", "verbose", "help", "url", "database_word", "table", "column", "name", "refresh"}
    for words, function in (
        (("embedding", "add"), "add_embedding"),
        (("embedding", "adopt"), "adopt_embedding"),
        (("embedding", "alter"), "alter_embedding"),
        (("embedding", "drop"), "drop_embedding"),
        (("embedding", "refresh"), "refresh"),
        (("linker", "create"), "create_linker"),
        (("linker", "train"), "train_linker"),
        (("linker", "evaluate"), "evaluate_linker"),
        (("linker", "link"), "link_keys"),
        (("linker", "link-table"), "link_table"),
        (("codec", "recommend"), "recommend_codec"),
    ):
        asking = "SELECT proargnames::text[] FROM pg_proc WHERE proname = %s AND pronamespace = 'pgembed'::regnamespace"
        found = db.execute(asking, [function])
        (arguments,) = found.fetchone() or ([],)
        options = {action.dest for action in COMMANDS[words]._actions} - ours
        assert options <= set(arguments), (words, options - set(arguments))


@pytest.mark.parametrize(
    ("words", "url", "rest"),
    [
        (["status", "postgresql://h/d"], "postgresql://h/d", {}),
        (["status", "--json", "host=h dbname=d"], "host=h dbname=d", {"json": True}),
        (["status", "service=shop"], "service=shop", {}),
        (["status", "shop"], "shop", {}),
        (["status", "-d", "shop"], "shop", {}),
        (["codec", "list", "--database", "postgres://h/d"], "postgres://h/d", {}),
        (["codec", "train", "postgres://h/d", "n", "t", "sign"], "postgres://h/d", {"name": "n", "table": "t", "method": "sign"}),
        (["codec", "train", "--bits", "2", "postgres://h/d", "n", "t", "sign"], "postgres://h/d", {"name": "n", "bits": 2}),
        (["codec", "train", "n", "--seed", "1", "t", "sign", "--url", "service=x"], "service=x", {"name": "n", "table": "t"}),
        (["codec", "train", "n", "t", "sign"], None, {"name": "n"}),
        (["search", "t", "x", "--filter", "user = 1"], None, {"table": "t", "text": "x", "filter": "user = 1"}),
        (["search", "--filter", "user = 1", "service=x", "t", "x"], "service=x", {"filter": "user = 1"}),
        (["search", "--exact", "service=x", "t", "x"], "service=x", {"exact": True, "text": "x"}),
        (["model", "show", "--url", "service=x", "m"], "service=x", {"name": "m"}),
    ],
)
def test_a_database_is_named_anywhere(words: list[str], url: str | None, rest: dict[str, object]) -> None:
    options = program.make_parser().parse_args(words)
    assert options.url == url
    assert {name: getattr(options, name) for name in rest} == rest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("statsu",), "invalid choice"),
        (("search", "t"), "TEXT"),
        (("search", "one", "two", "three"), "one word is too many"),
        (("status", "--url", "service=x", "service=y"), "named twice"),
        (("embedding", "alter", "t", "--column", "c"), "nothing is to be changed: say --source"),
        (("status", "--jsn"), "pgembed status: unrecognized arguments: --jsn; is it --json?\nhint: pgembed status --help"),
        (("search", "t", "a\udcff"), "a word is not in UTF-8: 'a\\udcff'"),
        (("codec", "train", "n", "t", "zip"), "METHOD"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_how_to_go_on(run: Run, words: tuple[str, ...], message: str) -> None:
    said = run(*words)
    assert said.status == 2
    assert message in said.err
    assert "--help" in said.err
    assert said.out == ""


# --------------------------------------------------------------------------------------------------------------------------- databases


def test_the_database_is_the_one_that_psql_would_take(
    run: Run, url: str, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = conninfo.conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    here = {names[name]: str(value) for name, value in facts.items() if name in names}

    def finds() -> bool:
        return json.loads(run("embedding", "list", "--json").out)[0]["table_name"] == "public.thing"

    with monkeypatch.context() as environment:
        for name, value in here.items():
            environment.setenv(name, value)
        assert finds()
        environment.setenv("PGDATABASE", "postgres")
        said = run("embedding", "list", "--json", db.info.dbname)
        assert json.loads(said.out)[0]["table_name"] == "public.thing"  # a plain word, as psql takes it
    services = tmp_path / "services"
    services.write_text("[shop]\n" + "".join(f"{name}={value}\n" for name, value in facts.items() if name in names))
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    said = run("status", "service=shop")
    assert (said.status, "public.thing" in said.out) == (0, True), said.err
    monkeypatch.setenv("PGSERVICE", "shop")
    assert finds()


def test_where_nobody_names_one_that_is_told(run: Run) -> None:
    said = run("status")
    assert said.status == 1
    assert said.err.startswith("pgembed: no database is named")
    assert "hint: Name one: --url URL; or PGHOST" in said.err


def test_without_a_connection_no_traceback_is_shown(run: Run) -> None:
    for words in (
        ("status", "postgresql://localhost:1/none"),
        ("search", "service=nobody", "t", "x"),
        ("codec", "list", "hots=x"),
        ("worker", "host=/nowhere", "--once"),
        ("install", "postgresql://localhost:1/none"),
    ):
        said = run(*words)
        assert said.status == 1, words
        assert said.err.startswith("pgembed: no connection to the database\ndetail: "), said.err
        assert "Traceback" not in said.err
    assert run("doctor", "postgresql://localhost:1/none").status == 1


def test_where_a_password_is_missing_or_wrong_the_hint_says_where_it_goes(
    run: Run, url: str, db: Connection, make_role: MakeRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    role = make_role("guest")
    db.execute(f"ALTER ROLE {role} LOGIN PASSWORD 'open sesame'")
    guest = conninfo.make_conninfo(url, user=role)
    for secret in ("", "wrong"):
        monkeypatch.setenv("PGPASSWORD", secret)
        for words in (("status",), ("doctor",), ("demo",), ("install",), ("worker", "--once")):
            said = run(*words, "--url", guest)
            assert said.status == 1
            assert "The server wants a password: ~/.pgpass, PGPASSWORD or the URL" in said.err + said.out, (words, said)
    monkeypatch.setenv("PGPASSWORD", "open sesame")
    assert run("status", "--url", guest).status == 0


def test_an_older_extension_is_told(run: Run, url: str, db: Connection) -> None:
    db.execute("ALTER EXTENSION pgembed DROP VIEW pgembed.progress; DROP VIEW pgembed.progress")
    assert "hint" not in run("status", url).err
    db.execute("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'pgembed'")
    said = run("status", url)
    assert said.status == 1
    assert "hint: The database has pgembed 0.0.1, this command is of" in said.err
    assert "ALTER EXTENSION pgembed UPDATE" in said.err


def test_an_empty_name_of_a_database_is_refused(run: Run) -> None:
    """A variable that is not set: the private server's database is not meant."""
    for words in (("status", "--url", ""), ("status", " "), ("embedding", "drop", "thing", "--url="), ("model", "list", "-d", "")):
        said = run(*words)
        assert (said.status, "the name of the database is empty" in said.err) == (2, True), words


def test_the_clients_encoding_changes_nothing(run: Run, url: str, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    db.execute('ALTER TABLE thing RENAME name TO "Größe"; UPDATE thing SET "Größe" = \'Zelt für 2 ⛺\' WHERE id = 1')
    db.execute("SELECT pgembed.drop_embedding('thing'); SELECT pgembed.add_embedding('thing', '\"Größe\"', sync => 'manual')")
    db.execute("CALL pgembed.refresh('thing')")
    usual = run("search", url, "thing", "Zelt für zwei", "--json").out
    for encoding in ("LATIN1", "SQL_ASCII"):
        monkeypatch.setenv("PGCLIENTENCODING", encoding)
        assert run("search", url, "thing", "Zelt für zwei", "--json").out == usual
    assert "für 2 ⛺" in usual


def test_errors_of_the_server_are_told_with_hint_and_on_demand_sqlstate(run: Run, url: str) -> None:
    said = run("search", url, "thing", "x")  # a column of vectors of nobody knows which model
    assert (said.status, said.out) == (1, "")
    assert re.fullmatch(r"pgembed: .*\nhint: .*\n", said.err), said.err
    said = run("embedding", "refresh", url, "public.nothing", "-v")
    assert said.err.splitlines()[0] == 'pgembed: table "public.nothing" does not exist'
    assert said.err.splitlines()[-1] == "sqlstate: 42P01"
    said = run("linker", "drop", url, "nobody", "-v")
    assert said.err.splitlines()[0] == 'pgembed: linker "nobody" does not exist'
    assert [line.split(":")[0] for line in said.err.splitlines()[1:]] == ["hint", "sqlstate"]


# ------------------------------------------------------------------------------------------------------------------------------- verbs


def test_embeddings_are_added_listed_refreshed_altered_and_dropped(run: Run, url: str, db: Connection) -> None:
    said = run("embedding", "add", url, "thing", "name", "--column", "n", "--sync", "manual", "--refresh")
    assert (said.status, said.out) == (0, "public.thing.n: added\npublic.thing.n: refreshed\n"), said.err
    assert "hint: CALL pgembed.refresh('thing') embeds them." in said.err
    (row,) = [row for row in json.loads(run("embedding", "list", url, "--json").out) if row["column_name"] == "n"]
    assert (row["rows"], row["fresh"], row["source"], row["adopted"], row["last_error"]) == (3, 3, "name", False, None)
    assert run("embedding", "alter", url, "thing", "--column", "n", "--source", "name || '!'").status == 0
    assert db.execute("SELECT source FROM pgembed.embeddings WHERE column_name = 'n'").fetchone() == ("name || '!'",)
    assert run("embedding", "refresh", url, "thing", "--column-name", "n", "--no-index").status == 0
    assert run("status", url).status == 0
    assert run("embedding", "drop", url, "thing", "--column", "n").out == "public.thing: dropped\n"
    assert [row["column_name"] for row in json.loads(run("embedding", "list", url, "--json").out)] == ["e"]


def test_what_changes_something_says_what_it_did_in_json_too(run: Run, url: str, db: Connection) -> None:
    said = run("embedding", "add", url, "thing", "name", "--column", "n", "--sync", "manual", "--refresh", "--json")
    assert json.loads(said.out) == [{"name": "public.thing.n", "done": "added"}, {"name": "public.thing.n", "done": "refreshed"}]
    assert run("codec", "train", url, "c", "thing", "sign", "--column", "n", "--no-measure").status == 0
    (made,) = json.loads(run("codec", "add", url, "thing", "c", "--json").out)
    assert (made["name"], made["done"]) == ("public.thing.c", "filled")
    assert made["index_bytes"] > 0
    assert json.loads(run("codec", "drop", url, "c", "--codes", "--json").out) == [
        {"name": "public.thing.c", "done": "dropped"},
        {"name": "c", "done": "dropped"},
    ]
    told = {"worker", "demo", "install", "version", "completion", "server"}  # they print what is no document, or nothing
    without = [words for words, parser in COMMANDS.items() if "--json" not in parser._option_string_actions]
    assert {words[0] for words in without} == told


def test_what_was_done_before_it_went_wrong_is_told_in_json_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(options: argparse.Namespace) -> None:
        showing.done(options, "thing.n", "added")
        raise errors.NotReady("no model is there", hint="Add one.")

    monkeypatch.setattr(embedding, "_add", half)
    said = run("embedding", "add", "thing", "name", "--json")
    assert (said.status, json.loads(said.out)) == (1, [{"name": "thing.n", "done": "added"}])
    assert "no model is there" in said.err


def test_a_source_means_what_it_means_in_psql(run: Run, url: str, db: Connection) -> None:
    """A function of the user's own, found by the user's own path."""
    db.execute("CREATE FUNCTION loud(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(t) $$")
    assert run("embedding", "add", url, "thing", "loud(name)", "--column", "n", "--sync", "manual").status == 0


def test_search_finds_prints_and_says_where_nothing_is_found(run: Run, url: str, db: Connection) -> None:
    db.execute("SELECT pgembed.drop_embedding('thing'); SELECT pgembed.add_embedding('thing', 'name', sync => 'manual')")
    db.execute("CALL pgembed.refresh('thing')")
    said = run("search", url, "thing", "something to sleep in", "-k", "2", "--json")
    assert said.status == 0, said.err
    rows = json.loads(said.out)
    assert (rows[0]["rank"], rows[0]["name"]) == (1, "tent")
    assert len(rows) == 2
    assert set(rows[0]) == {"rank", "distance", "id", "name", "price", "made"}
    jacket = json.loads(run("search", url, "thing", "x", "--filter", "id = ($1->>'id')::int", "--params", '{"id": 1}', "--json").out)[0]
    assert (jacket["price"], jacket["made"], type(jacket["distance"])) == (79.5, "2024-02-01", float)
    lines = run("search", url, "thing", "x", "--columns", "name,price", "--exact").out.splitlines()
    assert lines[0].split() == ["RANK", "DISTANCE", "NAME", "PRICE"]
    said = run("search", url, "thing", "x", "--filter", "price > 1000", "--json")
    assert (said.status, said.out) == (3, "[]\n")
    assert "no row is found" in said.err
    assert {row["property"] for row in json.loads(run("search", url, "thing", "x", "--explain", "--json").out)} > {"path"}
    said = run("index", url, "thing", "--filter", "price < 30", "--json")
    assert isinstance(json.loads(said.out), list)


def test_a_search_prints_columns_of_any_name_and_kind(run: Run, url: str, db: Connection) -> None:
    db.execute('CREATE TABLE odd (id int PRIMARY KEY, rank int, distance text, chunk text, ok bool, j jsonb, d float8, "A b" text)')
    db.execute("INSERT INTO odd VALUES (1, 77, 'far', 'c', true, '{\"ä\": [1, null]}', 1e-5, E'\\x1b[31mtent')")
    db.execute("SELECT pgembed.add_embedding('odd', '\"A b\"', sync => 'manual')")
    assert (run("search", url, "odd", "x").out, run("search", url, "odd", "x", "--json").out) == ("", "[]\n")
    db.execute("CALL pgembed.refresh('odd')")
    (row,) = json.loads(run("search", url, "odd", "tent", "--json").out)
    assert (row["rank"], row["item.rank"], row["item.distance"], row["item.chunk"]) == (1, 77, "far", "c")
    said = run("search", url, "odd", "tent", "--columns", "ok, j,d,A b").out
    assert re.split("  +", said.splitlines()[1])[2:] == ["t", '{"ä": [1, null]}', "1e-05", "\\x1b[31mtent"]
    said = run("search", url, "odd", "tent", "--columns", "okay", "-v")
    assert said.err.splitlines()[0] == 'pgembed: table public.odd has no column "okay"'
    assert said.err.splitlines()[1].startswith("hint: It has: id, rank, distance")
    assert "hint: Write it as schema.table" in run("search", url, "Some Table", "tent").err
    assert "double quotes" in run("search", url, "Some Table", "tent").err


def test_columns_of_a_table_are_aligned_as_a_terminal_has_them() -> None:
    lines = showing.table([["日本語", "x"], ["a", "x"], ["e\u0301⛺", "x"]])
    assert lines == ["日本語  x", "a       x", "e\u0301⛺     x"]
    assert [showing._cut("日本語", most) for most in (6, 5, 4)] == ["日本語", "日本…", "日…"]
    assert [showing.cell(each) for each in (True, 0.0, 0.00012, 1234.5678, b"\x01", {"a": False}, None)] == [
        *("t", "0.000", "0.00012", "1234.568", "\\x01", '{"a": false}', "")
    ]


def test_linkers_are_created_used_and_dropped(run: Run, url: str, db: Connection) -> None:
    db.execute("UPDATE thing SET name = (ARRAY['Acme Tools', 'Fulmar Bank', 'Egret Airlines'])[id]")
    assert run("linker", "create", url, "thing", "thing", "--names", "name").out == "thing: created\n"
    (row,) = json.loads(run("linker", "list", url, "--json").out)
    assert (row["name"], row["status"], row["names"]) == ("thing", "ready", ["name"])
    said = run("linker", "link", url, "thing", "Acme Tools is rich.", "--json")
    assert [(row["mention"], row["entity_key"]) for row in json.loads(said.out)] == [("Acme Tools", "1")]
    assert run("linker", "link", url, "thing", "?").status == 3
    db.execute(
        "CREATE TABLE note (id int PRIMARY KEY, body text); INSERT INTO note VALUES (1, 'Fulmar Bank lends.'), (2, 'Egret Airlines flies.')"
    )
    assert run("linker", "link-table", url, "thing", "note", "body", "--into", "note_thing").status == 0
    assert db.execute("SELECT count(*) FROM note_thing").fetchone() == (2,)
    said = run("linker", "train", url, "thing")
    assert (said.status, "hint: " in said.err) == (1, True)
    db.execute("DROP TABLE note_thing CASCADE")
    assert run("linker", "drop", url, "thing").out == "thing: dropped\n"


def test_status_tells_of_columns_workers_and_failures(run: Run, url: str, db: Connection) -> None:
    said = run("status", url, "--json")
    found = json.loads(said.out)
    assert (said.status, set(found)) == (0, {"embeddings", "workers", "progress"})
    assert found["embeddings"][0]["rows"] == 3
    db.execute("CREATE TABLE bad (id int PRIMARY KEY, name text); INSERT INTO bad VALUES (1, 'x')")
    db.execute("SELECT pgembed.add_embedding('bad', '(1 / (id - 1))::text', sync => 'manual')")
    assert run("embedding", "refresh", url, "bad").status in (0, 1)
    said = run("status", url)
    assert (said.status, "rows have failed: public.bad.embedding" in said.err) == (1, True), said
    db.execute("SELECT pgembed.drop_embedding('bad'); SELECT pgembed.drop_embedding('thing')")
    said = run("status", url)
    assert said.status == 3
    assert "hint: pgembed embedding add" in said.err


def test_doctor_and_version(run: Run, url: str) -> None:
    from pgembed import __version__

    assert run("version").out == f"{__version__}\n"
    checks = json.loads(run("doctor", url, "--json").out)
    assert {"subject", "found", "remedy"} == set(checks[0])
    assert "extension" in [check["subject"] for check in checks]


def test_the_doctor_looks_into_the_database_that_variables_name(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, variable in (("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER"), ("dbname", "PGDATABASE")):
        monkeypatch.setenv(variable, str(conninfo.conninfo_to_dict(url)[name]))
    assert "extension" in [check["subject"] for check in json.loads(run("doctor", "--json").out)]


def test_values_in_json_are_what_they_are() -> None:
    from datetime import UTC, datetime, timedelta
    from decimal import Decimal

    plain = showing._plain({"a": Decimal("2.50"), "b": Decimal(7), "c": float("nan"), "d": datetime(2024, 1, 2, tzinfo=UTC)})
    assert plain == {"a": 2.5, "b": 7, "c": None, "d": "2024-01-02T00:00:00+00:00"}
    assert showing._plain([(1, None, True), b"\x01", timedelta(seconds=90)]) == [[1, None, True], "01", 90.0]
