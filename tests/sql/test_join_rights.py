"""Who may join what: column privileges, row security on both sides, and functions that would tell what nobody may see."""

from __future__ import annotations

import psycopg
import pytest
from cities import Connection, compared, joined, make
from support import AsRole, MakeRole, Notices, Refused


@pytest.fixture
def places(db: Connection) -> Connection:
    """Tables city and capital."""
    return make(db)


@pytest.fixture
def reader(places: Connection, make_role: MakeRole) -> str:
    """A role that may read the keys, the vectors and the countries."""
    name = make_role("join_reader")
    for table in ("city", "capital"):
        places.execute(f'GRANT SELECT (id, embedding, country) ON {table} TO "{name}"')  # type: ignore[arg-type]
    return name


def test_keys_need_rights_on_the_key_and_what_is_compared_alone(places: Connection, reader: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(places, reader):
        assert joined(places, ", k => 2") == compared(places, 2)
        assert joined(places, ", condition => 'l.country = r.country AND l.id <> r.id'") == compared(
            places, 1, "l.country = r.country AND l.id <> r.id"
        )
        call = "SELECT pgembed.semantic_join(NULL::city, NULL::capital)"
        refused(places, "42501", call, message="permission denied for table city", hint="semantic_join_keys() only")
        for options in ("condition => 'l.size = r.size'", "condition => 'l.id > 1 AND r.name > ''x'''", """attributes => '["name"]'"""):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                places.execute(f"SELECT pgembed.semantic_join_keys('city', 'capital', {options})")  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            places.execute("SELECT pgembed.semantic_join_into('made', 'city', 'capital', attributes => '[\"name\"]')")


def test_policies_hold_on_both_sides(places: Connection, reader: str, as_role: AsRole) -> None:
    places.execute(f'GRANT SELECT ON city, capital TO "{reader}"')  # type: ignore[arg-type]
    for table, rule in (("city", "id % 3 <> 0"), ("capital", "country <> 'b'")):
        places.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")  # type: ignore[arg-type]
        places.execute(f'CREATE POLICY shown ON {table} FOR SELECT TO "{reader}" USING ({rule})')  # type: ignore[arg-type]
    visible = "l.id % 3 <> 0 AND r.country <> 'b'"
    # what comparing all pairs gives, as somebody who sees all
    expected = {
        condition: compared(places, 2, f"{visible} AND {condition or 'true'}")
        for condition in ("", "l.country = r.country", "l.id <> r.id", "l.id < 20 AND r.size > 1")
    }
    with as_role(places, reader):
        for condition, pairs in expected.items():
            options = f", k => 2, condition => '{condition}'"
            assert joined(places, options) == pairs, condition
            rows = places.execute(
                f"SELECT (left_row).id, (right_row).id, distance, rank FROM pgembed.semantic_join(NULL::city, NULL::capital{options})"  # type: ignore[arg-type]
                " ORDER BY 1, rank"
            ).fetchall()
            assert rows == pairs, condition
        left = places.execute("SELECT left_key::int FROM pgembed.semantic_join_keys('city', 'capital', join_type => 'left')").fetchall()
        assert {row[0] for row in left} == {n for n in range(1, 33) if n % 3}
        told = dict(places.execute("SELECT property, value FROM pgembed.explain_join(NULL::city, NULL::capital)").fetchall())
        assert told["left rows"] == "21"


@pytest.mark.parametrize("condition", ["spy(l.name)", "spy(l.name) AND l.country = r.country", "l.id <> r.id AND spy(r.name)"])
def test_a_function_that_tells_is_asked_about_visible_rows_alone(
    places: Connection, reader: str, as_role: AsRole, notices: Notices, condition: str
) -> None:
    places.execute(f'GRANT SELECT ON city, capital TO "{reader}"')  # type: ignore[arg-type]
    for table in ("city", "capital"):
        places.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")  # type: ignore[arg-type]
        places.execute(f'CREATE POLICY shown ON {table} FOR SELECT TO "{reader}" USING (id % 2 = 0)')  # type: ignore[arg-type]
    places.execute(
        "CREATE FUNCTION spy(seen text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS"
        " $$ BEGIN RAISE NOTICE 'saw %', seen; RETURN true; END $$"
    )
    places.execute(f"CREATE VIEW secret WITH (security_barrier) AS SELECT id, name, country, embedding FROM city WHERE id % 2 = 0;"
                   f'GRANT SELECT ON secret TO "{reader}"')  # type: ignore[arg-type]  # fmt: skip
    with as_role(places, reader):
        for sides in ("'city', 'capital'", "'secret', 'capital'"):
            notices.clear()
            joined(places, f", condition => '{condition}'", sides)
            seen = {told.message.split()[-1] for told in notices if told.message.startswith("saw")}
            assert {"2", "4"} <= seen
            assert "nowhere" not in seen
            assert all(int(name) % 2 == 0 for name in seen if name.isdigit())


def test_labels_need_the_right_to_read_them(places: Connection, reader: str, as_role: AsRole) -> None:
    places.execute("SELECT pgembed.create_labels('told', 'city', 'capital')")
    places.execute("REVOKE CREATE ON SCHEMA public FROM public")  # as it is from PostgreSQL 15
    with as_role(places, reader):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            places.execute("SELECT pgembed.semantic_join_keys('city', 'capital', labels => 'told')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            places.execute("SELECT pgembed.create_labels('public.mine', 'city', 'capital')")


def test_parts_belong_to_the_role_that_began(places: Connection, reader: str, as_role: AsRole) -> None:
    call = (
        "SELECT pgembed._join_begin('city', 'capital', 'keys', NULL, NULL, 1, NULL, 'many', NULL, NULL, NULL, NULL, NULL, NULL, 'dense',"
        " 'inner', false, false, 'auto', 1, NULL)"
    )
    with places.transaction():
        handle = places.execute(call).fetchone()[0]  # type: ignore[index]
        with as_role(places, reader):
            assert places.execute("SELECT statement FROM pgembed._join_next(%s)", [handle]).fetchone() == (None,)
        row = places.execute("SELECT cardinality(left_places) FROM pgembed._join_next(%s)", [handle]).fetchone()
        assert row == (31,)
    assert places.execute("SELECT statement FROM pgembed._join_next(%s)", [handle]).fetchone() == (None,)
