"""explain_search: what it says is so, what it prints runs, and what a policy hides stays hidden."""

from __future__ import annotations

import re

import coded
import numpy as np
import pytest
from coded import DIM, QUERIES, ROWS, VECTORS
from support import EAST, AsRole, Connection, MakeRole, Refused, explained

pytestmark = pytest.mark.one_transaction

QUERY = f"'{coded.text(QUERIES[0])}'::vector"


@pytest.fixture
def parts(db: Connection) -> Connection:
    """600 rows that seem a million, with codes, a covering index and HNSW on vectors and codes."""
    db.execute(
        f"CREATE TABLE part (id int PRIMARY KEY, section int, e vector({DIM})) WITH (autovacuum_enabled = false);"
        "SELECT pgembed.adopt_embedding('part', 'e')"
    )
    coded.fill(db, "part")
    db.execute(
        """
        SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false);
        SELECT pgembed.add_code('part', 'two', is_generated => true);
        CREATE INDEX part_section ON part (section) INCLUDE (id, two);
        CREATE INDEX part_e ON part USING hnsw (e vector_cosine_ops);
        CREATE INDEX part_two ON part USING hnsw (two bit_hamming_ops);
        """
    )
    coded.measured(db, "two")
    coded.seem_large(db, "part")
    return db


def drop_indexes(db: Connection, *kept: str) -> None:
    for index in {"part_section", "part_e", "part_two"} - set(kept):
        db.execute(f"DROP INDEX {index}")
    coded.seem_large(db, "part")


def run_script(db: Connection, script: str) -> list[tuple[str, float, int]]:
    """Key, distance and rank of what a script prints, inside of the test's transaction."""
    assert script.startswith("BEGIN;\n")
    assert script.endswith("\nCOMMIT;")
    cursor = db.execute(script.removeprefix("BEGIN;\n").removesuffix("COMMIT;"))
    while cursor.description is None:
        assert cursor.nextset()
    return [(str(row[0]).lstrip("(").split(",")[0], row[1], row[2]) for row in cursor.fetchall()]


ASKED = {
    "exact": "k => 7, exact => true",
    "index": "k => 7, recall => 0.9",
    "code": "k => 7, max_distance => 0.9",
    "covering": """filter => $$ section = ($1->>'s')::int AND '$2' <> 'it''s $3' -- $4$$, params => '{"s": 3, "t": "it''s \\\\ $5"}'""",
    "all": "k => NULL, max_distance => 0.4",
}


@pytest.mark.parametrize("path", ASKED)
def test_the_script_runs_and_gives_what_the_search_gives(parts: Connection, path: str) -> None:
    drop_indexes(parts, {"index": "part_e", "code": "part_two", "covering": "part_section"}.get(path, "part_e"))
    told = explained(parts, f"NULL::part, {QUERY}, {ASKED[path]}", execute=True)
    assert told["path"] == {"all": "exact"}.get(path, path)
    expected = parts.execute(
        f"SELECT (item).id::text, distance, rank FROM pgembed.search(NULL::part, {QUERY}, {ASKED[path]}) ORDER BY rank"
    ).fetchall()
    assert expected
    assert run_script(parts, told["script"]) == expected
    assert told["settings"] in told["script"]
    assert told["statement"] in told["script"]


@pytest.mark.own_database
def test_the_script_is_whole(spots: Connection) -> None:
    cursor = spots.execute(explained(spots, f"NULL::spot, {EAST}, k => 2")["script"])
    said = [cursor.statusmessage]
    while cursor.nextset():
        said.append(cursor.statusmessage)
    assert said == ["BEGIN", "SET", "SET", "PREPARE", "SELECT 2", "DEALLOCATE", "COMMIT"]
    assert spots.execute("SELECT current_setting('jit')").fetchone() == ("on",)


def test_a_script_embeds_its_text(fresh: Connection) -> None:
    told = explained(fresh, "NULL::product, 'a burner for the campers'' tea', k => 2", execute=True)
    assert "pgembed.embed_query('\"public\".\"product\"', 'a burner for the campers'' tea', 'embedding')" in told["script"]
    expected = fresh.execute(
        "SELECT (item).id::text, distance, rank FROM pgembed.search(NULL::product, 'a burner for the campers'' tea', k => 2)"
    )
    assert run_script(fresh, told["script"]) == expected.fetchall()
    assert re.fullmatch(r"\d+(\.\d\d)? ms", told["time: embedding"])


