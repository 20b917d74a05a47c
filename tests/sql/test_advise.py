"""pgembed.advise(): each statement that it gives runs, and PostgreSQL then plans with it."""

from __future__ import annotations

from typing import Any

import pytest
from coded import seem_large
from support import AsRole, Connection, MakeRole, Refused, vacuum

pytestmark = pytest.mark.one_transaction

ROWS = 3000


@pytest.fixture
def items(db: Connection) -> Connection:
    """Three thousand rows with vectors of eight dimensions, and a filled column of codes of 16 bits."""
    db.execute(
        f"""
        CREATE TABLE item (
            id int PRIMARY KEY, kind varchar(30), brand text, price numeric(8, 2), stock int, ok boolean, tags text[], body text,
            e vector(8)
        );
        INSERT INTO item SELECT
            n, 'k' || n % 4, 'b' || n % 4, n % 1000, n % 3000, n % 4 = 0, ARRAY['t' || n % 300], 'text ' || n,
            ARRAY(SELECT sin(n * d * d)::float4 FROM generate_series(1, 8) AS d)::vector FROM generate_series(1, {ROWS}) AS n;
        SELECT pgembed.adopt_embedding('item', 'e');
        SELECT pgembed.train_codec('item_bits', 'item', 'thermometer', measure => false);
        SELECT pgembed.add_code('item', 'item_bits');
        CALL pgembed.fill_code('item');
        ANALYZE item;
        """
    )
    return db


def advice(db: Connection, *filters: str, target: str = "item") -> list[tuple[str, str | None]]:
    found = db.execute("SELECT kind, statement FROM pgembed.advise(%s::regclass, filters => %s)", [target, list(filters)]).fetchall()
    return [(kind, statement) for kind, statement in found]


def build(db: Connection, *filters: str, target: str = "item") -> list[str]:
    """Run all that is advised, and say of what kinds it was."""
    made = advice(db, *filters, target=target)
    for _, statement in made:
        assert statement is not None
        db.execute(statement.encode())
    vacuum(db, target)
    assert advice(db, *filters, target=target) == []
    return [kind for kind, _ in made]


def by_code(db: Connection, condition: str, target: str = "item") -> str:
    """The plan of what a search asks of codes."""
    code = "item_bits <~> B'0101010101010101'"
    explained = db.execute(
        f"EXPLAIN SELECT id FROM {target} WHERE ({condition}) AND item_bits IS NOT NULL ORDER BY ({code}) + 0.0::float8 LIMIT 200"
    )
    return "\n".join(line for (line,) in explained.fetchall())


COVERED = [
    (["kind = 'k1'"], '("kind") INCLUDE ("id", "item_bits")'),
    (["kind IN ('k1', 'k2')", "kind = 'k1' AND stock > 100"], '("kind", "stock") INCLUDE ("id", "item_bits")'),
    (["price BETWEEN 100 AND 300"], '("price") INCLUDE ("id", "item_bits")'),
    (["ok AND price > 50"], '("ok", "price") INCLUDE ("id", "item_bits")'),
    (["kind = 'k1' AND (stock % 7 <> 1 OR id % 2 = 0)"], '("kind") INCLUDE ("stock", "id", "item_bits")'),
    (["kind = 'k1' AND EXISTS (SELECT FROM other WHERE item_id = item.id)"], '("kind") INCLUDE ("id", "item_bits")'),
]


@pytest.mark.own_database
def test_a_filter_is_answered_from_the_index_alone(items: Connection) -> None:
    items.execute("CREATE TABLE other AS SELECT id AS item_id FROM item; ANALYZE other")
    for filters, keys in COVERED:
        assert advice(items, *filters) == [("covering index", f"CREATE INDEX CONCURRENTLY ON public.item {keys}")]
        assert build(items, *filters) == ["covering index"]
        (name,) = items.execute("SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 'item_%_item_bits_idx'").fetchall()
        for condition in filters:
            assert f"Index Only Scan using {name[0]}" in by_code(items, condition), condition
        items.execute(f"DROP INDEX {name[0]}".encode())


