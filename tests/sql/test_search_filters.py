"""Filters of every kind, by every access path that can answer: always the rows that numpy finds among those of the plain SELECT."""

from __future__ import annotations

import json
from typing import Any

import coded
import psycopg
import pytest
from coded import DIM, QUERIES, ROWS
from support import Connection, Notices, Refused

pytestmark = pytest.mark.one_transaction

QUERY = coded.text(QUERIES[0])
K = 15
PATHS = ("exact", "covering", "scan", "code", "index")


@pytest.fixture
def items(db: Connection) -> Connection:
    """600 rows with a column of many types, codes, a covering index, and HNSW on vectors and codes; 100 candidates are nearly all rows."""
    db.execute(
        f"""
        CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
        CREATE TABLE item (
            id int PRIMARY KEY, section int, e vector({DIM}), name text, price numeric(8, 2), made date, seen timestamptz, tags text[],
            doc jsonb, stock int4range, words tsvector, colour colour, uid uuid, note text
        );
        SELECT pgembed.adopt_embedding('item', 'e');
        """
    )
    coded.fill(db, "item")
    db.execute(
        """
        UPDATE item SET name = CASE id % 4 WHEN 0 THEN 'Red ' ELSE 'green_' END || id, price = id * 1.25, made = date '2024-01-01' + id,
            seen = timestamptz '2024-01-01 12:00+00' + id * interval '1 hour', tags = ARRAY['t' || id % 5, 'u' || id % 7],
            doc = jsonb_build_object('kind', 'k' || id % 6, 'size', id % 11,
                'deep', jsonb_build_object('list', jsonb_build_array(id % 3, 'x'))),
            stock = int4range(id, id + id % 9), words = to_tsvector('simple', 'common word' || id % 8),
            colour = (enum_range(NULL::colour))[1 + id % 3], uid = md5((id % 50)::text)::uuid,
            note = CASE WHEN id % 3 = 0 THEN 'emoji 😀' END;
        CREATE TABLE sale (item_id int, at date); INSERT INTO sale SELECT id, made FROM item WHERE id % 13 = 0;
        SELECT pgembed.train_codec('two', 'item', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('item', 'two', is_generated => true);
        CREATE INDEX item_section ON item (section) INCLUDE (id, two);
        CREATE INDEX item_tags ON item USING gin (tags);
        CREATE INDEX item_e ON item USING hnsw (e vector_cosine_ops);
        CREATE INDEX item_two ON item USING hnsw (two bit_hamming_ops);
        """
    )
    coded.measured(db, "two", '{"150": 0.999}')
    db.execute("ANALYZE item")
    return db


def passing(db: Connection, condition: str | None, params: Any = None) -> list[int]:
    """What the plain SELECT says, with the params written out."""
    where = "true" if condition is None or not condition.strip() else condition
    plain = where.replace("$1", f"{psycopg.sql.Literal(json.dumps(params)).as_string(db)}::jsonb")
    return [row[0] for row in db.execute(f"SELECT id FROM item WHERE {plain}\n".encode()).fetchall()]


def found(db: Connection, condition: str | None, params: Any = None, path: str | None = None, k: int = K) -> list[int]:
    rows = db.execute(
        "SELECT key FROM pgembed._search_keys('item', %s::vector, %s, %s, %s, NULL, NULL, 0.98, false, %s) ORDER BY rank",
        [QUERY, k, condition, None if params is None else json.dumps(params), path],
    )
    return [int(row[0]) for row in rows.fetchall()]


def by_every_path(db: Connection, condition: str | None, params: Any = None) -> set[str]:
    """Compare, and return the paths that could answer."""
    ids = set(passing(db, condition, params))
    truth = coded.exact(QUERIES[0], K, [i in ids for i in range(ROWS)])
    assert found(db, condition, params) == truth, condition
    took = set()
    for path in PATHS:
        try:
            assert found(db, condition, params, path) == truth, (path, condition)
        except psycopg.errors.FeatureNotSupported:
            continue
        took.add(path)
    return took


