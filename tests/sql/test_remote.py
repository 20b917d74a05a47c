"""Remote models through SQL, against a server on this machine: who may register and call them, keys, cancels, answers that are none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from fake_endpoint import DIM, FakeEndpoint, as_json, hang, item, poisoned_by, response, serving, status, vector
from psycopg.types.json import Jsonb
from support import AsRole, Connect, Connection, MakeRole, Refused, counts, states, wait_until

KEY = "sk-live-0123456789abcdef"


Register = Callable[..., None]


@pytest.fixture
def register(db: Connection, fake: FakeEndpoint) -> Register:
    """Register the model `far`, with arguments of register_model() and options of the endpoint."""

    def run(arguments: str = "", **options: Any) -> None:
        db.execute(
            f"SELECT pgembed.register_model('far', %s, remote_model => 'the-model', options => %s {arguments})", [fake.url, Jsonb(options)]
        )
        fake.requests.clear()

    return run


@pytest.fixture
def alice(db: Connection, make_role: MakeRole) -> str:
    """A role with a schema of its own, a table of three texts in it, and no other right."""
    role = make_role("alice")
    db.execute(f"CREATE SCHEMA a AUTHORIZATION {role}")
    db.execute("CREATE TABLE a.note (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO a.note VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    db.execute(f"ALTER TABLE a.note OWNER TO {role}")
    return role


def embed(db: Connection, text: str) -> list[float]:
    row = db.execute("SELECT pgembed.embed(%s, 'far')::real[]", [text]).fetchone()
    assert row is not None
    numbers: list[float] = row[0]
    return numbers


# Registration -----------------------------------------------------------------------------------------------------------------


def test_a_model_is_registered_with_what_the_endpoint_gives(db: Connection, register: Register) -> None:
    register()
    row = db.execute("SELECT kind, dim, normalized, in_backends, max_tokens FROM pgembed.models WHERE name = 'far'").fetchone()
    assert row == ("remote", DIM, True, False, None)


def test_only_a_superuser_registers_and_grants(db: Connection, fake: FakeEndpoint, register: Register, alice: str, as_role: AsRole) -> None:
    register()
    with as_role(db, alice):
        for statement in (
            f"SELECT pgembed.register_model('near', '{fake.url}', remote_model => 'm')",
            f"SELECT pgembed.register_model('far', '{fake.url}', remote_model => 'm')",
            "SELECT pgembed.register_model('near', 'far', dim => 4)",
            "SELECT pgembed.grant_model('far')",
            "SELECT pgembed.drop_model('far')",
            "UPDATE pgembed._model SET in_backends = true",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)
    assert fake.requests == []


def test_dimensions_are_cut_where_the_endpoint_cannot(db: Connection, fake: FakeEndpoint, register: Register) -> None:
    fake.default = lambda request: iter([response(200, as_json({"data": [item(n, vector(t)) for n, t in enumerate(request.texts)]}))])
    register(", dim => 4")
    db.execute("SELECT pgembed.grant_model('far')")
    first = np.array(vector("tent")[:4])
    np.testing.assert_allclose(embed(db, "tent"), first / np.linalg.norm(first), rtol=1e-5)


def test_dimensions_are_asked_for_where_the_endpoint_can(db: Connection, fake: FakeEndpoint, register: Register) -> None:
    register(", dim => 4")
    db.execute("SELECT pgembed.grant_model('far')")
    np.testing.assert_allclose(embed(db, "tent"), vector("tent", 4), rtol=1e-5)
    assert fake.requests[0].said["dimensions"] == 4


def test_prompts_are_sent(db: Connection, fake: FakeEndpoint, register: Register) -> None:
    register(", query_prompt => 'query: ', document_prompt => 'passage: '")
    db.execute("SELECT pgembed.grant_model('far')")
    db.execute("SELECT pgembed.embed('tent', 'far'), pgembed.embed(ARRAY['stove'], 'far')")
    assert [request.texts for request in fake.requests] == [["query: tent"], ["passage: stove"]]


@pytest.mark.parametrize(
    "url", [f"http://user:{KEY}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={KEY}", f"http://127.0.0.1/v1#{KEY}", "http://"]
)
def test_a_url_with_a_secret_in_it_is_refused(db: Connection, refused: Refused, url: str) -> None:
    error = refused(db, "22023", "SELECT pgembed.register_model('far', %s, remote_model => 'm')", [url], message="the URL", hint="")
    assert KEY not in str(error)


def test_a_key_itself_is_refused(db: Connection, fake: FakeEndpoint, refused: Refused) -> None:
    statement = "SELECT pgembed.register_model('far', %s, remote_model => 'm', api_key => %s)"
    error = refused(db, "22023", statement, [fake.url, KEY], message="say where the key is", hint="have the key replaced")
    assert KEY not in str(error)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("behaviour", "sqlstate", "message", "hint"),
    [
        (status(401, f"bad key {KEY}"), "38000", "HTTP 401", "without api_key"),
        (status(404, "no such model"), "38000", "HTTP 404", "/v1"),
        (status(307, "", "Location: http://elsewhere.invalid/v1"), "38000", "a redirect, which is not followed", "elsewhere.invalid"),
        (status(503, "no"), "58000", "HTTP 503, 2 times", "later"),
        (hang, "58000", "no answer within 0.3 s", "timeout"),
    ],
)
def test_an_endpoint_that_does_not_work_is_not_registered(
    db: Connection, fake: FakeEndpoint, refused: Refused, behaviour: Any, sqlstate: str, message: str, hint: str
) -> None:
    fake.default = behaviour
    statement = "SELECT pgembed.register_model('far', %s, remote_model => 'm', options => '{\"timeout\": 0.3}')"
    refused(db, sqlstate, statement, [fake.url], message=message, hint=hint)
    assert db.execute("SELECT count(*) FROM pgembed.models WHERE name = 'far'").fetchone() == (0,)


# Who may call -----------------------------------------------------------------------------------------------------------------


def test_a_tables_owner_refreshes_with_a_remote_model(
    db: Connection, fake: FakeEndpoint, register: Register, alice: str, as_role: AsRole
) -> None:
    register()
    with as_role(db, alice):
        db.execute("SELECT pgembed.add_embedding('a.note', 'body', model => 'far')")
        db.execute("CALL pgembed.refresh('a.note')")
        assert states(db, "a.note") == ["fresh"] * 3
        found = db.execute("SELECT embedding::real[] FROM a.note ORDER BY id").fetchall()
    np.testing.assert_allclose([row[0] for row in found], [vector(text) for text in ("one", "two", "three")], rtol=1e-5)
    assert [request.texts for request in fake.requests] == [["one", "two", "three"]]


def test_backends_call_a_remote_model_only_once_it_is_granted(
    db: Connection, fake: FakeEndpoint, register: Register, alice: str, as_role: AsRole, refused: Refused
) -> None:
    register()
    calls = [
        "SELECT pgembed.embed('two', 'far')",
        "SELECT pgembed.embed(ARRAY['two'], 'far')",
        "SELECT pgembed.embed_query('a.note', 'two')",
        "SELECT (item).id FROM pgembed.search(NULL::a.note, 'two', k => 1)",
        "SELECT key FROM pgembed.search_keys('a.note', 'two', k => 1)",
    ]
    with as_role(db, alice):
        db.execute("SELECT pgembed.add_embedding('a.note', 'body', model => 'far')")
        db.execute("CALL pgembed.refresh('a.note')")
        fake.requests.clear()
        for call in calls:
            refused(db, "42501", call, message='model "far" is called over the network', hint="grant_model('far')")
        # A vector needs no model.
        given = "SELECT (item).id FROM pgembed.search(NULL::a.note, (SELECT embedding FROM a.note WHERE id = 2), k => 1)"
        assert db.execute(given).fetchone() == (2,)
    assert fake.requests == []
    db.execute("SELECT pgembed.grant_model('far')")
    with as_role(db, alice):
        for call in calls:
            db.execute(call)
        assert db.execute(calls[3]).fetchone() == (2,)
        np.testing.assert_allclose(embed(db, "two"), vector("two"), rtol=1e-5)
    assert fake.requests != []
    db.execute("SELECT pgembed.revoke_model('far')")
    with as_role(db, alice):
        for call in calls:
            refused(db, "42501", call, hint="grant_model('far')")


def test_a_superuser_needs_the_grant_too(db: Connection, register: Register, refused: Refused) -> None:
    register()
    refused(db, "42501", "SELECT pgembed.embed('two', 'far')", hint="grant_model('far')")


# Keys -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def key_file(open_folder: Path) -> Path:
    """A file with the key, which the server's user can read."""
    path = open_folder / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o644)
    return path