@pytest.mark.own_database
def test_what_nothing_limits_is_limited_first(items: Connection, refused: Refused) -> None:
    first, second, third = advice(items, "brand = 'b1'")
    assert [first[0], second[0], third[0]] == ["bound", "bound", "covering index"]
    assert build(items, "brand = 'b1'") == ["bound", "bound", "covering index"]
    assert "Index Only Scan" in by_code(items, "brand = 'b1'")
    # a value that is as long as it may be, and does not become shorter by compression, is taken; a longer one says why it is not
    bound = items.execute(
        "SELECT substring(pg_get_constraintdef(oid) from '[0-9]+')::int FROM pg_constraint"
        " WHERE conrelid = 'item'::regclass AND contype = 'c'"
    ).fetchone()
    assert bound is not None
    noise = "(SELECT string_agg(md5((n * 7)::text), '') FROM generate_series(1, 200) AS n)"
    items.execute(f"INSERT INTO item (id, brand, e) SELECT 10000, left({noise}, {bound[0]}), e FROM item WHERE id = 1")
    refused(items, "23514", f"INSERT INTO item (id, brand) VALUES (10001, left({noise}, {bound[0] + 1}))", message="_bytes", hint=None)


def test_no_index_is_advised_whose_entries_would_not_fit(items: Connection) -> None:
    items.execute("UPDATE item SET brand = brand || repeat(md5(id::text), 100) WHERE id < 3; ANALYZE item")
    ((kind, statement),) = [found for found in advice(items, "brand LIKE 'b1%' AND kind = 'k1'", "brand = 'b1'") if found[0] == "nothing"][
        :1
    ]
    assert (kind, statement) == ("nothing", None)
    items.execute("ALTER TABLE item ALTER kind TYPE varchar(700)")
    items.execute("ANALYZE item")
    (kind, statement, reason), *_ = items.execute(
        "SELECT kind, statement, reason FROM pgembed.advise('item', filters => ARRAY['kind = ''k1'''])"
    ).fetchall()
    assert (kind, statement) == ("nothing", None)
    assert "2704" in reason


@pytest.mark.parametrize(
    ("condition", "definition"),
    [
        ("stock = 5", '("stock")'),
        ("brand = 'b7' AND stock = 5", '("stock")'),
        ("body = 'text 5'", 'USING hash ("body")'),
        ("tags && ARRAY['t5']", 'USING gin ("tags")'),
        ("stock < 5", '("stock")'),
    ],
)
def test_a_filter_that_few_rows_pass_has_an_ordinary_index(items: Connection, condition: str, definition: str) -> None:
    (found,) = advice(items, condition)
    assert found == ("index", f"CREATE INDEX CONCURRENTLY ON public.item {definition}")
    assert found[1] is not None
    items.execute(found[1].replace(" CONCURRENTLY", "").encode())
    assert advice(items, condition) == []
    items.execute("SET enable_seqscan = off")
    plan = items.execute(f"EXPLAIN SELECT id FROM item WHERE {condition}".encode()).fetchall()
    assert any("Index" in line for (line,) in plan)


def test_what_is_there_or_of_no_use_is_not_advised(items: Connection) -> None:
    items.execute("CREATE INDEX ON item (kind) INCLUDE (price, item_bits, id)")
    assert advice(items, "kind = 'k1'", "kind = 'k1' AND price > 200") == []
    assert advice(items, "stock >= 0", "true", "price <> 7") == []
    assert [kind for kind, _ in advice(items, "kind = 'k1' AND stock > 1000")] == ["covering index"]
    items.execute("DROP INDEX item_kind_price_item_bits_id_idx; CREATE INDEX ON item (kind) INCLUDE (item_bits, id) WHERE ok")
    assert [kind for kind, _ in advice(items, "kind = 'k1'")] == ["covering index"]


def test_a_table_without_codes_gets_them_first(items: Connection) -> None:
    items.execute("SELECT pgembed.drop_code('item')")
    made = advice(items, "kind = 'k1'")
    assert [kind for kind, _ in made] == ["codec", "codec", "codec", "covering index"]
    for _, statement in made:
        assert statement is not None
        items.execute(statement.replace(" CONCURRENTLY", "").encode())
    assert items.execute("SELECT column_name::text, is_filled FROM pgembed.codes").fetchall() == [("item_thermometer", True)]
    assert advice(items, "kind = 'k1'") == []


