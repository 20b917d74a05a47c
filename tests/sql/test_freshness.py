"""pgembed.embeddings: rows by state, counted exactly."""

from __future__ import annotations

import pytest
from support import AsRole, Connection, MakeRole

pytestmark = pytest.mark.one_transaction

NUMBERS = ("rows", "fresh", "stale", "pending", "failed", "null_source", "truncated", "by_hand")


def counted(db: Connection, table: str = "product") -> dict[str, int | None]:
    row = db.execute(f"SELECT {', '.join(NUMBERS)} FROM pgembed.embeddings WHERE table_name = %s::regclass", [table]).fetchone()
    assert row is not None
    return dict(zip(NUMBERS, row, strict=True))


@pytest.fixture
def mixed(db: Connection) -> Connection:
    """Every kind of row there is: n rows of the n-th of (vector?, hash column)."""
    db.execute(
        r"""
        CREATE TABLE product (id int PRIMARY KEY, name text);
        SELECT pgembed.add_embedding('product', 'name', sync => 'manual');
        INSERT INTO product (id, name) SELECT 100 * kind + n, 'n' || n FROM generate_series(1, 12) AS kind, generate_series(1, kind) AS n;
        ALTER TABLE product DISABLE TRIGGER USER;
        UPDATE product SET embedding = CASE WHEN k.vector THEN array_fill(1, ARRAY[384])::vector END, embedding_hash = k.hash FROM (VALUES
            (1, true, NULL), (2, false, NULL), (3, true, sha256('a')), (4, false, sha256('a')), (5, true, '\x00' || sha256('a')),
            (6, true, '\x01' || sha256('a')), (7, true, '\x02' || sha256('a')), (8, true, ''), (9, true, '\xff'), (10, true, '\x03'),
            (11, true, '\x04' || sha256('a')), (12, false, '\x00')
        ) AS k (kind, vector, hash) WHERE k.kind = id / 100
        """
    )
    # as our hashes are: half of it
    halved = "substr(embedding_hash, 1, octet_length(embedding_hash) - 16)"
    db.execute(f"UPDATE product SET embedding_hash = {halved} WHERE octet_length(embedding_hash) > 30")
    return db


def test_every_kind_of_row_is_counted_once(mixed: Connection) -> None:
    assert counted(mixed) == {
        "rows": 78,
        "fresh": 1 + 3 + 6 + 10,
        "stale": 5 + 7 + 11,
        "pending": 2 + 4 + 12,
        "failed": 9,
        "null_source": 8,
        "truncated": 6 + 7,
        "by_hand": 10 + 11,
    }
    rows = mixed.execute("SELECT pgembed.freshness(embedding, embedding_hash), count(*) FROM product GROUP BY 1").fetchall()
    assert dict(rows) == {
        state: number for state, number in counted(mixed).items() if state in ("fresh", "stale", "pending", "failed", "null_source")
    }


def test_whoever_may_not_read_or_not_all_rows_is_told_nothing(mixed: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    reader = make_role("reader")
    nothing: dict[str, int | None] = dict.fromkeys(NUMBERS)
    with as_role(mixed, reader):
        assert counted(mixed) == nothing
    mixed.execute(f"GRANT SELECT (embedding, embedding_hash) ON product TO {reader}")
    with as_role(mixed, reader):
        assert counted(mixed)["rows"] == 78
    mixed.execute("ALTER TABLE product ENABLE ROW LEVEL SECURITY; CREATE POLICY low ON product USING (true)")
    with as_role(mixed, reader):
        assert counted(mixed) == nothing


def test_a_column_without_a_source_has_vectors_or_none(spots: Connection) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE name = 'east'")
    assert counted(spots, "spot") == {**dict.fromkeys(NUMBERS, 0), "rows": 5, "fresh": 4, "pending": 1}


def test_chunks_and_roles_are_told(doc: Connection) -> None:
    doc.execute("UPDATE doc SET body = 'A tuba.' WHERE id = 1")
    row = doc.execute("SELECT rows, fresh + stale, null_source, chunks > 4, role, change_of FROM pgembed.embeddings").fetchone()
    assert row == (6, 4, 2, True, "current", None)


def test_counting_reads_no_row_that_has_nothing_to_say(mixed: Connection) -> None:
    """Where a column has both its indexes they are used, and where one of them is gone all rows are read."""
    mixed.execute("INSERT INTO product SELECT n, 'more' FROM generate_series(10000, 14000) AS n")
    mixed.execute("UPDATE product SET embedding = array_fill(1, ARRAY[384])::vector, embedding_hash = NULL WHERE id >= 10000")
    mixed.execute("ANALYZE product")
    before = counted(mixed)
    assert (before["rows"], before["stale"], before["failed"]) == (4079, 23, 9)
    indexes = mixed.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'product'::regclass AND indpred IS NOT NULL ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in indexes] == ["product_embedding_marked", "product_embedding_work"]
    scans = "SELECT idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'product'"
    seen = mixed.execute(scans).fetchone()
    assert counted(mixed) == before
    again = mixed.execute(scans).fetchone()
    assert seen is not None
    assert again is not None
    assert again[0] >= seen[0] + 2
    mixed.execute("DROP INDEX product_embedding_marked")
    assert counted(mixed) == before