def test_a_key_is_read_from_a_file_and_appears_nowhere(
    db: Connection, fake: FakeEndpoint, register: Register, key_file: Path, connect: Connect, refused: Refused
) -> None:
    register(f", api_key => 'file:{key_file}'", timeout=600)
    db.execute("SELECT pgembed.grant_model('far')")
    np.testing.assert_allclose(embed(db, "tent"), vector("tent"), rtol=1e-5)
    assert fake.requests[0].headers["authorization"] == f"Bearer {KEY}"

    fake.default = status(401, f"Incorrect API key provided: {KEY}.")
    error = refused(db, "38000", "SELECT pgembed.embed('stove', 'far')", message="HTTP 401", hint=f'in the file "{key_file}"')
    assert error.diag.message_detail == "It said: Incorrect API key provided: ***."
    said = [getattr(error.diag, name) for name in dir(error.diag) if not name.startswith("_")]
    assert KEY not in repr(said)

    fake.default = hang
    other = connect(db)

    def wait() -> None:
        with pytest.raises(psycopg.errors.QueryCanceled):
            other.execute("SELECT pgembed.embed('lamp', 'far')")

    waiting = threading.Thread(target=wait)
    fake.requests.clear()
    waiting.start()
    wait_until(lambda: len(fake.requests) == 1)
    activity = db.execute("SELECT string_agg(a::text, ' ') FROM pg_stat_activity AS a").fetchone()
    assert activity is not None
    assert "lamp" in activity[0]
    assert KEY not in activity[0]
    db.execute("SELECT pg_cancel_backend(%s)", [other.info.backend_pid])
    waiting.join()

    for table in ("_model", "_setting", "_embedding", "models", "embeddings"):
        assert KEY not in str(db.execute(f"SELECT t::text FROM pgembed.{table} AS t").fetchall())
    key_file.unlink()
    refused(db, "58P01", "SELECT pgembed.embed('knife', 'far')", message=str(key_file), hint="own user must be able to read it")


