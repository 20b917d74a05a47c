"""Searches of views over one table: what they show, and that indexes serve through them."""

from __future__ import annotations

from typing import Any

import coded
import psycopg
import pytest
from coded import DIM, QUERIES, ROWS, VECTORS
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

QUERY = coded.text(QUERIES[0])


@pytest.fixture
def parts(db: Connection) -> Connection:
    """600 rows with codes of bits, a covering index and HNSW on vectors and codes."""
    db.execute(
        f"CREATE TABLE part (id int PRIMARY KEY, dropped int, section int, e vector({DIM}), note text);"
        "ALTER TABLE part DROP COLUMN dropped; SELECT pgembed.adopt_embedding('part', 'e')"
    )
    coded.fill(db, "part")
    db.execute(
        """
        UPDATE part SET note = 'n' || id;
        SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('part', 'two', is_generated => true);
        CREATE INDEX part_section ON part (section) INCLUDE (id, two);
        CREATE INDEX part_e ON part USING hnsw (e vector_cosine_ops);
        CREATE INDEX part_two ON part USING hnsw (two bit_hamming_ops);
        """
    )
    coded.measured(db, "two", '{"150": 0.999}')
    db.execute("ANALYZE part")
    return db


def keys(db: Connection, target: str, path: str | None = None, condition: str | None = None, k: int = 10, query: str = QUERY) -> list[int]:
    rows = db.execute(
        "SELECT key FROM pgembed._search_keys(%s, %s::vector, %s, %s, NULL, NULL, NULL, 0.98, false, %s) ORDER BY rank",
        [target, query, k, condition, path],
    )
    return [int(row[0]) for row in rows.fetchall()]


def planned(db: Connection, target: str, path: str | None = None, condition: str | None = None) -> str:
    """The plan of the statement that is run."""
    made = db.execute(
        "SELECT statement, code, mask, path, reason"
        " FROM pgembed._plan_search(%s, 'key', pgembed._sent(%s::vector), 10, %s, NULL, NULL, NULL, 0.98, false, NULL, %s)",
        [target, QUERY, condition, path],
    ).fetchone()
    assert made is not None
    db.execute(f"PREPARE s (jsonb, vector, int, float8, text, text, text) AS {made[0]}")
    values = psycopg.sql.SQL(", ").join([psycopg.sql.Literal(value) for value in (None, QUERY, 10, None, None, made[1], made[2])])
    shown = "\n".join(row[0] for row in db.execute(psycopg.sql.SQL("EXPLAIN EXECUTE s ({})").format(values)).fetchall())
    db.execute("DEALLOCATE s")
    return f"{made[3]}: {made[4]}\n{shown}"


def by_key(db: Connection, target: str) -> str:
    """The plan where PostgreSQL looks rows up by key, if it can."""
    with db.transaction(force_rollback=True):
        db.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off")
        return planned(db, target, "code")


def passes(condition: Any) -> list[bool]:
    return [bool(condition(i)) for i in range(ROWS)]


def of_sections(*sections: int) -> list[bool]:
    return passes(lambda i: i % 10 in sections)


