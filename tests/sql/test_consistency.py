"""search(..., consistency => 'fresh'): no vector of an older text decides, by any access path."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import coded
import numpy as np
import pytest
from coded import DIM, QUERIES, ROWS, VECTORS
from support import AsRole, Connection, MakeRole, Notices, Refused, explained

pytestmark = pytest.mark.one_transaction

QUERY = coded.text(QUERIES[0])
NEAR = coded.exact(QUERIES[0], 30)
PATHS = ("covering", "exact", "index", "code")


@pytest.fixture
def parts(db: Connection) -> Connection:
    """600 rows with given vectors, codes, a covering index, and HNSW on vectors and codes; no row needs work."""
    db.execute(f"SELECT pgembed.register_model('narrow', 'all-minilm-l6-v2', dim => {DIM}, layers => 1)")
    db.execute(f"CREATE TABLE part (id int PRIMARY KEY, section int, body text, e vector({DIM}))")
    coded.fill(db, "part")
    db.execute(
        """
        UPDATE part SET body = 'part ' || id;
        SELECT pgembed.adopt_embedding('part', 'e', 'narrow', source => 'body', sync => 'manual');
        SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('part', 'two', is_generated => true);
        CREATE INDEX part_section ON part (section) INCLUDE (id, two);
        CREATE INDEX part_e ON part USING hnsw (e vector_cosine_ops);
        CREATE INDEX part_two ON part USING hnsw (two bit_hamming_ops);
        """
    )
    coded.measured(db, "two", '{"150": 0.999}')
    db.execute("ANALYZE part; UPDATE pg_class SET relallvisible = relpages WHERE oid = 'part'::regclass")
    return db


def change(db: Connection, ids: Iterable[int]) -> None:
    """Give rows another text, which is another for each."""
    db.execute("UPDATE part SET body = 'the ' || id || ' other things' WHERE id = ANY (%s)", [list(ids)])


def present(db: Connection, ids: Iterable[int], *, without: Iterable[int] = ()) -> np.ndarray[Any, Any]:
    """The vectors of the texts that the rows have now; NaN for those that have none."""
    held = VECTORS.astype(np.float64)
    for number, vector in db.execute(
        "SELECT id, (pgembed.embed(ARRAY[body], 'narrow'))[1]::text FROM part WHERE id = ANY (%s)", [list(ids)]
    ).fetchall():
        held[number] = json.loads(vector)
    held[list(without)] = np.nan
    return held


def nearest(held: np.ndarray[Any, Any], k: int = 10, passes: Any = None, query: Any = QUERIES[0]) -> list[int]:
    """Ids of the k nearest by cosine among those that pass, computed here."""
    distances = 1 - (held @ query) / (np.linalg.norm(held, axis=1) * np.linalg.norm(query))
    order = [int(i) for i in np.argsort(distances, kind="stable") if not np.isnan(distances[i])]
    return [i for i in order if passes is None or passes(i)][:k]


def keys(
    db: Connection, path: str | None = None, condition: str | None = None, k: int = 10, target: str = "part", query: str = QUERY
) -> list[int]:
    with db.transaction(force_rollback=True):
        if path == "covering":
            db.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        rows = db.execute(
            "SELECT key FROM pgembed._search_keys(%s, %s::vector, %s, %s, NULL, NULL, NULL, 0.98, false, %s, 'fresh') ORDER BY rank",
            [target, query, k, condition, path],
        ).fetchall()
    return [int(row[0]) for row in rows]


@pytest.mark.parametrize("condition", [None, "section IN (0, 2, 3)"])
def test_changed_rows_are_where_their_present_text_is(parts: Connection, notices: Notices, condition: str | None) -> None:
    changed = [*NEAR[:6], *range(100, 120)]
    change(parts, changed)
    passes = None if condition is None else lambda i: i % 10 in (0, 2, 3)
    held = present(parts, changed)
    at = next(i for i in changed if passes is None or passes(i))
    for path in PATHS if condition else PATHS[1:]:
        assert keys(parts, path, condition) == nearest(held, 10, passes), path
        # and one of them is found where it is now
        assert keys(parts, path, condition, k=1, query=coded.text(held[at])) == [at], path
    assert notices == []


def test_too_many_are_left_out_and_k_is_filled(parts: Connection, notices: Notices) -> None:
    changed = [*NEAR[:8], *range(100, 300)]
    change(parts, changed)
    held = present(parts, (), without=changed)
    for path in PATHS:
        assert keys(parts, path, "section < 9", 20) == nearest(held, 20, lambda i: i % 10 < 9), path
        assert notices[-1].message.startswith("more than 100 rows that pass have no vector of their present text, and are left out")
        assert "CALL pgembed.refresh('part')" in str(notices.pop().hint)


def test_where_nearly_all_are_stale_the_rest_is_found(parts: Connection) -> None:
    """Candidates of a graph and of codes run out: the statement goes on by the exact path."""
    stale = [i for i in range(ROWS) if i % 50 != 7]
    change(parts, stale)
    held = present(parts, (), without=stale)
    for path in PATHS:
        assert keys(parts, path, "section < 9") == nearest(held, 10, lambda i: i % 10 < 9), path


def test_failed_rows_do_not_decide(parts: Connection) -> None:
    """Their vectors are of older texts, and no index lists them."""
    failed = NEAR[:5]
    parts.execute("UPDATE part SET e_hash = '\\xff' WHERE id = ANY (%s)", [failed])
    held = present(parts, (), without=failed)
    for path in PATHS:
        assert keys(parts, path, "section < 9") == nearest(held, 10, lambda i: i % 10 < 9), path


def test_only_rows_that_pass_are_embedded(parts: Connection, notices: Notices) -> None:
    change(parts, range(0, 600, 2))
    assert keys(parts, None, "section IN (1, 3)") == nearest(VECTORS, 10, lambda i: i % 10 in (1, 3))
    assert notices == []
    assert keys(parts, None, "section = 2 AND id < 100") == nearest(
        present(parts, range(2, 100, 10)), 10, lambda i: i % 10 == 2 and i < 100
    )
    assert notices == []


def test_pending_rows_take_part_and_rows_without_text_do_not(parts: Connection, notices: Notices) -> None:
    parts.execute("INSERT INTO part (id, section, body) VALUES (1000, 1, 'a new part'), (1001, 1, NULL), (1002, 1, ' ')")
    query = parts.execute("SELECT (pgembed.embed(ARRAY['a new part'], 'narrow'))[1]::text").fetchone()
    assert query is not None
    assert keys(parts, k=1, query=query[0]) == [1000]
    assert len(keys(parts, k=700)) == ROWS + 1
    assert [told.message for told in notices] == ["601 of 700 results: 2 more rows of part have no vector of their present text"]


def test_a_bound_holds_for_what_is_embedded_now(parts: Connection) -> None:
    change(parts, NEAR[:4])
    held = present(parts, NEAR[:4])
    query = coded.text(held[NEAR[0]])
    search = "SELECT (item).id, distance FROM pgembed.search(NULL::part, %s::vector, k => NULL, max_distance => %s, consistency => 'fresh')"
    distances = 1 - (held @ held[NEAR[0]]) / (np.linalg.norm(held, axis=1) * np.linalg.norm(held[NEAR[0]]))
    bound = float(np.sort(distances)[2:4].mean())
    found = parts.execute(search + " ORDER BY rank", [query, bound]).fetchall()
    assert [row[0] for row in found] == [int(i) for i in np.argsort(distances)[:3]]
    assert [row[1] for row in found] == pytest.approx(np.sort(distances)[:3], abs=1e-6)


def test_any_is_the_default_and_takes_what_is_there(parts: Connection) -> None:
    change(parts, NEAR[:5])
    for more in ("", ", consistency => 'any'"):
        rows = parts.execute(f"SELECT (item).id FROM pgembed.search(NULL::part, %s::vector{more}) ORDER BY rank", [QUERY]).fetchall()
        assert [row[0] for row in rows] == NEAR[:10]


def test_a_statement_of_any_knows_nothing_of_it(parts: Connection) -> None:
    plan = (
        "SELECT statement, stale FROM pgembed._plan_search('part', 'key', pgembed._sent(%s::vector), 10, NULL, NULL, NULL, NULL, NULL,"
        " false, NULL, NULL, %s)"
    )
    statement, stale = parts.execute(plan, [QUERY, "any"]).fetchone() or ("", "")
    assert ("e_hash" in statement, stale) == (False, None)
    statement, stale = parts.execute(plan, [QUERY, "fresh"]).fetchone() or ("", "")
    assert ("e_hash" in statement, "LIMIT 101" in stale) == (True, True)


def test_rows_that_need_work_are_looked_up_in_their_index(parts: Connection) -> None:
    change(parts, [5])
    row = parts.execute(
        "SELECT stale FROM pgembed._plan_search('part', 'key', pgembed._sent(%s::vector), 10, 'section = 5', NULL, NULL, NULL, NULL,"
        " false, NULL, NULL, 'fresh')",
        [QUERY],
    ).fetchone()
    assert row is not None
    parts.execute(f"SET LOCAL enable_seqscan = off; PREPARE s (jsonb, text, text, text, text) AS {row[0]}")
    index = parts.execute("SELECT work_index FROM pgembed._embedding WHERE table_name = 'part'::regclass").fetchone()
    assert index is not None
    plan = "\n".join(line[0] for line in parts.execute("EXPLAIN EXECUTE s (NULL, NULL, NULL, NULL, NULL)").fetchall())
    assert index[0].split(".")[-1].strip('"') in plan


def test_what_is_wrong_is_refused(parts: Connection, refused: Refused) -> None:
    search = "SELECT FROM pgembed.search(NULL::part, %s::vector, consistency => {})"
    for value, state, message in (
        ("'strong'", "22023", "consistency must be any or fresh, not strong"),
        ("NULL", "22004", "consistency is NULL"),
    ):
        with parts.transaction(force_rollback=True):
            refused(parts, state, search.format(value), [QUERY], message=message, hint="'any' is the default")


def test_a_column_without_a_source_has_nothing_stale(spots: Connection) -> None:
    rows = spots.execute("SELECT (item).name FROM pgembed.search(NULL::spot, '[1,0,0]'::vector, consistency => 'fresh') ORDER BY rank")
    assert len(rows.fetchall()) == 5


def test_nothing_is_written(parts: Connection) -> None:
    change(parts, NEAR[:3])
    before = parts.execute("SELECT id, xmin, e_hash FROM part ORDER BY id").fetchall()
    keys(parts)
    assert parts.execute("SELECT id, xmin, e_hash FROM part ORDER BY id").fetchall() == before


# more like a row


def test_more_like_a_changed_row(parts: Connection) -> None:
    changed = [NEAR[0], NEAR[3]]
    change(parts, changed)
    held = present(parts, changed)
    found = parts.execute(
        "SELECT (item).id FROM pgembed.search_like(NULL::part, %s, consistency => 'fresh') ORDER BY rank", [str(NEAR[0])]
    ).fetchall()
    assert [row[0] for row in found] == nearest(held, 10, lambda i: i != NEAR[0], held[NEAR[0]])


def test_more_like_a_row_that_cannot_be_embedded(parts: Connection, refused: Refused) -> None:
    like = "SELECT FROM pgembed.search_like(NULL::part, '3', consistency => 'fresh')"
    parts.execute("UPDATE part SET e_hash = '\\xff' WHERE id = 3")
    with parts.transaction(force_rollback=True):
        refused(parts, "55000", like, message="embedding it has failed", hint="CALL pgembed.refresh('part')")
    parts.execute("UPDATE part SET e_hash = '\\x00', body = ' ' WHERE id = 3")
    parts.execute("UPDATE part SET e_hash = '\\x00' WHERE id = 3")
    with parts.transaction(force_rollback=True):
        refused(parts, "55000", like, message="it has no text any more", hint="Give it one")


# who may


def test_a_reader_learns_no_source_unless_the_owner_lets_it(
    parts: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole
) -> None:
    reader = make_role("reader")
    parts.execute(f"GRANT SELECT ON part TO {reader}")
    change(parts, NEAR[:5])
    with as_role(parts, reader):
        assert keys(parts, "exact") == nearest(present(parts, (), without=NEAR[:5]))
    assert notices[-1].message.startswith("5 rows that pass have no vector of their present text")
    assert "may not evaluate the source of part.e" in notices[-1].message
    grant = str(notices[-1].hint).split("GRANT", 1)[1].split(" TO ...")[0]
    parts.execute(f"GRANT{grant} TO {reader}")
    notices.clear()
    with as_role(parts, reader):
        found = keys(parts, "exact")
    assert found == nearest(present(parts, NEAR[:5]))
    assert notices == []


def test_who_reads_a_view_alone_is_told_which_right_is_missing(
    parts: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole
) -> None:
    reader = make_role("reader")
    parts.execute(f"CREATE VIEW seen AS SELECT * FROM part WHERE id < 400; GRANT SELECT ON seen TO {reader}")
    change(parts, NEAR[:5])
    # as the notices say it, one right after the other
    for right in ("GRANT EXECUTE ON FUNCTION", 'GRANT SELECT ("id", "body", "e", "e_hash") ON "public"."part"'):
        notices.clear()
        with as_role(parts, reader):
            keys(parts, "exact", target="seen")
        hint = str(notices[0].hint)
        assert right in hint
        parts.execute(f"GRANT{hint.split('GRANT', 1)[1].split(' TO ...')[0]} TO {reader}")
    notices.clear()
    with as_role(parts, reader):
        assert keys(parts, "exact", target="seen") == nearest(present(parts, NEAR[:5]), 10, lambda i: i < 400)
    assert notices == []


def test_what_the_owner_itself_may_not_read_is_said(parts: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole) -> None:
    owner = make_role("owner")
    parts.execute(
        f"""
        CREATE TABLE hidden (word text); GRANT CREATE ON SCHEMA public TO {owner}; ALTER TABLE part OWNER TO {owner};
        CREATE FUNCTION worded(body text) RETURNS text LANGUAGE plpgsql AS
            'BEGIN RETURN body || coalesce((SELECT word FROM public.hidden), $$$$); END'
        """
    )
    parts.execute("ALTER ROUTINE part_e_source OWNER TO " + owner + "; ALTER ROUTINE part_e_follow OWNER TO " + owner)
    with as_role(parts, owner):
        parts.execute("SELECT pgembed.alter_embedding('part', source => 'worded(body)'); UPDATE part SET e_hash = NULL WHERE id <> 7")
        keys(parts, "exact")
    assert "left out: the source of part.e may not do what it does: permission denied for table hidden" in notices[0].message
    assert notices[0].hint == f"It is evaluated with the rights of the table's owner, {owner}."


def test_a_lost_primary_key_leaves_its_rows_out(parts: Connection, notices: Notices) -> None:
    change(parts, [7])
    parts.execute("ALTER TABLE part DROP CONSTRAINT part_pkey")
    found = parts.execute(
        "SELECT (item).id FROM pgembed.search(NULL::part, %s::vector, k => 10, consistency => 'fresh')", [QUERY]
    ).fetchall()
    assert 7 not in [row[0] for row in found]
    assert str(notices[0].message).endswith("the table has no primary key any more")
    assert str(notices[0].hint).startswith('ALTER TABLE "public"."part" ADD PRIMARY KEY')


def test_rows_that_a_policy_hides_are_neither_embedded_nor_counted(
    parts: Connection, notices: Notices, make_role: MakeRole, as_role: AsRole
) -> None:
    reader = make_role("reader")
    parts.execute(
        f"GRANT SELECT ON part TO {reader}; ALTER TABLE part ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY low ON part FOR SELECT USING (section < 3)"
    )
    change(parts, range(ROWS))
    parts.execute("UPDATE part SET e_hash = NULL WHERE section < 3 AND id > 30")
    stale = [i for i in range(31) if i % 10 < 3]
    with as_role(parts, reader):
        assert keys(parts, "exact") == nearest(present(parts, (), without=stale), 10, lambda i: i % 10 < 3)
    assert notices[-1].message.startswith(f"{len(stale)} rows that pass")


def test_who_may_read_the_vector_alone_is_told_what_else_is_read(
    parts: Connection, refused: Refused, make_role: MakeRole, as_role: AsRole
) -> None:
    reader = make_role("reader")
    parts.execute(f"GRANT SELECT (id, e) ON part TO {reader}")
    search = "SELECT key FROM pgembed.search_keys('part', %s::vector, exact => true, consistency => {})"
    with as_role(parts, reader), parts.transaction(force_rollback=True):
        refused(parts, "42501", search.format("'fresh'"), [QUERY], hint="its key, the embedding, e_hash and what the filter reads")
    with as_role(parts, reader):
        assert len(parts.execute(search.format("'any'"), [QUERY]).fetchall()) == 10
    parts.execute(f"GRANT SELECT (e_hash) ON part TO {reader}")
    with as_role(parts, reader):
        assert len(parts.execute(search.format("'fresh'"), [QUERY]).fetchall()) == 10


def test_a_source_that_fails_leaves_its_row_out(parts: Connection, notices: Notices) -> None:
    parts.execute("SELECT pgembed.alter_embedding('part', source => $$ (100 / (id - 5))::text || body $$)")
    parts.execute("UPDATE part SET e_hash = NULL WHERE id > 20")
    found = keys(parts, k=ROWS)
    assert sorted(found) == [i for i in range(ROWS) if i != 5]
    assert notices[0].message.startswith("1 row that passes has no vector of its present text, and is left out: their source fails")


def test_a_source_whose_column_is_gone_leaves_its_rows_out(parts: Connection, notices: Notices, refused: Refused) -> None:
    parts.execute("SELECT pgembed.alter_embedding('part', source => 'body || section'); UPDATE part SET e_hash = NULL")
    change(parts, [*NEAR[:3], 7])
    parts.execute("DROP INDEX part_section; ALTER TABLE part DROP COLUMN section CASCADE")
    assert keys(parts, "exact") == nearest(present(parts, (), without=[*NEAR[:3], 7]))
    assert "4 rows that pass have no vector of their present text, and are left out: the source of part.e reads" in notices[-1].message
    like = "SELECT FROM pgembed.search_like(NULL::part, '7', consistency => 'fresh')"
    refused(parts, "55000", like, message='the source of part.e reads column "section"', hint="source => '...'")


# views, chunks, odd keys


def test_a_view_that_shows_what_vectors_were_made_of(parts: Connection, notices: Notices, refused: Refused) -> None:
    parts.execute("CREATE VIEW seen AS SELECT id AS number, body AS words, e AS v, e_hash AS made_of, section FROM part WHERE section < 5")
    parts.execute("CREATE VIEW blind AS SELECT id, e FROM part")
    change(parts, NEAR[:6])
    held = present(parts, NEAR[:6])
    for path in ("exact", "index"):
        assert keys(parts, path, target="seen") == nearest(held, 10, lambda i: i % 10 < 5)
    assert notices == []
    search = "SELECT FROM pgembed.search(NULL::blind, %s::vector, consistency => 'fresh')"
    refused(parts, "0A000", search, [QUERY], message='view "blind" does not show', hint="Add it to the view")


def test_rows_in_chunks_are_left_out(doc: Connection, notices: Notices) -> None:
    doc.execute("SELECT pgembed.alter_embedding('doc', sync => 'manual')")
    doc.execute("UPDATE doc SET body = 'A trombone is made of brass.' WHERE id = 1")
    search = "SELECT (item).id FROM pgembed.search(NULL::doc, 'musical instruments', k => 2{}) ORDER BY rank"
    assert [row[0] for row in doc.execute(search.format("")).fetchall()] == [1, 6]
    assert next(row[0] for row in doc.execute(search.format(", consistency => 'fresh'")).fetchall()) == 6
    assert notices[-1].message.startswith("1 row that passes has no vector of its present text, and is left out: they would be embedded in")


def test_keys_of_several_columns_and_halfvec(db: Connection) -> None:
    db.execute("SELECT pgembed.register_model('narrow', 'all-minilm-l6-v2', dim => 8, layers => 1)")
    db.execute(
        """
        CREATE TABLE odd ("a ""b" text, day date, word text, h halfvec(8), PRIMARY KEY (day, "a ""b"));
        INSERT INTO odd
        SELECT 'x''' || n % 3, date '2020-01-01' + n, 'w' || n, pgembed.embed('w' || n, 'narrow') FROM generate_series(1, 30) AS n;
        SELECT pgembed.adopt_embedding('odd', 'h', 'narrow', source => 'word', sync => 'manual');
        UPDATE odd SET word = 'music' WHERE day IN ('2020-01-05', '2020-01-06')
        """
    )
    # a filter may have names that look like ours
    search = """
        SELECT key, distance FROM pgembed.search_keys('odd', pgembed.embed('music', 'narrow', 'document'), k => 3,
            filter => 'EXISTS (SELECT FROM (SELECT 1, 2) AS now (key, vector) WHERE day > date ''2020-01-02'')', consistency => 'fresh')
        ORDER BY rank
    """
    found = db.execute(search).fetchall()
    assert [json.loads(row[0]) for row in found[:2]] == [["2020-01-05", "x'1"], ["2020-01-06", "x'2"]]
    assert [row[1] for row in found[:2]] == pytest.approx([0, 0], abs=1e-3)


# explained


def test_explained_with_what_was_embedded(parts: Connection) -> None:
    change(parts, NEAR[:3])
    told = explained(parts, f"NULL::part, '{QUERY}'::vector, consistency => 'fresh'", execute=True)
    assert told["consistency"] == "fresh: 3 rows were embedded now"
    assert told["results"] == "10 of 10"
    assert "without a vector" not in told
    held = present(parts, NEAR[:3])
    script = told["script"].replace("BEGIN;", "").replace("COMMIT;", "")
    assert script.count("'[") >= 4
    parts.execute(script.split("EXECUTE")[0])
    rows = parts.execute("EXECUTE" + script.split("EXECUTE", 1)[1].split("DEALLOCATE")[0]).fetchall()
    ids = [int(str(row[0]).strip("(").split(",")[0]) for row in rows]
    assert ids == nearest(held)
    unrun = explained(parts, f"NULL::part, '{QUERY}'::vector, consistency => 'fresh'")
    assert unrun["consistency"] == "fresh: rows that need work would be embedded now, or left out"
    assert "consistency" not in explained(parts, f"NULL::part, '{QUERY}'::vector", execute=True)


def test_explained_with_what_was_left_out(parts: Connection) -> None:
    change(parts, range(200))
    told = explained(parts, f"NULL::part, '{QUERY}'::vector, k => 500, consistency => 'fresh'", execute=True)
    assert told["consistency"].startswith("fresh; more than 100 rows that pass")
    assert told["without a vector"] == "200 of them, which have none of their present text and are left out"
    assert told["results"] == "400 of 500"
