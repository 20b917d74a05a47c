"""pgembed.add_code(), pgembed.drop_code(): columns of codes, how they are kept, and what is refused."""

from __future__ import annotations

import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

CODECS = ("dot_sign", "dot_int8", "dot_pca")


def code_line(db: Connection, name: str) -> tuple[object, ...]:
    row = db.execute(
        "SELECT embedding_column, codec, is_generated, is_active, is_filled, rows, pending FROM pgembed.codes WHERE column_name = %s",
        [name],
    ).fetchone()
    assert row is not None
    return tuple(row)


def wrong(db: Connection, name: str, table: str = "dot") -> int:
    """Rows whose code is not what the encoder makes of their vector."""
    row = db.execute(f"SELECT count(*) FROM {table} WHERE {name}::text IS DISTINCT FROM {name}(e)::text").fetchone()
    assert row is not None
    return int(row[0])


def left_overs(db: Connection) -> list[object]:
    """Triggers, functions that return one, and lines of the registry."""
    return db.execute(
        """
        SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT IN ('declare', 'work_follows')
        UNION ALL SELECT proname::text FROM pg_proc WHERE prorettype = 'trigger'::regtype AND pronamespace = 'public'::regnamespace
        UNION ALL SELECT column_name::text FROM pgembed._code
        """
    ).fetchall()


@pytest.mark.parametrize("codec", CODECS)
def test_a_table_without_rows_gets_a_generated_column_that_is_filled(dots: Connection, codec: str) -> None:
    dots.execute("CREATE TABLE kept AS SELECT * FROM dot; DELETE FROM dot")
    dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
    dots.execute("INSERT INTO dot SELECT * FROM kept; INSERT INTO dot VALUES (0, 0, NULL)")
    assert wrong(dots, codec) == 0
    assert code_line(dots, codec) == ("e", codec, True, True, True, 201, 0)