COMPARISONS = (
    "price > 300",
    "price BETWEEN 100 AND 200.5",
    "price = 12.5 OR price < 5",
    "id IN (3, 5, 8, 13, 21)",
    "id NOT IN (1, 2, 3) AND id <> 0",
    "id = ANY ('{10,20,30}')",
    "id <> ALL (ARRAY[1, 2])",
    "made >= '2024-06-01' AND made < date '2024-07-01'",
    "seen AT TIME ZONE 'UTC' < '2024-01-10'",
    "extract(month FROM made) = 3",
    "colour = 'blue'",
    "colour > 'red' AND NOT section = 4",
    "uid = md5('7')::uuid",
    "(section, colour) = (3, 'red')",
    "(section, id) < (2, 300)",
    "ROW(section) IS NOT DISTINCT FROM ROW(5)",
    "section IS DISTINCT FROM 5",
    "item.section = 5",
    "item IS NOT NULL",
    "(item).section = 6",
    "CASE WHEN section = 1 THEN price > 100 ELSE section = 2 END",
    "section IN (SELECT 1 UNION ALL VALUES (2))",
    "true",
    "NOT false",
)
KINDS = {
    "text": (
        "name LIKE 'Red %'",
        "name ILIKE 'RED %1'",
        r"name ~ '^green_\d+5$'",
        r"name SIMILAR TO '%(7|8)'",
        r"name LIKE '%\_1%'",
        r"name LIKE E'%\\_1%'",
        "name || note LIKE '%😀'",
        "note = 'emoji 😀'",
        "name = 'it''s' OR name = $$Red 4$$ OR name = $tag$Red 8$tag$",
        r"name = U&'Red\00201\0036'",
        "note IS NULL",
        "note IS NOT NULL AND length(note) > 3",
        "coalesce(note, 'x') = 'x'",
        "name COLLATE \"C\" < 'S'",
        "words @@ 'word3'",
        "words @@ to_tsquery('simple', 'common & !word1')",
        "words @@ plainto_tsquery('simple', 'word5')",
    ),
    "arrays": (
        "tags && '{t1,u3}'",
        "tags @> ARRAY['t1', 'u3']",
        "tags <@ ARRAY['t1', 'u3', 't2', 'u1']",
        "'t4' = ANY (tags)",
        "cardinality(tags) = 2 AND tags[1] = 't0'",
        "EXISTS (SELECT FROM unnest(tags) AS t WHERE t LIKE 'u_' AND t > 'u5')",
    ),
    "json": (
        "doc->>'kind' = 'k3'",
        "(doc->>'size')::int BETWEEN 2 AND 4",
        """doc @> '{"kind": "k2"}'""",
        "doc ? 'kind' AND NOT doc ?| ARRAY['a', 'b']",
        "doc #>> '{deep,list,0}' = '2'",
        "doc @? '$.deep.list[*] ? (@ == 1)'",
        "doc @@ '$.size > 8'",
        "jsonb_path_exists(doc, '$.size ? (@ < $top)', '{\"top\": 2}')",
        "doc['deep']['list'][1] = '\"x\"'",
    ),
    "ranges": ("stock @> 57", "stock && int4range(100, 130)", "isempty(stock)", "upper(stock) > 400", "int4range(3, 9) @> section"),
    "subqueries": (
        "EXISTS (SELECT FROM sale WHERE item_id = item.id)",
        "EXISTS (SELECT FROM sale AS s WHERE s.item_id = id AND s.at > item.made - 1)",
        "NOT EXISTS (SELECT FROM sale WHERE item_id = item.id)",
        "id IN (SELECT item_id FROM sale)",
        "id = ANY (ARRAY(SELECT item_id FROM sale WHERE at < '2024-09-01'))",
        "price < (SELECT avg(i.price) FROM item AS i WHERE i.section = item.section)",
        "(SELECT count(*) FROM sale WHERE item_id = id) = 1",
        "id IN (WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i * 2 FROM n WHERE i < 500) SELECT i FROM n)",
        "EXISTS (SELECT FROM sale JOIN item AS other ON other.id = item_id WHERE other.section = item.section AND other.id > item.id)",
        "id IN (SELECT id FROM item ORDER BY price DESC LIMIT 40)",
    ),
    "comments": (
        "section = 5 -- and no more",
        "section = 5 /* here /* and there */ */",
        "-- first\nsection = 5",
        "section /* = 4 */ = 5 --",
        "  \n\tsection = 5\r\n",
    ),
}


def test_comparisons(items: Connection) -> None:
    took = {path for condition in COMPARISONS for path in by_every_path(items, condition)}
    assert {"exact", "code", "index"} <= took


@pytest.mark.parametrize("kind", KINDS)
def test_filters_of_a_kind(items: Connection, kind: str) -> None:
    for condition in KINDS[kind]:
        assert {"exact", "code", "index"} <= by_every_path(items, condition)


@pytest.mark.parametrize("condition", [None, "", "  \n "])
def test_no_filter_at_all(items: Connection, condition: str | None) -> None:
    assert {"exact", "code", "index"} <= by_every_path(items, condition)


