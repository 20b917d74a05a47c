"""Row security and rights: policies are part of the filter by every path, for every role of a session, and nothing tells of them."""

from __future__ import annotations

from typing import Any

import coded
import psycopg
import pytest
from coded import DIM, QUERIES, ROWS
from support import AsRole, Connection, MakeRole, Notices, Refused, vacuum

pytestmark = pytest.mark.one_transaction

QUERY = coded.text(QUERIES[0])
PATHS = (None, "exact", "covering", "scan", "code", "index")


@pytest.fixture
def parts(db: Connection) -> Connection:
    """600 rows of ten tenants with codes, a covering index that has the tenant, and HNSW on vectors and codes; row security is on."""
    db.execute(
        f"CREATE TABLE part (id int PRIMARY KEY, section int, e vector({DIM}), owner text, tenant int);"
        "SELECT pgembed.adopt_embedding('part', 'e')"
    )
    coded.fill(db, "part")
    db.execute(
        """
        UPDATE part SET tenant = section, section = id / 100, owner = 'nobody';
        SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('part', 'two', is_generated => true);
        CREATE INDEX part_section ON part (section, tenant) INCLUDE (id, two);
        CREATE INDEX part_e ON part USING hnsw (e vector_cosine_ops);
        CREATE INDEX part_two ON part USING hnsw (two bit_hamming_ops);
        ALTER TABLE part ENABLE ROW LEVEL SECURITY;
        """
    )
    coded.measured(db, "two", '{"150": 0.999}')
    db.execute("ANALYZE part")
    return db


@pytest.fixture
def reader(parts: Connection, make_role: MakeRole) -> str:
    role = make_role("reader")
    parts.execute(f"GRANT SELECT ON part TO {role}")
    return role


def keys(db: Connection, path: str | None = None, condition: str | None = None, k: int = 10, target: str = "part") -> list[int]:
    rows = db.execute(
        "SELECT key FROM pgembed._search_keys(%s, %s::vector, %s, %s, NULL, NULL, NULL, 0.98, false, %s) ORDER BY rank",
        [target, QUERY, k, condition, path],
    )
    return [int(row[0]) for row in rows.fetchall()]


def truth(passes: Any, k: int = 10) -> list[int]:
    return coded.exact(QUERIES[0], k, [bool(passes(i)) for i in range(ROWS)])


def by_every_path(db: Connection, passes: Any, condition: str | None = None) -> set[str | None]:
    took = set()
    for path in PATHS:
        try:
            assert keys(db, path, condition) == truth(passes), (path, condition)
        except psycopg.errors.FeatureNotSupported:
            continue
        took.add(path)
    return took


def planned(db: Connection, path: str | None = None, condition: str | None = None) -> dict[str, Any]:
    cursor = db.execute(
        "SELECT * FROM pgembed._plan_search('part', 'key', pgembed._sent(%s::vector), 10, %s, NULL, NULL, NULL, 0.98, false, NULL, %s)",
        [QUERY, condition, path],
    )
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    return {column.name: value for column, value in zip(cursor.description, row, strict=True)}