VIEWS: dict[str, tuple[str, Any]] = {
    "plain": ("SELECT * FROM part", lambda i: True),
    "chosen": ("SELECT note, id, e, two, section FROM part WHERE section < 4", lambda i: i % 10 < 4),
    "renamed": (
        'SELECT e AS "Vec", two AS c, section AS id, id AS "the key", note || 1 AS note FROM part AS p WHERE id > 50',
        lambda i: i > 50,
    ),
    "other": ("SELECT id, e, two, section FROM part WHERE EXISTS (SELECT FROM part AS o WHERE o.id = part.id + 300)", lambda i: i < 300),
    "inner_query": (
        "SELECT * FROM (SELECT id AS i, e AS v, two, section FROM part WHERE id < 400) AS q WHERE q.section <> 3",
        lambda i: i < 400 and i % 10 != 3,
    ),
    "with_function": ("SELECT id, e, two, section, upper(note) AS note, 1 AS one FROM part WHERE length(note) > 2", lambda i: i > 9),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_searched_by_every_path(parts: Connection, name: str) -> None:
    definition, condition = VIEWS[name]
    parts.execute(f"CREATE VIEW {name} AS {definition}; CREATE VIEW upon AS SELECT * FROM {name}")
    truth = coded.exact(QUERIES[0], 10, passes(condition))
    for view in (name, "upon"):
        for path in (None, "exact", "code", "index"):
            assert keys(parts, view, path) == truth, (view, path)
        assert "part_e" in planned(parts, view, "index")
        assert "part_two" in planned(parts, view, "code")
        assert "part_e" not in planned(parts, view, "exact")
        assert "Index Scan using part_pkey" in by_key(parts, view)


def test_rows_are_of_the_views_type_and_have_its_columns(parts: Connection) -> None:
    parts.execute(f"CREATE VIEW renamed AS {VIEWS['renamed'][0]}")
    truth = coded.exact(QUERIES[0], 5, passes(VIEWS["renamed"][1]))
    found = parts.execute('SELECT (item)."the key", (item).id, (item).note FROM pgembed.search(NULL::renamed, %s::vector, k => 5)', [QUERY])
    assert found.fetchall() == [(number, number % 10, f"n{number}1") for number in truth]
    like = parts.execute("""SELECT (item)."the key" FROM pgembed.search_like(NULL::renamed, '70', k => 5) ORDER BY rank""").fetchall()
    assert [row[0] for row in like] == coded.exact(VECTORS[70], 5, passes(lambda i: i > 50 and i != 70))
    by_name = parts.execute("SELECT key FROM pgembed.search_keys('renamed', %s::vector, k => 5, column_name => 'Vec')", [QUERY]).fetchall()
    assert [int(row[0]) for row in by_name] == truth


def test_the_filter_is_over_the_views_columns(parts: Connection) -> None:
    parts.execute(f"CREATE VIEW renamed AS {VIEWS['renamed'][0]}")
    for condition in (
        "id = 3",
        "renamed.id = 3",
        "note LIKE 'n%3_' AND id = 3",
        'EXISTS (SELECT FROM part WHERE part.id = "the key") AND id = 3',
    ):
        digit = passes(lambda i: i % 10 == 3 and i > 50)
        for path in (None, "exact", "code", "index"):
            assert keys(parts, "renamed", path, condition) == coded.exact(QUERIES[0], 10, digit), (path, condition)


@pytest.mark.own_database
def test_the_covering_index_answers_alone_through_a_view(parts: Connection) -> None:
    parts.execute("VACUUM ANALYZE part")
    parts.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    parts.execute(
        "CREATE VIEW v AS SELECT id AS i, section AS s, e AS v, two AS t FROM part WHERE section < 8; CREATE VIEW w AS SELECT * FROM v"
    )
    shown = planned(parts, "w", "covering", "s = 3")
    assert "Index Only Scan using part_section" in shown
    assert keys(parts, "w", "covering", "s = 3") == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 3))
    # a view that is altered is seen at once
    parts.execute("CREATE OR REPLACE VIEW v AS SELECT id AS i, section AS s, e AS v, two AS t FROM part WHERE section < 8 AND id > 100")
    assert keys(parts, "w", None, "s = 3") == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 3 and i > 100))


def test_a_partial_index_that_the_views_condition_implies(parts: Connection) -> None:
    parts.execute(
        "DROP INDEX part_e; DROP INDEX part_two; CREATE INDEX part_some ON part USING hnsw (e vector_cosine_ops) WHERE section < 4"
    )
    parts.execute("CREATE VIEW v AS SELECT id, e AS v, section FROM part WHERE section < 3; CREATE VIEW w AS SELECT id, e FROM part")
    coded.seem_large(parts, "part")
    assert "Index Scan using part_some" in planned(parts, "v", "partial")
    assert keys(parts, "v", "partial") == coded.exact(QUERIES[0], 10, of_sections(0, 1, 2))
    assert keys(parts, "v", "partial", "section = 2") == coded.exact(QUERIES[0], 10, of_sections(2))
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        keys(parts, "w", "partial")