def test_what_is_null_passes_no_row(items: Connection, notices: Notices) -> None:
    for condition in ("NULL", "NULL::boolean", "section = NULL", "section > ($1->>'no such value')::int"):
        assert by_every_path(items, condition)
        assert found(items, condition) == []
    assert notices


@pytest.mark.own_database
def test_the_covering_index_answers_alone(items: Connection) -> None:
    items.execute("VACUUM ANALYZE item")
    items.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    for condition, params in (
        ("section = 5", None),
        ("section IN (1, 2)", None),
        ("section BETWEEN 3 AND 4", None),
        ("section = ($1->>'s')::int", {"s": 3}),
        ("section = ANY (pgembed.text_array($1->'s')::int[])", {"s": [1, 9]}),
    ):
        assert "covering" in by_every_path(items, condition, params), condition


PARAMS = (
    ("price < ($1->>'max')::numeric", {"max": 99.5}),
    ("price < ($1->>'max')::numeric AND price > ($1->>'min')::numeric", {"max": "300.00", "min": -1}),
    ("made = ($1->>'day')::date", {"day": "2024-03-03"}),
    ("seen BETWEEN ($1->>'from')::timestamptz AND ($1->>'to')::timestamptz", {"from": "2024-01-02T00:00Z", "to": "2024-01-09T00:00Z"}),
    ("uid = ($1->>'u')::uuid", {"u": "8f14e45f-ceea-167a-5a36-dedd4bea2543"}),
    ("colour = ($1->>'c')::colour", {"c": "green"}),
    ("name = $1->>'n'", {"n": "Red 8"}),
    ("name = $1->>'n'", {"n": "x' OR true --"}),
    ("doc @> $1", {"kind": "k1"}),
    ("doc->'size' = $1->'size'", {"size": 4}),
    ("section = ANY (pgembed.text_array($1->'s')::int[])", {"s": [1, "2"]}),
    ("tags && pgembed.text_array($1->'t')", {"t": ["t1", "u2"]}),
    ("tags && pgembed.text_array($1->'t')", {"t": []}),
    ("made = ANY (pgembed.text_array($1->'d')::date[])", {"d": ["2024-03-03", "2024-03-04"]}),
    ("tags && pgembed.text_array($1)", ["t1"]),
    ("section = ($1)::int", 7),
    ("(($1->>'s') IS NULL OR section = ($1->>'s')::int)", {"s": None}),
    ("stock @> ($1->>'at')::int", {"at": 57}),
    ("words @@ ($1->>'q')::tsquery", {"q": "word3 | word4"}),
    ("name ~ ($1->>'re')", {"re": "^Red .*0$"}),
    ("NOT ($1->>'all')::boolean OR section = 2", {"all": True}),
)


def test_values_come_as_params(items: Connection) -> None:
    for condition, params in PARAMS:
        assert {"exact", "code", "index"} <= by_every_path(items, condition, params), condition


def test_an_array_in_params_is_a_constant_of_the_plan(items: Connection) -> None:
    """So that the estimate knows its elements, and that an index is looked up by them."""
    items.execute("SET LOCAL enable_seqscan = off")
    planned = "EXPLAIN SELECT FROM item WHERE {} = ANY (pgembed.text_array('{{\"s\": [3, 4]}}'::jsonb->'s'){})"
    shown = "\n".join(row[0] for row in items.execute(planned.format("section", "::int[]")).fetchall())
    assert "Index Cond: (section = ANY ('{3,4}'::integer[]))" in shown
    shown = "\n".join(
        row[0]
        for row in items.execute("EXPLAIN SELECT FROM item WHERE tags && pgembed.text_array('{\"t\": [\"t1\"]}'::jsonb->'t')").fetchall()
    )
    assert "Index Cond: (tags && '{t1}'::text[])" in shown

    def estimated(values: list[int]) -> float:
        row = items.execute(
            "SELECT estimated_rows FROM pgembed._plan_search('item', 'key', pgembed._sent(%s::vector), 10,"
            " 'section = ANY (pgembed.text_array($1->''s'')::int[])', %s, NULL, NULL, NULL, false, NULL, NULL)",
            [QUERY, json.dumps({"s": values})],
        ).fetchone()
        assert row is not None
        return float(row[0])

    # also beyond the number of calls after which PostgreSQL would keep a plan for any values
    assert [round(estimated(values)) for values in ([1], [1, 2, 3], [], *[[4]] * 8, [1, 2])] == [60, 180, 1, *[60] * 8, 120]