def test_chunks_are_explained_too(doc: Connection) -> None:
    told = explained(doc, "NULL::doc, 'strings', k => 2, filter => 'id < 4'", execute=True)
    assert (told["path"], told["results"], told["passing rows"]) == ("exact", "2 of 2", "3 (50 %)")
    assert (
        told["local selectivity"].startswith("63.6 % of the 11 chunks") or "chunks nearest to the query pass" in told["local selectivity"]
    )
    keys = doc.execute(
        "SELECT (item).id::text, distance, rank FROM pgembed.search(NULL::doc, 'strings', k => 2, filter => 'id < 4')"
    ).fetchall()
    assert run_script(doc, told["script"]) == keys


def test_properties_come_in_one_order_and_once(parts: Connection) -> None:
    drop_indexes(parts, "part_section")
    rows = parts.execute(f"SELECT property FROM pgembed.explain_search(NULL::part, {QUERY}, filter => 'section = 3')").fetchall()
    names = [name for (name,) in rows if name != "index that would help"]
    assert names == [
        *("path", "reason", "estimated rows", "passing rows", "local selectivity", "candidates", "expected recall", "measured recall"),
        *("results", "options", "rows looked at", "pages", "time: choosing", "time: planning", "time: candidates", "time: ranking"),
        *("time: fetching rows", "time: total", "settings", "statement", "script"),
    ]


def test_what_is_counted_is_so(parts: Connection) -> None:
    condition, passes = "section IN (3, 4) AND id < 500", [i % 10 in (3, 4) and i < 500 for i in range(ROWS)]
    parts.execute("UPDATE part SET e = NULL WHERE id IN (3, 4, 13, 5)")
    told = explained(parts, f"NULL::part, {QUERY}, filter => '{condition}'", execute=True)
    assert told["passing rows"] == "100 (16.7 %)"
    assert told["without a vector"].startswith("3 of them")
    held = [i for i in range(ROWS) if i not in (3, 4, 13, 5)]
    order = np.argsort(-(VECTORS[held] / np.linalg.norm(VECTORS[held], axis=1, keepdims=True)) @ QUERIES[0], kind="stable")
    near = [held[place] for place in order[:200]]
    share = sum(passes[i] for i in near) / 200
    seen = re.match(r"([\d.]+) % of the 200 rows nearest to the query pass", told["local selectivity"])
    assert seen is not None
    # through a graph, so a few may be others
    assert float(seen[1]) / 100 == pytest.approx(share, abs=0.03)


def test_recall_is_measured_against_the_exact_answer(parts: Connection) -> None:
    drop_indexes(parts, "part_two")
    # so few candidates that some of the nearest are not among them
    parts.execute("""UPDATE pgembed._codec SET measured = jsonb_set(measured, '{hamming}', '{"10": 0.999}')""")
    hits = []
    for query in QUERIES[:5]:
        told = explained(parts, f"NULL::part, '{coded.text(query)}'::vector, k => 20", execute=True)
        assert told["path"] == "code"
        keys = [key for key, _, _ in run_script(parts, told["script"])]
        right = len(set(map(int, keys)) & set(coded.exact(query, 20)))
        assert told["measured recall"] == f"{right / 20:.3g} ({right} of the 20 nearest)"
        hits.append(right)
    exact = explained(parts, f"NULL::part, {QUERY}, exact => true", execute=True)
    assert exact["measured recall"] == "1 (every row that passes was compared)"


def test_rows_looked_at_are_those_that_postgresql_read(parts: Connection) -> None:
    drop_indexes(parts, "part_section")
    told = explained(parts, f"NULL::part, {QUERY}, filter => 'section = 3 AND id % 2 = 1'", execute=True)
    assert re.search(r"\b60 by (Index|Index Only|Bitmap Heap) Scan using part_section on part\b", told["rows looked at"]), told
    told = explained(parts, f"NULL::part, {QUERY}, filter => 'id % 2 = 0', exact => true", execute=True)
    assert "600 by Seq Scan on part" in told["rows looked at"]


def test_it_is_told_where_the_statement_went_on_by_the_safe_path(parts: Connection) -> None:
    drop_indexes(parts, "part_e")
    # PostgreSQL takes the condition for one that nearly all rows pass, and 3 do
    filtered = "filter => '(id + 0) NOT BETWEEN 3 AND 100000 AND (id + 0) <> -1'"
    told = explained(parts, f"NULL::part, {QUERY}, {filtered}, k => 2", execute=True)
    assert told["path"] == "index"
    # it was to give four
    assert told["went on"] == "by the safe path: the index gave 3 candidates"
    assert "time: safe path" in told
    assert told["results"] == "2 of 2"