def test_vector_indexes_for_all_rows_and_for_those_of_one_condition(items: Connection) -> None:
    seem_large(items, "item")
    made = advice(items, "ok", "ok AND price < 100000", "kind = 'k1'")
    assert [kind for kind, _ in made] == ["vector index", "partial vector index", "partial vector index"]
    assert made[0][1] == (
        'CREATE INDEX CONCURRENTLY ON public.item USING hnsw ("item_bits" public.bit_hamming_ops) WITH (ef_construction = 90)'
    )
    begin = 'CREATE INDEX CONCURRENTLY ON public.item USING hnsw ("e" public.vector_cosine_ops) WHERE'
    assert [statement for _, statement in made[1:]] == [f"{begin} (ok)", f"{begin} (kind = 'k1')"]
    for _, statement in made:
        assert statement is not None
        items.execute(statement.replace(" CONCURRENTLY", "").encode())
    seem_large(items, "item")
    assert advice(items, "ok", "kind = 'k1'") == []
    items.execute("SET enable_seqscan = off; SET enable_sort = off")
    plan = items.execute("EXPLAIN SELECT id FROM item WHERE ok AND price > 5 ORDER BY e <=> '[1,2,3,4,5,6,7,8]' LIMIT 10").fetchall()
    assert any("Index Scan using item_e_idx" in line for (line,) in plan)
    # nobody knows now what a parameter or a function will be when it is searched with
    for condition in ("kind = $1->>'kind'", "kind = current_user::text", "kind < 'k1' || now()::text"):
        assert "partial vector index" not in [kind for kind, _ in advice(items, condition)]


def test_estimates_are_told(items: Connection) -> None:
    row = items.execute(
        "SELECT columns::text[], index_bytes, reads_now, reads_then, searches, reason"
        " FROM pgembed.advise('item', filters => '{kind = ''k1''}')"
    ).fetchone()
    assert row is not None
    assert row[0] == ["kind", "id", "item_bits"]
    assert row[2:5] == (ROWS, 200, 1)
    assert 0.5 < row[1] / (ROWS * 44) < 2
    assert "kind::text = ?" in row[5]
    items.execute("CREATE INDEX ON item (kind)")
    assert items.execute("SELECT reads_now FROM pgembed.advise('item', filters => '{kind = ''k1''}')").fetchone() == (750,)