def test_functions_are_those_of_the_callers_search_path(items: Connection) -> None:
    items.execute(
        """
        CREATE SCHEMA mine; CREATE SCHEMA yours;
        CREATE FUNCTION mine.good(int) RETURNS boolean LANGUAGE sql RETURN $1 % 10 = 1;
        CREATE FUNCTION yours.good(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN $1 % 10 = 2; END';
        CREATE OPERATOR mine.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_catalog.int4ne);
        CREATE TABLE mine.sale (item_id int); INSERT INTO mine.sale VALUES (7), (8);
        """
    )
    for path, digit in (("mine, public", 1), ("yours, public", 2), ("mine, public", 1)):
        items.execute(f"SET LOCAL search_path = {path}")
        assert {number % 10 for number in found(items, "good(id)")} == {digit}
        assert by_every_path(items, "good(id)")
    items.execute("SET LOCAL search_path = mine, public")
    assert sorted(found(items, "id IN (SELECT item_id FROM sale)")) == [7, 8]
    items.execute("SET LOCAL search_path = public")
    assert len(found(items, "id IN (SELECT item_id FROM sale)")) == K
    items.execute("SET LOCAL search_path = mine, public")
    assert 5 not in {number % 10 for number in found(items, "section === 5", k=600)}


OURS = ("distance", "rank", "item", "answer", "place", "k0", "k1", "key", "code", "mask", "best", "nearest", "every", "params", "query")


def test_columns_and_tables_that_are_called_as_ours_are(db: Connection) -> None:
    columns = ", ".join(f"{name} int" for name in OURS)
    db.execute(
        f"CREATE TABLE odd (id int PRIMARY KEY, section int, e vector({DIM}), {columns}); SELECT pgembed.adopt_embedding('odd', 'e')"
    )
    coded.fill(db, "odd")
    db.execute(f"UPDATE odd SET {', '.join(f'{name} = id % {n + 2}' for n, name in enumerate(OURS))}")
    for name in ("nearest", "best", "every", "found", "counted"):
        db.execute(
            f'CREATE TABLE "{name}" (id int, k0 int, distance int); INSERT INTO "{name}" SELECT n, n, n FROM generate_series(0, 99) AS n'
        )
    db.execute("CREATE INDEX ON odd USING hnsw (e vector_cosine_ops); ANALYZE odd")
    cases = {name: [i % (n + 2) == 1 for i in range(ROWS)] for n, name in enumerate(OURS)}
    conditions = {f"{name} = 1": passes for name, passes in cases.items()} | {f"odd.{name} = 1": passes for name, passes in cases.items()}
    early = [i < 100 for i in range(ROWS)]
    for name in ("nearest", "best", "every", "found", "counted"):
        conditions[f'EXISTS (SELECT FROM "{name}" WHERE "{name}".id = odd.id)'] = early
        conditions[f'odd.id IN (SELECT "{name}".k0 FROM "{name}")'] = early
    for condition, passes in conditions.items():
        for path in ("exact", "index"):
            rows = db.execute(
                "SELECT key FROM pgembed._search_keys('odd', %s::vector, 7, %s, NULL, NULL, NULL, 0.98, false, %s) ORDER BY rank",
                [QUERY, condition, path],
            )
            assert [int(row[0]) for row in rows.fetchall()] == coded.exact(QUERIES[0], 7, passes), (path, condition)


@pytest.mark.parametrize("name", ["nearest", "best", "chunk"])
def test_a_table_that_is_called_as_a_part_of_the_statement_is_refused_and_not_mistaken(
    items: Connection, refused: Refused, name: str
) -> None:
    items.execute(f'CREATE TABLE "pgembed {name}" (id int)')
    condition = f'EXISTS (SELECT FROM "pgembed {name}" AS n WHERE n.id = item.id)'
    refused(
        items,
        "0A000",
        "SELECT * FROM pgembed.search_keys('item', %s::vector, filter => %s)",
        [QUERY, condition],
        message=f'filter names "pgembed {name}"',
        hint="a view of another name",
    )


def test_quoted_names(db: Connection) -> None:
    db.execute(
        f"""CREATE TABLE "Ta""b le😀" ("Id" int PRIMARY KEY, "sec-tion" int, "v; --" vector({DIM}));"""
        """SELECT pgembed.adopt_embedding('"Ta""b le😀"', 'v; --')"""
    )
    coded.fill(db, '"Ta""b le😀"', '"Id", "sec-tion", "v; --"')
    db.execute("""CREATE INDEX ON "Ta""b le😀" USING hnsw ("v; --" vector_cosine_ops)""")
    truth = coded.exact(QUERIES[0], 5, [i % 10 == 3 for i in range(ROWS)])
    for path in ("exact", "index", None):
        for condition in ('"sec-tion" = 3', '"Ta""b le😀"."sec-tion" = 3'):
            rows = db.execute(
                """SELECT key FROM pgembed._search_keys('"Ta""b le😀"', %s::vector, 5, %s, NULL, NULL, NULL, NULL, false, %s)""",
                [QUERY, condition, path],
            )
            assert [int(row[0]) for row in rows.fetchall()] == truth