def test_a_key_is_read_from_the_servers_own_environment(db: Connection, fake: FakeEndpoint, register: Register, refused: Refused) -> None:
    # Any variable that a server has, for a test can set none of its.
    register(", api_key => 'env:PATH'")
    db.execute("SELECT pgembed.grant_model('far')")
    embed(db, "tent")
    assert fake.requests[0].headers["authorization"].startswith("Bearer /")
    statement = "SELECT pgembed.register_model('farther', %s, remote_model => 'm', api_key => 'env:PGEMBED_NOT_SET')"
    refused(db, "55000", statement, [fake.url], message='"PGEMBED_NOT_SET"', hint="restart the server")


def test_no_setting_of_a_session_chooses_url_or_key(
    db: Connection, fake: FakeEndpoint, register: Register, alice: str, as_role: AsRole
) -> None:
    register()
    db.execute("SELECT pgembed.grant_model('far')")
    with FakeEndpoint() as other, as_role(db, alice):
        for name, value in (("url", other.url), ("api_key", "env:PATH"), ("http_proxy", other.url), ("source", other.url)):
            db.execute("SELECT set_config(%s, %s, false)", [f"pgembed.{name}", value])
        embed(db, "tent")
        assert other.requests == []
    assert len(fake.requests) == 1


# Cancel -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["SELECT pgembed.embed('tent', 'far')", "SELECT pgembed.embed(ARRAY['tent'], 'far')"])
def test_statement_timeout_ends_a_hang_and_leaves_the_session_usable(
    db: Connection, fake: FakeEndpoint, register: Register, refused: Refused, call: str
) -> None:
    register(timeout=600)  # without a cancel the test would wait as long
    db.execute("SELECT pgembed.grant_model('far')")
    fake.default = hang
    db.execute("SET statement_timeout = '300ms'")
    refused(db, "57014", call, hint=None)
    db.execute("RESET statement_timeout")
    wait_until(lambda: fake.gone == 1)
    fake.default = serving()
    np.testing.assert_allclose(embed(db, "tent"), vector("tent"), rtol=1e-5)


