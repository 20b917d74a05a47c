"""What people get wrong: each error says what is wrong, with its SQLSTATE, and a hint that names what there is."""

from __future__ import annotations

import re

import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

NO_COLUMN = 'table "bare" has no embedded column'
NO_MODEL = 'model "nobody" does not exist'
NO_LINKER = 'linker "nobody" does not exist'
NO_CODEC = 'codec "nobody" does not exist'

# SQLSTATE, statement, message, and what the hint names.
MISTAKES = [
    ("42703", "SELECT pgembed.add_embedding('bare', 'nam')", "source is not an expression over bare", "bare.name"),
    ("22023", "SELECT pgembed.add_embedding('bare', 'name', column_name => '')", "column_name is empty", "Leave it out"),
    ("42704", "SELECT pgembed.add_embedding('bare', 'name', 'nobody')", NO_MODEL, "all-minilm-l6-v2"),
    ("42P16", "SELECT pgembed.add_embedding('keyless', 'name')", "has no primary key", "ADD PRIMARY KEY"),
    ("42809", "SELECT pgembed.add_embedding('seen', 'name')", '"seen" is not a table', "the table behind it"),
    ("42710", "SELECT pgembed.add_embedding('thing', 'name')", "is an embedded column already", "pgembed.alter_embedding()"),
    ("22023", "SELECT pgembed.add_embedding('bare', 'name', sync => 'soon')", "sync must be one of", "auto is the default"),
    ("22023", "SELECT pgembed.add_embedding('bare', 'name', metric => 'far')", "metric must be one of", "cosine is the default"),
    ("42804", "SELECT pgembed.adopt_embedding('bare', 'name')", "is of type text, not vector", "vector and halfvec"),
    ("42704", "SELECT pgembed.alter_embedding('bare', source => 'name')", NO_COLUMN, "pgembed.add_embedding('bare'"),
    ("42704", "SELECT pgembed.drop_embedding('bare')", NO_COLUMN, "pgembed.add_embedding('bare'"),
    ("42704", "CALL pgembed.refresh('bare')", NO_COLUMN, "pgembed.add_embedding('bare'"),
    ("42704", "SELECT * FROM pgembed.search(NULL::bare, 'x')", NO_COLUMN, "pgembed.adopt_embedding()"),
    ("42809", "SELECT * FROM pgembed.search('thing'::regclass, 'x')", "must be of a table's row type", "NULL::product"),
    ("42809", "SELECT * FROM pgembed.search('thing', 'x')", "row type, not the text 'thing'", "pgembed.search(NULL::thing, ...)"),
    ("42809", "SELECT * FROM pgembed.search('no, name..', query => 'x', k => 2)", "row type, not the text", "search(NULL::product, ...)"),
    ("42809", "SELECT * FROM pgembed.search_like('thing', '1')", "row type, not the text", "pgembed.search_like(NULL::thing, ...)"),
    ("42809", "SELECT * FROM pgembed.semantic_join(NULL::bare, 'thing')", "the second argument must be of", "NULL::product"),
    ("42809", "SELECT * FROM pgembed.search('a tent', NULL::thing)", "must be the first argument", "search(NULL::thing, 'a tent', ...)"),
    ("42809", "SELECT * FROM pgembed.search('a tent', NULL::thing, k => 2)", "must be the first argument", "search(NULL::thing,"),
    ("42809", "SELECT * FROM pgembed.search_like('1', NULL::thing)", "must be the first argument", "search_like(NULL::thing, '1', ...)"),
    ("42809", "SELECT * FROM pgembed.link('a jacket', NULL::thing)", "must be the first argument", "link(NULL::thing, 'a jacket', ...)"),
    ("42809", "SELECT * FROM pgembed.explain_search('thing', 'x')", "row type, not the text", "pgembed.explain_search(NULL::thing, ...)"),
    ("42809", "SELECT * FROM pgembed.explain_join('bare', 'thing')", "row type, not the text", "pgembed.explain_join(NULL::bare, ...)"),
    ("42809", "SELECT * FROM pgembed.search(NULL, 'x')", "row type, not the text", "pgembed.search(NULL::product, ...)"),
    ("42809", "SELECT * FROM pgembed.link('thing', 'a jacket')", "row type, not the text", "pgembed.link(NULL::thing, ...)"),
    ("42809", "SELECT * FROM pgembed.semantic_join('bare', 'thing')", "row type, not the text", "semantic_join(NULL::bare, ...)"),
    ("22023", "SELECT * FROM pgembed.search(NULL::thing, '[1,0,0]'::vector, k => 0)", "k must be at least 1", "number of results"),
    ("42703", "SELECT * FROM pgembed.search(NULL::thing, '[1,0,0]'::vector, filter => 'prise < 5')", "filter is not", "thing.price"),
    (
        *("42883", "SELECT * FROM pgembed.search(NULL::thing, '[1,0,0]'::vector, filter => $$ price < $1->>'most' $$)"),
        *("numeric < text", "cast it, as in price < ($1->>'name')::numeric"),
    ),
    (
        *("42883", "SELECT * FROM pgembed.semantic_join(NULL::thing, NULL::thing, condition => $$ r.price < $1 $$)"),
        *("numeric < jsonb", "cast it, as in price < ($1->>'name')::numeric"),
    ),
    ("42P02", "SELECT * FROM pgembed.search(NULL::thing, '[1,0,0]'::vector, filter => 'price < $2')", "no parameter $2", "params"),
    ("22000", "SELECT * FROM pgembed.search(NULL::thing, '[1,2]'::vector)", "query has 2 dimensions", "pgembed.embed_query()"),
    ("42704", "SELECT * FROM pgembed.search(NULL::thing, '[1,0,0]'::vector, column_name => 'v')", "not an embedded column", "embedding."),
    ("22004", "SELECT * FROM pgembed.search(NULL::thing, NULL::vector)", "query is NULL", "a text or a vector"),
    ("P0002", "SELECT * FROM pgembed.search_like(NULL::thing, '77')", 'has the key "77"', "JSON array"),
    ("42704", "SELECT pgembed.embed('x', 'nobody')", NO_MODEL, "all-minilm-l6-v2"),
    ("42704", "SELECT * FROM pgembed.semantic_join(NULL::thing, NULL::bare)", NO_COLUMN, "pgembed.add_embedding('bare'"),
    ("22023", "SELECT * FROM pgembed.semantic_join(NULL::thing, NULL::thing, mapping => 'one')", "mapping must be", "many is the default"),
    ("42704", "SELECT * FROM pgembed.link(NULL::thing, 'a jacket')", 'table "thing" has no linker', "pgembed.create_linker("),
    ("42704", "SELECT * FROM pgembed.link_keys('nobody', 'a jacket')", NO_LINKER, "pgembed.linkers"),
    ("42703", "SELECT pgembed.create_linker('thing', 'thing', names => 'nam')", "names is not an expression", "thing.name"),
    ("22004", "SELECT pgembed.create_linker('thing', 'bare2')", "nothing says how a row", "names =>"),
    ("42704", "SELECT pgembed.drop_linker('nobody')", NO_LINKER, "pgembed.linkers"),
    ("42704", "CALL pgembed.train_linker('nobody')", NO_LINKER, "pgembed.linkers"),
    ("22023", "SELECT pgembed.train_codec('c', 'thing', 'zip')", "method must be one of", "pgembed.recommend_codec()"),
    ("22023", "SELECT pgembed.train_codec('c', 'thing', 'sign')", "has no vectors", "pgembed.refresh('thing')"),
    ("42704", "SELECT pgembed.add_code('thing', 'nobody')", NO_CODEC, "pgembed.train_codec()"),
    ("42704", "SELECT * FROM pgembed.scan_codes('thing', '[1,0,0]'::vector)", "has no column of codes", "pgembed.add_code("),
    ("42704", "SELECT pgembed.set_default_model('nobody')", NO_MODEL, "all-minilm-l6-v2"),
    ("42704", "CALL pgembed.change_model('thing', 'nobody')", NO_MODEL, "all-minilm-l6-v2"),
    ("42704", "SELECT pgembed.switch_model('thing')", "is not being changed", "pgembed.change_model('thing'"),
    ("42704", "SELECT pgembed.correct_link('bare', '1', 1, 2)", "is no table that pgembed.link_table() keeps", "pgembed.link_tables"),
    ("42704", "SELECT pgembed.help('nobody')", "no help on", "pgembed.help()"),
]


