"""register_model() of known models with options: revisions, prompts, bases; drop_model()."""

from __future__ import annotations

import pytest
from support import AsRole, Connect, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

BASE = "all-minilm-l6-v2"


def register(db: Connection, name: str, source: str = BASE, more: str = "") -> str:
    row = db.execute(f"SELECT pgembed.register_model(%s, %s{', ' + more if more else ''})", [name, source]).fetchone()
    assert row is not None
    return str(row[0])


def one(db: Connection, statement: str) -> object:
    row = db.execute(statement).fetchone()
    assert row is not None
    return row[0]


def known(db: Connection) -> list[tuple[str, int, int]]:
    """Name, revision and columns of what is registered."""
    return db.execute("SELECT name, revision, columns FROM pgembed.models WHERE name NOT LIKE 'all-%%' ORDER BY 1, 2").fetchall()


def test_a_model_with_options_is_listed_with_all_of_them(db: Connection) -> None:
    made = register(db, "small", more="dim => 128, layers => 4, query_prompt => 'q: ', document_prompt => 'd: '")
    row = db.execute(
        "SELECT kind, dim, revision, fingerprint, is_default, max_tokens, normalized, weights, layers, query_prompt, document_prompt,"
        " basis, source, in_backends, columns, problem FROM pgembed.models WHERE name = 'small'"
    ).fetchone()
    assert row == ("transformer", 128, 1, made, False, 256, True, "fp32", 4, "q: ", "d: ", "none", BASE, True, 0, None)


def test_dim_keeps_the_first_dimensions_and_the_length(db: Connection) -> None:
    register(db, "small", more="dim => 128")
    off = one(
        db,
        f"""SELECT pgembed.embed('a tent', 'small') <-> l2_normalize(subvector(pgembed.embed('a tent', '{BASE}'), 1, 128))""",
    )
    assert off == pytest.approx(0, abs=1e-6)


def test_prompts_are_put_before_the_texts_of_their_role(db: Connection) -> None:
    register(db, "e5", more="query_prompt => 'query: ', document_prompt => 'passage: '")
    for role in ("query", "document"):
        prompt = {"query": "query: ", "document": "passage: "}[role]
        same = f"SELECT pgembed.embed('a tent', 'e5', '{role}') = pgembed.embed('{prompt}a tent', '{BASE}')"
        assert one(db, same) is True
    assert one(db, f"SELECT pgembed.embed(ARRAY['a tent'], 'e5') = pgembed.embed(ARRAY['passage: a tent'], '{BASE}')") is True
    # the cache of queries knows roles apart
    assert one(db, "SELECT pgembed.embed('a tent', 'e5', 'document') = pgembed.embed('a tent', 'e5', 'query')") is False


def test_refresh_and_search_apply_prompts_by_themselves(product: Connection) -> None:
    register(product, "e5", more="query_prompt => 'query: ', document_prompt => 'passage: '")
    product.execute("SELECT pgembed.alter_embedding('product', model => 'e5')")
    product.execute("CALL pgembed.refresh('product')")
    stored = f"""SELECT bool_and(embedding = pgembed.embed('passage: ' || name || ': ' || description, '{BASE}')) FROM product"""
    assert one(product, stored) is True
    asked = f"pgembed.embed('query: something to cook on', '{BASE}')"
    found = product.execute("SELECT (item).id, distance FROM pgembed.search(NULL::product, 'something to cook on', k => 3)").fetchall()
    exact = product.execute(f"SELECT id, embedding <=> {asked} FROM product ORDER BY 2").fetchall()
    assert [row[0] for row in found] == [row[0] for row in exact]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in exact], abs=1e-9)
    assert one(product, f"SELECT pgembed.embed_query('product', 'something to cook on') = {asked}") is True


def test_a_join_compares_with_what_each_side_was_made_with(product: Connection) -> None:
    register(product, "e5", more="query_prompt => 'query: ', document_prompt => 'passage: '")
    product.execute("SELECT pgembed.alter_embedding('product', model => 'e5')")
    product.execute("CALL pgembed.refresh('product')")
    product.execute("CREATE TABLE wish (id int PRIMARY KEY, body text); INSERT INTO wish VALUES (1, 'a shelter for the night')")
    distance = one(product, "SELECT distance FROM pgembed.semantic_join(NULL::wish, NULL::product, left_column => 'body')")
    exact = one(product, f"SELECT min(embedding <=> pgembed.embed('passage: a shelter for the night', '{BASE}')) FROM product")
    assert distance == pytest.approx(exact, abs=1e-6)


