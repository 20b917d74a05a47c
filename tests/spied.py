"""Which calls the triggers of an embedded column make: what stands in place of embedding and waking, and rows that are fresh."""

from __future__ import annotations

from collections.abc import Callable

from support import Connection

Calls = Callable[[], list[str]]

# In place of what embeds and what wakes: they write down what they were called for. All of it is undone with the test's transaction.
SPIES = """
    CREATE TABLE called (n int GENERATED ALWAYS AS IDENTITY, what text);
    CREATE OR REPLACE FUNCTION pgembed._embed_rows(target regclass, column_name name, keys text[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.called (what)
        SELECT format('%s.%s: %s', relname, column_name, (SELECT string_agg(k, ' ' ORDER BY k) FROM unnest(keys) AS k))
        FROM pg_class WHERE oid = target;
        RETURN 0;
    END $$;
    CREATE OR REPLACE FUNCTION pgembed._wake_workers() RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS
    $$ INSERT INTO public.called (what) VALUES ('woken') $$;
"""


def declare(db: Connection, sync: str = "auto", arguments: str = "") -> None:
    """Three rows that are fresh, as far as they say, and how they are kept so."""
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, name text, n int DEFAULT 0);
        INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
        """
    )
    db.execute(f"SELECT pgembed.add_embedding('t', 'name', sync => '{sync}' {arguments})")
    settle(db)


def settle(db: Connection, table: str = "t") -> None:
    """Let all rows be as if they had been embedded."""
    db.execute(
        f"UPDATE {table} SET embedding = array_fill(1, ARRAY[384])::vector, embedding_hash = pgembed._source_hash(name)"
        " WHERE pgembed.freshness(embedding, embedding_hash) <> 'fresh'"
    )
