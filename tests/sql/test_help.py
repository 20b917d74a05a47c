"""pgembed.help(): what it says agrees with the catalogs, and every example in it runs. And what psql shows: comments, widths, shortcuts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from psycopg import conninfo
from support import AsRole, Connection, MakeRole, Refused

from pgembed import guide

pytestmark = pytest.mark.one_transaction

PUBLIC = "n = 'pgembed'::regnamespace AND name NOT LIKE '\\_%'"
CALLABLE = f"SELECT DISTINCT name FROM (SELECT pronamespace AS n, proname::text AS name FROM pg_proc) AS p WHERE {PUBLIC}"
VIEWS = f"SELECT name FROM (SELECT relnamespace AS n, relname::text AS name FROM pg_class WHERE relkind = 'v') AS c WHERE {PUBLIC}"
TYPES = """
    SELECT typname::text FROM pg_type
    WHERE typnamespace = 'pgembed'::regnamespace AND typrelid = 0 AND typcategory <> 'A' AND typname NOT LIKE '\\_%'
"""
# What a terminal of 120 characters has room for.
WIDTH = 120


def names(db: Connection, statement: str) -> set[str]:
    return {row[0] for row in db.execute(statement.encode()).fetchall()}


def told(db: Connection, topic: str | None = None) -> list[str]:
    return [row[0] for row in db.execute("SELECT pgembed.help(%s)", [topic]).fetchall()]


def psql(url: str, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = ["psql", "-v", "ON_ERROR_STOP=1", *([] if environment else ["-X"]), url]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def url_of(db: Connection, server_url: str) -> str:
    return conninfo.make_conninfo(server_url, dbname=db.info.dbname)


def topics() -> dict[str, guide.Topic]:
    return {topic.name: topic for subject in guide.subjects() for topic in subject.topics}


def test_there_is_help_on_everything_public(db: Connection) -> None:
    public = names(db, CALLABLE) | names(db, VIEWS) | names(db, TYPES)
    assert set(topics()) == public | {"tables"}
    for name, topic in topics().items():
        assert topic.example, name
        assert set(topic.related) <= set(topics()) - {name}, name
        assert name == "tables" or re.search(rf"\bpgembed\.{name}\b", topic.example), f"{name} is not in its example"


def test_the_overview_names_every_topic_and_fits(db: Connection) -> None:
    lines = told(db)
    first = {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "}
    assert first == set(topics()) - {"tables"}
    assert max(map(len, lines)) <= WIDTH
    for subject in guide.subjects()[1:]:
        assert any(line.startswith(f"{subject.name}: ") for line in lines)
        if subject.name not in topics():
            assert set(told(db, subject.name)) <= set(lines)


def test_a_topic_tells_arguments_results_and_related(db: Connection) -> None:
    lines = told(db, "search")
    said = "\n".join(lines)
    assert re.search(r"^  k +integer +DEFAULT 10$", said, re.MULTILINE)
    assert re.search(r"^  distance +double precision$", said, re.MULTILINE)
    for part in ("nearest to a text", "nearest to a vector", "see also: explain_search", "pgembed.search(NULL::product"):
        assert part in said
    assert told(db, " pgembed.Search(text) ") == lines
    assert "  pending" in "\n".join(told(db, "embeddings"))
    for name, first in (("search", "a text"), ("embed", "of a text"), ("freshness", "from its vector"), ("distance", "of two rows")):
        assert first in told(db, name)[1]
        assert any(re.match(rf"  {name} .*{first}", line) for line in told(db)), name
    for name in topics():
        assert not [number for number, line in enumerate(told(db, name)) if line == told(db, name)[number - 1] == ""], name
    assert "CALL refresh(" in told(db, "refresh")
    assert any(line.startswith('  "precision"') for line in told(db, "link"))


def test_every_topic_fits_a_terminal(db: Connection) -> None:
    for name, topic in topics().items():
        examples = {f"  {line}" for line in topic.example.splitlines()} | set(topic.example.splitlines())
        assert [line for line in told(db, name) if len(line) > WIDTH and line not in examples] == [], name


def test_an_unknown_topic_names_those_like_it(db: Connection, refused: Refused) -> None:
    refused(db, "42704", "SELECT pgembed.help('serch')", message='no help on "serch"', hint="Is it search")
    refused(db, "42704", "SELECT pgembed.help('xyzzy')", hint="SELECT pgembed.help() lists")


def test_anybody_may_ask_for_help(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    with as_role(db, make_role("anybody")):
        assert told(db, "doctor")
        assert not any("You may not" in line for line in told(db, "search"))
        grants = [line for line in told(db, "register_model") if line.startswith("  GRANT ")]
    assert [re.sub(r" TO .*anybody.*;", " TO anybody;", line) for line in grants] == [
        "  GRANT EXECUTE ON FUNCTION pgembed.register_model TO anybody;"
    ]
    assert not any("You may not" in line for line in told(db, "register_model"))


@pytest.mark.own_database
def test_every_example_runs(db: Connection, server_url: str) -> None:
    script = "\n".join(topic.example for subject in guide.subjects() for topic in subject.topics)
    ran = psql(url_of(db, server_url), script)
    assert ran.returncode == 0, ran.stderr[-2000:]
    # the pairs are made up
    assert [line for line in ran.stderr.splitlines() if "WARNING" in line and "the adapter is not installed" not in line] == []


@pytest.mark.own_database
def test_the_lines_for_psqlrc_work(db: Connection, server_url: str, tmp_path: Path) -> None:
    db.execute(
        "CREATE TABLE spot (id int PRIMARY KEY, name text, e vector(384)); SELECT pgembed.adopt_embedding('spot', 'e', 'all-minilm-l6-v2')"
    )
    db.execute("INSERT INTO spot SELECT 1, 'east', pgembed.embed('east'); INSERT INTO spot SELECT 2, 'west', pgembed.embed('west')")
    rc = tmp_path / "psqlrc"
    rc.write_text("\n".join(guide.psqlrc()) + "\n")
    shortcuts = re.findall(r"^\\set (\w+) '\s*(?:SELECT)", rc.read_text(), re.MULTILINE)
    assert {"embeddings", "workers", "progress", "search", "help"} <= set(shortcuts)
    everything = "\n".join(f":{name}" for name in shortcuts if name != "search")
    ran = psql(url_of(db, server_url), f"\\set in spot\n\\set for 'where the sun rises'\n:search\n{everything}\n", PSQLRC=str(rc))
    assert ran.returncode == 0, ran.stderr
    assert "spot has no more rows" in ran.stderr
    assert '"name": "east"' in ran.stdout
    assert "0.1" not in ran.stdout.split("row")[0]
    assert "Expanded display" not in ran.stdout


def test_columns_of_views_have_short_comments(db: Connection) -> None:
    found = db.execute(
        """
        SELECT c.relname || '.' || a.attname, coalesce(col_description(c.oid, a.attnum), '') FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'pgembed'::regnamespace AND c.relkind = 'v' AND c.relname NOT LIKE '\\_%' AND a.attnum > 0
        """
    ).fetchall()
    assert len(found) > 200
    assert [name for name, comment in found if not 2 <= len(comment) <= 64] == []


def test_comments_begin_with_a_short_clause(db: Connection) -> None:
    """It is what lists show, and what the overview of help() shows."""
    found = db.execute(
        """
        SELECT d.objid::text, pg_describe_object(d.classid, d.objid, 0), obj_description(d.objid, d.classid::regclass::text)
        FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid AND d.deptype = 'e'
        WHERE x.extname = 'pgembed' AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)
        """
    ).fetchall()
    said = [(name, comment) for _, name, comment in found if comment and not comment.startswith("internal: ")]
    assert len(said) > 90
    assert [name for name, comment in said if len(re.split("; |: ", comment)[0]) > 105 or len(comment) > 240] == []


# As wide as in a database of an ordinary application.
WIDE = {
    "table_name": 22,
    "sqlstate": 8,
    "key": 10,
    "column_name": 16,
    "name": 24,
    "model": 24,
    "source": 18,
    "text_column": 12,
    "entities": 22,
    "corrections": 22,
    "status": 30,
    "target": 22,
    "destination": 16,
    "linker": 12,
}
BY_TYPE = {
    "bigint": 9,
    "integer": 7,
    "double precision": 8,
    "boolean": 2,
    "timestamp with time zone": 29,
    "text": 16,
    "name": 18,
    "interval": 15,
}


def test_the_first_columns_of_views_fit_a_terminal(db: Connection) -> None:
    views = names(db, VIEWS)
    assert len(views) == 15
    for view in views:
        columns = db.execute(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = ('pgembed.' || %s)::regclass AND attnum BETWEEN 1 AND 6 ORDER BY attnum",
            [view],
        ).fetchall()
        width = sum(max(len(name), WIDE.get(name) or BY_TYPE.get(kind, 18)) + 3 for name, kind in columns)
        assert width <= WIDTH, (view, width, columns)
        assert not {"fingerprint", "options", "report", "measured", "last_error"} & {name for name, _ in columns}
