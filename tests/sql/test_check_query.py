"""check_query: what the plan of a plain query can lose, what it did lose, and the query rewritten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import AsRole, Connect, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

ROWS, DIM, K = 1500, 8, 10
VECTORS = np.random.default_rng(5).standard_normal((ROWS, DIM)).astype(np.float32)
QUERY = np.random.default_rng(6).standard_normal(DIM).astype(np.float32)
# section 1 has 60 rows, the farthest of all: the filter and the query are as unlike as can be
FAR = {int(place) for place in np.argsort(VECTORS @ QUERY / np.linalg.norm(VECTORS, axis=1))[:60]}


def text(vector: Any) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"


V = f"'{text(QUERY)}'"
FILTERED = f"SELECT id FROM part WHERE section = 1 ORDER BY e <=> {V} LIMIT {K}"


def nearest(passing: set[int] | None = None, k: int = K, offset: int = 0) -> list[int]:
    """Computed here: the true answer."""
    distances = 1 - VECTORS @ QUERY / (np.linalg.norm(VECTORS, axis=1) * np.linalg.norm(QUERY))
    ranked = [int(place) for place in np.argsort(distances) if passing is None or int(place) in passing]
    return ranked[offset : offset + k]


@pytest.fixture
def part(db: Connection) -> Connection:
    """Fifteen hundred rows with an HNSW index that PostgreSQL always takes where it can."""
    db.execute(f"CREATE TABLE part (id int PRIMARY KEY, section int, label text, e vector({DIM}))")
    with db.cursor().copy("COPY part FROM STDIN") as copy:
        for place, vector in enumerate(VECTORS):
            copy.write_row((place, 1 if place in FAR else 2, f"part {place}", text(vector)))
    db.execute("CREATE INDEX part_e ON part USING hnsw (e vector_cosine_ops) WITH (m = 8, ef_construction = 32)")
    db.execute("ANALYZE part; SET enable_seqscan = off; SET enable_bitmapscan = off")
    return db


def check(db: Connection, query: str, arguments: str = "", values: tuple[object, ...] = ()) -> list[Any]:
    return db.execute(f"SELECT level, finding, detail, remedy FROM pgembed.check_query(%s{arguments})", [query, *values]).fetchall()


def levels(found: list[Any]) -> list[str]:
    return [line[0] for line in found]


def of_level(found: list[Any], level: str) -> list[Any]:
    return [line for line in found if line[0] == level]


def rewritten(found: list[Any]) -> tuple[str, str]:
    (line,) = of_level(found, "rewritten")
    return line[1], line[3]


def ids(db: Connection, query: str) -> list[int]:
    return [row[0] for row in db.execute(query.encode()).fetchall()]


def recalls(found: list[Any]) -> dict[str, float]:
    return {line[1].split(": ")[0]: float(line[1].split(": ")[1]) for line in found if line[0] == "measured" and ": " in line[1]}


def test_a_filter_behind_the_index_is_told_with_its_measured_recall(part: Connection) -> None:
    found = check(part, FILTERED, ", measure => true")
    assert levels(found)[0] == "can lose rows"
    assert "(part.section = 1)" in found[0][2]
    assert "hnsw.ef_search = 40, hnsw.iterative_scan = off" in found[0][2]
    returned = ids(part, FILTERED)
    assert returned == []  # none of the 40 nearest passes
    assert recalls(found) == {"recall of the query": 0.0, "recall of the query rewritten": 1.0}
    said = [line[2].split(" in ")[0] for line in of_level(found, "measured")]
    assert said == ["returns 0 rows, 0 of the 10 right ones,", "returns 10 rows, 10 of the 10 right ones,", "10 rows"]


def test_the_remedy_is_what_helps(part: Connection) -> None:
    (line,) = of_level(check(part, FILTERED), "can lose rows")
    part.execute(line[3])
    assert ids(part, FILTERED) == nearest(FAR)
    assert of_level(check(part, FILTERED), "can lose rows") == []


def test_over_an_embedded_column_it_is_rewritten_as_a_search(part: Connection) -> None:
    part.execute("SELECT pgembed.adopt_embedding('part', 'e')")
    query = f"SELECT label AS name, id, e <=> {V} AS d FROM part AS p WHERE section = 1 ORDER BY p.e <=> {V} LIMIT 7 OFFSET 2;"
    found = check(part, query, ", measure => true")
    kind, statement = rewritten(found)
    assert kind == "as pgembed.search()"
    assert "k => 9, filter => $$ section = 1 $$" in statement
    rows = part.execute(statement.encode())
    assert [column.name for column in rows.description or ()] == ["name", "id", "d"]
    assert [row[1] for row in rows.fetchall()] == nearest(FAR, 7, 2)
    assert recalls(found)["recall of the query rewritten"] == 1


def test_a_bound_on_the_distance_becomes_the_searchs_own(part: Connection) -> None:
    part.execute("SELECT pgembed.adopt_embedding('part', 'e')")
    query = f"SELECT id FROM part WHERE section = 1 AND e <=> {V} < 1.6 ORDER BY e <=> {V} LIMIT {K}"
    within = ids(part, f"SELECT id FROM part WHERE section = 1 AND (e <=> {V}) + 0 < 1.6 ORDER BY (e <=> {V}) + 0 LIMIT {K}")
    _, statement = rewritten(check(part, query))
    assert "max_distance => '1.6'::double precision" in statement
    assert ids(part, statement) == within
    part.execute("SELECT pgembed.drop_embedding('part', 'e')")
    kind, statement = rewritten(check(part, query))
    assert kind == "exactly"
    assert ids(part, statement) == within


def test_where_few_rows_pass_it_is_rewritten_exactly(part: Connection) -> None:
    kind, statement = rewritten(check(part, f"SELECT id, label || '!' FROM part WHERE section = 1 ORDER BY e <=> {V} LIMIT {K} OFFSET 3"))
    assert kind == "exactly"
    assert "+ 0\nLIMIT 10 OFFSET 3" in statement
    assert ids(part, statement) == nearest(FAR, K, 3)


def test_where_many_rows_pass_it_takes_more_and_sorts_again(part: Connection) -> None:
    part.execute("UPDATE pg_class SET reltuples = 60000 WHERE relname = 'part'")
    part.execute("SET cpu_tuple_cost = 1")  # else a row costs less than the two decimals that EXPLAIN prints
    kind, statement = rewritten(check(part, f"SELECT label, id FROM part WHERE section = 2 ORDER BY e <=> {V} LIMIT {K} OFFSET 5"))
    assert kind == "with more rows, sorted again"
    rows = part.execute(statement.encode())
    assert [column.name for column in rows.description or ()] == ["label", "id"]
    assert [row[1] for row in rows.fetchall()] == nearest(set(range(ROWS)) - FAR, K, 5)
    bounded = f"SELECT id FROM part WHERE section = 2 AND e <=> {V} <= 0.1 ORDER BY e <=> {V} LIMIT {K}"
    kind, statement = rewritten(check(part, bounded))
    assert "FROM nearest\nWHERE distance <= '0.1'" in statement
    assert ids(part, statement) == ids(part, bounded.replace(f"ORDER BY e <=> {V}", f"ORDER BY (e <=> {V}) + 0"))


def test_names_that_need_quotes_have_them(part: Connection) -> None:
    part.execute('ALTER TABLE part RENAME TO "order"; ALTER TABLE "order" RENAME section TO "user"')
    part.execute('ALTER TABLE "order" RENAME label TO "İ $1"')
    odd = "$$a'\\ $2 AND (SubPlan 1$$"
    query = f'SELECT id AS "limit", "İ $1" FROM "order" WHERE "user" = 1 AND "İ $1" <> {odd} ORDER BY e <=> {V} LIMIT {K}'
    kind, statement = rewritten(check(part, query))
    assert kind == "exactly"
    assert ids(part, statement) == nearest(FAR)
    part.execute("""SELECT pgembed.adopt_embedding('"order"', 'e')""")
    kind, statement = rewritten(check(part, query))
    assert kind == "as pgembed.search()"
    assert ids(part, statement) == nearest(FAR)


def test_another_query_keeps_its_text_and_gets_its_settings(part: Connection) -> None:
    # another table: from PostgreSQL 18 a join of a row with itself is none
    part.execute("CREATE TABLE other AS SELECT id, section FROM part; ALTER TABLE other ADD PRIMARY KEY (id); ANALYZE other")
    query = f"SELECT p.* FROM part AS p JOIN other AS o USING (id) WHERE o.section = 1 ORDER BY p.e <=> {V} LIMIT {K} -- so be it"
    part.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
    found = check(part, query, ", measure => true")
    assert "a join (Nested Loop, inner)" in found[0][2]
    assert levels(found)[0] == "can lose rows"
    kind, statement = rewritten(found)
    assert kind == "with its settings"
    assert query in statement
    assert recalls(found) == {"recall of the query": 0.0, "recall of the query rewritten": 1.0}
    assert ids(part, statement) == nearest(FAR)


def test_a_left_join_drops_nothing(part: Connection) -> None:
    part.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
    query = f"SELECT p.id, o.label FROM part AS p LEFT JOIN part AS o ON o.id = p.id + 1 ORDER BY p.e <=> {V} LIMIT {K}"
    assert of_level(check(part, query), "can lose rows") == []


@pytest.mark.parametrize(
    ("settings", "query", "level", "said"),
    [
        ("", f"SELECT id FROM part ORDER BY e <=> {V} LIMIT 30 OFFSET 20", "can lose rows", "fewer rows than LIMIT"),
        ("hnsw.ef_search = 50", f"SELECT id FROM part ORDER BY e <=> {V} LIMIT 30 OFFSET 20", "approximate", "gives the nearest"),
        ("enable_sort = off", f"SELECT id FROM part ORDER BY e <=> {V}", "can lose rows", "no LIMIT"),
        ("hnsw.iterative_scan = relaxed_order", f"SELECT id FROM part ORDER BY e <=> {V} LIMIT 5", "out of order", "another order"),
        (
            "hnsw.iterative_scan = relaxed_order",
            f"WITH n AS MATERIALIZED (SELECT id, e <=> {V} AS d FROM part ORDER BY d LIMIT 5) SELECT * FROM n ORDER BY d + 0",
            "approximate",
            "gives the nearest",
        ),
        (
            "hnsw.iterative_scan = strict_order; SET hnsw.max_scan_tuples = 100",
            FILTERED,
            "can lose rows",
            "may end before it has enough",
        ),
        ("hnsw.iterative_scan = strict_order; SET work_mem = '64kB'", FILTERED, "can lose rows", "may end before it has enough"),
        (
            "hnsw.iterative_scan = strict_order",
            f"SELECT id FROM part WHERE e <=> {V} < 0.5 ORDER BY e <=> {V} LIMIT 5",
            "slow",
            "bounded in WHERE",
        ),
        ("enable_indexscan = off; SET enable_seqscan = on", FILTERED, "exact", "every row that passes"),
        ("", "SELECT 1", "exact", "no vector index"),
    ],
    ids=["k", "k ef", "no limit", "relaxed", "sorted again", "tuples", "memory", "bound", "exact", "none"],
)
def test_what_a_plan_can_lose(part: Connection, settings: str, query: str, level: str, said: str) -> None:
    part.execute("SELECT '[1]'::vector")
    if settings:
        part.execute(f"SET {settings}".encode())
    found = check(part, query)
    assert found[0][0] == level, found
    assert said in found[0][1]


def test_what_a_query_asks_for_is_told_as_it_is(part: Connection) -> None:
    found = check(part, "SELECT id FROM part ORDER BY e <=> (SELECT e FROM part WHERE id = 3) LIMIT 60 OFFSET 7")
    assert "asks for 67 rows" in found[0][2]
    assert found[0][3] == "SET hnsw.ef_search = 67;"


def test_a_bound_alone_loses_nothing_of_the_first(part: Connection) -> None:
    query = f"SELECT id FROM part WHERE e <=> {V} < 0.5 ORDER BY e <=> {V} LIMIT 5"
    assert of_level(check(part, query), "can lose rows") == []
    assert ids(part, query) == nearest(k=5)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (f"e <=> {V} DESC LIMIT 5", "DESC"),
        (f"e <-> {V} LIMIT 5", "another operator class"),
        (f"1 - (e <=> {V}) LIMIT 5", "the distance alone"),
        (f"e <=> {V}", "Without LIMIT"),
    ],
    ids=["descending", "operator", "expression", "no limit"],
)
def test_an_index_that_is_missed(part: Connection, order: str, said: str) -> None:
    part.execute("SET enable_indexscan = off; SET enable_seqscan = on" if order.endswith(V) else "SELECT 1")
    part.execute("UPDATE pg_class SET reltuples = 20000 WHERE relname = 'part'")
    found = check(part, f"SELECT id FROM part ORDER BY {order}")
    assert levels(found) == ["slow", "exact"]
    assert "part_e" in found[0][1]
    assert said in found[0][2]


def test_a_query_without_limit_is_measured_by_counting(part: Connection) -> None:
    part.execute("SET enable_sort = off")
    found = check(part, f"SELECT id FROM part ORDER BY e <=> {V}", ", measure => true")
    assert f"returns 40 of the {ROWS} rows" in of_level(found, "measured")[0][2]


def test_lists_have_limits_of_their_own(part: Connection) -> None:
    part.execute("DROP INDEX part_e; CREATE INDEX part_lists ON part USING ivfflat (e vector_cosine_ops) WITH (lists = 20)")
    found = check(part, FILTERED, ", measure => true")
    assert "reads 1 of 20 lists" in found[0][2]
    assert recalls(found)["recall of the query"] == len(set(ids(part, FILTERED)) & set(nearest(FAR))) / K
    assert recalls(found)["recall of the query rewritten"] == 1
    part.execute(of_level(found, "can lose rows")[0][3])
    assert set(ids(part, FILTERED)) == set(nearest(FAR))
    part.execute("SET ivfflat.probes = 1; SET ivfflat.max_probes = 2")
    assert "ivfflat.max_probes = 2 of 20" in of_level(check(part, FILTERED), "can lose rows")[0][2]


def test_an_order_of_codes_is_told(part: Connection) -> None:
    part.execute(f"CREATE INDEX ON part USING hnsw ((binary_quantize(e)::bit({DIM})) bit_hamming_ops)")
    codes = f"binary_quantize(e)::bit({DIM}) <~> binary_quantize({V}::vector)"
    inner = f"SELECT id, e FROM part ORDER BY {codes} LIMIT 30"
    assert "the order is that of codes" in [line[1] for line in check(part, inner)]
    again = check(part, f"SELECT id FROM ({inner}) AS c ORDER BY e <=> {V} LIMIT 5")
    assert "the order is that of codes" not in [line[1] for line in again]


def test_row_security_is_a_filter_whose_share_is_not_told(part: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    role = make_role("tenant")
    part.execute(f"GRANT SELECT ON part TO {role}; ALTER TABLE part ENABLE ROW LEVEL SECURITY")
    part.execute("CREATE POLICY own ON part USING (section = 1)")
    with as_role(part, role):
        found = check(part, f"SELECT id FROM part ORDER BY e <=> {V} LIMIT {K}", ", measure => true")
        _, statement = rewritten(found)
        assert ids(part, statement) == nearest(FAR)
    assert levels(found)[0] == "can lose rows"
    assert "row security takes rows" in found[0][2]
    assert "section" not in str(found)
    assert "%" not in str(found)
    assert recalls(found) == {"recall of the query": 0.0, "recall of the query rewritten": 1.0}


def test_parameters_have_the_types_that_postgresql_finds(part: Connection) -> None:
    query = "SELECT id FROM part WHERE section = ANY ($2) AND (label > '') = $3 ORDER BY e <=> $1 LIMIT $4"
    found = check(part, query, ", ARRAY[%s, '{1,7}', 't', '10'], true", (text(QUERY),))
    assert recalls(found) == {"recall of the query": 0.0, "recall of the query rewritten": 1.0}
    assert ids(part, rewritten(found)[1]) == nearest(FAR)
    part.execute("SET enable_indexscan = off")
    (line,) = of_level(check(part, query, ", ARRAY[%s, NULL, 'f', '3'], true", (text(QUERY),)), "measured")[:1]
    assert line[2].startswith("returns 0 rows, 0 of the 0")
    assert part.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgembed%'").fetchone() == (0,)


def test_a_subquery_without_a_table_is_put_back(part: Connection) -> None:
    found = check(part, f"SELECT id FROM part WHERE section = 1 ORDER BY e <=> (SELECT ({V})::vector) LIMIT {K}")
    assert rewritten(found)[0] == "exactly"
    assert ids(part, rewritten(found)[1]) == nearest(FAR)
    found = check(part, f"SELECT id FROM part WHERE section = (SELECT min(section) FROM part) ORDER BY e <=> {V} LIMIT {K}")
    assert rewritten(found)[0] == "with its settings"
    assert ids(part, rewritten(found)[1]) == nearest(FAR)


def test_what_explain_does_not_tell_is_not_rewritten(part: Connection) -> None:
    part.execute("DROP INDEX part_e; CREATE INDEX ON part USING hnsw (e vector_cosine_ops) WHERE section = 1")
    found = check(part, FILTERED)
    assert of_level(found, "can lose rows") == []  # the index has only rows that pass
    assert rewritten(found)[0] == "with its settings"
    assert ids(part, rewritten(found)[1]) == nearest(FAR)
    ties = f"SELECT id FROM part WHERE section = 1 ORDER BY e <=> {V} FETCH FIRST 3 ROWS WITH TIES"
    assert rewritten(check(part, ties))[0] == "with its settings"


@pytest.mark.parametrize(
    ("query", "sqlstate", "said"),
    [
        (None, "22004", "query is NULL"),
        (" ;\n", "22004", "query is empty"),
        ("SELECT 1; SELECT 2", "42601", "not one SELECT"),
        ("SELECT 1) AS c; DELETE FROM part; SELECT 2 FROM (SELECT 3", "42601", "not one SELECT"),
        ("INSERT INTO part VALUES (-1)", "42601", "not one SELECT"),
        ("WITH gone AS (DELETE FROM part RETURNING id) SELECT * FROM gone", "0A000", "not one SELECT"),
        ("SELECT id INTO other FROM part", "42601", "not one SELECT"),
        ("EXPLAIN SELECT 1", "42601", "not one SELECT"),
        ("PREPARE x AS SELECT 1", "42601", "not one SELECT"),
        ("DECLARE c CURSOR FOR SELECT 1", "42601", "not one SELECT"),
        ("SELEKT 1", "42601", 'at or near "SELEKT"'),
        ("SELECT '", "42601", "unterminated"),
        ("SELECT 1 /* ", "42601", "unterminated"),
        ("SELECT * FROM nowhere", "42P01", '"nowhere" does not exist'),
        ("SELECT 🚀 FROM part", "42703", "🚀"),
        ("SELECT id FROM part WHERE id = $1", "22023", "1 parameter, params has 0 values"),
        ("SELECT " + "(" * 50000 + "1" + ")" * 50000, "42601", "memory exhausted"),
    ],
)  # fmt: skip
def test_it_takes_one_select_and_nothing_else(part: Connection, refused: Refused, query: str | None, sqlstate: str, said: str) -> None:
    refused(part, sqlstate, "SELECT * FROM pgembed.check_query(%s, measure => true)", [query], message=said)
    assert part.execute("SELECT count(*) FROM part").fetchone() == (ROWS,)


def test_odd_queries_are_queries(part: Connection) -> None:
    assert levels(check(part, "SELECT '🚀' AS \"🚀\"", ", measure => true"))[0] == "exact"
    assert levels(check(part, "TABLE part ORDER BY id;;", ", measure => NULL")) == ["exact"]
    assert levels(check(part, "(VALUES (1), (2))")) == ["exact"]
    long = f"SELECT id, id FROM part WHERE section = 1 AND label <> '{'x' * 1_000_000}' ORDER BY e <=> {V} LIMIT 5"
    assert levels(check(part, long)) == ["can lose rows", "approximate", "rewritten"]


def test_nothing_is_written_and_settings_stay(part: Connection, refused: Refused) -> None:
    part.execute(
        "CREATE FUNCTION sly(int) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN DELETE FROM part; PERFORM set_config('enable_sort', 'off', false); RETURN 1; END $$"
    )
    sly = "SELECT * FROM pgembed.check_query('SELECT sly(1)', measure => true)"
    refused(part, "25006", sly, message="the query writes", hint="it is not run")
    assert levels(check(part, "SELECT sly(1)")) == ["exact"]
    check(part, "SELECT set_config('enable_sort', 'off', false)", ", measure => true")
    check(part, FILTERED, ", measure => true")
    names = ("transaction_read_only", "plan_cache_mode", "enable_sort", "enable_seqscan", "enable_indexscan", "hnsw.iterative_scan")
    now = [part.execute(f"SELECT current_setting('{name}')").fetchone() for name in names]
    assert now == [("off",), ("auto",), ("on",), ("off",), ("on",), ("off",)]
    assert part.execute("SELECT count(*) FROM part").fetchone() == (ROWS,)
    refused(part, "22023", "SELECT * FROM pgembed.check_query('SELECT id FROM part FOR SHARE', measure => true)", hint="FOR SHARE")


def test_the_callers_rights_and_path_hold(part: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    role = make_role("reader")
    with as_role(part, role):
        error = refused(part, "42501", "SELECT * FROM pgembed.check_query(%s)", [FILTERED], hint=None)
        assert "permission denied for table part" in str(error)
    part.execute("CREATE SCHEMA own CREATE TABLE part (id int)")
    part.execute("SET search_path = own, public")
    assert levels(check(part, "SELECT id FROM part", ", measure => true"))[0] == "exact"
    refused(part, "42703", "SELECT * FROM pgembed.check_query('SELECT section FROM part')")


NAMES = "'hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples', 'hnsw.scan_mem_multiplier', 'ivfflat.iterative_scan'"


def given(db: Connection) -> list[str]:
    """What the database gives to its sessions."""
    row = db.execute(
        "SELECT s.setconfig FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase"
        " WHERE d.datname = current_database() AND s.setrole = 0"
    ).fetchone()
    return sorted(row[0]) if row else []


@pytest.mark.own_database
def test_defaults_are_given_and_taken_back(db: Connection, connect: Connect, notices: Notices) -> None:
    name = db.info.dbname
    connect(db).execute(f"LOAD 'vector'; ALTER DATABASE {name} SET hnsw.ef_search = 77; ALTER DATABASE {name} SET work_mem = '5MB'")
    before = given(db)
    lines = db.execute("SELECT setting, value, previous FROM pgembed.set_search_defaults()").fetchall()
    assert ("hnsw.iterative_scan", "strict_order", None) in lines
    assert ("hnsw.ef_search", "100", "77") in lines
    assert "begin from now on" in notices[0].message
    session = connect(db)
    session.execute("SELECT '[1]'::vector")
    now = [row[0] for row in session.execute(f"SELECT current_setting(n) FROM unnest(ARRAY[{NAMES}]) AS n").fetchall()]
    assert now == ["strict_order", "100", "100000", "4", "relaxed_order"]
    # again, with others: what was before is still what was before the first call
    again = "SELECT setting, value, previous FROM pgembed.set_search_defaults('relaxed_order', ef_search => 120)"
    assert ("hnsw.ef_search", "120", "77") in session.execute(again).fetchall()
    session.execute("SELECT pgembed.reset_search_defaults()")
    assert given(db) == before
    assert db.execute("SELECT count(*) FROM pgembed._setting").fetchone() == (0,)
    notices.clear()
    assert db.execute("SELECT * FROM pgembed.reset_search_defaults()").fetchall() == []
    assert "none to take back" in notices[0].message


@pytest.mark.own_database
def test_what_somebody_changed_since_is_left_alone(db: Connection, notices: Notices) -> None:
    db.execute("SELECT pgembed.set_search_defaults(max_probes => NULL)")
    assert not any("max_probes" in setting for setting in given(db))
    db.execute(f"ALTER DATABASE {db.info.dbname} SET hnsw.ef_search = 300")
    db.execute(f"ALTER DATABASE {db.info.dbname} RESET hnsw.max_scan_tuples")
    notices.clear()
    lines = db.execute("SELECT setting, value, restored FROM pgembed.reset_search_defaults()").fetchall()
    assert [line for line in lines if not line[2]] == [("hnsw.ef_search", "300", False), ("hnsw.max_scan_tuples", None, False)]
    assert given(db) == ["hnsw.ef_search=300"]
    told = [notice.message.split(",")[0] for notice in notices]
    assert told == ["hnsw.ef_search was changed since", "hnsw.max_scan_tuples was changed since"]


@pytest.mark.own_database
def test_defaults_are_the_owners_to_give(db: Connection, connect: Connect, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    role, other = make_role("keeper"), make_role("other")
    name = db.info.dbname
    owner = db.execute("SELECT current_user").fetchone()
    with as_role(db, other):
        for function in ("set_search_defaults", "reset_search_defaults"):
            refused(db, "42501", f"SELECT pgembed.{function}()", message=f'must be owner of database "{name}"', hint="ALTER ROLE")
    db.execute(f"ALTER DATABASE {name} OWNER TO {role}")
    try:
        session = connect(db)  # where nobody has loaded pgvector yet
        with as_role(session, role):
            session.execute("SELECT pgembed.set_search_defaults()")
            assert "hnsw.iterative_scan=strict_order" in given(session)
            refused(session, "22023", "SELECT pgembed.set_search_defaults('sometimes')", hint="Available values")
            refused(session, "22023", "SELECT pgembed.set_search_defaults(ef_search => 0)", hint=None)
            session.execute("SELECT pgembed.reset_search_defaults()")
            assert given(session) == []
    finally:
        assert owner is not None
        db.execute(f"ALTER DATABASE {name} OWNER TO {owner[0]}")