def test_a_wait_between_retries_is_cancelled_too(db: Connection, fake: FakeEndpoint, register: Register, refused: Refused) -> None:
    register(deadline=6000)
    db.execute("SELECT pgembed.grant_model('far')")
    fake.default = status(429, "later", "Retry-After: 600")
    db.execute("SET statement_timeout = '300ms'")
    refused(db, "57014", "SELECT pgembed.embed('tent', 'far')", hint=None)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("stop", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_refresh_that_hangs_can_be_stopped(db: Connection, fake: FakeEndpoint, register: Register, connect: Connect, stop: str) -> None:
    register(timeout=600)
    db.execute("CREATE TABLE note (id int PRIMARY KEY, body text); INSERT INTO note VALUES (1, 'one'), (2, 'two')")
    db.execute("SELECT pgembed.add_embedding('note', 'body', model => 'far')")
    fake.script = [serving()]
    fake.default = hang
    other = connect(db)
    failures: list[psycopg.Error] = []

    def refresh() -> None:
        try:
            other.execute("CALL pgembed.refresh('note', batch_size => 1)")
        except psycopg.Error as error:
            failures.append(error)

    running = threading.Thread(target=refresh)
    running.start()
    wait_until(lambda: len(fake.requests) == 2)
    db.execute(f"SELECT {stop}(%s)", [other.info.backend_pid])
    running.join()
    assert [error.sqlstate for error in failures] == ["57014" if stop == "pg_cancel_backend" else "57P01"]
    wait_until(lambda: fake.gone == 1)
    assert states(db, "note") == ["fresh", "pending"]


# Answers that are none --------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_changed_its_model_is_seen(db: Connection, fake: FakeEndpoint, register: Register, refused: Refused) -> None:
    register()
    db.execute("SELECT pgembed.grant_model('far')")
    fake.default = serving(dim=5)
    refused(db, "22000", "SELECT pgembed.embed('tent', 'far')", message="5 dimensions, expected 8", hint="another model")


def test_an_endpoint_that_is_down_is_told(db: Connection, fake: FakeEndpoint, register: Register, refused: Refused) -> None:
    register(retries=1)
    db.execute("SELECT pgembed.grant_model('far')")
    fake.default = status(503, "starting")
    error = refused(db, "58000", "SELECT pgembed.embed('tent', 'far')", message="HTTP 503, 2 times", hint="later")
    assert error.diag.message_detail == "It said: starting"


def test_a_text_that_the_endpoint_refuses_is_told_by_its_place_and_not_quoted(
    db: Connection, fake: FakeEndpoint, register: Register, refused: Refused
) -> None:
    register()
    db.execute("SELECT pgembed.grant_model('far')")
    fake.default = poisoned_by("insomnia", status(400, "cannot embed: the patient suffers from insomnia"))
    statement = "SELECT pgembed.embed(ARRAY['fine', NULL, 'the patient suffers from insomnia', 'fine too'], 'far')"
    error = refused(db, "22023", statement, message="text 3 of 4: answered HTTP 400", hint="takes other texts")
    assert "patient" not in f"{error.diag.message_primary}{error.diag.message_detail}{error.diag.message_hint}"


def test_a_row_that_the_endpoint_refuses_fails_and_the_others_are_embedded(db: Connection, fake: FakeEndpoint, register: Register) -> None:
    register()
    db.execute("CREATE TABLE product (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO product SELECT n, 'row ' || n FROM generate_series(1, 30) AS n")
    db.execute("SELECT pgembed.add_embedding('product', 'body', model => 'far')")
    fake.default = poisoned_by("row 17", status(400, "no"))
    db.execute("CALL pgembed.refresh('product', batch_size => 10)")
    assert counts(db) == {"fresh": 29, "failed": 1}
    row = db.execute("SELECT last_error FROM pgembed.embeddings WHERE column_name = 'embedding'").fetchone()
    assert row is not None
    assert "HTTP 400" in row[0]
    assert "row 17" not in row[0]
    fake.default = serving()
    fake.requests.clear()
    db.execute("CALL pgembed.refresh('product')")
    assert counts(db) == {"fresh": 30}
    assert [request.texts for request in fake.requests] == [["row 17"]]


def test_a_row_of_which_a_chunk_is_refused_fails_and_others_are_embedded(db: Connection, fake: FakeEndpoint, register: Register) -> None:
    register(max_tokens=100)
    db.execute("CREATE TABLE product (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO product SELECT n, 'This is row ' || n || '. It has two sentences.' FROM generate_series(1, 5) AS n")
    db.execute("SELECT pgembed.add_embedding('product', 'body', model => 'far', chunk_tokens => 10, chunk_overlap => 0)")
    fake.default = poisoned_by("row 3", status(400, "no"))
    db.execute("CALL pgembed.refresh('product')")
    rows = db.execute("SELECT id FROM product AS t WHERE pgembed.freshness(embedding_hash) = 'failed'").fetchall()
    assert rows == [(3,)]
    fake.default = serving()
    db.execute("CALL pgembed.refresh('product')")
    assert {text for request in fake.requests[-1:] for text in request.texts} == {"This is row 3.", "It has two sentences."}