def test_a_generated_column_may_be_asked_for_where_there_are_rows(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign', is_generated => true)")
    assert wrong(dots, "dot_sign") == 0
    assert code_line(dots, "dot_sign")[2:5] == (True, True, True)


@pytest.mark.parametrize("codec", CODECS)
def test_a_table_with_rows_is_not_rewritten(dots: Connection, notices: Notices, codec: str) -> None:
    before = dots.execute("SELECT pg_relation_filenode('dot')").fetchone()
    dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
    assert dots.execute("SELECT pg_relation_filenode('dot')").fetchone() == before
    assert code_line(dots, codec) == ("e", codec, False, True, False, 200, 200)
    assert "fill_code" in str(notices[-1].hint)


def test_a_domain_still_refuses_codes_of_another_length(dots: Connection, refused: Refused) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_int8')")
    refused(dots, "23514", "SELECT '\\x00'::dot_int8_code", hint=None)
    refused(dots, "23514", "COPY dot (id, dot_int8) FROM PROGRAM 'printf ''999\\t\\\\\\\\x00\\n'''", hint=None)


@pytest.mark.parametrize("codec", CODECS)
def test_the_trigger_gives_every_row_that_is_written_its_code(dots: Connection, codec: str) -> None:
    dots.execute("SELECT pgembed.add_code('dot', %s)", [codec])
    dots.execute("INSERT INTO dot SELECT id + 1000, place, e FROM dot WHERE id <= 50")
    dots.execute("UPDATE dot SET e = (SELECT e FROM dot WHERE id = 77) WHERE id <= 10")
    dots.execute("UPDATE dot SET place = 0 WHERE id BETWEEN 11 AND 20")
    dots.execute("UPDATE dot SET e = NULL WHERE id = 1001")
    dots.execute("INSERT INTO dot VALUES (2000, 0, NULL)")
    assert dots.execute(f"SELECT count(*) FROM dot WHERE {codec} IS NOT NULL").fetchone() == (50 - 1 + 20,)
    assert dots.execute(f"SELECT count(*) FROM dot WHERE {codec} IS NOT NULL AND {codec}::text <> {codec}(e)::text").fetchone() == (0,)


def test_a_code_is_its_vectors_whatever_the_writer_says(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("UPDATE dot SET e = e WHERE id <= 3")
    dots.execute("UPDATE dot SET dot_sign = B'00000000' WHERE id = 1")
    dots.execute("UPDATE dot SET dot_sign = NULL WHERE id = 2")
    dots.execute("INSERT INTO dot VALUES (1000, 0, '[1,1,1,1,1,1,1,1]', B'00000000')")
    assert dots.execute("SELECT count(*) FROM dot WHERE id IN (1, 2, 3, 1000) AND dot_sign::bit(8) = dot_sign(e)::bit(8)").fetchone() == (
        4,
    )


def test_a_vector_that_another_trigger_changes_is_encoded_as_it_is_stored(dots: Connection) -> None:
    dots.execute(
        """
        CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.e := NEW.e * '[-1,-1,-1,-1,1,1,1,1]'; RETURN NEW; END $$;
        CREATE TRIGGER turn_it BEFORE INSERT OR UPDATE OF place ON dot FOR EACH ROW EXECUTE FUNCTION turn();
        SELECT pgembed.add_code('dot', 'dot_sign');
        INSERT INTO dot SELECT id + 1000, place, e FROM dot;
        UPDATE dot SET place = place + 1 WHERE id <= 10;
        """
    )
    found = dots.execute(
        "SELECT count(*), count(*) FILTER (WHERE dot_sign::bit(8) = dot_sign(e)::bit(8)) FROM dot WHERE id <= 10 OR id > 1000"
    )
    assert found.fetchone() == (210, 210)


def test_writers_need_no_right_on_the_encoder(dots: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    writer = make_role("writer")
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("REVOKE ALL ON FUNCTION dot_sign(vector) FROM PUBLIC")
    dots.execute(f"GRANT INSERT ON dot TO {writer}")
    with as_role(dots, writer):
        dots.execute("INSERT INTO dot VALUES (1000, 1, '[1,1,1,1,1,1,1,1]')")
    assert dots.execute("SELECT dot_sign::text FROM dot WHERE id = 1000").fetchone() == ("11111111",)


def test_where_the_encoder_fails_the_row_is_stored_and_the_lack_is_recorded(dots: Connection, notices: Notices) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("CALL pgembed.fill_code('dot')")
    dots.execute("ALTER FUNCTION dot_sign(vector) RENAME TO gone")
    dots.execute("INSERT INTO dot VALUES (1000, 1, '[1,1,1,1,1,1,1,1]')")
    assert notices[-1].severity == "WARNING"
    assert "rows of dot may be without dot_sign" in notices[-1].message
    assert code_line(dots, "dot_sign")[4:] == (False, 201, 1)
    dots.execute("ALTER FUNCTION gone(vector) RENAME TO dot_sign")
    dots.execute("CALL pgembed.fill_code('dot')")
    assert code_line(dots, "dot_sign")[4:] == (True, 201, 0)


def test_the_lack_of_a_code_is_recorded_by_the_tables_owner_only(
    dots: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    stranger = make_role("stranger")
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign', is_generated => true)")
    with as_role(dots, stranger):
        refused(dots, "42501", "SELECT pgembed._code_missed('dot'::regclass, 'dot_sign', '')", message="must be owner")


def test_a_column_that_nothing_keeps_is_not_filled(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("CALL pgembed.fill_code('dot')")
    dots.execute("ALTER TABLE dot DISABLE TRIGGER zz_pgembed_dot_sign")
    assert code_line(dots, "dot_sign")[4] is False


def test_codes_go_with_the_vectors_they_are_of(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("ALTER TABLE dot DROP COLUMN e CASCADE")
    assert left_overs(dots) == []
    assert dots.execute("SELECT count(*) FROM pgembed.codes").fetchone() == (0,)


@pytest.mark.parametrize("column", ["e", "dot_sign"])
def test_a_column_is_not_dropped_by_accident(dots: Connection, refused: Refused, column: str) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    refused(dots, "2BP01", f"ALTER TABLE dot DROP COLUMN {column}", hint="CASCADE")


@pytest.mark.parametrize("column", ["e", "dot_sign"])
def test_a_renamed_column_is_followed(dots: Connection, column: str) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("CALL pgembed.fill_code('dot')")
    dots.execute(f"ALTER TABLE dot RENAME COLUMN {column} TO other")
    vector, code = ("other", "dot_sign") if column == "e" else ("e", "other")
    dots.execute(f"UPDATE dot SET {vector} = (SELECT {vector} FROM dot WHERE id = 7) WHERE id = 1")
    assert dots.execute(f"SELECT count(DISTINCT {code}::text) FROM dot WHERE id IN (1, 7)").fetchone() == (1,)
    dots.execute(f"SELECT pgembed.drop_code('dot', '{code}')")


def test_the_type_of_the_vectors_stays(dots: Connection, refused: Refused) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    refused(dots, "0A000", "ALTER TABLE dot ALTER COLUMN e TYPE vector(9)", hint=None)


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("codec", ["dot_sign", "dot_int8"])
def test_drop_code_leaves_nothing(dots: Connection, codec: str, generated: bool) -> None:
    before = left_overs(dots)
    dots.execute("SELECT pgembed.add_code('dot', %s, is_generated => %s)", [codec, generated])
    dots.execute("SELECT pgembed.drop_code('dot')")
    assert left_overs(dots) == before == []
    assert dots.execute("SELECT count(*) FROM pg_attribute WHERE attrelid = 'dot'::regclass AND attname = %s", [codec]).fetchone() == (0,)


def test_drop_code_works_where_the_column_is_gone(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("ALTER TABLE dot DROP COLUMN dot_sign CASCADE")
    dots.execute("SELECT pgembed.drop_code('dot', 'dot_sign')")
    assert left_overs(dots) == []


def test_a_dropped_table_takes_all_of_it_along(dots: Connection) -> None:
    dots.execute("CREATE TABLE other (LIKE dot); SELECT pgembed.adopt_embedding('other', 'e')")
    dots.execute("SELECT pgembed.add_code('other', 'dot_sign', is_generated => false)")
    dots.execute("DROP TABLE other")
    assert left_overs(dots) == []


def test_a_codec_serves_another_table_of_the_same_vectors(dots: Connection) -> None:
    dots.execute("CREATE TABLE other AS SELECT * FROM dot; SELECT pgembed.adopt_embedding('other', 'e')")
    dots.execute("SELECT pgembed.add_code('other', 'dot_sign', 'short')")
    dots.execute("CALL pgembed.fill_code('other')")
    assert dots.execute("SELECT count(*) FROM other WHERE short::bit(8) = dot_sign(e)::bit(8)").fetchone() == (200,)


def test_codes_of_halfvec_columns(dots: Connection) -> None:
    dots.execute("CREATE TABLE half AS SELECT id, e::halfvec(8) AS e FROM dot; SELECT pgembed.adopt_embedding('half', 'e')")
    for codec in CODECS:
        dots.execute("SELECT pgembed.add_code('half', %s)", [codec])
        dots.execute("CALL pgembed.fill_code('half', %s)", [codec])
        assert dots.execute(f"SELECT count(*) FROM half WHERE {codec}::text = {codec}(e::vector)::text").fetchone() == (200,)


def test_the_embedded_column_is_the_codecs_own_where_several_fit(dots: Connection, refused: Refused) -> None:
    dots.execute("ALTER TABLE dot ADD COLUMN f vector(8); SELECT pgembed.adopt_embedding('dot', 'f')")
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign', 'of_f', embedding_column => 'f')")
    assert [code_line(dots, name)[0] for name in ("dot_sign", "of_f")] == ["e", "f"]
    assert [code_line(dots, name)[3] for name in ("dot_sign", "of_f")] == [True, True]
    dots.execute("CREATE TABLE other (LIKE dot); SELECT pgembed.adopt_embedding('other', 'e'), pgembed.adopt_embedding('other', 'f')")
    refused(dots, "42702", "SELECT pgembed.add_code('other', 'dot_sign')", hint="embedding_column => 'e'")


def test_what_does_not_fit_is_refused(dots: Connection, refused: Refused) -> None:
    dots.execute("CREATE TABLE other (id int, e vector(3), f vector(8), g vector(8))")
    dots.execute("SELECT pgembed.adopt_embedding('other', 'e'), pgembed.adopt_embedding('other', 'f', metric => 'l2')")
    for column in ("e", "f"):
        refused(
            dots, "22000", "SELECT pgembed.add_code('other', 'dot_sign', embedding_column => %s)", [column], message="is for vectors of"
        )
    refused(dots, "42704", "SELECT pgembed.add_code('dot', 'nothing')", message='codec "nothing" does not exist')
    refused(dots, "22004", "SELECT pgembed.add_code('dot', NULL)", message="codec is NULL")
    refused(dots, "22004", "SELECT pgembed.add_code(NULL, 'dot_sign')", message="target is NULL")
    refused(dots, "42710", "SELECT pgembed.add_code('dot', 'dot_sign', 'place')", message="exists already")
    refused(dots, "42704", "SELECT pgembed.drop_code('dot')", hint="add_code")
    refused(dots, "42704", "SELECT pgembed.drop_code('dot', 'x')", message='no column of codes "x"')
    dots.execute("CREATE TABLE heir () INHERITS (dot)")
    refused(dots, "0A000", "SELECT pgembed.add_code('dot', 'dot_sign')", message="inheritance")


def test_only_the_owner_adds_and_drops(dots: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    stranger = make_role("stranger")
    dots.execute(f"GRANT ALL ON dot TO {stranger}; SELECT pgembed.add_code('dot', 'dot_sign')")
    with as_role(dots, stranger):
        for call in ("add_code('dot', 'dot_int8')", "drop_code('dot')", "use_code('dot')"):
            refused(dots, "42501", f"SELECT pgembed.{call}", message="must be owner")
        refused(dots, "42501", "CALL pgembed.fill_code('dot')", message="must be owner")


def test_a_strangers_encoder_gets_nobodys_rights(dots: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    mallory = make_role("mallory")
    dots.execute(f"GRANT CREATE ON SCHEMA public TO {mallory}; GRANT SELECT ON dot TO {mallory}")
    with as_role(dots, mallory):
        dots.execute("CREATE TABLE hers AS SELECT * FROM dot; SELECT pgembed.adopt_embedding('hers', 'e')")
        dots.execute("SELECT pgembed.train_codec('hers_sign', 'hers', 'sign', measure => false)")
    refused(dots, "42501", "SELECT pgembed.add_code('dot', 'hers_sign')", message="would run with the rights", hint="train_codec")


def test_filling_never_calls_the_encoder_with_the_callers_rights(dots: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    owner = make_role("owner")
    dots.execute(f"GRANT CREATE ON SCHEMA public TO {owner}; CREATE TABLE caught (who text)")
    dots.execute(f"ALTER TABLE dot OWNER TO {owner}; ALTER FUNCTION dot_sign(vector) OWNER TO {owner}")
    with as_role(dots, owner):
        dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
        dots.execute(
            """
            ALTER FUNCTION dot_sign(vector) RENAME TO honest;
            CREATE FUNCTION dot_sign(embedding vector) RETURNS pgembed.binvec LANGUAGE plpgsql IMMUTABLE STRICT AS $$
            BEGIN RESET ROLE; INSERT INTO public.caught VALUES (current_user); RETURN B'00000000'; END $$
            """
        )
    dots.execute("CALL pgembed.fill_code('dot')")
    assert dots.execute("SELECT count(*) FROM caught").fetchone() == (0,)
    assert dots.execute("SELECT count(*) FROM dot WHERE dot_sign IS NULL").fetchone() == (0,)


@pytest.mark.parametrize("call", ["drop_embedding('dot')", "alter_embedding('dot', metric => 'l2')"])
def test_an_embedded_column_with_codes_stays_what_it_is(dots: Connection, refused: Refused, call: str) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    error = refused(dots, "2BP01", f"SELECT pgembed.{call}", message="codes of its vectors", hint="drop_code")
    assert error.diag.message_detail == "column dot.dot_sign"
    dots.execute("SELECT pgembed.drop_code('dot')")
    dots.execute(f"SELECT pgembed.{call}")


def test_a_column_over_chunks_is_refused(doc: Connection, refused: Refused) -> None:
    doc.execute("CREATE TABLE t AS SELECT pgembed.embed(title) AS e FROM doc; SELECT pgembed.adopt_embedding('t', 'e', 'all-minilm-l6-v2')")
    doc.execute("SELECT pgembed.train_codec('t_sign', 't', 'sign', measure => false)")
    refused(doc, "0A000", "SELECT pgembed.add_code('doc', 't_sign')", message="over chunks")


def test_an_empty_name_of_a_column_is_refused(dots: Connection, refused: Refused) -> None:
    refused(dots, "22023", "SELECT pgembed.add_code('dot', 'dot_sign', column_name => '')")
