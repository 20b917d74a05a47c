"""register_model() of an endpoint: what is asked of it, what is kept, and who may call it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_endpoint import DIM, FakeEndpoint, serving, status, vector
from support import AsRole, Connect, Connection, MakeRole, Notices, Refused

KEY = "sk-live-0123456789abcdef"


def call(fake: FakeEndpoint, name: str = "far", more: str = "") -> str:
    return f"SELECT pgembed.register_model('{name}', '{fake.url}', remote_model => 'some-model'{', ' + more if more else ''})"


def numbers(db: Connection, statement: str) -> list[float]:
    row = db.execute(statement).fetchone()
    assert row is not None
    return [float(number) for number in json.loads(row[0])]


def test_the_endpoint_is_asked_what_it_gives(db: Connection, fake: FakeEndpoint) -> None:
    row = db.execute(call(fake)).fetchone()
    assert row is not None
    assert len(fake.requests) == 1
    line = db.execute(
        "SELECT kind, dim, weights, source, in_backends, normalized, fingerprint FROM pgembed.models WHERE name = 'far'"
    ).fetchone()
    assert line == ("remote", DIM, "remote", fake.url, False, True, row[0])


def test_refresh_may_call_it_and_backends_only_where_it_was_granted(db: Connection, fake: FakeEndpoint, refused: Refused) -> None:
    db.execute(call(fake))
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text); INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'far')")
    db.execute("CALL pgembed.refresh('t')")
    assert numbers(db, "SELECT embedding::text FROM t WHERE id = 2") == pytest.approx(vector("two"), abs=1e-6)
    before = len(fake.requests)
    asks = [
        "SELECT pgembed.embed('two', 'far')",
        "SELECT pgembed.embed(ARRAY['two'], 'far')",
        "SELECT pgembed.embed_query('t', 'two')",
        "SELECT * FROM pgembed.search(NULL::t, 'two')",
    ]
    for ask in asks:
        refused(db, "42501", ask, message='model "far" is called over the network', hint="pgembed.grant_model('far')")
    found = db.execute("SELECT (item).id FROM pgembed.search(NULL::t, (SELECT embedding FROM t WHERE id = 2), k => 1)").fetchall()
    assert found == [(2,)]
    assert len(fake.requests) == before
    db.execute("SELECT pgembed.grant_model('far')")
    for ask in asks:
        db.execute(ask)
    assert numbers(db, "SELECT pgembed.embed('two', 'far')::text") == pytest.approx(vector("two"), abs=1e-6)
    db.execute("SELECT pgembed.revoke_model('far')")
    # not from the cache of queries either
    for ask in asks:
        refused(db, "42501", ask, message="over the network")


def test_a_grant_is_seen_by_other_roles_and_sessions(
    db: Connection, fake: FakeEndpoint, connect: Connect, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    db.execute(call(fake))
    other = connect(db)
    with as_role(other, make_role("fay")):
        refused(other, "42501", "SELECT pgembed.embed('two', 'far')", message="over the network")
        db.execute("SELECT pgembed.grant_model('far')")
        assert numbers(other, "SELECT pgembed.embed('two', 'far')::text") == pytest.approx(vector("two"), abs=1e-6)
        refused(other, "42501", call(fake, "mine"), message="permission denied", hint=None)


def test_options_go_before_and_behind_the_endpoint(db: Connection, fake: FakeEndpoint) -> None:
    db.execute(call(fake, more="query_prompt => 'ask: ', basis => 'rotation'"))
    db.execute("SELECT pgembed.grant_model('far')")
    db.execute("SELECT pgembed.embed('two', 'far')")
    assert fake.requests[-1].texts == ["ask: two"]
    db.execute("SELECT pgembed.embed('two', 'far', 'document')")
    assert fake.requests[-1].texts == ["two"]
    off = db.execute(
        "SELECT abs((pgembed.embed('a', 'far') <-> pgembed.embed('b', 'far')) - %s)",
        [sum((x - y) ** 2 for x, y in zip(vector("ask: a"), vector("ask: b"), strict=True)) ** 0.5],
    ).fetchone()
    assert off is not None
    assert off[0] < 1e-5


def test_fewer_dimensions_are_asked_for_or_cut_here(db: Connection, fake: FakeEndpoint, refused: Refused) -> None:
    db.execute(call(fake, "asked", "dim => 4"))
    db.execute("SELECT pgembed.grant_model('asked')")
    assert numbers(db, "SELECT pgembed.embed('two', 'asked')::text") == pytest.approx(vector("two", 4), abs=1e-6)
    assert fake.requests[-1].said["dimensions"] == 4

    def deaf(request: object) -> Iterator[bytes]:
        said = request.said  # type: ignore[attr-defined]
        said.pop("dimensions", None)
        yield from serving()(_Without(request, said))  # type: ignore[misc, arg-type]

    fake.default = deaf  # type: ignore[assignment]
    db.execute(call(fake, "cut", "dim => 4"))
    db.execute("SELECT pgembed.grant_model('cut')")
    length = sum(number**2 for number in vector("two")[:4]) ** 0.5
    assert numbers(db, "SELECT pgembed.embed('two', 'cut')::text") == pytest.approx([n / length for n in vector("two")[:4]], abs=1e-6)
    # and a model of that one knows how many come
    db.execute("SELECT pgembed.register_model('shorter', 'cut', dim => 2), pgembed.grant_model('shorter')")
    length = sum(number**2 for number in vector("two")[:2]) ** 0.5
    assert numbers(db, "SELECT pgembed.embed('two', 'shorter')::text") == pytest.approx([n / length for n in vector("two")[:2]], abs=1e-6)
    refused(db, "22023", call(fake, "much", "dim => 9"), message="dim must be from 1 to 8", hint="Leave it out")


class _Without:
    """A request that says something else."""

    def __init__(self, request: object, said: dict[str, object]) -> None:
        self.said = said
        self.texts = request.texts  # type: ignore[attr-defined]


def test_without_a_probe_nothing_is_asked_and_dim_is_needed(db: Connection, fake: FakeEndpoint, refused: Refused) -> None:
    no_probe = """options => '{"probe": false, "timeout": 5}'"""
    refused(db, "22004", call(fake, more=no_probe), message="dim is NULL", hint="how many dimensions")
    db.execute(call(fake, more=f"dim => 8, {no_probe}"))
    assert fake.requests == []
    assert db.execute("SELECT options FROM pgembed._model").fetchone() == ({"timeout": 5},)


def test_the_key_is_named_and_nowhere_kept(db: Connection, fake: FakeEndpoint, refused: Refused, notices: Notices) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="pgembed-test-key-", delete=False) as file:
        file.write(KEY + "\n")
    try:
        Path(file.name).chmod(0o644)
        db.execute(call(fake, more=f"api_key => 'file:{file.name}'"))
        assert fake.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        kept = db.execute("SELECT m::text FROM pgembed._model AS m").fetchall()
        assert file.name in str(kept)
        assert KEY not in str(kept)
        # another place, the same model
        db.execute(call(fake, more="api_key => 'env:PGEMBED_TEST_KEY', options => '{\"probe\": false}', dim => 8"))
        assert "key and options of its endpoint are the new ones" in notices[-1].message
        assert db.execute("SELECT api_key, revision FROM pgembed._model").fetchall() == [("env:PGEMBED_TEST_KEY", 1)]
        db.execute("SELECT pgembed.grant_model('far')")
        refused(db, "55000", "SELECT pgembed.embed('two', 'far')", message='"PGEMBED_TEST_KEY"')
    finally:
        os.unlink(file.name)
    error = refused(db, "22023", call(fake, "bare", f"api_key => '{KEY}'"), message="api_key must be env:NAME or file:")
    assert KEY not in str(error).partition("LINE 1")[0]


@pytest.mark.parametrize(
    ("more", "sqlstate", "message"),
    [
        ("options => '[]'", "22023", "options must be a JSON object"),
        ("options => '{\"timeou\": 3}'", "22023", "unknown option"),
        ("options => '{\"timeout\": -1}'", "22023", "timeout must be"),
        ("options => '{\"probe\": 1}'", "22023", "probe must be true or false"),
        ("dim => 0", "22023", "dim must be at least 1"),
        ("layers => 2", "0A000", "has no layers"),
        ("basis => 'rotation', dim => 5000, options => '{\"probe\": false}'", "54000", "at most 4096 dimensions, not 5000"),
        ("weights => 'int8'", "22023", "folder is converted"),
    ],
)
def test_bad_options_are_refused(db: Connection, fake: FakeEndpoint, refused: Refused, more: str, sqlstate: str, message: str) -> None:
    refused(db, sqlstate, call(fake, more=more), message=message)
    assert db.execute("SELECT count(*) FROM pgembed._model").fetchone() == (0,)


def test_an_endpoint_that_fails_is_not_registered(db: Connection, fake: FakeEndpoint, refused: Refused) -> None:
    fake.default = status(401, "no such key")
    refused(db, "38000", call(fake), message="endpoint 127.0.0.1")
    refused(db, "22004", f"SELECT pgembed.register_model('far', '{fake.url}')", message="remote_model is NULL")
    refused(
        db, "22023", "SELECT pgembed.register_model('far', 'http://u:p@localhost/v1', remote_model => 'm')", message="no user, password"
    )
    assert db.execute("SELECT count(*) FROM pgembed._model").fetchone() == (0,)


def test_a_second_endpoint_is_a_second_revision_without_the_grant(db: Connection, fake: FakeEndpoint, refused: Refused) -> None:
    db.execute(call(fake))
    db.execute("SELECT pgembed.grant_model('far')")
    with FakeEndpoint() as other:
        db.execute(call(other))
        assert db.execute("SELECT revision, in_backends FROM pgembed.models WHERE name = 'far'").fetchall() == [(2, False)]
        refused(db, "42501", "SELECT pgembed.embed('two', 'far')", message="over the network")