def test_a_view_that_is_over_another_table_by_now(parts: Connection) -> None:
    parts.execute("CREATE VIEW v AS SELECT id, e FROM part WHERE id < 20")
    assert keys(parts, "v") == coded.exact(QUERIES[0], 10, passes(lambda i: i < 20))
    parts.execute(
        "CREATE TABLE twin (LIKE part INCLUDING INDEXES); INSERT INTO twin (id, section, e, note) SELECT id, section, e, note FROM part"
    )
    parts.execute("SELECT pgembed.adopt_embedding('twin', 'e', metric => 'l2')")
    parts.execute("CREATE OR REPLACE VIEW v AS SELECT id, e FROM twin WHERE id > 500")
    by_l2 = parts.execute("SELECT id FROM twin WHERE id > 500 ORDER BY e <-> %s::vector LIMIT 10", [QUERY]).fetchall()
    assert keys(parts, "v") == [row[0] for row in by_l2]
    parts.execute("SELECT pgembed.alter_embedding('twin', metric => 'cosine')")
    assert keys(parts, "v") == coded.exact(QUERIES[0], 10, passes(lambda i: i > 500))


def test_codes_that_the_view_does_not_show_are_not_used(parts: Connection) -> None:
    parts.execute("CREATE VIEW v AS SELECT id, e FROM part")
    shown = planned(parts, "v")
    assert shown.startswith(("index: ", "exact: "))
    assert 'codes part.two: view "v" does not show them' in shown
    assert keys(parts, "v") == coded.exact(QUERIES[0], 10)


APART = {
    "CREATE VIEW v WITH (security_barrier) AS SELECT * FROM part WHERE section = 5": "is a security barrier",
    "CREATE VIEW v AS SELECT * FROM part WHERE section = 5 ORDER BY id": "has ORDER BY",
    "CREATE VIEW u WITH (security_barrier) AS SELECT * FROM part WHERE section = 5; CREATE VIEW v AS TABLE u": "is a security barrier",
}


@pytest.mark.parametrize("definition", APART)
def test_a_view_that_postgresql_keeps_apart_is_searched_exactly(parts: Connection, definition: str) -> None:
    parts.execute(definition)
    assert planned(parts, "v").startswith("exact: ")
    assert f'view "v" {APART[definition]}, so no index over vectors or codes serves it' in planned(parts, "v")
    assert keys(parts, "v") == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 5))
    assert keys(parts, "v", None, "id < 100") == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 5 and i < 100))


REFUSED = {
    "SELECT section, avg(e) AS e FROM part GROUP BY section": ("42809", "has aggregates", "columns of one table and a condition"),
    "SELECT id, e FROM part GROUP BY id, e": ("42809", "has GROUP BY", "columns of one table"),
    "SELECT DISTINCT id, e FROM part": ("42809", "has DISTINCT", "columns of one table"),
    "SELECT id, e FROM part UNION ALL SELECT id, e FROM part": ("42809", "has UNION", "columns of one table"),
    "SELECT id, e FROM part LIMIT 5": ("42809", "has LIMIT", "columns of one table"),
    "SELECT id, e, rank() OVER () FROM part": ("42809", "has window functions", "columns of one table"),
    "SELECT id, e, generate_series(1, 2) FROM part": ("42809", "has functions that return sets", "columns of one table"),
    "SELECT p.id, p.e FROM part AS p JOIN part AS q USING (id)": ("42809", "is not over one table", "EXISTS"),
    "SELECT p.id, p.e FROM part AS p, part AS q": ("42809", "is not over one table", "EXISTS"),
    "SELECT 1 AS id, '[1,2]'::vector AS e": ("42809", "is not over one table", "columns of one table"),
    "SELECT id, e FROM part TABLESAMPLE bernoulli (50)": ("42809", "is not over a table", "columns of one table"),
    "SELECT n AS id FROM generate_series(1, 3) AS n": ("42809", "is not over a table", "columns of one table"),
    "SELECT id, note FROM part": ("42703", 'does not show the embedded column of "part": e', "Add it to the view"),
    f"SELECT id, e::vector({DIM}) + e AS e FROM part": ("42703", "does not show the embedded column", "as it is"),
    "SELECT e, note FROM part": ("42P16", 'does not show the primary key of "part": id', "shows the key's columns"),
    "SELECT id::text, e FROM part": ("42P16", "does not show the primary key", "as they are"),
    "SELECT id, e FROM bare": ("42P16", 'table "bare" has no primary key', "ADD PRIMARY KEY"),
    "SELECT id, e FROM unknown": ("42704", 'table "unknown" has no embedded column', "add_embedding"),
}