def test_the_same_again_changes_nothing_and_says_so(db: Connection, notices: Notices) -> None:
    first = register(db, "small", more="dim => 128")
    assert register(db, "small", more="dim => 128") == first
    assert [(told.severity, told.message) for told in notices] == [("NOTICE", 'model "small" is registered already, revision 1')]
    assert one(db, "SELECT count(*) FROM pgembed._model") == 1


def test_other_options_make_a_revision_that_the_name_points_to(db: Connection, notices: Notices) -> None:
    first, second = register(db, "small", more="dim => 128"), register(db, "small", more="dim => 64")
    assert 'model "small" points to revision 2 now' in notices[-1].message
    assert "alter_embedding" in (notices[-1].hint or "")
    assert known(db) == [("small", 2, 0)]
    assert one(db, "SELECT vector_dims(pgembed.embed('a', 'small'))") == 64
    # and back again
    assert register(db, "small", more="dim => 128") == first != second
    assert "points to revision 1 again" in notices[-1].message
    assert one(db, "SELECT vector_dims(pgembed.embed('a', 'small'))") == 128
    assert one(db, "SELECT count(*) FROM pgembed._model") == 2


@pytest.mark.own_database
def test_a_column_keeps_the_revision_that_it_was_made_with(product: Connection, connect: Connect) -> None:
    first = register(product, "small", more="dim => 128")
    product.execute("SELECT pgembed.alter_embedding('product', model => 'small')")
    product.execute("CALL pgembed.refresh('product')")
    ask = "SELECT (item).name, distance FROM pgembed.search(NULL::product, 'cooking', k => 3)"
    before = product.execute(ask).fetchall()
    register(product, "small", more="dim => 64")
    assert known(product) == [("small", 1, 1), ("small", 2, 0)]
    for session in (product, connect(product)):
        assert session.execute(ask).fetchall() == before
    connect(product).execute("UPDATE product SET name = 'yurt' WHERE id = 3")
    connect(product).execute("CALL pgembed.refresh('product')")
    yurt = f"l2_normalize(subvector(pgembed.embed('yurt: sleeps two', '{BASE}', 'document'), 1, 128))"
    assert one(product, f"SELECT embedding <-> {yurt} FROM product WHERE id = 3") == pytest.approx(0, abs=1e-6)
    assert one(product, "SELECT fingerprint FROM pgembed._embedding") == first
    assert one(product, "SELECT bool_and(vector_dims(embedding) = 128) FROM product") is True
    product.execute("SELECT pgembed.alter_embedding('product', model => 'small')")
    product.execute("CALL pgembed.refresh('product')")
    assert known(product) == [("small", 2, 1)]
    assert one(product, "SELECT bool_and(vector_dims(embedding) = 64) FROM product") is True


def test_a_model_can_be_made_of_a_registered_one_and_outlives_it(db: Connection) -> None:
    register(db, "small", more="dim => 128, document_prompt => 'd: '")
    made = register(db, "asked", "small", "query_prompt => 'q: '")
    # the same, whichever way one comes there
    assert register(db, "direct", more="dim => 128, document_prompt => 'd: ', query_prompt => 'q: '") == made
    db.execute("SELECT pgembed.drop_model('small'), pgembed.drop_model('direct')")
    assert one(db, "SELECT source FROM pgembed.models WHERE name = 'asked'") == BASE
    same = f"l2_normalize(subvector(pgembed.embed('q: a', '{BASE}'), 1, 128))"
    assert one(db, f"SELECT pgembed.embed('a', 'asked') <-> {same}") == pytest.approx(0, abs=1e-6)
    same = same.replace("q: a", "d: a")
    assert one(db, f"SELECT pgembed.embed('a', 'asked', 'document') <-> {same}") == pytest.approx(0, abs=1e-6)


def test_a_prompt_can_be_taken_away(db: Connection) -> None:
    register(db, "e5", more="query_prompt => 'query: '")
    plain = register(db, "bare", "e5", "query_prompt => ''")
    assert plain == one(db, f"SELECT fingerprint FROM pgembed.models WHERE name = '{BASE}'")
    assert one(db, f"SELECT pgembed.embed('a', 'bare') = pgembed.embed('a', '{BASE}')") is True