REFUSED = {
    "section = $2": "42P02",
    "section = ($2->>'x')::int": "42P02",
    "e <=> $2 < 1": "42P02",
    "$0 = 1": "42P02",
    "section = :x": "42601",
    "true) UNION ALL SELECT * FROM item --": "42601",
    "true) OR (true": "42601",
    "true; DROP TABLE item": "42601",
    "true LIMIT 1": "42601",
    "true ORDER BY id": "42601",
    "true GROUP BY id": "42601",
    "1 = 1) -- ": "42601",
    "true /* open": "42601",
    "name = 'open": "42601",
    "name = $$open": "42601",
    '"open': "42601",
    "section": "42804",
    "'no truth'": "22P02",
    "count(*) > 1": "42803",
    "row_number() OVER () < 3": "42P20",
    "generate_series(1, 2) = 1": "0A000",
    "no_such = 1": "42703",
    "distance < 1": "42703",
    "other.section = 1": "42P01",
    "no_such(1)": "42883",
    "(SELECT 1, 2) = 1": "42601",
    "(SELECT section FROM item) = 1)(": "42601",
    "DELETE FROM item": "42601",
    "EXISTS (DELETE FROM item RETURNING 1)": "42601",
    "EXISTS (WITH d AS (DELETE FROM item RETURNING 1) SELECT FROM d)": "0A000",
    "\\": "42601",
}


def test_what_is_not_one_boolean_expression_is_refused_before_anything_runs(items: Connection, refused: Refused) -> None:
    for condition, sqlstate in REFUSED.items():
        with items.transaction(force_rollback=True):
            error = refused(
                items,
                sqlstate,
                "SELECT * FROM pgembed.search(NULL::item, %s::vector, filter => %s)",
                [QUERY, condition],
                message="filter is not",
            )
            assert "item" in str(error.diag.message_primary)
    assert items.execute("SELECT count(*) FROM item").fetchone() == (ROWS,)


def test_a_filter_that_fails_as_it_runs_fails_the_search_and_no_other(items: Connection) -> None:
    for path in (None, "exact", "code", "index"):
        with pytest.raises(psycopg.errors.DivisionByZero):
            found(items, "1 / (section - 3) > -5", path=path)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        found(items, "section = ($1->>'s')::int", {"s": "three"})
    assert items.execute("SHOW hnsw.iterative_scan").fetchone() == ("off",)
    assert by_every_path(items, "section = 3")


def test_a_filter_that_rolls_dice_gives_k_rows_that_it_may_give(items: Connection) -> None:
    for path in ("exact", "code", "index"):
        for _ in range(3):
            some = found(items, "random() < 0.7 AND section < 9", path=path)
            assert len(some) == len(set(some)) == K
            assert all(number % 10 < 9 for number in some)


def test_a_very_long_filter(items: Connection) -> None:
    ids = ", ".join(str(number) for number in range(3, 180_000))
    assert len(ids) > 1_000_000
    condition = f"id IN ({ids}) AND section = 4"
    truth = coded.exact(QUERIES[0], K, [i % 10 == 4 and i >= 3 for i in range(ROWS)])
    assert found(items, condition) == truth
    assert found(items, f"section = 4 -- {'x' * 1_000_000}") == coded.exact(QUERIES[0], K, [i % 10 == 4 for i in range(ROWS)])


def test_one_text_is_proven_anew_where_backslashes_mean_something_else(items: Connection) -> None:
    condition = "name = 'a\\' OR section = 3 --' "
    numbers = {}
    for strings in ("on", "off", "on"):
        items.execute(f"SET LOCAL standard_conforming_strings = {strings}; SET LOCAL escape_string_warning = off")
        ids = set(passing(items, condition))
        numbers[strings] = len(ids)
        assert found(items, condition) == coded.exact(QUERIES[0], K, [i in ids for i in range(ROWS)])
    # "on": a constant that ends at the second quote; "off": one that ends at the third, and nothing else
    assert numbers == {"on": ROWS // 10, "off": 0}