def test_a_view_that_can_not_be_searched_says_why(parts: Connection, refused: Refused) -> None:
    parts.execute(f"CREATE TABLE bare (id int, e vector({DIM})); SELECT pgembed.adopt_embedding('bare', 'e')")
    parts.execute("CREATE TABLE unknown (id int PRIMARY KEY, e int)")
    for definition, (sqlstate, message, hint) in REFUSED.items():
        parts.execute(f"DROP VIEW IF EXISTS v; CREATE VIEW v AS {definition}")
        for call in ("search(NULL::v, %s::vector)", "search_keys('v', %s::vector)"):
            refused(parts, sqlstate, f"SELECT * FROM pgembed.{call}", [QUERY], message=message, hint=hint)
        refused(parts, sqlstate, "SELECT * FROM pgembed.search_like(NULL::v, '1')", message=message, hint=hint)


def test_what_is_not_a_search_wants_the_table(parts: Connection, refused: Refused) -> None:
    parts.execute("CREATE VIEW v AS SELECT * FROM part")
    refused(parts, "42704", "CALL pgembed.refresh('v')", message='table "v" has no embedded column', hint="name the table under it")


def test_a_view_over_a_column_of_chunks(doc: Connection, refused: Refused) -> None:
    doc.execute("CREATE VIEW v AS SELECT * FROM doc WHERE id < 4")
    refused(doc, "0A000", "SELECT * FROM pgembed.search(NULL::v, 'music')", message="doc.part is over chunks", hint="Search doc itself")


def test_a_text_is_embedded_as_the_table_under_the_view_has_it(fresh: Connection, notices: Notices) -> None:
    fresh.execute("CREATE VIEW dear AS SELECT id AS number, name AS label, embedding AS meaning, price FROM product WHERE price > 50")
    assert fresh.execute("SELECT (item).label FROM pgembed.search(NULL::dear, 'something against the rain', k => 1)").fetchall() == [
        ("jacket",)
    ]
    fresh.execute("INSERT INTO product VALUES (4, 'boat', 'floats', 900)")
    assert len(fresh.execute("SELECT FROM pgembed.search(NULL::dear, 'rain')").fetchall()) == 2
    assert notices[-1].hint == "CALL pgembed.refresh('product') embeds what is pending."


def test_several_embedded_columns(parts: Connection, refused: Refused) -> None:
    parts.execute(f"ALTER TABLE part ADD COLUMN f vector({DIM}); UPDATE part SET f = e; SELECT pgembed.adopt_embedding('part', 'f')")
    parts.execute("CREATE VIEW two_of AS SELECT id, e AS first, f AS second FROM part; CREATE VIEW one AS SELECT id, f AS only FROM part")
    refused(
        parts,
        "42702",
        "SELECT * FROM pgembed.search(NULL::two_of, %s::vector)",
        [QUERY],
        message="first, second",
        hint="column_name => 'first'",
    )
    refused(parts, "42704", "SELECT * FROM pgembed.search(NULL::two_of, %s::vector, column_name => 'e')", [QUERY], hint="first, second")
    assert keys(parts, "one") == coded.exact(QUERIES[0], 10)