@pytest.fixture
def tables(db: Connection) -> Connection:
    """A table with vectors that are given and none there, one without, one without a key, and a view."""
    db.execute(
        """
        CREATE TABLE bare (id int PRIMARY KEY, name text);
        CREATE TABLE bare2 (id int PRIMARY KEY, x text, y text);
        CREATE TABLE keyless (name text);
        CREATE VIEW seen AS SELECT * FROM bare;
        CREATE TABLE thing (id int PRIMARY KEY, name text, price numeric, embedding vector(3));
        SELECT pgembed.adopt_embedding('thing', 'embedding');
        """
    )
    return db


def public(db: Connection) -> set[str]:
    return {
        row[0]
        for row in db.execute(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'pgembed'::regnamespace"
            " UNION SELECT relname::text FROM pg_class WHERE relnamespace = 'pgembed'::regnamespace"
        ).fetchall()
    }


def test_what_hints_of_mistakes_name_is_there(tables: Connection, refused: Refused) -> None:
    known = public(tables)
    assert len(MISTAKES) >= 25
    for sqlstate, statement, message, hint in MISTAKES:
        error = refused(tables, sqlstate, statement, message=message, hint=hint)
        said = f"{error.diag.message_primary} {error.diag.message_hint}"
        assert set(re.findall(r"pgembed\.(\w+)", said)) <= known, said
        assert (error.diag.message_primary or "").startswith("pgembed: ")


def test_hints_of_mistakes_do_not_depend_on_being_superuser(
    tables: Connection, refused: Refused, make_role: MakeRole, as_role: AsRole
) -> None:
    role = make_role("plain")
    tables.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    for table in ("bare", "bare2", "keyless", "thing"):
        tables.execute(f"ALTER TABLE {table} OWNER TO {role}")
    tables.execute(f"ALTER VIEW seen OWNER TO {role}; GRANT CREATE ON SCHEMA public TO {role}")
    with as_role(tables, role):
        for sqlstate, statement, message, hint in MISTAKES:
            if "set_default_model" not in statement:  # which is an administrator's
                refused(tables, sqlstate, statement, message=message, hint=hint)


def test_a_new_column_tells_how_its_rows_get_vectors(tables: Connection, notices: Notices) -> None:
    tables.execute("SELECT pgembed.add_embedding('bare', 'name', sync => 'manual')")
    assert notices == []
    tables.execute("INSERT INTO bare2 VALUES (1, 'a', 'b')")
    tables.execute("SELECT pgembed.add_embedding('bare2', 'x', column_name => 'e', sync => 'manual')")
    assert [(notice.message, notice.hint) for notice in notices] == [
        ("the rows of bare2 have no vector in e yet", "CALL pgembed.refresh('bare2') embeds them.")
    ]
    tables.execute("CALL pgembed.refresh('bare2')")
    assert tables.execute("SELECT e IS NOT NULL FROM bare2").fetchall() == [(True,)]