def test_only_the_owner_is_advised_and_only_of_filters(items: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    reader = make_role("reader")
    items.execute(f"GRANT SELECT ON item TO {reader}")
    with as_role(items, reader):
        refused(items, "42501", "SELECT pgembed.advise('item')", message="owner")
    refused(items, "42601", "SELECT pgembed.advise('item', filters => ARRAY['true) OR (true'])")
    refused(items, "22004", "SELECT pgembed.advise('item', filters => ARRAY[NULL])", message="NULL")
    refused(items, "42703", "SELECT pgembed.advise('item', filters => ARRAY['nothing = 1'])")


@pytest.mark.own_database
def test_row_securitys_columns_make_the_index_serve_whom_it_hides_rows_from(
    items: Connection, make_role: MakeRole, as_role: AsRole
) -> None:
    reader = make_role("reader")
    items.execute(
        f"""
        ALTER TABLE item ADD COLUMN tenant varchar(30), ADD COLUMN level int DEFAULT 1, ADD COLUMN plan int DEFAULT 2, ADD COLUMN mood int;
        UPDATE item SET tenant = CASE WHEN id % 2 = 0 THEN '{reader}' ELSE 'other' END, mood = 1;
        CREATE TABLE seen (level int); INSERT INTO seen VALUES (1);
        CREATE POLICY mine ON item FOR SELECT USING (tenant = current_user);
        CREATE POLICY allowed ON item AS RESTRICTIVE USING (EXISTS (SELECT FROM seen AS s WHERE s.level = item.level));
        CREATE POLICY known ON item AS RESTRICTIVE FOR ALL USING (plan > 0);
        CREATE POLICY written ON item FOR INSERT WITH CHECK (mood > 0);
        ALTER TABLE item ENABLE ROW LEVEL SECURITY;
        GRANT SELECT ON item, seen TO {reader};
        """.encode()
    )
    vacuum(items, "item")
    expected = 'CREATE INDEX CONCURRENTLY ON public.item ("kind") INCLUDE ("id", "tenant", "level", "plan", "item_bits")'
    assert advice(items, "kind = 'k1'") == [("covering index", expected)]
    assert items.execute("SELECT * FROM pgembed.code_indexes('item', covering => '{kind}')").fetchall()[-1] == (expected,)
    build(items, "kind = 'k1'")
    with as_role(items, reader):
        items.execute("SET enable_bitmapscan = off")
        plan = by_code(items, "kind = 'k1'")
        assert "Index Only Scan using item_kind" in plan
        assert "tenant" in plan
        found: Any = items.execute("SELECT count(*), bool_and(id % 2 = 0) FROM item WHERE kind = 'k2'").fetchone()
        assert found == (ROWS // 4, True)


def test_partitions_have_their_own(items: Connection) -> None:
    items.execute(
        """
        CREATE TABLE parted (id int, kind varchar(30), e vector(8), PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
        CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN ('k0', 'k1');
        CREATE TABLE part_2 PARTITION OF parted DEFAULT;
        INSERT INTO parted SELECT id, kind, e FROM item;
        SELECT pgembed.adopt_embedding('parted', 'e');
        SELECT pgembed.add_code('parted', 'item_bits');
        CALL pgembed.fill_code('parted');
        ANALYZE parted;
        """
    )
    made = advice(items, "id BETWEEN 100 AND 1000", target="parted")
    assert [statement.split(" ON ")[1].split(" ")[0] for _, statement in made if statement] == [
        "public.part_1",
        "public.part_2",
        "public.parted",
    ]
    for _, statement in made:
        assert statement is not None
        items.execute(statement.replace(" CONCURRENTLY", "").encode())
    assert advice(items, "id BETWEEN 100 AND 1000", target="parted") == []


def test_codes_too_long_for_a_btree_are_refused_and_unlimited_columns_told(items: Connection, refused: Refused, notices: list[Any]) -> None:
    items.execute("SELECT pgembed.code_indexes('item', covering => '{kind}')")
    assert notices == []
    items.execute("SELECT pgembed.code_indexes('item', covering => '{brand}')")
    assert '"brand"' in notices[0].message
    assert "CHECK" in str(notices[0].hint)
    items.execute("UPDATE item SET body = repeat(md5(id::text), 100) WHERE id < 3")
    refused(items, "54000", "SELECT pgembed.code_indexes('item', covering => '{body}')", message="3200", hint="short")
    items.execute("ALTER TABLE item ALTER kind TYPE varchar(700)")
    refused(items, "54000", "SELECT pgembed.code_indexes('item', covering => '{kind}')", message="2704", hint="shorter")


def test_what_would_help_one_filter_is_one_text(items: Connection) -> None:
    items.execute(
        """
        CREATE FUNCTION index_for(filter text) RETURNS text LANGUAGE plpython3u VOLATILE AS $python$
        from pgembed import advice, columns, planner
        from pgembed.udf.connection import DATABASE
        column = columns.column(DATABASE, "item", None)
        return advice.index_for(DATABASE, column, planner.proven(DATABASE, column.table, filter))
        $python$
        """
    )

    def index_for(condition: str) -> str | None:
        row = items.execute("SELECT index_for(%s)", [condition]).fetchone()
        assert row is not None
        return None if row[0] is None else str(row[0])

    covering = 'CREATE INDEX CONCURRENTLY ON public.item ("kind") INCLUDE ("id", "item_bits")'
    assert index_for("kind = 'k1'") == covering
    assert index_for("stock = 5") == 'CREATE INDEX CONCURRENTLY ON public.item ("stock")'
    bound = index_for("brand = 'b1'")
    assert bound is not None
    assert [part.split(" ")[0] for part in bound.split(";\n")] == ["ALTER", "ALTER", "CREATE"]
    assert [index_for(condition) for condition in ("true", "stock >= 0", "price <> 7", "item IS NOT NULL")] == [None] * 4
    items.execute(covering.replace(" CONCURRENTLY", "").encode())
    assert index_for("kind = 'k1'") is None
    items.execute("SELECT pgembed.drop_code('item')")
    whole = index_for("kind = 'k1'")
    assert whole is not None
    assert [part.split("(")[0] for part in whole.split(";\n")] == [
        *("SELECT pgembed.train_codec", "SELECT pgembed.add_code", "CALL pgembed.fill_code"),
        "CREATE INDEX CONCURRENTLY ON public.item ",
    ]