def test_odd_names_in_a_view(parts: Connection) -> None:
    """Names that look like what PostgreSQL writes views down in."""
    parts.execute(
        r"""CREATE VIEW "a) {b :c" AS SELECT id AS ":expr", e AS "{VAR :varno 1", two AS "<>", section AS "\ (b)", note AS ":resno 3"
        FROM part AS ":rtekind" WHERE ":rtekind".section = 2"""
    )
    for path in (None, "exact", "code", "index"):
        assert keys(parts, '"a) {b :c"', path, '":expr" > 30') == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 2 and i > 30))


def test_the_rights_are_those_on_the_view(parts: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    role = make_role("reader")
    parts.execute(f"CREATE VIEW v AS SELECT * FROM part WHERE section = 5; GRANT SELECT ON v TO {role}")
    truth = coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 5))
    with as_role(parts, role):
        for path in (None, "exact", "code", "index"):
            assert keys(parts, "v", path) == truth
        found = parts.execute("SELECT (item).section FROM pgembed.search(NULL::v, %s::vector)", [QUERY]).fetchall()
        assert found == [(5,)] * 10
        assert len(parts.execute("SELECT FROM pgembed.search_like(NULL::v, '5')").fetchall()) == 10
        refused(parts, "P0002", "SELECT FROM pgembed.search_like(NULL::v, '6')", message="no row of v")
        refused(parts, "42501", "SELECT * FROM pgembed.search_keys('part', %s::vector)", [QUERY], hint="SELECT on part")
    parts.execute(f"REVOKE SELECT ON v FROM {role}")
    with as_role(parts, role):
        refused(parts, "42501", "SELECT * FROM pgembed.search_keys('v', %s::vector)", [QUERY], hint="SELECT on v")
    parts.execute(f"GRANT SELECT (id, e) ON v TO {role}")
    with as_role(parts, role):
        assert keys(parts, "v") == truth
        refused(parts, "42501", "SELECT * FROM pgembed.search(NULL::v, %s::vector)", [QUERY], hint="search_keys()")
        refused(parts, "42501", "SELECT * FROM pgembed.search_keys('v', %s::vector, filter => 'section = 5')", [QUERY], hint=None)


def test_a_view_with_the_rights_of_its_caller(parts: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    if parts.info.server_version < 150000:
        pytest.skip("views have the rights of their callers from PostgreSQL 15 on")
    role = make_role("reader")
    parts.execute(f"CREATE VIEW v WITH (security_invoker) AS SELECT * FROM part; GRANT SELECT ON v TO {role}")
    with as_role(parts, role):
        refused(parts, "42501", "SELECT * FROM pgembed.search_keys('v', %s::vector)", [QUERY], message="part", hint=None)
    parts.execute(
        f"GRANT SELECT ON part TO {role}; ALTER TABLE part ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON part USING (section = 3)"
    )
    with as_role(parts, role):
        for path in (None, "exact", "code", "index"):
            assert keys(parts, "v", path) == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 == 3))
    assert keys(parts, "v") == coded.exact(QUERIES[0], 10)


def test_a_materialized_view_that_was_adopted(parts: Connection) -> None:
    parts.execute(
        "CREATE MATERIALIZED VIEW kept AS SELECT id, e, section FROM part WHERE id < 500; SELECT pgembed.adopt_embedding('kept', 'e')"
    )
    found = parts.execute("SELECT (item).id FROM pgembed.search(NULL::kept, %s::vector, filter => 'section = 1')", [QUERY]).fetchall()
    assert [row[0] for row in found] == coded.exact(QUERIES[0], 10, passes(lambda i: i < 500 and i % 10 == 1))