@pytest.mark.parametrize("condition", ["1 / (size - 10) > 0", "1 / (size - 10) > 0 OR size < 5"])
def test_nothing_of_the_filter_is_run_where_that_is_asked(spots: Connection, refused: Refused, condition: str) -> None:
    told = explained(spots, f"NULL::spot, {EAST}, filter => '{condition}'")
    assert told["path"] == "exact"
    assert not {"passing rows", "results", "rows looked at", "time: total"} & set(told)
    refused(
        spots, "22012", f"SELECT pgembed.explain_search(NULL::spot, {EAST}, filter => '{condition}')", message="division by zero", hint=None
    )


def test_no_probe_runs_where_nothing_is_to_be_run(parts: Connection) -> None:
    parts.execute("CREATE FUNCTION bad(n int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'was run'; END $$")
    told = explained(parts, f"NULL::part, {QUERY}, filter => 'bad(section)'")
    assert told["path"] in ("covering", "code", "index", "exact")


def test_settings_are_put_back(parts: Connection) -> None:
    drop_indexes(parts, "part_e")
    parts.execute("SET LOCAL hnsw.ef_search = 77")
    assert explained(parts, f"NULL::part, {QUERY}, filter => 'id >= 0'", execute=True)["path"] == "index"
    found = parts.execute("SELECT current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan'), current_setting('jit')")
    assert found.fetchone() == ("77", "off", "on")


def test_it_runs_in_a_read_only_transaction(spots: Connection) -> None:
    with spots.transaction():
        spots.execute("SET TRANSACTION READ ONLY")
        assert explained(spots, f"NULL::spot, {EAST}, filter => 'size < 30'", execute=True)["results"] == "2 of 10"


def test_an_empty_table_and_an_empty_result(spots: Connection) -> None:
    told = explained(spots, f"NULL::spot, {EAST}, filter => 'size < 0'", execute=True)
    assert (told["results"], told["passing rows"], told["local selectivity"]) == (
        "0 of 10",
        "0 (0 %)",
        "0 % of the 5 rows nearest to the query pass",
    )
    spots.execute("TRUNCATE spot")
    assert explained(spots, f"NULL::spot, {EAST}, filter => 'size < 0'", execute=True)["passing rows"] == "0"


def test_a_table_without_a_key(spots: Connection) -> None:
    spots.execute("ALTER TABLE spot DROP CONSTRAINT spot_pkey")
    told = explained(spots, f"NULL::spot, {EAST}, k => 2", execute=True)
    assert told["results"] == "2 of 2"
    assert [key for key, _, _ in run_script(spots, told["script"])] == ["1", "3"]


def test_a_caller_is_told_nothing_of_hidden_rows(parts: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    drop_indexes(parts)
    parts.execute("UPDATE part SET id = id + 10000 WHERE section > 4; ANALYZE part")
    role = make_role("reader")
    parts.execute(
        f"GRANT SELECT ON part TO {role}; ALTER TABLE part ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON part USING (section <= 4)"
    )

    def told() -> dict[str, str]:
        with as_role(parts, role):
            asked = explained(parts, f"NULL::part, {QUERY}, filter => 'section IN (3, 7)'", execute=True)
        return {name: value for name, value in asked.items() if not name.startswith("time: ")}

    before = told()
    assert before["passing rows"] == "60 (20 %)"
    assert not {"estimated rows", "rows looked at", "pages"} & set(before)
    parts.execute("INSERT INTO part SELECT id + 20000, 7, e FROM part; DELETE FROM part WHERE section = 6; ANALYZE part")
    assert told() == before
    everything = explained(parts, f"NULL::part, {QUERY}, filter => 'section IN (3, 7)'", execute=True)
    assert {"estimated rows", "rows looked at", "pages"} <= set(everything)


def test_who_may_not_read_the_table_is_refused(spots: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT (id, e) ON spot TO {bob}")
    with as_role(spots, bob):
        refused(spots, "42501", f"SELECT pgembed.explain_search(NULL::spot, {EAST})", message="permission denied for table spot")


def test_what_is_refused_is_refused_before_anything_runs(spots: Connection, refused: Refused) -> None:
    for call, sqlstate in (
        ("NULL::spot, NULL::vector", "22004"),
        (f"NULL::spot, {EAST}, k => 0", "22023"),
        (f"NULL::spot, {EAST}, filter => 'true) OR (true'", "42601"),
        ("NULL::spot, '[1,0]'::vector", "22000"),
    ):
        refused(spots, sqlstate, f"SELECT pgembed.explain_search({call})")