def test_two_roles_of_one_session_see_their_own_rows(parts: Connection, make_role: MakeRole) -> None:
    """What a session knows of a table for one role is not what it knows for another."""
    ann, bob = make_role("ann"), make_role("bob")
    parts.execute(f"GRANT SELECT ON part TO {ann}, {bob}; UPDATE part SET owner = CASE WHEN tenant = 3 THEN '{ann}' ELSE '{bob}' END")
    parts.execute("CREATE POLICY own ON part USING (owner = current_user)")
    for _ in range(3):
        for role, passes in ((ann, lambda i: i % 10 == 3), (bob, lambda i: i % 10 != 3)):
            parts.execute(f"SET LOCAL ROLE {role}")
            assert {None, "exact", "code", "index"} <= by_every_path(parts, passes)
            assert by_every_path(parts, lambda i, passes=passes: passes(i) and i // 100 == 2, "section = 2")
        parts.execute("RESET ROLE")
        assert by_every_path(parts, lambda i: True)


def test_policies_for_roles(parts: Connection, make_role: MakeRole) -> None:
    ann, bob = make_role("ann"), make_role("bob")
    parts.execute(f"GRANT SELECT ON part TO {ann}, {bob}")
    parts.execute(
        f"CREATE POLICY a ON part TO {ann} USING (tenant < 2); CREATE POLICY b ON part TO {bob} USING (tenant = 9 OR section = 0)"
    )
    parts.execute("CREATE POLICY never ON part AS RESTRICTIVE USING (id <> 19)")
    for role, passes in ((ann, lambda i: i % 10 < 2), (bob, lambda i: (i % 10 == 9 or i < 100) and i != 19)):
        parts.execute(f"SET LOCAL ROLE {role}")
        assert {None, "exact", "code", "index"} <= by_every_path(parts, passes)


def test_a_policy_over_a_setting_that_changes_between_calls(parts: Connection, reader: str) -> None:
    parts.execute("CREATE POLICY t ON part USING (tenant = current_setting('app.tenant', true)::int)")
    parts.execute(f"SET LOCAL ROLE {reader}")
    for tenant in (3, 4, 3, 7):
        parts.execute(f"SET LOCAL app.tenant = {tenant}")
        assert {None, "exact", "code", "index"} <= by_every_path(parts, lambda i, tenant=tenant: i % 10 == tenant)
    assert by_every_path(parts, lambda i: i % 10 == 7 and i < 300, "section < 3")


def test_a_policy_over_another_table(parts: Connection, reader: str) -> None:
    parts.execute(f"CREATE TABLE member (who text, tenant int); INSERT INTO member VALUES ('{reader}', 1), ('{reader}', 8), ('other', 2)")
    parts.execute(f"GRANT SELECT ON member TO {reader}")
    parts.execute("CREATE POLICY m ON part USING (EXISTS (SELECT FROM member AS m WHERE m.tenant = part.tenant AND m.who = current_user))")
    parts.execute(f"SET LOCAL ROLE {reader}")
    assert {None, "exact", "code", "index"} <= by_every_path(parts, lambda i: i % 10 in (1, 8))


def test_a_policy_that_is_made_changed_or_dropped_counts_at_once(parts: Connection, reader: str) -> None:
    def as_reader(passes: Any) -> None:
        with parts.transaction():
            parts.execute(f"SET LOCAL ROLE {reader}")
            for path in (None, "exact", "code", "index"):
                assert keys(parts, path) == truth(passes)
            parts.execute("RESET ROLE")

    as_reader(lambda i: False)  # without a policy nobody but the owner sees a row
    parts.execute("CREATE POLICY p ON part USING (tenant = 1)")
    as_reader(lambda i: i % 10 == 1)
    parts.execute("ALTER POLICY p ON part USING (tenant = 2)")
    as_reader(lambda i: i % 10 == 2)
    parts.execute("CREATE POLICY q ON part USING (tenant = 3)")
    as_reader(lambda i: i % 10 in (2, 3))
    parts.execute("CREATE POLICY r ON part AS RESTRICTIVE USING (id > 100)")
    as_reader(lambda i: i % 10 in (2, 3) and i > 100)
    parts.execute("DROP POLICY q ON part; DROP POLICY r ON part")
    as_reader(lambda i: i % 10 == 2)
    parts.execute("ALTER TABLE part DISABLE ROW LEVEL SECURITY")
    as_reader(lambda i: True)
    parts.execute("ALTER TABLE part ENABLE ROW LEVEL SECURITY")
    as_reader(lambda i: i % 10 == 2)


def test_the_owner_is_bound_where_row_security_is_forced(parts: Connection, make_role: MakeRole, refused: Refused) -> None:
    owner = make_role("owner")
    parts.execute(
        f"GRANT CREATE ON SCHEMA public TO {owner}; ALTER TABLE part OWNER TO {owner}; CREATE POLICY p ON part USING (tenant = 4)"
    )
    parts.execute(f"SET LOCAL ROLE {owner}")
    assert by_every_path(parts, lambda i: True)
    parts.execute("ALTER TABLE part FORCE ROW LEVEL SECURITY")
    assert by_every_path(parts, lambda i: i % 10 == 4)
    # off: rather fail than hide
    parts.execute("SET LOCAL row_security = off")
    refused(parts, "42501", "SELECT * FROM pgembed.search_keys('part', %s::vector)", [QUERY], message="row-level security", hint="FORCE")
    parts.execute("ALTER TABLE part NO FORCE ROW LEVEL SECURITY")
    assert by_every_path(parts, lambda i: True)
    parts.execute("SET LOCAL row_security = on; ALTER TABLE part FORCE ROW LEVEL SECURITY")
    assert by_every_path(parts, lambda i: i % 10 == 4)


def test_policies_are_part_of_the_estimate(parts: Connection, reader: str) -> None:
    parts.execute("CREATE POLICY p ON part USING (tenant = 3)")
    parts.execute(f"SET LOCAL ROLE {reader}")
    assert planned(parts)["estimated_rows"] == pytest.approx(60, rel=0.2)
    assert planned(parts, condition="section = 1")["estimated_rows"] == pytest.approx(10, rel=0.5)


def test_a_graph_is_not_taken_for_a_caller_from_whom_nearly_all_is_hidden(parts: Connection, reader: str) -> None:
    """It would pass over the hidden rows; what counts is the share of all rows, not of those that the caller may see."""
    parts.execute("DROP INDEX part_section; CREATE INDEX part_tenant ON part (tenant); CREATE POLICY p ON part USING (tenant = 3)")
    coded.seem_large(parts, "part", 1_000_000)
    parts.execute("UPDATE pg_statistic SET stanullfrac = stanullfrac WHERE starelid = 'part'::regclass")
    assert planned(parts)["path"] in ("code", "index")
    parts.execute("CREATE POLICY none ON part AS RESTRICTIVE USING (tenant = 12345)")
    parts.execute(f"SET LOCAL ROLE {reader}")
    assert planned(parts)["path"] == "exact"


@pytest.mark.own_database
def test_a_covering_index_with_the_policys_columns_answers_alone(parts: Connection, make_role: MakeRole) -> None:
    role = make_role("reader")
    parts.execute(f"GRANT SELECT ON part TO {role}; CREATE POLICY p ON part USING (tenant = current_setting('app.tenant')::int)")
    vacuum(parts, "part")
    parts.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET app.tenant = 4")
    parts.execute(f"SET ROLE {role}")

    def shown() -> str:
        made = planned(parts, "covering", "section = 2")
        parts.execute(f"PREPARE s (jsonb, vector, int, float8, text, text, text) AS {made['statement']}")
        values = [None, QUERY, 10, None, None, made["code"], made["mask"]]
        given = psycopg.sql.SQL(", ").join([psycopg.sql.Literal(value) for value in values])
        lines = parts.execute(psycopg.sql.SQL("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE s ({})").format(given)).fetchall()
        parts.execute("DEALLOCATE s")
        return "\n".join(line[0] for line in lines)

    plan = shown()
    assert "Index Only Scan using part_section" in plan
    assert "Heap Fetches: 0" in plan
    assert keys(parts, "covering", "section = 2") == truth(lambda i: i % 10 == 4 and i // 100 == 2)
    parts.execute("RESET ROLE; DROP INDEX part_section; CREATE INDEX part_section ON part (section) INCLUDE (id, two)")
    parts.execute(f"SET ROLE {role}")
    # without the policy's columns the table must be read, and that is no covering scan
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        keys(parts, "covering", "section = 2")
    assert keys(parts, None, "section = 2") == truth(lambda i: i % 10 == 4 and i // 100 == 2)


def test_nothing_tells_what_is_hidden(parts: Connection, reader: str, notices: Notices) -> None:
    """Two tables that differ in their hidden rows alone; all that is said of a search is the same."""
    parts.execute("DELETE FROM part WHERE tenant = 3 AND id > 60; CREATE POLICY p ON part USING (tenant = 3)")
    said = []
    for hidden in (540, 10):
        parts.execute(
            f"DELETE FROM part WHERE tenant <> 3 AND id NOT IN (SELECT id FROM part WHERE tenant <> 3 ORDER BY id LIMIT {hidden})"
        )
        parts.execute("UPDATE part SET e = NULL WHERE tenant <> 3 AND id < 40")
        parts.execute("ANALYZE part")
        parts.execute(f"SET LOCAL ROLE {reader}")
        notices.clear()
        lines = {}
        for condition in ("NULL", "$$ id > 20 $$"):
            assert len(parts.execute(f"SELECT FROM pgembed.search(NULL::part, %s::vector, filter => {condition})", [QUERY]).fetchall()) < 10
            found = parts.execute(
                f"SELECT property, value FROM pgembed.explain_search(NULL::part, %s::vector, exact => true, filter => {condition})", [QUERY]
            )
            lines[condition] = [line for line in found.fetchall() if line[0] not in ("milliseconds", "time") and " ms" not in line[1]]
        said.append((lines, [notice.message for notice in notices]))
        parts.execute("RESET ROLE")
    assert said[0] == said[1]
    told = str(said[0])
    assert "540" not in told
    assert "550" not in told


def test_rows_without_a_vector_that_are_hidden_are_not_told(parts: Connection, reader: str, notices: Notices) -> None:
    parts.execute("CREATE POLICY p ON part USING (id < 5); UPDATE part SET e = NULL WHERE id >= 4")
    parts.execute(f"SET LOCAL ROLE {reader}")
    assert keys(parts) == truth(lambda i: i < 4)
    assert len(notices) == 1
    assert "1 more row" in notices[0].message or "1 row" in notices[0].message
    assert "59" not in notices[0].message


def test_a_leaky_filter_sees_no_hidden_row_by_any_path(parts: Connection, reader: str, notices: Notices) -> None:
    parts.execute(
        """
        CREATE FUNCTION leak(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
        CREATE POLICY p ON part USING (tenant = 3);
        """
    )
    parts.execute(f"SET LOCAL ROLE {reader}")
    for path in (None, "exact", "code", "index"):
        notices.clear()
        assert keys(parts, path, "leak(id)") == truth(lambda i: i % 10 == 3)
        seen = {int(notice.message.removeprefix("saw ")) for notice in notices if notice.message.startswith("saw ")}
        assert {number % 10 for number in seen} == {3}, path


def test_hidden_rows_are_not_compared_with(parts: Connection, reader: str, refused: Refused) -> None:
    parts.execute("CREATE POLICY p ON part USING (tenant = 3)")
    parts.execute(f"SET LOCAL ROLE {reader}")
    found = parts.execute("SELECT (item).id FROM pgembed.search_like(NULL::part, '13') ORDER BY rank").fetchall()
    assert [row[0] for row in found] == coded.exact(coded.VECTORS[13], 10, [i % 10 == 3 and i != 13 for i in range(ROWS)])
    hidden = refused(parts, "P0002", "SELECT * FROM pgembed.search_like(NULL::part, '14')", message="no row of part")
    absent = refused(parts, "P0002", "SELECT * FROM pgembed.search_like(NULL::part, '1400')", message="no row of part")
    assert str(hidden.diag.message_primary).replace("14", "N") == str(absent.diag.message_primary).replace("1400", "N")


def test_a_view_of_the_owners_passes_on_what_the_owner_may_see(parts: Connection, make_role: MakeRole) -> None:
    owner, reader = make_role("owner"), make_role("viewer")
    parts.execute(
        f"""
        GRANT CREATE ON SCHEMA public TO {owner}; GRANT SELECT ON part TO {owner}; CREATE POLICY o ON part TO {owner} USING (tenant < 5);
        SET LOCAL ROLE {owner}; CREATE VIEW low AS SELECT id, e, two, tenant FROM part WHERE tenant > 2; GRANT SELECT ON low TO {reader};
        """
    )
    parts.execute(f"SET LOCAL ROLE {reader}")
    for path in (None, "exact", "code", "index"):
        assert keys(parts, path, target="low") == truth(lambda i: i % 10 in (3, 4))


# --- rights ---


def test_no_rights(parts: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    role = make_role("stranger")
    with as_role(parts, role):
        for call in ("search(NULL::part, %s::vector)", "search_keys('part', %s::vector)", "explain_search(NULL::part, %s::vector)"):
            refused(
                parts, "42501", f"SELECT * FROM pgembed.{call}", [QUERY], message="permission denied for table part", hint="search_keys()"
            )
        refused(parts, "42501", "SELECT * FROM pgembed.search_like(NULL::part, '1')", message="permission denied for table part", hint=None)


def test_rights_on_some_columns(parts: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    """Without the codes a search goes on without them; without the key or the vectors there is none."""
    role = make_role("reader")
    parts.execute(f"ALTER TABLE part DISABLE ROW LEVEL SECURITY; GRANT SELECT (id, e, section) ON part TO {role}")
    with as_role(parts, role):
        assert by_every_path(parts, lambda i: True) == {None, "exact", "index"}
        assert by_every_path(parts, lambda i: i // 100 == 3, "section = 3") == {None, "exact", "index"}
        assert "codes part.two: permission denied for column part.two" in planned(parts)["reason"]
        refused(parts, "42501", "SELECT * FROM pgembed.search_keys('part', %s::vector, filter => 'tenant = 3')", [QUERY], hint=None)
        refused(parts, "42501", "SELECT * FROM pgembed.search(NULL::part, %s::vector)", [QUERY], hint="search_keys()")
        refused(parts, "42501", "SELECT * FROM pgembed.search_like(NULL::part, '1')", hint="search_keys()")
    parts.execute(f"GRANT SELECT (two) ON part TO {role}")
    with as_role(parts, role):
        assert {None, "exact", "index", "code"} <= by_every_path(parts, lambda i: True)
        assert "permission" not in planned(parts)["reason"]
    parts.execute(f"REVOKE SELECT (two) ON part FROM {role}")
    with as_role(parts, role):
        assert by_every_path(parts, lambda i: True) == {None, "exact", "index"}
    for lacking in ("id", "e"):
        parts.execute(f"GRANT SELECT (id, e) ON part TO {role}; REVOKE SELECT ({lacking}) ON part FROM {role}")
        with as_role(parts, role):
            refused(
                parts,
                "42501",
                "SELECT * FROM pgembed.search_keys('part', %s::vector)",
                [QUERY],
                message="permission denied",
                hint="its key",
            )


def test_a_security_definer_function_searches_with_its_owners_rights(
    parts: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    owner, caller = make_role("definer"), make_role("caller")
    parts.execute(
        f"""
        GRANT SELECT ON part TO {owner}; CREATE POLICY o ON part TO {owner} USING (tenant = 6);
        GRANT CREATE ON SCHEMA public TO {owner};
        SET LOCAL ROLE {owner};
        CREATE FUNCTION near(query vector, condition text) RETURNS SETOF text
            LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
            AS 'SELECT s.key FROM pgembed.search_keys(''part'', query, filter => condition) AS s ORDER BY s.rank';
        RESET ROLE;
        """
    )
    with as_role(parts, caller):
        for _ in range(2):
            found = parts.execute("SELECT * FROM near(%s::vector, 'section < 3')", [QUERY]).fetchall()
            assert [int(row[0]) for row in found] == truth(lambda i: i % 10 == 6 and i // 100 < 3)
            refused(parts, "42501", "SELECT * FROM pgembed.search_keys('part', %s::vector)", [QUERY])