@pytest.fixture
def regions(db: Connection) -> Connection:
    """The same rows in three partitions, one of them with other places of its columns."""
    db.execute(
        f"""
        CREATE TABLE region (id int, section int, e vector({DIM}), PRIMARY KEY (section, id)) PARTITION BY RANGE (section);
        CREATE TABLE region_a PARTITION OF region FOR VALUES FROM (0) TO (3);
        CREATE TABLE region_b (e vector({DIM}), section int NOT NULL, id int NOT NULL);
        ALTER TABLE region ATTACH PARTITION region_b FOR VALUES FROM (3) TO (7);
        CREATE TABLE region_c PARTITION OF region DEFAULT;
        SELECT pgembed.adopt_embedding('region', 'e');
        """
    )
    coded.fill(db, "region")
    db.execute(
        """
        SELECT pgembed.train_codec('two', 'region', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('region', 'two', is_generated => true);
        CREATE INDEX region_section ON region (section) INCLUDE (id, two);
        CREATE INDEX region_e ON region USING hnsw (e vector_cosine_ops);
        CREATE INDEX region_two ON region USING hnsw (two bit_hamming_ops);
        """
    )
    coded.measured(db, "two", '{"150": 0.999}')
    db.execute("ANALYZE region")
    return db


def regional(db: Connection, target: str, path: str | None, condition: str | None) -> list[int]:
    rows = db.execute(
        "SELECT (key::jsonb->>1)::int FROM pgembed._search_keys(%s, %s::vector, 10, %s, NULL, NULL, NULL, 0.98, false, %s) ORDER BY rank",
        [target, QUERY, condition, path],
    )
    return [row[0] for row in rows.fetchall()]


def test_partitions_and_views_over_them(regions: Connection) -> None:
    regions.execute("CREATE VIEW v AS SELECT id, section, e AS v, two FROM region WHERE section > 1")
    for condition, sections in ((None, range(10)), ("section = 4", [4]), ("section IN (2, 8)", [2, 8])):
        for path in (None, "exact", "code", "index"):
            assert regional(regions, "region", path, condition) == coded.exact(QUERIES[0], 10, of_sections(*sections)), (path, condition)
            above = of_sections(*(section for section in sections if section > 1))
            assert regional(regions, "v", path, condition) == coded.exact(QUERIES[0], 10, above), (path, condition)
    rows = regions.execute("SELECT (item).section, (item).id FROM pgembed.search(NULL::region, %s::vector)", [QUERY]).fetchall()
    assert [number for _, number in rows] == coded.exact(QUERIES[0], 10)
    regions.execute("SET LOCAL enable_seqscan = off")
    shown = planned(regions, "region", "index")
    assert shown.count("using region_") >= 3


@pytest.mark.own_database
def test_covering_indexes_of_partitions(regions: Connection) -> None:
    regions.execute("VACUUM ANALYZE region")
    regions.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    for condition, sections in (("section = 4", [4]), ("section IN (2, 8)", [2, 8])):
        assert "Index Only Scan" in planned(regions, "region", "covering", condition)
        assert regional(regions, "region", "covering", condition) == coded.exact(QUERIES[0], 10, of_sections(*sections))
    # what changes in a partition is seen at once
    assert planned(regions, "region", "index")
    regions.execute("ALTER TABLE region DETACH PARTITION region_b")
    assert regional(regions, "region", None, None) == coded.exact(QUERIES[0], 10, passes(lambda i: i % 10 not in (3, 4, 5, 6)))


def test_a_table_with_children_by_inheritance(parts: Connection) -> None:
    parts.execute("CREATE TABLE child (extra int) INHERITS (part)")
    parts.execute(
        "WITH moved AS (DELETE FROM ONLY part WHERE section > 6 RETURNING id, section, e, note)"
        " INSERT INTO child (id, section, e, note) SELECT * FROM moved"
    )
    for condition, sections in ((None, range(10)), ("section = 8", [8]), ("section IN (1, 9)", [1, 9])):
        for path in (None, "exact", "index"):
            assert keys(parts, "part", path, condition) == coded.exact(QUERIES[0], 10, of_sections(*sections)), (path, condition)