def test_a_registered_model_can_be_the_default(db: Connection) -> None:
    register(db, "small", more="dim => 128")
    db.execute("SELECT pgembed.set_default_model('small')")
    assert one(db, "SELECT vector_dims(pgembed.embed('a'))") == 128
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    assert one(db, "SELECT model FROM pgembed._embedding") == "small"


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        (f"NULL, '{BASE}'", "22004", "name is NULL", "Give name"),
        ("'m', NULL", "22004", "source is NULL", "Give source"),
        (f"'m', '{BASE}', basis => NULL", "22023", "not NULL", "none is the default"),
        (f"'../m', '{BASE}'", "22023", "invalid model name", "1 to 63 letters"),
        (f"'', '{BASE}'", "22023", "invalid model name", "1 to 63 letters"),
        (f"'{BASE}', '{BASE}', dim => 8", "42710", "is installed on this server", "Choose another name"),
        ("'m', 'nobody'", "42704", 'model "nobody" does not exist', BASE),
        (f"'m', '{BASE}', dim => 0", "22023", "dim must be from 1 to 384", "first dimensions"),
        (f"'m', '{BASE}', dim => -1", "22023", "not -1", "first dimensions"),
        (f"'m', '{BASE}', dim => 385", "22023", "not 385", "first dimensions"),
        (f"'m', '{BASE}', layers => 0", "22023", "layers must be from 1 to 6", "first layers"),
        (f"'m', '{BASE}', layers => 7", "22023", "not 7", "first layers"),
        (f"'m', '{BASE}', normalized => false", "0A000", "length 1", "Leave out"),
        (f"'m', '{BASE}', basis => 'pcr'", "22023", "basis must be one of none, rotation, pca", "none is the default"),
        (f"'m', '{BASE}', basis => 'pca'", "22004", "corpus is NULL", "corpus => 'table'"),
        (f"'m', '{BASE}', corpus => 'product', corpus_column => 'name'", "22023", "goes with basis => 'pca'", "Leave it out"),
        (f"'m', '{BASE}', basis => 'pca', corpus => 'product'", "22004", "corpus_column go together", "Give both"),
        (f"'m', '{BASE}', basis => 'pca', corpus => 'product', corpus_column => 'nothing'", "42703", '"nothing"', "a column of text"),
        (
            f"'m', '{BASE}', basis => 'pca', corpus => 'product', corpus_column => 'id'",
            "42804",
            "type integer, not text",
            "adopt_embedding",
        ),
        (f"'m', '{BASE}', basis => 'pca', corpus => 'pg_tables', corpus_column => 'tablename'", "42809", "is not a table", "behind it"),
        (f"'m', '{BASE}', weights => 'int8'", "22023", "folder is converted", "Leave weights out"),
        ("'m', '/nowhere', weights => 'int4'", "22023", "weights must be fp32 or int8, not int4", "fp32"),
        (f"'m', '{BASE}', api_key => 'env:KEY'", "22023", "api_key is of a remote model", "Leave out"),
        (f"'m', '{BASE}', remote_model => 'x'", "22023", "remote_model is of a remote model", "Leave out"),
        (f"'m', '{BASE}', options => '{{}}'", "22023", "options is of a remote model", "Leave out"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    product: Connection, refused: Refused, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    refused(product, sqlstate, f"SELECT pgembed.register_model({arguments})", message=message, hint=hint)
    assert one(product, "SELECT count(*) FROM pgembed._model") == 0


def test_only_a_superuser_decides_on_models(db: Connection, refused: Refused, make_role: MakeRole, as_role: AsRole) -> None:
    role = make_role("carol")
    register(db, "small", more="dim => 128")
    calls = ("register_model('m', 'small')", "drop_model('small')", "grant_model('small')", "revoke_model('small')")
    with as_role(db, role):
        for call in calls:
            refused(db, "42501", f"SELECT pgembed.{call}", message="permission denied", hint=None)
        refused(db, "42501", "INSERT INTO pgembed._model (name) VALUES ('x')", message="permission denied", hint=None)
        assert one(db, "SELECT vector_dims(pgembed.embed('a', 'small'))") == 128
    # not even one to whom the functions were granted
    for call in (
        "register_model(text, text, int, int, boolean, text, text, text, regclass, name, regclass, name, text, text, text, jsonb)",
    ):
        db.execute(f"GRANT EXECUTE ON FUNCTION pgembed.{call} TO {role}")
    with as_role(db, role):
        refused(db, "42501", f"SELECT pgembed.{calls[0]}", message="must be superuser", hint="administrator")


def test_a_rotation_keeps_distances_and_changes_vectors(product: Connection) -> None:
    register(product, "turned", more="basis => 'rotation'")
    texts = "(VALUES ('a tent'), ('rain'), ('burning gas'), ('')) AS t (body)"
    pairs = f"FROM {texts}, {texts.replace(' t ', ' u ')} WHERE t.body <> '' AND u.body <> ''"
    off = "abs((pgembed.embed(t.body, 'turned') <-> pgembed.embed(u.body, 'turned')) - (pgembed.embed(t.body) <-> pgembed.embed(u.body)))"
    assert float(str(one(product, f"SELECT max({off}) {pairs}"))) < 1e-5
    assert float(str(one(product, "SELECT pgembed.embed('a tent', 'turned') <-> pgembed.embed('a tent')"))) > 0.5
    assert one(product, "SELECT basis FROM pgembed.models WHERE name = 'turned'") == "rotation"


def test_a_basis_is_fitted_to_a_column_of_texts(fresh: Connection, notices: Notices) -> None:
    first = register(fresh, "fitted", more="basis => 'pca', corpus => 'product', corpus_column => 'description'")
    assert "fitted to 3 vectors" in notices[0].message
    # three texts lie in three dimensions: those are the first ones
    held = "vector_norm(subvector(pgembed.embed(description, 'fitted', 'document'), 1, 3)::vector)"
    assert float(str(one(fresh, f"SELECT min({held}) FROM product"))) == pytest.approx(1, abs=1e-5)
    assert register(fresh, "fitted", more="basis => 'pca', corpus => 'product', corpus_column => 'description'") == first


def test_a_basis_is_fitted_to_stored_vectors_without_the_model(fresh: Connection, notices: Notices) -> None:
    register(fresh, "fitted", more="basis => 'pca', corpus => 'product', corpus_column => 'embedding'")
    assert "fitted to 3 vectors" in notices[0].message
    held = "vector_norm(subvector(pgembed.embed(name || ': ' || description, 'fitted', 'document'), 1, 3)::vector)"
    assert float(str(one(fresh, f"SELECT min({held}) FROM product"))) == pytest.approx(1, abs=1e-5)


def test_queries_have_their_share_in_a_basis(fresh: Connection, notices: Notices) -> None:
    more = "basis => 'pca', corpus => 'product', corpus_column => 'description', queries => 'product', queries_column => 'name'"
    register(fresh, "fitted", more=more)
    assert "fitted to 3 vectors and to 3 of queries, whose share is " in notices[0].message
    assert one(fresh, "SELECT basis FROM pgembed.models WHERE name = 'fitted'") == "pca"


def test_vectors_of_another_model_fit_no_basis(fresh: Connection, refused: Refused) -> None:
    register(fresh, "small", more="dim => 128")
    refused(
        fresh,
        "22000",
        "SELECT pgembed.register_model('fitted', 'small', basis => 'pca', corpus => 'product', corpus_column => 'embedding')",
        message="product.embedding holds vectors of model all-minilm-l6-v2",
        hint="Name a column of text",
    )


def test_an_empty_column_fits_no_basis(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (body text); INSERT INTO t VALUES (NULL), ('')")
    refused(
        db,
        "22023",
        f"SELECT pgembed.register_model('m', '{BASE}', basis => 'pca', corpus => 't', corpus_column => 'body')",
        message='column "body" of table "t" is empty',
        hint="Fill it",
    )


def test_the_sample_of_a_large_table_is_bounded_and_repeatable(db: Connection, notices: Notices) -> None:
    register(db, "tiny", more="dim => 3")
    fingerprint = one(db, "SELECT fingerprint FROM pgembed.models WHERE name = 'tiny'")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, e vector(3))")
    db.execute("INSERT INTO t SELECT n, ARRAY[sin(n), cos(n), sin(3 * n)]::vector FROM generate_series(1, 60000) AS n")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e', 'tiny')")
    assert fingerprint == one(db, "SELECT fingerprint FROM pgembed._embedding")
    made = {register(db, f"fitted{n}", "tiny", "basis => 'pca', corpus => 't', corpus_column => 'e'") for n in range(2)}
    assert len(made) == 1
    counts = [int(told.message.split()[2]) for told in notices if told.message.startswith("fitted to")]
    assert counts[0] == counts[1]
    assert 19_000 < counts[0] <= 20_000


def test_a_cast_of_somebodys_type_is_not_run(db: Connection, refused: Refused, make_role: MakeRole, as_role: AsRole) -> None:
    role = make_role("eve")
    db.execute(f"CREATE SCHEMA e AUTHORIZATION {role}; CREATE TABLE e.ran (who text); ALTER TABLE e.ran OWNER TO {role}")
    with as_role(db, role):
        db.execute(
            """
            CREATE TYPE e.t AS (body text);
            CREATE FUNCTION e.run(e.t) RETURNS text LANGUAGE sql AS $$ INSERT INTO e.ran VALUES (current_user) RETURNING 'x' $$;
            CREATE CAST (e.t AS text) WITH FUNCTION e.run(e.t) AS IMPLICIT;
            CREATE TABLE e.bait (c e.t);
            INSERT INTO e.bait VALUES (ROW('a'));
            """
        )
    refused(
        db,
        "42804",
        f"SELECT pgembed.register_model('m', '{BASE}', basis => 'pca', corpus => 'e.bait', corpus_column => 'c')",
        message="not text",
        hint="a column of text",
    )
    assert one(db, "SELECT count(*) FROM e.ran") == 0


@pytest.mark.own_database
def test_a_damaged_basis_is_seen(db: Connection, refused: Refused, connect: Connect) -> None:
    register(db, "turned", more="basis => 'rotation'")
    zeros = "decode(repeat('00', 4 * dim * dim), 'hex')"
    db.execute(f"UPDATE pgembed._model SET basis_matrix = {zeros}")
    refused(connect(db), "22000", "SELECT pgembed.embed('a', 'turned')", message="not orthogonal", hint="anew")


def test_drop_removes_all_revisions(db: Connection, refused: Refused) -> None:
    register(db, "small", more="dim => 128")
    register(db, "small", more="dim => 64")
    db.execute("SELECT pgembed.embed('a', 'small')")
    db.execute("SELECT pgembed.drop_model('small')")
    assert known(db) == []
    refused(db, "42704", "SELECT pgembed.embed('a', 'small')", message='model "small" does not exist', hint=BASE)
    refused(db, "42704", "SELECT pgembed.drop_model('small')", message='model "small" does not exist', hint=BASE)


def test_drop_is_refused_with_the_list_of_columns(fresh: Connection, refused: Refused) -> None:
    register(fresh, "small", more="dim => 128")
    fresh.execute("""CREATE SCHEMA "My"; CREATE TABLE "My"."T" (id int PRIMARY KEY, body text)""")
    fresh.execute("""SELECT pgembed.add_embedding('"My"."T"', 'body', 'small', column_name => 'E')""")
    fresh.execute("SELECT pgembed.alter_embedding('product', model => 'small')")
    register(fresh, "small", more="dim => 64")  # the columns' revision is not the current one
    error = refused(
        fresh, "2BP01", "SELECT pgembed.drop_model('small')", message='cannot drop model "small" because 2', hint="alter_embedding"
    )
    assert error.diag.message_detail == 'column "My"."T"."E"\ncolumn public.product.embedding'
    assert known(fresh) == [("small", 1, 2), ("small", 2, 0)]
    fresh.execute("""SELECT pgembed.drop_embedding('product'); DROP TABLE "My"."T" """)
    fresh.execute("SELECT pgembed.drop_model('small')")
    assert known(fresh) == []


def test_the_default_model_is_not_dropped(db: Connection, refused: Refused) -> None:
    register(db, "small", more="dim => 128")
    db.execute("SELECT pgembed.set_default_model('small')")
    error = refused(db, "2BP01", "SELECT pgembed.drop_model('small')", message="1 other thing needs it")
    assert "set_default_model" in (error.diag.message_detail or "")


def test_an_installed_model_is_removed_on_the_servers_machine(db: Connection, refused: Refused) -> None:
    refused(db, "42809", f"SELECT pgembed.drop_model('{BASE}')", message="is installed on this server", hint=f"pgembed model remove {BASE}")
    refused(db, "22004", "SELECT pgembed.drop_model(NULL)", message="name is NULL")


@pytest.mark.own_database
def test_a_rollback_undoes_a_registration(db: Connection, refused: Refused) -> None:
    db.execute("BEGIN")
    register(db, "small", more="dim => 128")
    db.execute("SELECT pgembed.embed('a', 'small')")
    db.execute("ROLLBACK")
    refused(db, "42704", "SELECT pgembed.embed('a', 'small')", message="does not exist")


def test_a_local_model_needs_no_grant(db: Connection, refused: Refused) -> None:
    refused(db, "42809", f"SELECT pgembed.grant_model('{BASE}')", message="is not remote", hint="everybody")
    refused(db, "22004", "SELECT pgembed.grant_model(NULL)", message="model is NULL")
    refused(db, "42704", "SELECT pgembed.revoke_model('nobody')", message='"nobody" does not exist')
